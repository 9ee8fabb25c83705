//! The real client behind a forwarder that is trusted to name it.
//!
//! | word | what names the client |
//! |---|---|
//! | `proxy` | a PROXY header of version 2 before the message, or once at the start of a stream |
//! | `ecs` | EDNS client subnet (RFC 7871): the address, or the network's first where the forwarder gives less |
//! | `mac` | EDNS option 65001, as dnsmasq's `add-mac` writes it: the link-local address made of it (RFC 4291, appendix A) |
//!
//! From anybody else these mean nothing: whoever could name others would let them look guilty.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::base::model::{link_local, vocabulary};
use crate::base::wire::dns::{QueryView, option};
use crate::base::wire::{Reader, Short};

/// What every PROXY header of version 2 begins with.
const PROXY_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The first of them; no query is as long as they are as a length.
pub(super) const PROXY_START: [u8; 2] = *b"\r\n";
/// Octets of a PROXY header before what its length counts.
pub(super) const PROXY_HEAD_OCTETS: usize = 16;
/// Octets of the longest PROXY header that is read, with whatever else it says.
pub(super) const PROXY_OCTETS_MAX: usize = 1_024;

vocabulary! {
    /// How a forwarder names the real client.
    pub enum Identity {
        /// A PROXY header.
        Proxy => "proxy",
        /// EDNS client subnet.
        Ecs => "ecs",
        /// A hardware address in an EDNS option.
        Mac => "mac",
    }
}

/// Addresses that ask for others, and how they say for whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forwarder {
    /// The addresses.
    pub net: IpNet,
    /// How they name the client; the first that is there counts.
    pub identity: Vec<Identity>,
}

impl Forwarder {
    /// Whether it may send PROXY headers.
    pub(super) fn proxies(&self) -> bool {
        self.identity.contains(&Identity::Proxy)
    }

    /// The client that a query's options name.
    pub(super) fn named(&self, message: &[u8]) -> Option<IpAddr> {
        let query = QueryView::parse(message).ok()?;
        self.identity.iter().find_map(|identity| match identity {
            Identity::Proxy => None,
            Identity::Ecs => client_subnet(query.option(option::CLIENT_SUBNET)?),
            Identity::Mac => query.option(option::MAC)?.try_into().ok().map(|mac| IpAddr::V6(link_local(mac))),
        })
    }
}

/// The address of an EDNS client subnet; none where the client wants to be nobody, or where it makes no sense.
fn client_subnet(option: &[u8]) -> Option<IpAddr> {
    let mut reader = Reader::new(option);
    let family = reader.u16().ok()?;
    let [source, _scope] = reader.take_array().ok()?;
    let prefix = reader.rest();
    if source == 0 || prefix.len() != usize::from(source).div_ceil(8) {
        return None;
    }
    let address = match family {
        1 => IpAddr::V4(Ipv4Addr::from(filled(prefix)?)),
        2 => IpAddr::V6(Ipv6Addr::from(filled(prefix)?)).to_canonical(),
        _ => return None,
    };
    (!address.is_unspecified()).then_some(address)
}

/// The octets with zeroes after them; none where they are too many.
fn filled<const N: usize>(prefix: &[u8]) -> Option<[u8; N]> {
    let mut octets = [0; N];
    octets.get_mut(..prefix.len())?.copy_from_slice(prefix);
    Some(octets)
}

/// A PROXY header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Proxied {
    /// Octets of the header.
    pub(super) len: usize,
    /// The client; none where the forwarder asks for itself.
    pub(super) client: Option<IpAddr>,
}

/// Whether octets can only be the start of a PROXY header.
pub(super) fn is_proxied(octets: &[u8]) -> bool {
    octets.starts_with(PROXY_SIGNATURE)
}

/// Octets of a whole PROXY header, from its head.
pub(super) fn proxy_octets(head: &[u8; PROXY_HEAD_OCTETS]) -> Option<usize> {
    let [.., high, low] = *head;
    let len = PROXY_HEAD_OCTETS + usize::from(u16::from_be_bytes([high, low]));
    (is_proxied(head) && len <= PROXY_OCTETS_MAX).then_some(len)
}

