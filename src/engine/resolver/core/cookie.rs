//! DNS cookies toward one server (RFC 7873 §5, RFC 9018 §3): eight octets that only it has seen, which each of its responses has
//! to repeat, and those that it gave us.

/// Option code of a cookie.
pub(super) const OPTION: u16 = 10;
/// Octets of a client cookie.
const CLIENT_OCTETS: usize = 8;
/// Octets that a server cookie has at least.
const SERVER_OCTETS_MIN: usize = 8;
/// Octets that a server cookie has at most.
const SERVER_OCTETS_MAX: usize = 32;

/// What is known of cookies between us and one server.
#[derive(Clone, Debug)]
pub(super) struct Cookie {
    ours: [u8; CLIENT_OCTETS],
    theirs: Vec<u8>,
}

/// What the cookie option of a response says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    /// It repeats our cookie; a new one of theirs is remembered.
    Good,
    /// There is none, and the server never sent one.
    Never,
    /// There is none, though the server has sent one before.
    Missing,
    /// It repeats another cookie than ours, or has no cookie's form: not the server's.
    Foreign,
}

impl Cookie {
    /// A new acquaintance.
    pub(super) const fn new(ours: [u8; CLIENT_OCTETS]) -> Self {
        Self { ours, theirs: Vec::new() }
    }

    /// The data of the option for a query.
    pub(super) fn data(&self) -> Vec<u8> {
        [&self.ours[..], &self.theirs].concat()
    }

    /// Reads the option of a response, and remembers what the server wants to hear next time.
    pub(super) fn read(&mut self, option: Option<&[u8]>) -> Seen {
        let Some(data) = option else {
            return if self.theirs.is_empty() { Seen::Never } else { Seen::Missing };
        };
        let Some((ours, theirs)) = data.split_first_chunk::<CLIENT_OCTETS>() else { return Seen::Foreign };
        if *ours != self.ours || !(SERVER_OCTETS_MIN..=SERVER_OCTETS_MAX).contains(&theirs.len()) {
            return Seen::Foreign;
        }
        self.theirs = theirs.to_vec();
        Seen::Good
    }

    /// The server has stopped to send cookies, as its TCP response shows.
    pub(super) fn forget(&mut self) {
        self.theirs.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_repeated_and_theirs_remembered() {
        let mut cookie = Cookie::new(*b"clientco");
        assert_eq!(cookie.data(), b"clientco");
        assert_eq!(cookie.read(None), Seen::Never);
        assert_eq!(cookie.read(Some(b"clientcoSERVERCO")), Seen::Good);
        assert_eq!(cookie.data(), b"clientcoSERVERCO");
        assert_eq!(cookie.read(None), Seen::Missing);
        cookie.forget();
        assert_eq!(cookie.read(None), Seen::Never);
    }

    #[test]
    fn other_cookies_and_other_lengths_are_foreign() {
        let mut cookie = Cookie::new(*b"clientco");
        let long = [&b"clientco"[..], &[0; 33]].concat();
        for data in [&b""[..], b"clientc", b"clientco", b"clientcoSERVERC", b"CLIENTCOSERVERCO", &long] {
            assert_eq!(cookie.read(Some(data)), Seen::Foreign, "{data:?}");
        }
        assert_eq!(cookie.data(), b"clientco", "nothing of them is remembered");
    }
}
