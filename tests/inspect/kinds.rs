//! Each kind of name, once.

use super::frames::{Sent, datagram, hello, read};
use interdict::base::wire::quic::initials;
use interdict::base::wire::tls::client_hello;

fn question(name: &[u8], rtype: u8) -> Vec<u8> {
    [&b"\0\x01\0\0\0\x01\0\0\0\0\0\0"[..], name, &[0, rtype, 0, 1]].concat()
}

/// A name as NetBIOS writes it, two letters an octet.
fn netbios(name: &str) -> Vec<u8> {
    let padded = format!("{name:15}\0");
    let letters = padded.bytes().flat_map(|octet| [b'A' + (octet >> 4), b'A' + (octet & 15)]);
    [vec![32], letters.collect(), vec![0]].concat()
}

/// A hello in one record of DTLS 1.2: between session and ciphers stands a cookie, here an empty one.
fn dtls(name: &str) -> Vec<u8> {
    let message = client_hello(name, 0).unwrap();
    let body = [&message[4..39], &[0], &message[39..]].concat();
    let len = u32::try_from(body.len()).unwrap().to_be_bytes();
    let handshake = [&[1][..], &len[1..], &[0; 5], &len[1..], &body].concat();
    let len = u16::try_from(handshake.len()).unwrap().to_be_bytes();
    [&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0][..], &len, &handshake].concat()
}

/// A request of HTTP/2 in the clear: method, scheme and path by their numbers, the authority as it is.
fn h2(authority: &str) -> Vec<u8> {
    let block = [&[0x82, 0x86, 0x84, 0x41, u8::try_from(authority.len()).unwrap()], authority.as_bytes()].concat();
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let headers = [0, 0, u8::try_from(block.len()).unwrap(), 1, 5, 0, 0, 0, 1];
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings, &headers, &block].concat()
}

#[test]
fn every_kind_of_name_is_told() {
    let stream = |sport, dport, octets: &[u8]| Sent { sport, dport, ..Sent::client(1, octets) }.packet();
    let search = b"M-SEARCH * HTTP/1.1\r\nHost: ssdp.example:1900\r\n\r\n";
    let mut packets = vec![
        stream(40_001, 443, &hello("tls.example", 0, 9_000)),
        stream(40_002, 8080, b"GET / HTTP/1.1\r\nHost: HTTP.example:8080\r\n\r\n"),
        stream(40_003, 8080, &h2("h2.example:8080")),
        datagram(53, &question(b"\x03Dns\x07example\0", 1)),
        datagram(5_300, &question(b"\x03odd\x07example\0", 1)),
        datagram(5_353, &question(b"\x04mdns\x05local\0", 12)),
        datagram(5_355, &question(b"\x05llmnr\0", 1)),
        datagram(137, &question(&netbios("NBNS"), 32)),
        datagram(1_900, search),
        datagram(4_433, &dtls("dtls.example")),
    ];
    packets.extend(
        initials(1, b"12345678", &client_hello("quic.example", 0).unwrap())
            .unwrap()
            .iter()
            .map(|octets| datagram(443, octets)),
    );
    let mut response =
        datagram(40_000, &[&b"\0\x01\x81\x80"[..], &question(b"\x06answer\x07example\0", 1)[4..]].concat());
    response[20..22].copy_from_slice(&53_u16.to_be_bytes());
    packets.push(response);
    let told: Vec<String> =
        read(&packets).0.into_iter().map(|(kind, _, port, name)| format!("{kind} {name} {port}")).collect();
    assert_eq!(
        told,
        [
            "tls-sni tls.example 443",
            "quic-sni quic.example 443",
            "http-host http.example 8080",
            "dns-query dns.example 53",
            "dns-query odd.example 5300",
            "dns-response answer.example 40000",
            "mdns-query mdns.local 5353",
            "llmnr-query llmnr 5355",
            "nbns-query nbns 137",
            "ssdp-host ssdp.example 1900",
            "h2c-authority h2.example 8080",
            "dtls-sni dtls.example 4433",
        ]
    );
}
