//! The datagrams of a client's first flight written, for probes.

use super::keys::Keys;
use super::version::Version;

/// Octets of a first datagram, at least (RFC 9000 §14.1).
const DATAGRAM_OCTETS: usize = 1_200;
/// Octets of a handshake message in one of them.
const CRYPTO_OCTETS: usize = 1_100;

/// A handshake message in datagrams of Initial packets under the keys of a connection id. `None` for a version that nobody knows, or a
/// message that is too long.
#[must_use]
pub fn initials(version: u32, id: &[u8], message: &[u8]) -> Option<Vec<Vec<u8>>> {
    let parts = message.chunks(CRYPTO_OCTETS).enumerate();
    parts
        .map(|(at, part)| {
            let mut frames = vec![6];
            for number in [at * CRYPTO_OCTETS, part.len()] {
                frames.extend((0x4000 | u16::try_from(number).ok().filter(|number| *number < 0x4000)?).to_be_bytes());
            }
            frames.extend(part);
            // Header, number and seal make up the rest.
            frames.resize(frames.len().max(DATAGRAM_OCTETS - 48), 0);
            initial(version, id, u8::try_from(at).ok()?, &frames)
        })
        .collect()
}

/// Frames as an Initial packet under the keys of a connection id (RFC 9001 §5.2). `None` for a version that nobody knows, or frames that
/// are too many, or too few to be sealed.
#[must_use]
pub fn initial(version: u32, id: &[u8], packet_number: u8, frames: &[u8]) -> Option<Vec<u8>> {
    let known = Version::known(version)?;
    let mut packet = vec![if known.is_v2 { 0xd0 } else { 0xc0 }];
    packet.extend(version.to_be_bytes());
    packet.push(u8::try_from(id.len()).ok()?);
    packet.extend(id);
    packet.extend([0, 0]);
    let len = u16::try_from(1 + frames.len() + 16).ok()?;
    packet.extend((0x4000 | len).to_be_bytes());
    let number_at = packet.len();
    packet.push(packet_number);
    Keys::of_client(&known, id)?.seal(packet, number_at, frames)
}

#[cfg(test)]
mod tests {
    use super::super::{Found, QuicClient};
    use super::*;
    use crate::base::wire::tls::{ClientHello, client_hello};

    #[test]
    fn what_is_written_is_read_back_also_over_two_datagrams() {
        for (version, padding, count) in [(1, 0, 1), (1, 1_500, 2), (0x6b33_43cf, 0, 1), (0x6b33_43cf, 1_500, 2)] {
            let datagrams = initials(version, b"12345678", &client_hello("q.example", padding).unwrap()).unwrap();
            assert_eq!(datagrams.len(), count);
            let (mut client, mut names) = (QuicClient::default(), Vec::new());
            for datagram in &datagrams {
                assert!(datagram.len() >= DATAGRAM_OCTETS - 20, "{}", datagram.len());
                client.feed(datagram, |found| {
                    if let Found::Hello(body) = found {
                        names.push(ClientHello::parse(body).unwrap().server_name().unwrap().to_vec());
                    }
                });
            }
            assert_eq!(names, [b"q.example"]);
        }
        assert_eq!(initials(0, b"1", b"message"), None);
    }
}
