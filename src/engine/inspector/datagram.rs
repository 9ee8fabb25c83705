//! Services whose datagrams are whole messages, known by port.

use super::names::{Ends, NameKind, Seen};
use super::reader::{At, Observation, host};
use crate::base::wire::dns::{Flags, Questions, netbios_name};
use crate::base::wire::host::{Host, name_text};
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
                    let text = Host::new(&octets).text();
                    tell(Observation::Name(Seen { frame, time_ns, ends, kind, text: &text, name: None }));
                }
                continue;
            }
            let Ok(name) = question.name() else { return };
            let text = name_text(name.as_ref().labels());
            tell(Observation::Name(Seen { frame, time_ns, ends, kind, text: &text, name: Some(name.as_ref()) }));
        }
        if is_response && self == Self::Dns {
            tell(Observation::Answer(at, ends, octets));
        }
    }
}
