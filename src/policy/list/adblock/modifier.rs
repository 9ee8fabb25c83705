//! What stands after `$`. A modifier that is not known here makes its whole rule say something else, so the rule is left out.

use super::super::host;
use super::super::ranges;
use crate::base::name::Name;
use crate::policy::apart::{CONDITION_ITEMS_MAX, Conditions, Selection};
use ipnet::IpNet;

/// The modifiers of a rule.
#[derive(Debug, Default)]
pub(super) struct Modifiers {
    pub(super) important: bool,
    pub(super) badfilter: bool,
    /// `None` where there is none.
    pub(super) conditions: Option<Box<Conditions>>,
    /// All but `badfilter`, in order of the alphabet: what a rule and the one that takes it back have in common.
    pub(super) form: String,
}

impl Modifiers {
    /// Whether there is none, `badfilter` left aside.
    pub(super) const fn is_empty(&self) -> bool {
        !self.important && self.conditions.is_none()
    }
}

/// Reads modifiers.
///
/// # Errors
/// Why the rule is left out.
pub(super) fn parse(text: &str) -> Result<Modifiers, String> {
    let mut made = Modifiers::default();
    let mut conditions = Conditions::default();
    let mut forms = Vec::new();
    for one in text.split(',') {
        let (key, value) = one.split_once('=').map_or((one, None), |(key, value)| (key, Some(value)));
        match (key, value) {
            ("badfilter", None) => {
                made.badfilter = true;
                continue;
            }
            ("important", None) => made.important = true,
            ("denyallow", Some(value)) => conditions.not_below = names(value)?,
            ("dnstype", Some(value)) => conditions.types = selection(value, "dnstype", qtype)?,
            ("client", Some(value)) => conditions.clients = selection(value, "client", client)?,
            _ => return Err(format!("the modifier {one:?} is not judged here")),
        }
        forms.push(one.to_ascii_lowercase());
    }
    forms.sort();
    forms.dedup();
    made.form = forms.join(",");
    made.conditions = if conditions.is_empty() { None } else { Some(Box::new(conditions)) };
    Ok(made)
}

fn names(value: &str) -> Result<Box<[Name]>, String> {
    let names: Box<[Name]> = value.split('|').map(host::parse).collect::<Result<_, _>>()?;
    if names.len() > CONDITION_ITEMS_MAX { Err(too_many("denyallow")) } else { Ok(names) }
}

/// Items between `|`; a `~` before one excludes it.
fn selection<T>(value: &str, key: &str, read: impl Fn(&str) -> Option<T>) -> Result<Selection<T>, String> {
    let (mut only, mut not) = (Vec::new(), Vec::new());
    for item in value.split('|') {
        let (into, word) = item.strip_prefix('~').map_or((&mut only, item), |word| (&mut not, word));
        into.push(read(word).ok_or_else(|| format!("{key}={item:?} is not judged here"))?);
    }
    if only.len() + not.len() > CONDITION_ITEMS_MAX {
        return Err(too_many(key));
    }
    Ok(Selection { only: only.into(), not: not.into() })
}

fn too_many(key: &str) -> String {
    format!("{key} lists more than {CONDITION_ITEMS_MAX}")
}

/// A client by address or network; by name nobody is known here.
fn client(word: &str) -> Option<IpNet> {
    ranges::parse(word.trim_matches(['"', '\'']))
}

/// A record type by its mnemonic, or by number as `65` or `TYPE65`.
fn qtype(word: &str) -> Option<u16> {
    let word = word.to_ascii_uppercase();
    let by_name = TYPES.iter().find(|(name, _)| *name == word).map(|(_, number)| *number);
    by_name.or_else(|| word.strip_prefix("TYPE").unwrap_or(&word).parse().ok())
}

/// Record types that clients ask for (IANA, *DNS Parameters*).
const TYPES: [(&str, u16); 25] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("HINFO", 13),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("LOC", 29),
    ("SRV", 33),
    ("NAPTR", 35),
    ("DNAME", 39),
    ("DS", 43),
    ("SSHFP", 44),
    ("RRSIG", 46),
    ("NSEC", 47),
    ("DNSKEY", 48),
    ("TLSA", 52),
    ("OPENPGPKEY", 61),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("SPF", 99),
    ("ANY", 255),
    ("CAA", 257),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_modifiers_does_not_matter_to_what_takes_a_rule_back() {
        let form = |text| parse(text).unwrap().form;
        assert_eq!(form("dnstype=A,important"), form("important,badfilter,dnstype=A"));
        assert_ne!(form("important"), form("badfilter"));
    }

    #[test]
    fn types_by_name_and_number() {
        assert_eq!(
            ["a", "HTTPS", "65", "TYPE65", "x", ""].map(qtype),
            [Some(1), Some(65), Some(65), Some(65), None, None]
        );
    }

    #[test]
    fn conditions_are_bounded() {
        let many = vec!["a.example"; CONDITION_ITEMS_MAX + 1].join("|");
        assert!(parse(&format!("denyallow={many}")).unwrap_err().contains("more than 1000"));
        let many = vec!["192.0.2.1"; CONDITION_ITEMS_MAX + 1].join("|");
        assert!(parse(&format!("client={many}")).unwrap_err().contains("more than 1000"));
    }
}
