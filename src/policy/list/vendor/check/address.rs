//! Addresses: ranges without host bits, none too wide without a reason, none that means the operator's own side.

use super::{At, Check, Text, raw};
use crate::policy::list::vendor::{Fallback, Port, PortSpan, Range, ResolverService};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The widest IPv4 range that needs no reason.
const PREFIX_MIN_V4: u8 = 12;
/// The widest IPv6 range that needs no reason.
const PREFIX_MIN_V6: u8 = 32;

/// Space that is never a vendor's: private, local, shared between providers, multicast, mapped.
const NEVER_A_VENDOR_V4: [(Ipv4Addr, u8); 8] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];
/// The same for IPv6.
const NEVER_A_VENDOR_V6: [(Ipv6Addr, u8); 4] = [
    (Ipv6Addr::UNSPECIFIED, 64),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

impl Check<'_> {
    pub(super) fn range(&mut self, At { line, entry }: At<raw::Range>) -> Option<Range> {
        let net = self.net(&entry.cidr);
        let purpose = self.word(&entry.purpose);
        let confidence = self.word(&entry.confidence);
        let evidence = self.day(&entry.evidence, "evidence");
        let provenance = self.provenance(line, entry.source, None);
        if let Some(asn) = entry.asn.as_ref().filter(|asn| *asn.as_ref() == 0) {
            let line = self.report.line(asn.span().start);
            self.report.push(line, "AS number 0 means none: leave `asn` out");
        }
        let reason = self.maybe(entry.reason, "reason");
        let wide = entry.wide.is_some_and(|wide| wide.into_inner());
        if let Some(net) = net {
            self.once("range", net.to_string(), line);
            self.width(&entry.cidr, net, wide, reason.is_some());
        }
        Some(Range {
            net: net?,
            asn: entry.asn.map(toml::Spanned::into_inner),
            purpose: purpose?,
            confidence: confidence?,
            evidence: evidence?,
            shared: entry.shared,
            carrier: self.maybe(entry.carrier, "carrier"),
            wide: reason,
            resolver: self.maybe(entry.resolver, "resolver"),
            note: self.maybe(entry.note, "note"),
            provenance,
        })
    }

    fn net(&mut self, text: &Text) -> Option<IpNet> {
        let cidr = text.as_ref();
        let Ok(net) = cidr.parse::<IpNet>() else {
            let whole = cidr.parse::<IpAddr>().ok().map(IpNet::from);
            let hint = whole.map_or_else(|| "192.0.2.0/24".to_owned(), |net| net.to_string());
            self.problem(text, format!("{cidr:?} is no address range; write it as {hint}"));
            return None;
        };
        if net.prefix_len() == 0 {
            self.problem(text, format!("{cidr} is every address there is and is never listed"));
            return None;
        }
        if net.trunc() != net {
            self.problem(text, format!("{cidr} has host bits set; the range is {}", net.trunc()));
            return None;
        }
        if let Some(own) = never_a_vendors(net) {
            self.problem(text, format!("{cidr} overlaps {own}, which is nobody's public address space"));
            return None;
        }
        Some(net)
    }

    fn width(&mut self, text: &Text, net: IpNet, wide: bool, reason: bool) {
        let limit = if net.addr().is_ipv4() { PREFIX_MIN_V4 } else { PREFIX_MIN_V6 };
        let too_wide = net.prefix_len() < limit;
        if too_wide && !(wide && reason) {
            self.problem(text, format!("{net} is wider than /{limit}; that takes `wide = true` and a `reason`"));
        } else if wide && !reason {
            self.problem(text, "`wide = true` takes a `reason`");
        } else if !too_wide && (wide || reason) {
            self.problem(text, format!("{net} is not wider than /{limit}: leave `wide` and `reason` out"));
        }
    }

    pub(super) fn port(&mut self, At { line, entry }: At<raw::Port>) -> Option<Port> {
        if entry.port.as_ref().is_empty() {
            self.report.push(line, "this entry names no port");
        }
        let ports = entry.port.as_ref().iter().filter_map(|text| self.span(text)).collect();
        let protocol = self.word(&entry.proto);
        let confidence = self.word(&entry.confidence);
        Some(Port {
            ports,
            usage: self.text(entry.usage, "use"),
            relay: entry.relay,
            direction: self.maybe(entry.direction, "direction"),
            note: self.maybe(entry.note, "note"),
            provenance: self.provenance(line, entry.source, entry.verified),
            protocol: protocol?,
            confidence: confidence?,
        })
    }

    fn span(&mut self, text: &Text) -> Option<PortSpan> {
        let (first, last) = text.as_ref().split_once('-').unwrap_or((text.as_ref(), text.as_ref()));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if 0 < first && first <= last => Some(PortSpan { first, last }),
            (Ok(first), Ok(last)) if first > last => {
                self.problem(text, format!("ports {first}-{last} run backwards: write {last}-{first}"));
                None
            }
            _ => {
                self.problem(text, format!("{:?} is no port; write \"443\" or \"23100-23199\"", text.as_ref()));
                None
            }
        }
    }

    pub(super) fn fallback(&mut self, At { line, entry }: At<raw::Fallback>) -> Option<Fallback> {
        let address = self.address(&entry.address);
        let confidence = self.word(&entry.confidence);
        let order = entry.order.into_inner();
        if order == 0 {
            self.report.push(line, "`order` counts from 1");
        }
        self.once("fallback", order.to_string(), line);
        Some(Fallback {
            order,
            operator: self.text(entry.operator, "operator"),
            provenance: self.provenance(line, entry.source, None),
            address: address?,
            confidence: confidence?,
        })
    }

    pub(super) fn resolver(&mut self, At { line, entry }: At<raw::Resolver>) -> Option<ResolverService> {
        let group = self.slug(&entry.group, "group");
        let name = self.text(entry.name, "name");
        self.once("resolver", name.clone(), line);
        Some(ResolverService {
            name,
            group: group?,
            protocols: self.words(&entry.protocols),
            hosts: self.hosts(&entry.hosts),
            ipv4: entry.ipv4.iter().filter_map(|text| self.address(text)).collect(),
            ipv6: entry.ipv6.iter().filter_map(|text| self.address(text)).collect(),
            dnscrypt_ports: entry.dnscrypt_ports,
            provenance: self.provenance(line, entry.source, None),
        })
    }

    /// An address of the kind that is wanted here.
    pub(super) fn address<A: std::str::FromStr>(&mut self, text: &Text) -> Option<A> {
        let address = text.as_ref().parse().ok();
        if address.is_none() {
            self.problem(text, format!("{:?} is no address of the kind that this key takes", text.as_ref()));
        }
        address
    }
}

/// The reserved space that a range touches.
fn never_a_vendors(net: IpNet) -> Option<IpNet> {
    let v4 = NEVER_A_VENDOR_V4.iter().filter_map(|&(at, len)| Ipv4Net::new(at, len).ok().map(IpNet::from));
    let v6 = NEVER_A_VENDOR_V6.iter().filter_map(|&(at, len)| Ipv6Net::new(at, len).ok().map(IpNet::from));
    v4.chain(v6).find(|own| own.contains(&net) || net.contains(own))
}
