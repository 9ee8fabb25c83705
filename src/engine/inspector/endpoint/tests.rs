//! Devices on a flat segment, behind a router, and behind a router with a DHCP relay.

use super::*;
use crate::base::wire::packet::frames::{ethernet, ipv4, udp};
use crate::base::wire::packet::{Frame, LinkType};

const SERVER: [u8; 6] = [2, 0, 0, 0, 0xff, 1];
const ROUTER: [u8; 6] = [2, 0, 0, 0, 0xff, 2];

fn at(seconds: u64) -> Mono {
    Mono::from_nanos(seconds * 1_000_000_000)
}

fn mac(number: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, number]
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A frame from a hardware address, with source address and time to live.
fn frame(from: [u8; 6], src: [u8; 4], ttl: u8, datagram: &[u8]) -> Vec<u8> {
    let mut packet = ipv4(17, datagram);
    packet[8] = ttl;
    packet[12..16].copy_from_slice(&src);
    let mut bytes = ethernet(0x0800, &packet);
    bytes[6..12].copy_from_slice(&from);
    bytes
}

fn traffic(from: [u8; 6], src: [u8; 4], ttl: u8) -> Vec<u8> {
    frame(from, src, ttl, &udp(40_000, 443, b"x"))
}

/// A DHCP message of this client, a request or an acknowledgement.
fn dhcp(client: u8, given: [u8; 4], relay: [u8; 4], options: &[u8]) -> Vec<u8> {
    let (op, kind) = if given == [0; 4] { (1, 3) } else { (2, 5) };
    let head =
        [&[op, 1, 6, 0][..], &[0; 12], &given, &[0; 4], &relay, &mac(client), &[0; 202], &[99, 130, 83, 99]].concat();
    udp(67, 67, &[&head[..], &[53, 1, kind], options].concat())
}

fn option(code: u8, value: &[u8]) -> Vec<u8> {
    [&[code, u8::try_from(value.len()).unwrap()], value].concat()
}

fn give(endpoints: &mut Endpoints, seconds: u64, bytes: &[u8]) {
    endpoints.handle_packet(at(seconds), &Frame::new(LinkType::ETHERNET, bytes).decode().unwrap());
}

#[test]
fn on_its_own_segment_a_device_is_its_hardware_address() {
    let mut endpoints = Endpoints::new(100);
    give(&mut endpoints, 1, &traffic(mac(1), [10, 0, 0, 1], 64));
    give(&mut endpoints, 2, &traffic(mac(2), [10, 0, 0, 2], 128));
    // It moves to another address: one device, two addresses, each with its times.
    give(&mut endpoints, 500, &traffic(mac(1), [10, 0, 0, 9], 64));
    give(&mut endpoints, 600, &traffic(mac(1), [10, 0, 0, 9], 64));
    let (id, device) = endpoints.find(address("10.0.0.9")).unwrap();
    assert_eq!((endpoints.iter().count(), device.mac), (2, Some(Mac(mac(1)))));
    let dated: Vec<_> =
        device.addresses.iter().map(|a| (a.what.to_string(), a.first.as_secs(), a.last.as_secs())).collect();
    assert_eq!(dated, [("10.0.0.1".into(), 1, 1), ("10.0.0.9".into(), 500, 600)]);
    endpoints.handle_name(at(700), address("10.0.0.9"), NameSource::Mdns, b"Laptop.local");
    assert_eq!(&*endpoints.find(address("10.0.0.9")).unwrap().1.names[0].what.1, b"laptop.local");
    // Another device takes the address over.
    give(&mut endpoints, 800, &traffic(mac(3), [10, 0, 0, 9], 64));
    assert_ne!(endpoints.find(address("10.0.0.9")).unwrap().0, id);
}

