//! Names that hosts say of themselves to their neighbours: mDNS, LLMNR, NetBIOS.

use super::NameSource;
use crate::base::wire::dns::{Flags, Questions, Record, Records, netbios_name, rtype};
use crate::base::wire::host::dotted;
use crate::base::wire::packet::Udp;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Records of one message that are looked at.
const RECORDS_MAX: usize = 64;
/// Kinds of NetBIOS names that are a host's own: workstation and server.
const HOST_KINDS: [u8; 2] = [0x00, 0x20];
/// Bit of a registered NetBIOS name that a group has.
const GROUP: u8 = 0x80;

/// Tells the names that `src` says to have in a datagram. What it says of others is theirs to say.
pub(super) fn names(src: IpAddr, udp: &Udp<'_>, tell: &mut dyn FnMut(NameSource, &[u8])) {
    let source = match udp.sport {
        5353 => NameSource::Mdns,
        5355 => NameSource::Llmnr,
        137 => return netbios(src, udp.payload, tell),
        _ => return,
    };
    let is_response = Questions::read(udp.payload).is_some_and(|read| read.header().flags.has(Flags::RESPONSE));
    let Some(records) = Records::read_any(udp.payload).filter(|_| is_response) else { return };
    for record in records.map_while(Result::ok).take(RECORDS_MAX).filter(|record| address(record) == Some(src)) {
        if let Ok(owner) = record.owner() {
            tell(source, &dotted(owner.as_ref().labels()));
        }
    }
}

/// The address of a record, whatever multicast DNS has put into the first bit of its class.
fn address(record: &Record<'_>) -> Option<IpAddr> {
    match record.rtype {
        rtype::A => record.data().try_into().ok().map(|octets: [u8; 4]| Ipv4Addr::from(octets).into()),
        rtype::AAAA => record.data().try_into().ok().map(|octets: [u8; 16]| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}

/// A registration or a refresh (RFC 1002 §4.2.2): the name in question, and the address that it is for.
fn netbios(src: IpAddr, message: &[u8], tell: &mut dyn FnMut(NameSource, &[u8])) {
    let Some(mut questions) = Questions::read(message) else { return };
    // Opcode 5 registers, 8 and 9 refresh, 15 registers for a host with several addresses; bit 0x80 is a response.
    if message.get(2).is_none_or(|flags| !matches!(*flags >> 3, 5 | 8 | 9 | 15)) {
        return;
    }
    let Some((name, kind)) = questions.next().as_ref().and_then(|asked| asked.first_label()).and_then(netbios_name)
    else {
        return;
    };
    let mut records = Records::read_any(message).into_iter().flatten().map_while(Result::ok).take(RECORDS_MAX);
    let is_its = |record: Record<'_>| match *record.data() {
        [flags, _, a, b, c, d] => flags & GROUP == 0 && src == IpAddr::from([a, b, c, d]),
        _ => false,
    };
    if HOST_KINDS.contains(&kind) && records.any(is_its) {
        tell(NameSource::Nbns, &name);
    }
}
