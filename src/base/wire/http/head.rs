//! Heads of HTTP/1 messages. Read as generously as servers read them: what one of them would take counts.

/// Octets of a head that is held; servers take 8 to 64 KiB.
pub const HEAD_OCTETS_MAX: usize = 1 << 16;
/// Empty lines before a request that are passed over (RFC 9112 §2.2).
const BLANKS_MAX: usize = 8;

/// Collects the head of a message.
#[derive(Clone, Debug, Default)]
pub struct HeadStream {
    octets: Vec<u8>,
    is_whole: bool,
}

impl HeadStream {
    /// Takes octets up to the end of the head, and says how many; all of them where it goes on.
    pub fn feed(&mut self, octets: &[u8]) -> usize {
        let mut taken = 0;
        // Line by line: a head ends with an empty one.
        while let Some(rest) =
            octets.get(taken..).filter(|rest| !rest.is_empty() && !self.is_whole && !self.is_too_long())
        {
            let line_len = rest.iter().position(|octet| *octet == b'\n').map_or(rest.len(), |at| at + 1);
            self.octets.extend_from_slice(rest.get(..line_len).unwrap_or_default());
            taken += line_len;
            self.is_whole = self.ends();
        }
        taken
    }

    fn ends(&mut self) -> bool {
        if matches!(self.octets.as_slice(), b"\n" | b"\r\n") {
            self.octets.clear();
        }
        self.octets.ends_with(b"\n\r\n") || self.octets.ends_with(b"\n\n")
    }

    /// Whether the empty line has come.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether it goes on for longer than is held.
    #[must_use]
    pub const fn is_too_long(&self) -> bool {
        self.octets.len() > HEAD_OCTETS_MAX
    }

    /// What has come.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }
}

/// Whether a word is a method that servers know: RFC 9110, WebDAV, UPnP, and what products added.
#[must_use]
pub fn is_method(word: &[u8]) -> bool {
    const METHODS: &[&str] = &[
        "GET",
        "POST",
        "HEAD",
        "PUT",
        "DELETE",
        "OPTIONS",
        "CONNECT",
        "TRACE",
        "PATCH",
        "PROPFIND",
        "PROPPATCH",
        "MKCOL",
        "COPY",
        "MOVE",
        "LOCK",
        "UNLOCK",
        "REPORT",
        "SEARCH",
        "M-SEARCH",
        "NOTIFY",
        "SUBSCRIBE",
        "UNSUBSCRIBE",
        "MERGE",
        "POLL",
        "BCOPY",
        "BDELETE",
        "BMOVE",
        "BPROPFIND",
        "BPROPPATCH",
        "RPC_IN_DATA",
        "RPC_OUT_DATA",
        "CCM_POST",
        "SMS_POST",
        "RPC_CONNECT",
        "BITS_POST",
        "MKACTIVITY",
        "CHECKOUT",
        "CHECKIN",
        "VERSION-CONTROL",
        "PURGE",
        "LINK",
        "UNLINK",
        "SOURCE",
        "QUERY",
    ];
    METHODS.iter().any(|method| word.eq_ignore_ascii_case(method.as_bytes()))
}

/// The head of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method as written.
    pub method: &'a [u8],
    /// The target as written; empty where there is none.
    pub target: &'a [u8],
    /// The version as written; empty for HTTP/0.9.
    pub version: &'a [u8],
    headers: &'a [u8],
}

impl<'a> Request<'a> {
    /// Reads a head, also one whose end is missing. `None` for what no server takes for a request.
    #[must_use]
    pub fn parse(head: &'a [u8]) -> Option<Self> {
        let (line, headers) = first_line(head)?;
        let mut words = line.split(|octet| matches!(octet, b' ' | b'\t' | 0x0b | 0x0c)).filter(|word| !word.is_empty());
        let method = words.next()?;
        let target = words.next().unwrap_or_default();
        let version = words.next_back().unwrap_or_default();
        let is_token = |octet: &u8| octet.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(octet);
        let has_version = version.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"HTTP/"));
        let is_request = method.iter().all(is_token) && (has_version || is_method(method)) && !target.is_empty();
        is_request.then_some(Self { method, target, version, headers })
    }

    /// The headers.
    #[must_use]
    pub const fn headers(&self) -> Headers<'a> {
        Headers(self.headers)
    }

    /// Host and port of a target that names them: `http://host:port/path`, or `host:port` with CONNECT.
    #[must_use]
    pub fn target_authority(&self) -> Option<&'a [u8]> {
        if self.method.eq_ignore_ascii_case(b"CONNECT") {
            return Some(self.target);
        }
        let at = self.target.windows(3).position(|part| part == b"://").filter(|at| (1..=8).contains(at))?;
        let rest = self.target.get(at + 3..)?;
        let end = rest.iter().position(|octet| matches!(octet, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let authority = rest.get(..end)?;
        let host_at = authority.iter().rposition(|octet| *octet == b'@').map_or(0, |at| at + 1);
        authority.get(host_at..).filter(|host| !host.is_empty())
    }

    /// The path with its query: the target without scheme and authority.
    #[must_use]
    pub fn path(&self) -> &'a [u8] {
        let Some(at) = self.target.windows(3).position(|part| part == b"://") else { return self.target };
        let rest = self.target.get(at + 3..).unwrap_or_default();
        rest.iter().position(|octet| *octet == b'/').and_then(|at| rest.get(at..)).unwrap_or(b"/")
    }
}