/// Reads a PROXY header of version 2.
///
/// # Errors
/// It is none, or not whole.
pub(super) fn read_proxy(octets: &[u8]) -> Result<Proxied, Short> {
    let mut reader = Reader::new(octets);
    let head = reader.take_array()?;
    let len = proxy_octets(&head).ok_or(Short)?;
    let [.., command, family, _, _] = head;
    let mut said = Reader::new(reader.take(len - PROXY_HEAD_OCTETS)?);
    let client = match (command, family >> 4) {
        // LOCAL: a health check of the forwarder's own.
        (0x20, _) => None,
        (0x21, 1) => Some(IpAddr::V4(Ipv4Addr::from(said.take_array::<4>()?))),
        (0x21, 2) => Some(IpAddr::V6(Ipv6Addr::from(said.take_array::<16>()?)).to_canonical()),
        (0x21, 0 | 3) => None,
        _ => return Err(Short),
    };
    Ok(Proxied { len, client })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(options: &[u8]) -> Vec<u8> {
        let len = u16::try_from(options.len()).unwrap().to_be_bytes();
        let head = b"\0\x01\x01\0\0\x01\0\0\0\0\0\x01\x01a\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0";
        [&head[..], &len, options].concat()
    }

    fn forwarder(words: &[&str]) -> Forwarder {
        let identity = words.iter().map(|word| word.parse().unwrap()).collect();
        Forwarder { net: "10.0.0.2/32".parse().unwrap(), identity }
    }

    #[test]
    fn clients_are_named_by_subnet_and_hardware_address() {
        let subnet = b"\0\x08\0\x08\0\x01\x20\0\xc0\xa8\x01\x07";
        let mac = b"\xfd\xe9\0\x06\x02\x11\x22\x33\x44\x55";
        let both = query(&[&subnet[..], mac].concat());
        let named = |words: &[&str], message: &[u8]| forwarder(words).named(message).map(|at| at.to_string());
        assert_eq!(named(&["ecs", "mac"], &both).as_deref(), Some("192.168.1.7"));
        assert_eq!(named(&["mac", "ecs"], &both).as_deref(), Some("fe80::11:22ff:fe33:4455"));
        assert_eq!(named(&["mac"], &query(subnet)), None);
        assert_eq!(named(&["proxy"], &both), None);
        assert_eq!(named(&["ecs", "mac"], b"no query"), None);
        for (option, said) in [
            (&b"\0\x08\0\x07\0\x01\x18\0\x0a\x01\x02"[..], Some("10.1.2.0")),
            (b"\0\x08\0\x0b\0\x02\x38\0\x20\x01\x0d\xb8\0\x01\x02", Some("2001:db8:1:200::")),
            (b"\0\x08\0\x04\0\x01\0\0", None),
            (b"\0\x08\0\x06\0\x01\x20\0\x0a\x01", None),
            (b"\0\x08\0\x05\0\x03\x08\0\x0a", None),
            (b"\0\x08\0\x09\0\x01\x28\0\x0a\x01\x02\x03\x04", None),
            (b"\0\x08\0\x02\0\x01", None),
            (b"\0\x08\0\x08\0\x01\x20\0\0\0\0\0", None),
        ] {
            assert_eq!(named(&["ecs"], &query(option)).as_deref(), said, "{option:x?}");
        }
        assert_eq!(named(&["mac"], &query(b"\xfd\xe9\0\x05\x02\x11\x22\x33\x44")), None, "five octets");
    }

    #[test]
    fn proxy_headers_name_the_client() {
        let header = |command: u8, family: u8, said: &[u8]| {
            let len = u16::try_from(said.len()).unwrap().to_be_bytes();
            [&PROXY_SIGNATURE[..], &[command, family], &len, said, b"message"].concat()
        };
        let v4 = [10, 1, 2, 3, 10, 0, 0, 1, 0, 99, 0, 53];
        let mut v6 = [0; 36];
        v6[..3].copy_from_slice(&[0x20, 1, 0xd]);
        let client = |text: &str| Some(text.parse().unwrap());
        for (octets, wanted) in [
            (header(0x21, 0x12, &v4), Ok(Proxied { len: 28, client: client("10.1.2.3") })),
            (
                header(0x21, 0x11, &[&v4[..], b"\x04\0\x01x"].concat()),
                Ok(Proxied { len: 32, client: client("10.1.2.3") }),
            ),
            (header(0x21, 0x22, &v6), Ok(Proxied { len: 52, client: client("2001:d00::") })),
            (header(0x20, 0, b""), Ok(Proxied { len: 16, client: None })),
            (header(0x21, 0x31, &[0; 216]), Ok(Proxied { len: 232, client: None })),
            (header(0x21, 0x12, &v4[..3]), Err(Short)),
            (header(0x11, 0x12, &v4), Err(Short)),
            (header(0x21, 0x12, &v4)[..20].to_vec(), Err(Short)),
            (header(0x21, 0x12, &[0; 2_000]), Err(Short)),
            (b"PROXY TCP4 10.1.2.3 10.0.0.1 99 53\r\n".to_vec(), Err(Short)),
        ] {
            assert_eq!(read_proxy(&octets), wanted, "{octets:x?}");
        }
    }
}
