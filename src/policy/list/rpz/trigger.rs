//! What an owner name of a response policy zone triggers on.

use super::super::host;
use crate::base::name::Name;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    /// That name.
    Name(Name),
    /// Everything below it.
    Below(Name),
    /// Both.
    Suffix(Name),
    /// An address in an answer.
    Address(IpNet),
    /// Who asks.
    Client(IpNet),
}

/// Why an owner is no trigger here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Not {
    /// It says something that is not judged.
    Judged(String),
    /// It says nothing.
    Readable(String),
}

/// Reads an owner name, the zone's own name taken off.
pub(super) fn parse(owner: &str) -> Result<Trigger, Not> {
    let (head, last) = owner.rsplit_once('.').unwrap_or(("", owner));
    match last {
        "rpz-ip" => net(head).map(Trigger::Address).ok_or_else(|| no_prefix(owner)),
        "rpz-client-ip" => net(head).map(Trigger::Client).ok_or_else(|| no_prefix(owner)),
        "rpz-nsdname" | "rpz-nsip" => {
            Err(Not::Judged(format!("{owner:?} speaks of name servers, which nobody sees while forwarding")))
        }
        _ if last.starts_with("rpz-") => Err(Not::Judged(format!("the trigger {owner:?} is not known"))),
        _ if owner == "*" => Ok(Trigger::Below(Name::parse_host(".").map_err(|why| Not::Readable(why.to_string()))?)),
        _ => match owner.strip_prefix("*.") {
            Some(name) => host::parse(name).map(Trigger::Below),
            None => host::parse(owner).map(Trigger::Name),
        }
        .map_err(Not::Readable),
    }
}

fn no_prefix(owner: &str) -> Not {
    Not::Readable(format!("{owner:?} is no prefix; write as 24.0.2.0.192.rpz-ip or 48.zz.1.db8.2001.rpz-ip"))
}

/// `24.0.2.0.192` is 192.0.2.0/24; `48.zz.1.db8.2001` is 2001:db8:1::/48, `zz` standing for `::`.
fn net(text: &str) -> Option<IpNet> {
    let (length, reversed) = text.split_once('.')?;
    let length: u8 = length.parse().ok()?;
    let parts: Vec<&str> = reversed.split('.').collect();
    let address = match <[&str; 4]>::try_from(parts.as_slice()) {
        Ok([d, c, b, a]) if !reversed.contains("zz") => {
            IpAddr::V4(Ipv4Addr::new(a.parse().ok()?, b.parse().ok()?, c.parse().ok()?, d.parse().ok()?))
        }
        _ => IpAddr::V6(v6(&parts)?),
    };
    // A prefix with bits below its length is a mistake that could be meant either way.
    IpNet::new(address, length).ok().filter(|net| net.addr() == net.network())
}

fn v6(reversed: &[&str]) -> Option<Ipv6Addr> {
    let words: Vec<&str> = reversed.iter().rev().map(|word| if *word == "zz" { "" } else { *word }).collect();
    let mut text = words.join(":");
    // `::` at an end of the text needs its second colon; in the middle, the empty word made it.
    if words.first() == Some(&"") {
        text.insert(0, ':');
    }
    if words.last() == Some(&"") {
        text.push(':');
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_written_backwards() {
        for (text, expected) in [
            ("24.0.2.0.192", Some("192.0.2.0/24")),
            ("32.1.2.0.192", Some("192.0.2.1/32")),
            ("48.zz.1.db8.2001", Some("2001:db8:1::/48")),
            ("128.7.zz.db8.2001", Some("2001:db8::7/128")),
            ("128.1.zz", Some("::1/128")),
            ("128.8.7.6.5.4.3.db8.2001", Some("2001:db8:3:4:5:6:7:8/128")),
            ("64.zz.3.db8.2001", Some("2001:db8:3::/64")),
            ("24.1.2.0.192", None),
            ("33.1.2.0.192", None),
            ("24.0.2.192", None),
            ("192.0.2.0", None),
            ("", None),
            ("24", None),
        ] {
            assert_eq!(net(text).map(|net| net.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn names_wildcards_and_what_is_not_judged() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        assert_eq!(parse("a.example"), Ok(Trigger::Name(name("a.example"))));
        assert_eq!(parse("*.a.example"), Ok(Trigger::Below(name("a.example"))));
        assert_eq!(parse("*"), Ok(Trigger::Below(name("."))));
        assert!(matches!(parse("ns.example.rpz-nsdname"), Err(Not::Judged(_))));
        assert!(matches!(parse("a.rpz-future"), Err(Not::Judged(_))));
        assert!(matches!(parse("x.rpz-ip"), Err(Not::Readable(_))));
        assert!(matches!(parse("a b.example"), Err(Not::Readable(_))));
    }
}