/// The head of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// The status code.
    pub status: u16,
    headers: &'a [u8],
}

impl<'a> Response<'a> {
    /// Reads a head, also one whose end is missing.
    #[must_use]
    pub fn parse(head: &'a [u8]) -> Option<Self> {
        let (line, headers) = first_line(head)?;
        let mut words = line.split(|octet| *octet == b' ').filter(|word| !word.is_empty());
        let version = words.next()?;
        let status = std::str::from_utf8(words.next().unwrap_or_default()).ok().and_then(|text| text.parse().ok());
        let is_reply = version.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"HTTP/"));
        is_reply.then_some(Self { status: status.unwrap_or(0), headers })
    }

    /// The headers.
    #[must_use]
    pub const fn headers(&self) -> Headers<'a> {
        Headers(self.headers)
    }
}

fn first_line(head: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = head;
    for _ in 0..BLANKS_MAX {
        let end = rest.iter().position(|octet| *octet == b'\n').unwrap_or(rest.len());
        let (line, after) = rest.split_at_checked(end)?;
        rest = after.get(1..).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.is_empty() {
            return Some((line, rest));
        }
    }
    None
}

/// The headers of a message, one by one: name and value, both without blanks around. A folded value is its first line.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a>(&'a [u8]);

impl<'a> Headers<'a> {
    /// The values of one header, in order.
    pub fn all(self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        self.filter(move |(held, _)| held.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// The first value of one header.
    #[must_use]
    pub fn first(self, name: &'static str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    fn line(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.iter().position(|octet| *octet == b'\n').unwrap_or(self.0.len());
        let (line, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.get(1..).unwrap_or_default();
        Some(line)
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = self.line()?;
            let Some(colon) = line.iter().position(|octet| *octet == b':') else { continue };
            let (name, value) = line.split_at_checked(colon)?;
            let mut value = value.get(1..).unwrap_or_default().trim_ascii();
            // A value may stand in the next line, behind a blank (obsolete folding, RFC 9112 §5.2).
            if value.is_empty() && matches!(self.0.first(), Some(b' ' | b'\t')) {
                value = self.line()?.trim_ascii();
            }
            return Some((name.trim_ascii(), value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn heads_as_servers_take_them() {
        let line = "\r\nget  http://u@Abs.example:80/x?y=1 \tHTTP/1.1\r\n";
        let head = format!("{line}hoSt : \tA.Example:8080 \r\nX\r\nHost:\r\n b.example\r\nUser-Agent: *x\n\n");
        let head = head.as_bytes();
        let request = Request::parse(head).unwrap();
        assert_eq!(
            (request.method, request.target, request.version),
            (&b"get"[..], &b"http://u@Abs.example:80/x?y=1"[..], &b"HTTP/1.1"[..])
        );
        assert_eq!(request.target_authority(), Some(&b"Abs.example:80"[..]));
        assert_eq!(request.path(), b"/x?y=1");
        assert_eq!(request.headers().all("host").collect::<Vec<_>>(), [&b"A.Example:8080"[..], b"b.example"]);
        assert_eq!(request.headers().first("user-agent"), Some(&b"*x"[..]));
        let connect = Request::parse(b"CONNECT c.example:443 HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!(connect.target_authority(), Some(&b"c.example:443"[..]));
        for other in [&b"EHLO a.example\r\n"[..], b"", b"\n\n", b"GET\r\n\r\n", b"a001 STARTTLS\r\n"] {
            assert_eq!(Request::parse(other), None, "{other:?}");
        }
        assert!(Request::parse(b"FETCHIT /x HTTP/1.1").is_some() && Request::parse(b"GET /").is_some());
        let reply = Response::parse(b"HTTP/1.1 206 Partial\r\nContent-Type: a/b\r\n\r\n").unwrap();
        assert_eq!((reply.status, reply.headers().first("content-type")), (206, Some(&b"a/b"[..])));
    }

    #[test]
    fn a_head_ends_with_an_empty_line() {
        let stream = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nbody";
        for cut in 0..stream.len() {
            let mut head = HeadStream::default();
            let mut taken = head.feed(&stream[..cut]);
            if taken == cut {
                taken += head.feed(&stream[cut..]);
            }
            assert!(head.is_whole());
            assert_eq!(&stream[taken..], b"body", "{cut}");
            assert_eq!(head.octets(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        let mut head = HeadStream::default();
        head.feed(&[b'x'; HEAD_OCTETS_MAX + 1]);
        assert!(head.is_too_long() && !head.is_whole());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b' '), Just(b':')], 0..200),
        ) {
            if let Some(request) = Request::parse(&bytes) {
                let _ = (request.target_authority(), request.path(), request.headers().count());
            }
            if let Some(reply) = Response::parse(&bytes) {
                let _ = reply.headers().count();
            }
        }
    }
}
