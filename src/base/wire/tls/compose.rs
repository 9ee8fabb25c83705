//! A ClientHello written, for probes: enough of one for everybody who looks for its server name.

use super::CLIENT_HELLO;

/// The extension that pads (RFC 7685).
const PADDING: u16 = 21;
const SERVER_NAME: u16 = 0;

/// The handshake message with this server name, which stands behind so many octets of padding. `None` where the name is too long.
#[must_use]
pub fn client_hello(name: &str, padding: u16) -> Option<Vec<u8>> {
    let len = u16::try_from(name.len()).ok().filter(|len| *len <= 255)?;
    let mut extensions = Vec::new();
    extensions.extend(PADDING.to_be_bytes());
    extensions.extend(padding.to_be_bytes());
    extensions.resize(extensions.len() + usize::from(padding), 0);
    extensions.extend(SERVER_NAME.to_be_bytes());
    extensions.extend((len + 5).to_be_bytes());
    extensions.extend((len + 3).to_be_bytes());
    extensions.push(0);
    extensions.extend(len.to_be_bytes());
    extensions.extend(name.bytes());
    // Version, random, no session, one cipher, no compression.
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    body.extend(u16::try_from(extensions.len()).ok()?.to_be_bytes());
    body.extend(extensions);
    let len = u32::try_from(body.len()).ok()?.to_be_bytes();
    Some([&[CLIENT_HELLO][..], len.get(1..)?, &body].concat())
}

/// A handshake message in one TLS record. `None` where it does not fit.
#[must_use]
pub fn record(message: &[u8]) -> Option<Vec<u8>> {
    let len = u16::try_from(message.len()).ok().filter(|len| *len <= 1 << 14)?;
    Some([&[22, 3, 1][..], &len.to_be_bytes(), message].concat())
}

#[cfg(test)]
mod tests {
    use super::super::{ClientHello, HelloStream, Progress};
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for padding in [0, 3_000] {
            let octets = record(&client_hello("a.example", padding).unwrap()).unwrap();
            let mut stream = HelloStream::default();
            assert_eq!(stream.feed(&octets), Progress::Hello);
            assert_eq!(ClientHello::parse(stream.hello()).unwrap().server_name(), Some(&b"a.example"[..]));
        }
        assert_eq!(client_hello(&"a".repeat(256), 0), None);
        assert_eq!(record(&[0; (1 << 14) + 1]), None);
    }
}
