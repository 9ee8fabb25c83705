//! DHCP (RFC 2131, 2132) and DHCPv6 (RFC 8415), also relayed: what a client says of itself, and which address it is given.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Reader;
use crate::base::model::Mac;

/// Options of one message that are looked at.
const OPTIONS_MAX: usize = 64;
/// Relays that passed a DHCPv6 message on (RFC 8415 §19.1.2).
const RELAYS_MAX: usize = 8;

/// A message between a client and a server, of either version. What it does not say is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Dhcp<'a> {
    /// Whether the server said it.
    pub is_reply: bool,
    /// The client's hardware address.
    pub mac: Option<Mac>,
    /// What the client calls itself to servers: option 61, or its DUID.
    pub client_id: &'a [u8],
    /// Its host name, as it says.
    pub host_name: &'a [u8],
    /// What made the client program.
    pub vendor_class: &'a [u8],
    /// The address that the client has or is given from now on.
    pub address: Option<IpAddr>,
    /// The relay next to the client.
    pub relay: Option<IpAddr>,
}

impl<'a> Dhcp<'a> {
    /// A DHCP message.
    #[must_use]
    pub fn v4(bytes: &'a [u8]) -> Option<Self> {
        const COOKIE: [u8; 4] = [99, 130, 83, 99];
        const REPLY: u8 = 2;
        const ACKNOWLEDGED: [u8; 1] = [5];
        const PADDING: u8 = 0;
        const END: u8 = 255;
        let mut reader = Reader::new(bytes);
        let [op, hardware, hardware_len, _] = reader.take_array().ok()?;
        reader.take(8).ok()?;
        let [current, given, _, relay]: [Ipv4Addr; 4] = {
            let mut next = || reader.take_array::<4>().ok().map(Ipv4Addr::from);
            [next()?, next()?, next()?, next()?]
        };
        let mac = Mac(reader.take_array().ok()?);
        // The rest of the hardware address, and two fields that nobody boots from here.
        reader.take(10 + 64 + 128).ok()?;
        if reader.take_array() != Ok(COOKIE) {
            return None;
        }
        let is_ethernet = hardware == 1 && hardware_len == 6;
        let mut dhcp = Self { is_reply: op == REPLY, mac: is_ethernet.then_some(mac), ..Self::default() };
        let mut is_acknowledged = false;
        for _ in 0..OPTIONS_MAX {
            let code = reader.u8().unwrap_or(END);
            match code {
                PADDING => continue,
                END => break,
                _ => {}
            }
            let Some(value) = reader.u8().ok().and_then(|len| reader.take(usize::from(len)).ok()) else { break };
            match code {
                12 => dhcp.host_name = value,
                53 => is_acknowledged = value == ACKNOWLEDGED,
                60 => dhcp.vendor_class = value,
                61 => dhcp.client_id = value,
                // Flags and two fields that are not used any more stand before the name (RFC 4702 §2).
                81 if dhcp.host_name.is_empty() => dhcp.host_name = value.get(3..).unwrap_or_default(),
                _ => {}
            }
        }
        let address = match (dhcp.is_reply, is_acknowledged) {
            (true, true) if !given.is_unspecified() => given,
            (true, _) => Ipv4Addr::UNSPECIFIED,
            (false, _) => current,
        };
        let said = |address: Ipv4Addr| (!address.is_unspecified()).then_some(IpAddr::V4(address));
        (dhcp.address, dhcp.relay) = (said(address), said(relay));
        Some(dhcp)
    }

    /// A DHCPv6 message, taken out of what relays have put around it.
    #[must_use]
    pub fn v6(mut bytes: &'a [u8]) -> Option<Self> {
        const REPLY: u8 = 7;
        const RELAY_FORWARD: u8 = 12;
        const RELAY_REPLY: u8 = 13;
        let mut dhcp = Self::default();
        for _ in 0..RELAYS_MAX {
            match *bytes.first()? {
                RELAY_FORWARD | RELAY_REPLY => bytes = dhcp.unwrap_relay(bytes)?,
                kind @ 1..=11 => {
                    // Advertisements give nothing yet.
                    dhcp.is_reply = kind == REPLY || kind == 2;
                    dhcp.read_v6_options(bytes.get(4..)?, kind == REPLY);
                    return Some(dhcp);
                }
                _ => return None,
            }
        }
        None
    }

    /// What a relay carries, and what it says of the client.
    fn unwrap_relay(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        const CARRIED: u16 = 9;
        const CLIENT_LINK_LAYER: u16 = 79;
        let link: [u8; 16] = *bytes.get(2..)?.first_chunk()?;
        // The innermost relay is the one next to the client.
        self.relay = Some(IpAddr::V6(Ipv6Addr::from(link)));
        let mut carried = None;
        for (code, value) in options_v6(bytes.get(34..)?) {
            match (code, value) {
                (CARRIED, _) => carried = Some(value),
                (CLIENT_LINK_LAYER, &[0, 1, a, b, c, d, e, f]) => self.mac = Some(Mac([a, b, c, d, e, f])),
                _ => {}
            }
        }
        carried
    }

