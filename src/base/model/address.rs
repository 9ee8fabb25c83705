//! Addresses as they are meant: IPv6 that only carries an IPv4 address is that IPv4 address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address that a packet in the end goes to: IPv4-mapped addresses (RFC 4291 §2.5.5.2) and those of the well-known NAT64
/// prefix `64:ff9b::/96` (RFC 6052 §2.1) are IPv4 in another coat, and a ban on a range holds for both.
#[must_use]
pub fn meant(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => nat64(v6).map_or_else(|| address.to_canonical(), IpAddr::V4),
    }
}

/// The link-local address that a hardware address makes (RFC 4291, appendix A): what stands for a client of whom nothing else is
/// known.
#[must_use]
pub const fn link_local([a, b, c, d, e, f]: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = [a as u16 ^ 2, b as u16, c as u16, d as u16, e as u16, f as u16];
    Ipv6Addr::new(0xfe80, 0, 0, 0, a << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f)
}

/// Whether an address is of a network that nobody outside reaches, in whatever coat: private (RFC 1918), loopback, link-local,
/// unique-local (RFC 4193), site-local, unspecified or of "this network", also as IPv4-mapped or IPv4-compatible IPv6, below the
/// prefixes of NAT64 (RFC 6052, RFC 8215) and 6to4 (RFC 3056). The ranges for documentation (RFC 5737, RFC 3849) are not.
#[must_use]
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_private_v4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h] = v6.segments();
            let tail = v4(g, h);
            match (a, b, c) {
                // Also `::` and `::1`, as 0.0.0.0 and 0.0.0.1.
                (0, 0, 0) if d == 0 && e == 0 && (f == 0 || f == 0xffff) => is_private_v4(tail),
                (0x64, 0xff9b, 0 | 1) => is_private_v4(tail),
                (0x2002, ..) => is_private_v4(v4(b, c)),
                _ => a & 0xfe00 == 0xfc00 || a & 0xff80 == 0xfe80,
            }
        }
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    address.is_private() || address.is_loopback() || address.is_link_local() || address.octets()[0] == 0
}

const fn v4(high: u16, low: u16) -> Ipv4Addr {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Ipv4Addr::new(a, b, c, d)
}

const fn nat64(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.octets() {
        [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => Some(Ipv4Addr::new(a, b, c, d)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_known_in_every_coat() {
        let private = "10.0.0.1 172.16.0.1 172.31.255.255 192.168.0.1 127.0.0.1 127.9.9.9 169.254.1.1 0.0.0.0 0.1.2.3 :: ::1 \
                       ::10.0.0.1 ::ffff:192.168.1.1 ::ffff:127.0.0.1 64:ff9b::10.0.0.1 64:ff9b:1::192.168.0.1 2002:a00:1:: \
                       2002:c0a8:101::1 fc00::1 fd12::1 fe80::1 febf::1 fec0::1";
        let public = "172.15.0.1 172.32.0.1 192.0.2.1 198.51.100.1 203.0.113.1 100.64.0.1 8.8.8.8 1.0.0.1 2001:db8::1 \
                      2606:4700::1111 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1 fe00::1 ff02::1";
        for (all, is) in [(private, true), (public, false)] {
            for text in all.split_whitespace() {
                assert_eq!(is_private(text.parse().unwrap()), is, "{text}");
            }
        }
    }

    #[test]
    fn both_coats_come_off_and_nothing_else() {
        for (given, same) in [
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("64:ff9b::192.0.2.1", "192.0.2.1"),
            ("64:ff9b:1::192.0.2.1", "64:ff9b:1::192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(meant(given.parse().unwrap()), same.parse::<IpAddr>().unwrap(), "{given}");
        }
    }
}
