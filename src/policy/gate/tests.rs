//! Lists at the gate.

use super::*;
use crate::base::model::Stage;
use crate::policy::list::Format;
use crate::policy::{List, RuleSetBuilder};

fn judge_as(gate: &Gate, format: Format, text: &str) -> Result<Passed, Box<Refused>> {
    let mut builder = RuleSetBuilder::new();
    for (id, text, format) in [("other", "com.other.example\n", Format::Domains), ("mine", text, format)] {
        let list = List {
            id: id.into(),
            file: format!("{id}.txt").into(),
            revision: "".into(),
            stage: Some(Stage::Block),
            expires: None,
        };
        let (_, report) = builder.add_blocklist(list, format, &mut text.as_bytes()).unwrap();
        if id == "mine" {
            return gate.judge(&builder.finish(), id, &report, None);
        }
    }
    unreachable!()
}

fn gate() -> Gate {
    let mut gate = Gate::default();
    let name = |text: &str| Target::Name(text.parse().unwrap());
    let net = |text: &str| Target::Net(text.parse().unwrap());
    gate.must_not_take(Check::Own, name("corp.example.org"));
    gate.must_not_take(Check::Own, net("192.168.0.0/16"));
    gate.must_not_take(Check::Upstream, name("dns.quad9.net"));
    gate.must_not_take(Check::Upstream, name("resolver.example"));
    gate.must_not_take(Check::Upstream, name("one.resolver.example"));
    gate.must_not_take(Check::Upstream, net("9.9.9.9/32"));
    gate.must_not_take(Check::Remote, name("git.lists.example"));
    gate
}

/// The check that refuses, `warn` with the check, or `ok`.
fn said(format: Format, line: &str) -> String {
    match judge_as(&gate(), format, &format!("{line}\nfill.example\n")) {
        Err(refused) => format!("{} {}", refused.place, refused.check),
        Ok(passed) => {
            passed.warnings.first().map_or_else(|| "ok".to_owned(), |w| format!("{} warn {}", w.place, w.check))
        }
    }
}

#[test]
fn names_that_no_list_may_take() {
    for (line, expected) in [
        ("ads.example", "ok"),
        ("co.uk", "mine.txt:1 public-suffix"),
        ("*.com.cn", "mine.txt:1 public-suffix"),
        ("xn--55qx5d.cn", "mine.txt:1 public-suffix"),
        ("anything.ck", "mine.txt:1 public-suffix"),
        ("www.ck", "ok"),
        ("bad.co.uk", "ok"),
        ("dyndns.org", "mine.txt:1 warn public-suffix"),
        ("github.io", "mine.txt:1 shared"),
        ("bad.github.io", "ok"),
        ("akamai.net", "mine.txt:1 shared"),
        ("e1.g.akamai.net", "ok"),
        ("example.org", "mine.txt:1 own"),
        ("corp.example.org", "mine.txt:1 own"),
        ("mail.corp.example.org", "mine.txt:1 own"),
        ("notcorp.example.org", "ok"),
        ("quad9.net", "mine.txt:1 upstream"),
        ("www.quad9.net", "ok"),
        ("lists.example", "mine.txt:1 remote"),
    ] {
        assert_eq!(said(Format::Domains, line), expected, "{line}");
    }
}

#[test]
fn exact_names_take_less() {
    for (line, expected) in [
        ("0.0.0.0 co.uk", "ok"),
        ("0.0.0.0 akamai.net", "ok"),
        ("0.0.0.0 dns.quad9.net", "mine.txt:1 upstream"),
        ("0.0.0.0 quad9.net", "ok"),
        ("0.0.0.0 resolver.example", "mine.txt:1 upstream"),
        ("0.0.0.0 www.corp.example.org", "mine.txt:1 own"),
    ] {
        let line = format!("{line}\n0.0.0.0 fill.example");
        let passed = judge_as(&gate(), Format::Hosts, &line);
        let have = passed.map_or_else(|refused| format!("{} {}", refused.place, refused.check), |_| "ok".to_owned());
        assert_eq!(have, expected, "{line}");
    }
}

#[test]
fn rules_with_conditions_and_patterns_are_judged_and_exceptions_are_not() {
    for (line, expected) in [
        ("||quad9.net^$client=10.0.0.5", "mine.txt:1 upstream"),
        ("||*.akamai.net^", "mine.txt:1 shared"),
        ("||ads*.akamai.net^", "ok"),
        ("/\\.net$/", "mine.txt:1 public-suffix"),
        ("/^dns\\.[a-z0-9]+\\.net$/", "mine.txt:1 upstream"),
        ("-quad9-", "ok"),
        ("quad9", "ok"),
        ("||git*.example^", "mine.txt:1 remote"),
        ("@@||corp.example.org^", "ok"),
        ("@@||com^", "ok"),
        ("||192.168.1.1^", "mine.txt:1 own"),
    ] {
        let text = format!("{line}\n||fill.example^");
        let have = judge_as(&gate(), Format::Adblock, &text)
            .map_or_else(|refused| format!("{} {}", refused.place, refused.check), |_| "ok".to_owned());
        assert_eq!(have, expected, "{line}");
    }
}

#[test]
fn ranges_that_no_list_may_take() {
    for (line, expected) in [
        ("203.0.113.0/24", "ok"),
        ("203.0.0.0/15", "mine.txt:1 width"),
        ("2001:db8::/32", "ok"),
        ("192.168.7.0/24", "mine.txt:1 own"),
        ("9.9.9.0/24", "mine.txt:1 upstream"),
        ("104.16.0.0/16", "mine.txt:1 shared"),
        ("104.16.1.1", "mine.txt:1 warn shared"),
        ("2606:4700::/40", "mine.txt:1 shared"),
        ("2606:4700::1", "mine.txt:1 warn shared"),
    ] {
        let have = match judge_as(&gate(), Format::Ranges, line) {
            Err(refused) => format!("{} {}", refused.place, refused.check),
            Ok(passed) => {
                passed.warnings.first().map_or_else(|| "ok".to_owned(), |w| format!("{} warn {}", w.place, w.check))
            }
        };
        assert_eq!(have, expected, "{line}");
    }
}

#[test]
fn canaries_must_be_there() {
    let must_have = [Target::Name("www.bad.example".parse().unwrap()), Target::Net("203.0.113.7/32".parse().unwrap())];
    let gate = gate().with(Limits::default(), &must_have);
    let refused = judge_as(&gate, Format::Adblock, "||bad.example^\n").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "mine: refused by the gate (canary): 203.0.113.7/32 must be in it and is not; is it the right list?; the list in force stays"
    );
    let passed =
        judge_as(&gate, Format::Adblock, "||bad.example^$important\n||203.0.113.7^\n@@||ok.example^\n").unwrap();
    assert_eq!((passed.counts.names, passed.counts.ranges, passed.counts.apart), (0, 1, 2));
    let refused = judge_as(&gate, Format::Adblock, "@@||bad.example^\n||203.0.113.7^\n").unwrap_err();
    assert!(refused.why.starts_with("www.bad.example must be in it"), "{refused}");
}

#[test]
fn an_emptied_list_is_refused_and_warnings_are_bounded() {
    let refused = judge_as(&gate(), Format::Domains, "# nothing\n").unwrap_err();
    assert_eq!((refused.place.as_str(), refused.check), ("mine", Check::Minimum));
    let many: String = (0..30).map(|host| format!("104.16.1.{host}\n")).collect();
    let passed = judge_as(&gate(), Format::Ranges, &many).unwrap();
    assert_eq!((passed.warnings.len(), passed.more), (WARNINGS_MAX, 10));
}
