//! A view of a ClientHello (RFC 8446 §4.1.2; the same since TLS 1.0, and in DTLS and QUIC).

use super::is_grease;
use crate::base::wire::{Reader, Short};

/// Extension numbers that are read.
mod number {
    pub(super) const SERVER_NAME: u16 = 0;
    pub(super) const SIGNATURE_ALGORITHMS: u16 = 13;
    pub(super) const ALPN: u16 = 16;
    pub(super) const SUPPORTED_VERSIONS: u16 = 43;
    pub(super) const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
    pub(super) const ENCRYPTED_SERVER_NAME: u16 = 0xffce;
}

/// Whether the name that is read may not be the one that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Hidden {
    /// Nothing hints at another name.
    #[default]
    No,
    /// There is an encrypted ClientHello (RFC 9849): real, or sent at random to keep servers tolerant; both look alike.
    Ech,
    /// There is an encrypted server name, ECH's draft ancestor.
    Esni,
}

/// A borrowed ClientHello: the message's body, without the handshake header.
#[derive(Clone, Copy, Debug)]
pub struct ClientHello<'a> {
    legacy_version: u16,
    ciphers: &'a [u8],
    extensions: &'a [u8],
    is_whole: bool,
}

impl<'a> ClientHello<'a> {
    /// Reads the body of a ClientHello. Extensions are checked as they are walked.
    ///
    /// # Errors
    /// It ends before its fixed part does.
    pub fn parse(body: &'a [u8]) -> Result<Self, Short> {
        Self::read(body, false)
    }

    /// The same for the body of a DTLS ClientHello, which has a cookie too (RFC 6347 §4.2.1).
    ///
    /// # Errors
    /// It ends before its fixed part does.
    pub fn parse_dtls(body: &'a [u8]) -> Result<Self, Short> {
        Self::read(body, true)
    }

    fn read(body: &'a [u8], has_cookie: bool) -> Result<Self, Short> {
        let mut reader = Reader::new(body);
        let legacy_version = reader.u16()?;
        reader.take(32)?;
        for _ in 0..1 + u8::from(has_cookie) {
            let len = reader.u8()?;
            reader.take(usize::from(len))?;
        }
        let len = reader.u16()?;
        let ciphers = reader.take(usize::from(len))?;
        let len = reader.u8()?;
        reader.take(usize::from(len))?;
        // Clients of TLS 1.0 may end here.
        let len = reader.u16().unwrap_or(0);
        let rest = reader.rest();
        let extensions = rest.get(..usize::from(len));
        Ok(Self { legacy_version, ciphers, extensions: extensions.unwrap_or(rest), is_whole: extensions.is_some() })
    }

    /// Whether nothing of the extensions is missing.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The version of the fixed part.
    #[must_use]
    pub const fn legacy_version(&self) -> u16 {
        self.legacy_version
    }

    /// The cipher suites in order.
    pub fn ciphers(&self) -> impl Iterator<Item = u16> + use<'a> {
        numbers(self.ciphers)
    }

    /// The extensions in order, as number and data; a broken one ends them.
    #[must_use]
    pub const fn extensions(&self) -> Extensions<'a> {
        Extensions(Reader::new(self.extensions))
    }

    fn extension(&self, wanted: u16) -> Option<&'a [u8]> {
        self.extensions().find(|(number, _)| *number == wanted).map(|(_, data)| data)
    }

    /// The server name as the client wrote it (RFC 6066 §3); `None` also for an empty one.
    #[must_use]
    pub fn server_name(&self) -> Option<&'a [u8]> {
        let mut reader = Reader::new(self.extension(number::SERVER_NAME)?);
        let len = reader.u16().ok()?;
        let mut list = reader.sub(usize::from(len)).ok()?;
        while !list.is_empty() {
            let kind = list.u8().ok()?;
            let len = list.u16().ok()?;
            let name = list.take(usize::from(len)).ok()?;
            if kind == 0 && !name.is_empty() {
                return Some(name);
            }
        }
        None
    }

    /// The application protocols that the client offers, in order (RFC 7301).
    #[must_use]
    pub fn alpn(&self) -> Alpns<'a> {
        let list = self.extension(number::ALPN).and_then(|data| data.get(2..)).unwrap_or_default();
        Alpns(Reader::new(list))
    }

    /// The signature algorithms in order, those of RFC 8701 left out.
    pub fn signature_algorithms(&self) -> impl Iterator<Item = u16> + use<'a> {
        let list = self.extension(number::SIGNATURE_ALGORITHMS).and_then(|data| data.get(2..)).unwrap_or_default();
        numbers(list).filter(|number| !is_grease(*number))
    }

    /// The newest version that the client offers. DTLS counts downwards.
    #[must_use]
    pub fn version(&self) -> u16 {
        let list = self.extension(number::SUPPORTED_VERSIONS).and_then(|data| data.get(1..)).unwrap_or_default();
        let offered = numbers(list).filter(|number| !is_grease(*number));
        let newest = if self.legacy_version >> 8 == 0xfe { offered.min() } else { offered.max() };
        newest.unwrap_or(self.legacy_version)
    }

    /// Whether the client may mean another name than it says.
    #[must_use]
    pub fn hidden(&self) -> Hidden {
        self.extensions().fold(Hidden::No, |hidden, (number, _)| match number {
            number::ENCRYPTED_CLIENT_HELLO => Hidden::Ech,
            number::ENCRYPTED_SERVER_NAME if hidden == Hidden::No => Hidden::Esni,
            _ => hidden,
        })
    }
}

