//! The names that IANA keeps out of the public name space (RFC 6761, 6303, 6762, 7534, 7686, 7793, 8375, 9462, 9476), and canaries.
//!
//! `test` is not among them: whoever uses it has servers of their own for it, and this resolver asks the operator's servers only.

use super::Zone;
use super::record::LocalRecord;
use crate::base::name::Name;

/// Below these nothing exists for anybody else.
const VOID: [&str; 27] = [
    "invalid",
    "local",
    "onion",
    "alt",
    "home.arpa",
    "service.arpa",
    // RFC 6303 §4.2 to §4.4, without those of the documentation that follow.
    "0.in-addr.arpa",
    "10.in-addr.arpa",
    "127.in-addr.arpa",
    "254.169.in-addr.arpa",
    "168.192.in-addr.arpa",
    "2.0.192.in-addr.arpa",
    "100.51.198.in-addr.arpa",
    "113.0.203.in-addr.arpa",
    "255.255.255.255.in-addr.arpa",
    "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "8.b.d.0.1.0.0.2.ip6.arpa",
    "c.f.ip6.arpa",
    "d.f.ip6.arpa",
    "8.e.f.ip6.arpa",
    "9.e.f.ip6.arpa",
    "a.e.f.ip6.arpa",
    "b.e.f.ip6.arpa",
    "c.e.f.ip6.arpa",
    "d.e.f.ip6.arpa",
    "e.e.f.ip6.arpa",
];

/// Asked whether applications may use resolvers of their own: Firefox, and Apple's relay.
const CANARIES: [&str; 3] = ["use-application-dns.net", "mask.icloud.com", "mask-h2.icloud.com"];

/// The last labels of names that are of some private network, reserved or used so by habit and never delegated.
pub(super) const PRIVATE_TOPS: [&[u8]; 8] =
    [b"local", b"localdomain", b"lan", b"home", b"internal", b"intranet", b"corp", b"private"];

/// The zones that are special by themselves.
pub(super) fn zones() -> impl Iterator<Item = (Name, Zone)> {
    // 172.16.0.0/12 and 100.64.0.0/10 end within an octet (RFC 6303 §4.2, RFC 7793).
    let ranges = (16..32).map(|octet| format!("{octet}.172.in-addr.arpa"));
    let shared = (64..128).map(|octet| format!("{octet}.100.in-addr.arpa"));
    let void = VOID.iter().map(|&text| text.to_owned()).chain(ranges).chain(shared).map(|text| (text, Zone::Void));
    // "NODATA" is what a resolver without encrypted transports is to say there (RFC 9462 §6.4).
    let others =
        [("localhost", Zone::Loopback), ("resolver.arpa", Zone::Empty)].map(|(text, zone)| (text.to_owned(), zone));
    void.chain(others).filter_map(|(text, zone)| Some((text.parse().ok()?, zone)))
}

/// The canaries.
pub(super) fn canaries() -> impl Iterator<Item = (Name, Zone)> {
    CANARIES.iter().filter_map(|text| Some((text.parse().ok()?, Zone::Canary)))
}

/// What `localhost` and everything below it is (RFC 6761 §6.3).
pub(super) fn loopback() -> Vec<LocalRecord> {
    ["localhost A 127.0.0.1", "localhost AAAA ::1"].iter().filter_map(|text| text.parse().ok()).collect()
}

/// The names of the loopback addresses.
pub(super) fn pointers() -> impl Iterator<Item = LocalRecord> {
    loopback().into_iter().filter_map(|record| record.reverse())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_of_the_tables_is_a_name() {
        assert_eq!(zones().count(), VOID.len() + 16 + 64 + 2);
        assert_eq!(canaries().count(), CANARIES.len());
        assert_eq!((loopback().len(), pointers().count()), (2, 2));
    }
}