#[test]
fn fifty_clients_behind_a_router_are_nobody_s_hardware_address() {
    for ttl in [63, 64] {
        let mut endpoints = Endpoints::new(100);
        for second in 0..3 {
            for client in 1..=50 {
                give(&mut endpoints, second, &traffic(ROUTER, [10, 9, 0, client], ttl));
            }
        }
        assert!(endpoints.is_router(Mac(ROUTER)));
        for client in 1..=50 {
            assert_eq!(endpoints.find(IpAddr::from([10, 9, 0, client])), None, "ttl {ttl}");
        }
        assert_eq!(endpoints.iter().count(), 0);
    }
    // Two senders through it are enough if their packets have passed one already.
    let mut endpoints = Endpoints::new(100);
    give(&mut endpoints, 0, &traffic(ROUTER, [10, 9, 0, 1], 63));
    give(&mut endpoints, 0, &traffic(ROUTER, [10, 9, 0, 2], 127));
    assert!(endpoints.is_router(Mac(ROUTER)));
}

#[test]
fn behind_a_relay_a_device_is_what_dhcp_says() {
    let mut endpoints = Endpoints::new(100);
    for client in 1..=50 {
        give(&mut endpoints, 0, &traffic(ROUTER, [10, 9, 0, client], 63));
    }
    let relay = [10, 9, 0, 254];
    let lease = |endpoints: &mut Endpoints, seconds, client: u8, host: u8, name: &[u8]| {
        let said = [option(61, &[9, client]), option(12, name), option(60, b"MSFT 5.0")].concat();
        give(endpoints, seconds, &frame(ROUTER, relay, 64, &dhcp(client, [0; 4], relay, &said)));
        give(endpoints, seconds, &frame(SERVER, [10, 0, 0, 2], 64, &dhcp(client, [10, 9, 0, host], relay, &[])));
    };
    for client in 1..=50 {
        lease(&mut endpoints, 1, client, client, b"PC");
    }
    let devices = endpoints.iter().filter(|(_, device)| device.client_id.is_some()).count();
    assert_eq!(devices, 50);
    let before = endpoints.find(address("10.9.0.7")).unwrap().0;
    lease(&mut endpoints, 900, 7, 107, b"renamed");
    let (id, device) = endpoints.find(address("10.9.0.107")).unwrap();
    assert_eq!((id, device.relay, device.mac), (before, Some(relay.into()), Some(Mac(mac(7)))));
    let names: Vec<_> = device.names.iter().map(|name| name.what.1.to_vec()).collect();
    assert_eq!(names, [b"pc".to_vec(), b"renamed".to_vec()]);
    assert_eq!(device.vendor_class.as_deref(), Some(&b"MSFT 5.0"[..]));
    assert!(endpoints.is_router(Mac(ROUTER)), "what it relays does not make it a host");
}

#[test]
fn a_client_id_carries_identity_over_a_new_hardware_address() {
    let mut endpoints = Endpoints::new(100);
    let said = option(61, b"the same");
    give(&mut endpoints, 0, &traffic(mac(1), [10, 0, 0, 1], 64));
    give(&mut endpoints, 1, &frame(mac(1), [0; 4], 64, &dhcp(1, [0; 4], [0; 4], &said)));
    let before = endpoints.find(address("10.0.0.1")).unwrap().0;
    // It comes back with a made-up hardware address, speaks before DHCP, and is recognised then.
    give(&mut endpoints, 9, &traffic(mac(2), [10, 0, 0, 2], 64));
    assert_ne!(endpoints.find(address("10.0.0.2")).unwrap().0, before);
    give(&mut endpoints, 10, &frame(mac(2), [0; 4], 64, &dhcp(2, [0; 4], [0; 4], &said)));
    let (id, device) = endpoints.find(address("10.0.0.2")).unwrap();
    assert_eq!((id, device.mac, endpoints.iter().count()), (before, Some(Mac(mac(2))), 1));
    assert_eq!(device.addresses.len(), 2);
    give(&mut endpoints, 20, &traffic(mac(2), [10, 0, 0, 3], 64));
    assert_eq!(endpoints.find(address("10.0.0.3")).unwrap().0, before);
}

