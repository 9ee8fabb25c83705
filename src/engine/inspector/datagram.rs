//! Services whose datagrams are whole messages, known by port.

use super::names::{Ends, NameKind, Seen};
use super::reader::{At, Observation};
use super::tell::host;
use crate::base::wire::dns::{Flags, QueryView, Questions, class, netbios_name};
use crate::base::wire::host::dotted;
use crate::base::wire::http::Request;

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Dns,
    Mdns,
    Llmnr,
    Nbns,
    Ssdp,
}

impl Service {
    /// The service of a datagram; the destination's port first.
    pub(super) const fn of(sport: u16, dport: u16) -> Option<Self> {
        match Self::on(dport) {
            Some(service) => Some(service),
            None => Self::on(sport),
        }
    }

    const fn on(port: u16) -> Option<Self> {
        Some(match port {
            53 => Self::Dns,
            5353 => Self::Mdns,
            5355 => Self::Llmnr,
            137 => Self::Nbns,
            1900 => Self::Ssdp,
            _ => return None,
        })
    }

    pub(super) fn read(self, at: At, ends: Ends, octets: &[u8], tell: &mut dyn FnMut(Observation<'_>)) {
        if self == Self::Ssdp {
            if let Some(request) = Request::parse(octets) {
                request.headers().all("host").for_each(|written| host(at, ends, NameKind::SsdpHost, written, tell));
            }
            return;
        }
        let Some(questions) = Questions::read(octets) else { return };
        let is_response = questions.header().flags.has(Flags::RESPONSE);
        let kind = match (self, is_response) {
            (Self::Dns, false) => NameKind::DnsQuery,
            (Self::Dns, true) => NameKind::DnsResponse,
            (Self::Mdns, false) => NameKind::MdnsQuery,
            (Self::Llmnr, false) => NameKind::LlmnrQuery,
            (Self::Nbns, false) => NameKind::NbnsQuery,
            (Self::Mdns | Self::Llmnr | Self::Nbns | Self::Ssdp, _) => return,
        };
        for question in questions {
            let (frame, time_ns) = (at.frame, at.time_ns);
            if self == Self::Nbns {
                if let Some((octets, _)) = question.first_label().and_then(netbios_name) {
                    tell(Observation::Name(Seen { frame, time_ns, ends, kind, octets: &octets, name: None }));
                }
                continue;
            }
            let Ok(name) = question.name() else { return };
            let octets = dotted(name.as_ref().labels());
            tell(Observation::Name(Seen { frame, time_ns, ends, kind, octets: &octets, name: Some(name.as_ref()) }));
        }
        if is_response && self == Self::Dns {
            tell(Observation::Answer(at, ends, octets));
        }
    }
}

/// Whether a datagram is between DHCP clients, relays and servers, of either version: each says something of its sender.
pub(super) const fn is_dhcp(sport: u16, dport: u16) -> bool {
    matches!((sport, dport), (67 | 68, 67 | 68) | (546 | 547, 546 | 547))
}

/// Whether a datagram on another port is a DNS query and nothing else: one question for a host of class IN, no octet besides it and
/// its OPT. Who asks elsewhere than on port 53 may do so to get around something.
pub(super) fn is_lone_query(octets: &[u8]) -> bool {
    // Most datagrams go no further: opcode 0, no answer, one question.
    let is_candidate =
        matches!(octets, [_, _, flags, 0..=0x3f, 0, 1, 0, 0, 0, 0, 0, 0 | 1, 1..=63, ..] if flags & 0xfe == 0);
    let is_host = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
    is_candidate
        && QueryView::parse(octets).is_ok_and(|query| {
            query.qclass() == class::IN && query.name().labels().all(|label| label.iter().all(is_host))
        })
}
