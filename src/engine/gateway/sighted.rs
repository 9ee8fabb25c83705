//! Encrypted DNS of endpoints that tried what is blocked not long ago: refused on its own port wherever it leads, and on that of HTTPS
//! where a list says that resolvers live and nobody else.

use super::plan::{DOT, DOT_REFUSED, UNLOGGED, logged, refusal};
use super::table::{Chain, Element, Elements, Family, Key, Part, Range, Rule, SetKind, Table, Then};
use crate::base::model::{Decision, Purpose};
use crate::policy::{Policy, Span};
use std::sync::Arc;

/// The sets of such endpoints, for IPv4 and IPv6. Only who records attempts says what is in them.
pub const SIGHTED: [&str; 2] = ["sighted4", "sighted6"];

/// DNS over HTTPS (RFC 8484).
const HTTPS: u16 = 443;

/// Adds the sets and the chain; the rules that lead there, for the beginning of where clients' packets pass: also connections that were
/// judged before are meant.
pub(super) fn add(table: &mut Table, policy: &Policy, log_group: u16) -> Vec<Rule> {
    let name: Arc<str> = "dot/sighted".into();
    table.counters.insert(UNLOGGED.into());
    let mut chain = logged(table, &name, DOT_REFUSED, log_group);
    chain.extend(refusal());
    table.chains.push(Chain { name: Arc::clone(&name), hook: None, rules: chain });
    let resolvers = resolvers(policy);
    let mut rules = Vec::new();
    for (family, sighted) in Family::BOTH.into_iter().zip(SIGHTED) {
        let from = table.set(sighted, Key::Address(family), SetKind::Timed, Elements::new());
        let of_family = resolvers.iter().filter(|range| Family::of(range.first) == family);
        let elements = of_family.map(|range| (Element::Range(*range), None)).collect();
        let to = table.set(&format!("resolvers{}", family.digit()), Key::Address(family), SetKind::Ranges, elements);
        let rule = |way: Vec<Part>| {
            let end = Part::Then(Then::Jump(Arc::clone(&name)));
            [vec![Part::From(family, Arc::clone(&from))], way, vec![end]].concat()
        };
        rules.push(rule(vec![Part::ToPort(DOT)]));
        rules.push(rule(vec![Part::To(family, to), Part::ToPort(HTTPS)]));
    }
    rules
}

/// Where known resolvers live by themselves, as far as they are not refused to everybody.
fn resolvers(policy: &Policy) -> Vec<Range> {
    let is_one = |span: &Span| {
        let class = span.verdict.rule.and_then(|rule| policy.rules().class(policy.rules().class_of(rule)?));
        let is_resolver = |purpose| matches!(purpose, Purpose::EncryptedDns | Purpose::PublicDns);
        // What is limited is shared, or nobody said where it is known from.
        let is_sure = class.is_some_and(|class| is_resolver(class.purpose) && class.limit.is_none());
        is_sure && span.verdict.decision == Decision::Observe
    };
    let mut ranges: Vec<Range> = Vec::new();
    for span in policy.spans().into_iter().filter(is_one) {
        match ranges.last_mut() {
            Some(before) if before.next() == Some(span.first) => before.last = span.last,
            _ => ranges.push(Range { first: span.first, last: span.last }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::super::listed::tests::policy;
    use super::*;
    use crate::base::model::Stage;

    #[test]
    fn who_is_sighted_comes_before_what_was_judged_and_lists_of_others_have_no_resolvers() {
        let policy = policy(&[("o", Stage::Observe, "192.0.2.1"), ("b", Stage::Block, "192.0.2.9")], Vec::new());
        let mut table = Table::default();
        let words = |rule: &Rule| rule.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let rules: Vec<String> = add(&mut table, &policy, 7).iter().map(words).collect();
        let v4 = [
            "ip saddr @sighted4 th dport 853 jump dot/sighted",
            "ip saddr @sighted4 ip daddr @resolvers4 th dport 443 jump dot/sighted",
        ];
        assert_eq!(rules[..2], v4);
        assert_eq!(rules.len(), 4);
        assert!(table.sets["resolvers4"].elements.is_empty(), "what nobody says to be a resolver");
        let chain: Vec<String> = table.chains[0].rules.iter().map(words).collect();
        assert_eq!(
            chain[chain.len() - 2..],
            ["meta l4proto tcp reject with tcp reset", "reject with icmpx admin-prohibited"]
        );
    }
}