#[test]
fn every_table_has_its_bound() {
    let mut endpoints = Endpoints::new(10);
    for number in 0..200 {
        give(&mut endpoints, 0, &traffic(mac(number), [10, 0, 1, number], 64));
        // One client id with ever new hardware addresses, one hardware address with ever new client ids.
        give(&mut endpoints, 0, &frame(mac(1), [0; 4], 64, &dhcp(number, [0; 4], [0; 4], &option(61, b"the same"))));
        give(&mut endpoints, 0, &frame(mac(1), [0; 4], 64, &dhcp(1, [0; 4], [0; 4], &option(61, &[number; 200]))));
    }
    assert!(endpoints.iter().count() <= 10 && endpoints.by_mac.len() <= 10, "{}", endpoints.by_mac.len());
    assert!(endpoints.by_client.len() <= 10 && endpoints.by_address.len() <= 10 * ADDRESSES_MAX);
    assert!(endpoints.losses().crowded_out > 300);
    for second in 0..100 {
        let host = [10, 0, 0, u8::try_from(second).unwrap()];
        give(&mut endpoints, 100 * second, &traffic(mac(0), host, 64));
        endpoints.handle_name(at(100 * second), host.into(), NameSource::Nbns, &[host[3]; 300]);
    }
    let (_, device) = endpoints.find(address("10.0.0.99")).unwrap();
    assert_eq!((device.addresses.len(), device.names.len()), (ADDRESSES_MAX, NAMES_MAX));
    assert!(device.names.iter().all(|name| name.what.1.len() == TEXT_OCTETS_MAX));
    assert_eq!(endpoints.find(address("10.0.0.1")), None, "an address that was given up is nobody's");
    endpoints.handle_timeout(at(9_900 + SILENT_S - 1));
    assert_eq!(endpoints.iter().count(), 1);
    endpoints.handle_timeout(at(9_900 + SILENT_S));
    assert_eq!((endpoints.iter().count(), endpoints.by_mac.len(), endpoints.by_address.len()), (0, 0, 0));
}

#[test]
fn a_router_with_a_client_id_stays_a_device_without_what_it_sends_on() {
    let mut endpoints = Endpoints::new(100);
    let said = option(61, b"a router");
    let request = dhcp(1, [0; 4], [0; 4], &said);
    give(&mut endpoints, 0, &frame(mac(1), [0; 4], 64, &request));
    for client in 1..=3 {
        give(&mut endpoints, 1, &traffic(mac(1), [10, 9, 0, client], 64));
    }
    assert!(endpoints.find(address("10.9.0.3")).is_some(), "it could be a host with three addresses still");
    for client in 4..=9 {
        give(&mut endpoints, 2, &traffic(mac(1), [10, 9, 0, client], 64));
    }
    assert_eq!(endpoints.find(address("10.9.0.3")), None);
    give(&mut endpoints, 3, &frame(mac(1), [0; 4], 64, &request));
    let (_, device) = endpoints.iter().next().unwrap();
    assert_eq!((device.client_id.as_deref(), device.mac, device.addresses.len()), (Some(&b"a router"[..]), None, 0));
}

#[test]
fn the_sixth_version_names_devices_by_duid() {
    let mut endpoints = Endpoints::new(100);
    let option = |code: u8, value: &[u8]| [&[0, code, 0, u8::try_from(value.len()).unwrap()], value].concat();
    let said = |kind: u8, duid: &[u8], host: u8| {
        let given = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[host], &[0; 8]].concat();
        [vec![kind, 0, 0, 1], option(1, duid), option(3, &[&[7; 12][..], &option(5, &given)].concat())].concat()
    };
    let relayed = |message: &[u8]| [&[12, 0][..], &[0xfd; 16], &[0xfe; 16], &option(9, message)].concat();
    let seen = |from: [u8; 6], message: &[u8]| frame(from, [10, 0, 0, 1], 64, &udp(546, 547, message));
    let answered = |message: &[u8]| frame(SERVER, [10, 0, 0, 2], 64, &udp(547, 546, message));
    // One asks directly, the other through a relay, whose hardware address is not the client's.
    give(&mut endpoints, 0, &seen(mac(1), &said(3, b"near", 1)));
    give(&mut endpoints, 0, &seen(ROUTER, &relayed(&said(3, b"far", 2))));
    give(&mut endpoints, 1, &answered(&said(7, b"near", 1)));
    give(&mut endpoints, 1, &answered(&said(7, b"far", 2)));
    let (_, near) = endpoints.find(address("2001:db8::1")).unwrap();
    assert_eq!((near.client_id.as_deref(), near.mac), (Some(&b"near"[..]), Some(Mac(mac(1)))));
    let (_, far) = endpoints.find(address("2001:db8::2")).unwrap();
    assert_eq!((far.client_id.as_deref(), far.mac), (Some(&b"far"[..]), None));
    assert_eq!(far.relay, Some(IpAddr::from([0xfd; 16])));
}