fn numbers<'a>(list: &'a [u8]) -> impl Iterator<Item = u16> + use<'a> {
    list.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair))
}

/// The extensions of a hello; made by [`ClientHello::extensions`].
#[derive(Clone, Copy, Debug)]
pub struct Extensions<'a>(Reader<'a>);

impl<'a> Iterator for Extensions<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let number = self.0.u16().ok()?;
        let len = self.0.u16().ok()?;
        Some((number, self.0.take(usize::from(len)).ok()?))
    }
}

/// The protocols of an ALPN extension; made by [`ClientHello::alpn`].
#[derive(Clone, Copy, Debug)]
pub struct Alpns<'a>(Reader<'a>);

impl<'a> Iterator for Alpns<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let len = self.0.u8().ok()?;
        self.0.take(usize::from(len)).ok()
    }
}

#[cfg(test)]
pub(crate) mod testing {
    /// The body of a ClientHello with these extensions.
    pub(crate) fn hello(extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(0);
        body.extend([0, 6, 0x0a, 0x0a, 0x13, 0x01, 0xc0, 0x2b, 1, 0]);
        let mut list = Vec::new();
        for (number, data) in extensions {
            list.extend(number.to_be_bytes());
            list.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            list.extend(*data);
        }
        body.extend(u16::try_from(list.len()).unwrap().to_be_bytes());
        body.extend(list);
        body
    }

    /// The data of a server name extension.
    pub(crate) fn name(name: &str) -> Vec<u8> {
        let len = u16::try_from(name.len()).unwrap();
        let mut data = (len + 3).to_be_bytes().to_vec();
        data.push(0);
        data.extend(len.to_be_bytes());
        data.extend(name.as_bytes());
        data
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{hello, name};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_hello_says() {
        let body = hello(&[
            (0x1a1a, b""),
            (0, &name("Example.COM")),
            (16, b"\0\x0c\x02h2\x08http/1.1"),
            (43, b"\x06\x2a\x2a\x03\x04\x03\x03"),
            (0xfe0d, b"\0rest"),
        ]);
        let view = ClientHello::parse(&body).unwrap();
        assert!(view.is_whole());
        assert_eq!(view.server_name(), Some(&b"Example.COM"[..]));
        assert_eq!(view.alpn().collect::<Vec<_>>(), [&b"h2"[..], b"http/1.1"]);
        assert_eq!((view.version(), view.legacy_version(), view.hidden()), (0x0304, 0x0303, Hidden::Ech));
        assert_eq!(view.ciphers().collect::<Vec<_>>(), [0x0a0a, 0x1301, 0xc02b]);
    }

    #[test]
    fn a_hello_without_or_with_cut_extensions() {
        let body = hello(&[]);
        let bare = ClientHello::parse(body.get(..body.len() - 2).unwrap()).unwrap();
        assert!(bare.is_whole() && bare.server_name().is_none() && bare.extensions().next().is_none());
        let body = hello(&[(0, &name("a.example")), (51, &[0; 1200])]);
        let cut = ClientHello::parse(body.get(..200).unwrap()).unwrap();
        assert_eq!((cut.server_name(), cut.is_whole()), (Some(&b"a.example"[..]), false));
        assert!(ClientHello::parse(b"\x03\x03").is_err());
        let empty = hello(&[(0, b"\0\x03\0\0\0")]);
        assert_eq!(ClientHello::parse(&empty).unwrap().server_name(), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(view) = ClientHello::parse(&bytes) {
                let _ = (view.server_name(), view.version(), view.hidden(), view.alpn().count());
            }
        }
    }
}