    fn read_v6_options(&mut self, bytes: &'a [u8], is_given: bool) {
        const ADDRESS: u16 = 5;
        for (code, value) in options_v6(bytes) {
            match code {
                1 => self.client_id = value,
                // Its id and two times, then options; the address is one.
                3 if is_given => {
                    let within = options_v6(value.get(12..).unwrap_or_default());
                    let address =
                        within.filter(|(code, _)| *code == ADDRESS).find_map(|(_, value)| value.first_chunk::<16>());
                    self.address = address.map(|&octets| IpAddr::V6(Ipv6Addr::from(octets))).or(self.address);
                }
                // An enterprise number and a length stand before it (RFC 8415 §21.16).
                16 => self.vendor_class = value.get(6..).unwrap_or_default(),
                // Flags, then labels (RFC 4704 §4): the first is enough.
                39 => {
                    let label = value.get(1).and_then(|&len| value.get(2..2 + usize::from(len)));
                    self.host_name = label.unwrap_or_default();
                }
                _ => {}
            }
        }
    }
}

/// Code and value of each option.
fn options_v6(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut reader = Reader::new(bytes);
    (0..OPTIONS_MAX).map_while(move |_| {
        let code = reader.u16().ok()?;
        let len = reader.u16().ok()?;
        Some((code, reader.take(usize::from(len)).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message of the given kind with these options after it.
    fn message(op: u8, current: [u8; 4], given: [u8; 4], relay: [u8; 4], options: &[u8]) -> Vec<u8> {
        let head =
            [&[op, 1, 6, 0][..], &[0; 8], &current, &given, &[0; 4], &relay, &[2, 0, 0, 0, 0, 9], &[0; 202]].concat();
        [&head[..], &[99, 130, 83, 99], options].concat()
    }

    #[test]
    fn a_client_says_who_it_is() {
        let options =
            [&[53, 1, 3, 0, 0, 12, 3][..], b"pc1", &[60, 4], b"MSFT", &[61, 3, 0, 1, 2, 255, 12, 1, 9]].concat();
        let bytes = message(1, [10, 0, 0, 7], [0; 4], [10, 9, 0, 1], &options);
        let dhcp = Dhcp::v4(&bytes).unwrap();
        assert_eq!((dhcp.is_reply, dhcp.mac), (false, Some(Mac([2, 0, 0, 0, 0, 9]))));
        assert_eq!((dhcp.host_name, dhcp.vendor_class, dhcp.client_id), (&b"pc1"[..], &b"MSFT"[..], &[0, 1, 2][..]));
        assert_eq!((dhcp.address, dhcp.relay), ("10.0.0.7".parse().ok(), "10.9.0.1".parse().ok()));
        let full_name = message(1, [0; 4], [0; 4], [0; 4], &[&[81, 5, 0, 0, 0][..], b"pc"].concat());
        assert_eq!(Dhcp::v4(&full_name).unwrap().host_name, b"pc");
        let both = message(1, [0; 4], [0; 4], [0; 4], b"\x0c\x02pc\x51\x07\0\0\0pc.x");
        assert_eq!(Dhcp::v4(&both).unwrap().host_name, b"pc");
    }

    #[test]
    fn an_address_is_given_by_an_acknowledgement_alone() {
        for (kind, given) in [(5, "10.0.0.7".parse().ok()), (2, None), (6, None)] {
            let bytes = message(2, [0; 4], [10, 0, 0, 7], [0; 4], &[53, 1, kind]);
            let dhcp = Dhcp::v4(&bytes).unwrap();
            assert_eq!((dhcp.is_reply, dhcp.address), (true, given), "{kind}");
        }
        let mut other = message(1, [0; 4], [0; 4], [0; 4], &[]);
        other[236] = 0;
        assert_eq!(Dhcp::v4(&other), None, "without its cookie it is BOOTP");
    }

    fn option6(code: u16, value: &[u8]) -> Vec<u8> {
        [&code.to_be_bytes(), &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
    }

    #[test]
    fn the_sixth_version_is_read_through_its_relays() {
        let address = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
        let association = [&[0xff; 12][..], &option6(5, &[&address[..], &[0; 8]].concat())].concat();
        let class = [&[0, 0, 1, 55, 0, 4][..], b"MSFT"].concat();
        let name = [&[0, 3][..], b"pc1", &[7], b"example", &[0]].concat();
        let options = [option6(1, b"duid"), option6(3, &association), option6(16, &class), option6(39, &name)].concat();
        let relayed = |kind: u8, message: &[u8]| {
            let link = option6(79, &[0, 1, 2, 0, 0, 0, 0, 9]);
            [&[kind, 0][..], &[0xfd; 16], &[0xfe; 16], &link, &option6(9, message)].concat()
        };
        for (kind, carrier, is_reply, given) in [(3, 12, false, false), (7, 13, true, true), (2, 13, true, false)] {
            let message = [&[kind, 0, 0, 1], &options[..]].concat();
            let bytes = relayed(carrier, &relayed(carrier, &message));
            for (bytes, is_relayed) in [(&message, false), (&bytes, true)] {
                let dhcp = Dhcp::v6(bytes).unwrap();
                assert_eq!((dhcp.is_reply, dhcp.client_id, dhcp.host_name), (is_reply, &b"duid"[..], &b"pc1"[..]));
                assert_eq!((dhcp.vendor_class, dhcp.address.is_some()), (&b"MSFT"[..], given), "{kind}");
                assert_eq!((dhcp.relay.is_some(), dhcp.mac.is_some()), (is_relayed, is_relayed));
            }
        }
        assert_eq!(Dhcp::v6(&[200, 0, 0, 0]), None);
        let endless = (0..20).fold(vec![3, 0, 0, 1], |message, _| relayed(12, &message));
        assert_eq!(Dhcp::v6(&endless), None);
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..120), kind in any::<u8>()) {
            let _ = Dhcp::v6(&bytes);
            let _ = Dhcp::v4(&message(kind, [1; 4], [2; 4], [3; 4], &bytes));
        }
    }
}