/// Labels as DNS writes them.
fn labels(name: &[&str]) -> Vec<u8> {
    let parts = name.iter().map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat());
    [parts.collect::<Vec<_>>().concat(), vec![0]].concat()
}

/// A response of multicast DNS or LLMNR that says these addresses of a name.
fn announces(name: &[&str], flags: u16, hosts: &[[u8; 4]]) -> Vec<u8> {
    let count = u16::try_from(hosts.len()).unwrap().to_be_bytes();
    let mut message = [&[0, 0][..], &flags.to_be_bytes(), &[0, 0], &count, &[0; 4]].concat();
    for host in hosts {
        // The first bit of the class says that other records of the name are old.
        message.extend([&labels(name)[..], &[0, 1, 0x80, 1, 0, 0, 0, 120, 0, 4], host].concat());
    }
    message
}

/// A NetBIOS name service message about a name of this kind.
fn netbios(opcode: u8, name: &str, kind: u8, flags: u8, host: [u8; 4]) -> Vec<u8> {
    let padded = format!("{name:15}");
    let letters = padded.bytes().chain([kind]).flat_map(|octet| [b'A' + (octet >> 4), b'A' + (octet & 15)]);
    let name = [&[32][..], &letters.collect::<Vec<_>>(), &[0]].concat();
    let head = [0, 1, opcode << 3 | 1, 0x10, 0, 1, 0, 0, 0, 0, 0, 1];
    [&head[..], &name, &[0, 0x20, 0, 1, 0xc0, 12, 0, 0x20, 0, 1, 0, 0, 0, 0, 0, 6, flags, 0], &host].concat()
}

#[test]
fn devices_are_called_what_they_say_of_themselves() {
    let (ours, other) = ([10, 0, 0, 1], [10, 0, 0, 9]);
    let mut endpoints = Endpoints::new(100);
    let mut say = |port: u16, message: &[u8]| {
        give(&mut endpoints, 1, &frame(mac(1), ours, 64, &udp(port, port, message)));
    };
    say(5353, &announces(&["Laptop", "local"], 0x8400, &[ours]));
    say(5355, &announces(&["PC-7"], 0x8000, &[other, ours]));
    for opcode in [5, 8, 9, 15] {
        say(137, &netbios(opcode, "DESK", 0x20, 0, ours));
    }
    // What is asked for, what is said of others, of groups, and of what is no host.
    say(5353, &announces(&["asked", "local"], 0x0000, &[ours]));
    say(5353, &announces(&["another", "local"], 0x8400, &[other]));
    say(137, &netbios(5, "OTHER", 0, 0, other));
    say(137, &netbios(5, "GROUP", 0, 0x80, ours));
    say(137, &netbios(5, "DOMAIN", 0x1c, 0, ours));
    say(137, &netbios(0, "QUERY", 0, 0, ours));
    // On a port of its own choice anybody may say anything.
    say(5354, &announces(&["nobody", "local"], 0x8400, &[ours]));
    let mut torn = announces(&["torn", "local"], 0x8400, &[ours]);
    torn.truncate(torn.len() - 1);
    say(5353, &torn);
    let (_, device) = endpoints.find(ours.into()).unwrap();
    let names: Vec<_> =
        device.names.iter().map(|dated| (dated.what.0, String::from_utf8_lossy(&dated.what.1))).collect();
    assert_eq!(
        names,
        [
            (NameSource::Mdns, "laptop.local".into()),
            (NameSource::Llmnr, "pc-7".into()),
            (NameSource::Nbns, "desk".into())
        ]
    );
    assert_eq!(endpoints.find(other.into()), None);
}
