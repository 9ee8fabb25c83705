//! One direction of a stream, read front to back: what carries what, up to where nobody is named any more.
//!
//! Either direction is read the same way, so that it need not be known who began: a server's first octets end the reading early.

use crate::base::wire::carrier::{self, START_OCTETS_MAX, Start};
use crate::base::wire::http::{self, Body, H2_PREFACE, H2Stream, HeadStream, Request, Response};
use crate::base::wire::tls::{ClientHello, HelloStream, Progress};

/// Protocols within each other, one after the other, that are followed in one stream.
const CARRIED_MAX: u8 = 8;
/// Octets of a line that is looked at.
const LINE_OCTETS_MAX: usize = 8192;
/// Octets of talk before TLS that are followed (STARTTLS).
const TALK_OCTETS_MAX: u32 = 1 << 14;
/// Octets of a reply's body that are handed on.
pub(super) const BODY_OCTETS: usize = 64;
/// Blind octets beyond this end the reading: sequence numbers would come round.
const BLIND_MAX: u64 = 1 << 30;
/// Turns in a row that take nothing: more than any change of states needs.
const IDLE_TURNS_MAX: u8 = 16;

/// What was read.
#[derive(Debug)]
pub(super) enum Said<'a> {
    /// A client's hello; whether it is whole.
    Hello(ClientHello<'a>),
    /// The head of a request.
    Request(Request<'a>),
    /// The head of a reply.
    Reply(Response<'a>),
    /// The first octets of a reply's body.
    Body(&'a [u8]),
    /// The authority of a request of HTTP/2.
    Authority(&'a [u8]),
    /// A DNS message.
    Dns(&'a [u8]),
}

/// What a reading wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    /// The next octets.
    More,
    /// The octets behind so many that say nothing.
    Blind(u64),
    /// Whatever starts anew, at the start of some segment.
    Start,
    /// Nothing more.
    Nothing,
}

/// What the ports say about a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// Nothing.
    None,
    /// DNS messages, each behind its length.
    Dns,
}

#[derive(Clone, Debug)]
enum State {
    /// What is coming is told from its first octets; these are held.
    Start(Vec<u8>),
    /// Octets of a carrier that say nothing.
    Skip(usize),
    Tls(Box<HelloStream>),
    Tds(Box<Tds>),
    /// A head, or what turns out to be other text; whether that is decided.
    Head(Box<HeadStream>, bool),
    Body(Body),
    /// The body of a reply whose first octets are collected.
    ReplyBody(Body, Vec<u8>),
    /// Talk in lines; octets that are left of it, whether the last one ended a line or an element.
    Talk(u32, bool),
    H2(Box<H2Stream>, usize),
    Dns(Vec<u8>),
    /// Not understood.
    Lost,
    Done,
}

/// The reader of one direction.
#[derive(Clone, Debug)]
pub(super) struct Dialogue {
    state: State,
    carried: u8,
}

impl Dialogue {
    pub(super) fn new(hint: Hint) -> Self {
        let state = match hint {
            Hint::None => State::Start(Vec::new()),
            Hint::Dns => State::Dns(Vec::new()),
        };
        Self { state, carried: 0 }
    }

    /// Whether octets at the start of a segment may begin something, in a stream that is not understood otherwise.
    pub(super) fn may_start(hint: Hint, octets: &[u8]) -> bool {
        match octets {
            [high, low, rest @ ..] if hint == Hint::Dns => {
                rest.len() >= 12 && usize::from(u16::from_be_bytes([*high, *low])) <= rest.len()
            }
            [22, 3, 0..=4, _, _, 1, 0, _, _, 3, 0..=4, ..] => true,
            [b'A'..=b'Z', b'A'..=b'Z', b'A'..=b'Z' | b'-', ..] => {
                let end = octets.iter().take(18).position(|octet| matches!(octet, b' ' | b'\t' | b'/'));
                let (word, rest) = octets.split_at_checked(end.unwrap_or(0)).unwrap_or_default();
                word == b"HTTP" || (http::is_method(word) && !rest.starts_with(b"/")) || octets.starts_with(H2_PREFACE)
            }
            _ => false,
        }
    }

    pub(super) fn wants(&self) -> Wants {
        let blind = match &self.state {
            State::Skip(count) => *count as u64,
            State::Body(body) => body.blind(),
            State::H2(frames, 0) => frames.blind() as u64,
            State::Lost => return Wants::Start,
            State::Done => return Wants::Nothing,
            _ => 0,
        };
        match blind {
            0 => Wants::More,
            1..=BLIND_MAX => Wants::Blind(blind),
            _ => Wants::Start,
        }
    }

    /// Passes over octets that were asked not to come.
    pub(super) fn pass(&mut self, count: u64) {
        match &mut self.state {
            State::Skip(left) => {
                *left = left.saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
                if *left == 0 {
                    self.start_again();
                }
            }
            State::Body(body) => {
                body.pass(count);
                if body.is_over() {
                    self.start_again();
                }
            }
            State::H2(frames, _) => frames.pass(usize::try_from(count).unwrap_or(usize::MAX)),
            _ => {}
        }
    }

    /// Takes the next octets.
    pub(super) fn feed(&mut self, octets: &[u8], said: &mut dyn FnMut(Said<'_>)) {
        let (mut rest, mut idle) = (octets, 0);
        // Each turn takes octets or changes the state to one that does; carriers are bounded. Should there be one that does neither after
        // all, the stream is given up, not the program.
        while !rest.is_empty() && !matches!(self.state, State::Lost | State::Done) {
            let before = rest.len();
            rest = self.turn(rest, said);
            idle = if rest.len() < before { 0 } else { idle + 1 };
            if idle > IDLE_TURNS_MAX {
                rest = self.lose();
            }
        }
    }

    /// Tells what is there although its end is not: the capture ends here, or the flow is forgotten.
    pub(super) fn finish(&mut self, said: &mut dyn FnMut(Said<'_>)) {
        match &self.state {
            State::Tls(stream) => {
                if let Ok(hello) = ClientHello::parse(stream.hello()) {
                    said(Said::Hello(hello));
                }
            }
            State::Head(head, true) => {
                let whole_lines = head.octets().iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
                if let Some(request) = head.octets().get(..whole_lines).and_then(Request::parse) {
                    said(Said::Request(request));
                }
            }
            State::ReplyBody(_, first) if !first.is_empty() => said(Said::Body(first)),
            _ => {}
        }
        self.state = State::Done;
    }

    fn start_again(&mut self) {
        self.carried = 0;
        self.state = State::Start(Vec::new());
    }

    fn turn<'o>(&mut self, octets: &'o [u8], said: &mut dyn FnMut(Said<'_>)) -> &'o [u8] {
        match &mut self.state {
            State::Start(_) => {
                self.begin(octets, said);
                &[]
            }
            State::Skip(left) => {
                let count = (*left).min(octets.len());
                self.pass(count as u64);
                octets.get(count..).unwrap_or_default()
            }
            State::Tls(stream) => {
                let progress = stream.feed(octets);
                if progress == Progress::Hello
                    && let Ok(hello) = ClientHello::parse(stream.hello())
                {
                    said(Said::Hello(hello));
                }
                if progress != Progress::More {
                    self.state = State::Done;
                }
                &[]
            }
            State::Tds(frames) => {
                if let Some(end) = frames.feed(octets, said) {
                    self.state = end;
                }
                &[]
            }
            State::Head(..) => self.head(octets, said),
            State::Body(body) => match body.feed(octets) {
                Some(taken) => {
                    if body.is_over() {
                        self.start_again();
                    }
                    octets.get(taken..).unwrap_or_default()
                }
                None => self.lose(),
            },
            State::ReplyBody(..) => self.reply_body(octets, said),
            State::Talk(left, at_start) => match talk(octets, left, at_start) {
                Some(rest) => {
                    self.carried += 1;
                    self.state = if self.carried > CARRIED_MAX { State::Lost } else { State::Start(Vec::new()) };
                    rest
                }
                None if *left == 0 => self.lose(),
                None => &[],
            },
            State::H2(frames, preface) => {
                let skipped = (*preface).min(octets.len());
                *preface -= skipped;
                frames.feed(octets.get(skipped..).unwrap_or_default(), |host| said(Said::Authority(host)));
                if frames.is_lost() { self.lose() } else { &[] }
            }
            State::Dns(held) => {
                if !dns(held, octets, said) {
                    return self.lose();
                }
                &[]
            }
            State::Lost | State::Done => &[],
        }
    }

    fn lose(&mut self) -> &'static [u8] {
        self.state = State::Lost;
        &[]
    }

    fn begin(&mut self, octets: &[u8], said: &mut dyn FnMut(Said<'_>)) {
        let State::Start(held) = &mut self.state else { return };
        let joined;
        let octets = if held.is_empty() {
            octets
        } else {
            held.extend_from_slice(octets);
            joined = std::mem::take(held);
            &joined
        };
        self.state = match carrier::start_of(octets) {
            Start::Short if octets.len() <= START_OCTETS_MAX => {
                self.state = State::Start(octets.to_vec());
                return;
            }
            Start::Tls => State::Tls(Box::default()),
            Start::Text if octets.first() == Some(&b'<') => State::Talk(TALK_OCTETS_MAX, false),
            Start::Text => State::Head(Box::default(), false),
            Start::Tds => State::Tds(Box::default()),
            Start::H2 => State::H2(Box::default(), H2_PREFACE.len()),
            Start::Carrier(len) if self.carried < CARRIED_MAX => {
                self.carried += 1;
                let rest = octets.get(len..).unwrap_or_default();
                let missing = len.saturating_sub(octets.len());
                self.state = if missing > 0 { State::Skip(missing) } else { State::Start(Vec::new()) };
                return self.feed(rest, said);
            }
            Start::Short | Start::Carrier(_) | Start::Other => State::Lost,
        };
        self.feed(octets, said);
    }

    fn head<'o>(&mut self, octets: &'o [u8], said: &mut dyn FnMut(Said<'_>)) -> &'o [u8] {
        let State::Head(head, is_http) = &mut self.state else { return octets };
        // The first line alone decides what the text is.
        let offered = if *is_http {
            octets
        } else {
            let end = octets.iter().position(|octet| *octet == b'\n').map_or(octets.len(), |at| at + 1);
            octets.get(..end).unwrap_or_default()
        };
        let taken = head.feed(offered);
        let rest = octets.get(taken..).unwrap_or_default();
        if !*is_http {
            let line = head.octets();
            // A blank line that is not empty counts too: with an empty one behind it the head is whole, and takes no more.
            let is_line = line.contains(&b'\n');
            if is_line && carrier::is_proxy_v1(line) {
                self.carried += 1;
                self.state = if self.carried > CARRIED_MAX { State::Lost } else { State::Start(Vec::new()) };
            } else if is_line && (Request::parse(line).is_some() || Response::parse(line).is_some()) {
                *is_http = true;
            } else if is_line || line.len() > LINE_OCTETS_MAX {
                self.state = State::Talk(TALK_OCTETS_MAX, is_line);
            }
            return rest;
        }
        if head.is_too_long() {
            return self.lose();
        }
        if head.is_whole() {
            self.end_head(said);
        }
        rest
    }

    fn end_head(&mut self, said: &mut dyn FnMut(Said<'_>)) {
        let State::Head(head, _) = &self.state else { return };
        if let Some(request) = Request::parse(head.octets()) {
            let body = if request.method.eq_ignore_ascii_case(b"CONNECT") {
                Body::NONE
            } else {
                Body::promised(request.headers(), true)
            };
            said(Said::Request(request));
            self.carried = 0;
            self.state = if body.is_over() { State::Start(Vec::new()) } else { State::Body(body) };
        } else if let Some(reply) = Response::parse(head.octets()) {
            let has_none = matches!(reply.status, 100..=199 | 204 | 304);
            let body = if has_none { Body::NONE } else { Body::promised(reply.headers(), false) };
            said(Said::Reply(reply));
            self.carried = 0;
            self.state = if body.is_over() { State::Start(Vec::new()) } else { State::ReplyBody(body, Vec::new()) };
        } else {
            self.state = State::Lost;
        }
    }

    fn reply_body<'o>(&mut self, octets: &'o [u8], said: &mut dyn FnMut(Said<'_>)) -> &'o [u8] {
        let State::ReplyBody(body, first) = &mut self.state else { return octets };
        let missing = BODY_OCTETS.saturating_sub(first.len());
        let offered = octets.get(..missing).unwrap_or(octets);
        let Some(taken) = body.feed(offered) else { return self.lose() };
        // A chunk's size line is no body; what a reader would see starts behind it.
        first.extend_from_slice(offered.get(..taken).unwrap_or_default());
        if first.len() >= BODY_OCTETS || body.is_over() {
            let is_chunked = !matches!(body, Body::Octets(_) | Body::UntilEnd);
            let start = first.iter().position(|octet| *octet == b'\n').filter(|_| is_chunked).map_or(0, |at| at + 1);
            said(Said::Body(first.get(start..).unwrap_or_default()));
            let body = *body;
            if body.is_over() {
                self.start_again();
            } else {
                self.state = State::Body(body);
            }
        }
        octets.get(taken..).unwrap_or_default()
    }
}

/// Goes through talk for a TLS record at the start of a line or behind an element; what starts with it.
fn talk<'o>(octets: &'o [u8], left: &mut u32, at_start: &mut bool) -> Option<&'o [u8]> {
    for (at, octet) in octets.iter().enumerate() {
        if *at_start && *octet == 22 {
            return octets.get(at..);
        }
        *left = left.saturating_sub(1);
        if *left == 0 {
            return None;
        }
        *at_start = matches!(octet, b'\n' | b'>');
    }
    None
}

/// Takes DNS messages behind their lengths; whether it may go on.
fn dns(held: &mut Vec<u8>, octets: &[u8], said: &mut dyn FnMut(Said<'_>)) -> bool {
    held.extend_from_slice(octets);
    let mut at = 0;
    while let Some(&[high, low]) = held.get(at..at + 2).and_then(<[u8]>::first_chunk) {
        let len = usize::from(u16::from_be_bytes([high, low]));
        // Shorter than a header: this is something else.
        if len < 12 {
            return false;
        }
        let Some(message) = held.get(at + 2..at + 2 + len) else { break };
        said(Said::Dns(message));
        at += 2 + len;
    }
    held.drain(..at);
    true
}

/// TLS inside the first frames of TDS (MS-TDS 2.2.6.5): each frame has a header of eight octets.
#[derive(Clone, Debug, Default)]
struct Tds {
    header: Vec<u8>,
    left: usize,
    is_first: bool,
    frames: u8,
    stream: HelloStream,
}

impl Tds {
    const HEADER: usize = 8;
    const FRAMES_MAX: u8 = 64;

    fn feed(&mut self, mut octets: &[u8], said: &mut dyn FnMut(Said<'_>)) -> Option<State> {
        while !octets.is_empty() {
            if self.left == 0 {
                let (taken, rest) = octets.split_at_checked(Self::HEADER - self.header.len()).unwrap_or((octets, &[]));
                self.header.extend_from_slice(taken);
                octets = rest;
                if let &[kind, _, high, low, ..] = self.header.as_slice()
                    && self.header.len() == Self::HEADER
                {
                    self.is_first = self.frames == 0;
                    self.frames += 1;
                    self.left = usize::from(u16::from_be_bytes([high, low])).saturating_sub(Self::HEADER);
                    self.header.clear();
                    if kind != 0x12 || self.left == 0 || self.frames > Self::FRAMES_MAX {
                        return Some(State::Lost);
                    }
                }
                continue;
            }
            let (taken, rest) = octets.split_at_checked(self.left).unwrap_or((octets, &[]));
            self.left -= taken.len();
            octets = rest;
            if self.is_first {
                continue;
            }
            match self.stream.feed(taken) {
                Progress::More => {}
                Progress::Hello => {
                    if let Ok(hello) = ClientHello::parse(self.stream.hello()) {
                        said(Said::Hello(hello));
                    }
                    return Some(State::Done);
                }
                Progress::Other => return Some(State::Lost),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::wire::host::{Host, escaped};
    use crate::base::wire::tls::testing;
    use proptest::prelude::*;

    fn hello(name: &str) -> Vec<u8> {
        let body = testing::hello(&[(0, &testing::name(name))]);
        let message = [&[1][..], &u32::try_from(body.len()).unwrap().to_be_bytes()[1..], &body].concat();
        [&[22, 3, 1][..], &u16::try_from(message.len()).unwrap().to_be_bytes(), &message].concat()
    }

    fn text(written: &[u8]) -> String {
        escaped(Host::new(written).octets())
    }

    fn read(hint: Hint, parts: &[&[u8]]) -> (Vec<String>, Dialogue) {
        let mut dialogue = Dialogue::new(hint);
        let mut told = Vec::new();
        for part in parts {
            let mut part = *part;
            if let Wants::Blind(count) = dialogue.wants() {
                let count = part.len().min(usize::try_from(count).unwrap());
                dialogue.pass(count as u64);
                part = &part[count..];
            }
            dialogue.feed(part, &mut |said| match said {
                Said::Hello(hello) => told.push(format!("tls {}", text(hello.server_name().unwrap()))),
                Said::Request(request) => {
                    told.push(format!("http {}", request.headers().first("host").map_or_else(String::new, text)))
                }
                Said::Reply(reply) => told.push(format!("reply {}", reply.status)),
                Said::Body(first) => told.push(format!("body {}", first.escape_ascii())),
                Said::Authority(host) => told.push(format!("h2 {}", text(host))),
                Said::Dns(message) => told.push(format!("dns {}", message.len())),
            });
        }
        (told, dialogue)
    }

    /// A greeting, then the hello in two frames.
    fn tds(tls: &[u8]) -> Vec<u8> {
        let frame = |content: &[u8]| {
            let len = u16::try_from(content.len() + 8).unwrap().to_be_bytes();
            [&[0x12, 1][..], &len, &[0; 4], content].concat()
        };
        [frame(&[0; 4]), frame(&tls[..40]), frame(&tls[40..])].concat()
    }

    type Case = (&'static str, Vec<u8>, Vec<&'static str>);

    fn cases() -> Vec<Case> {
        let tls = hello("a.example");
        let with = |before: &[u8]| [before, &tls].concat();
        vec![
            ("plain", tls.clone(), vec!["tls a.example"]),
            ("smtp", with(b"EHLO x\r\nSTARTTLS\r\n"), vec!["tls a.example"]),
            ("imap", with(b"a1 CAPABILITY\r\na2 STARTTLS\r\n"), vec!["tls a.example"]),
            ("xmpp", with(b"<stream:stream to='a'><starttls xmlns='b'/>"), vec!["tls a.example"]),
            (
                "connect",
                with(b"CONNECT a.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n"),
                vec!["http b.example", "tls a.example"],
            ),
            ("socks5", with(b"\x05\x01\0\x05\x01\0\x03\x09a.example\x01\xbb"), vec!["tls a.example"]),
            ("proxy", with(b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"), vec!["tls a.example"]),
            ("postgresql", with(b"\0\0\0\x08\x04\xd2\x16\x2f"), vec!["tls a.example"]),
            (
                "pipelined",
                [
                    &b"POST / HTTP/1.1\r\nHost: A.example\r\nContent-Length: 5\r\n\r\n12345"[..],
                    b"GET / HTTP/1.1\r\nHost: b.example:80\r\n\r\n\r\n",
                    b"POST / HTTP/1.1\r\nHost: c.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                    b"GET / HTTP/1.0\n\n",
                ]
                .concat(),
                vec!["http a.example", "http b.example", "http c.example", "http "],
            ),
            (
                "replies",
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nKLZFHTTP/1.1 304 x\r\n\r\n"
                    .to_vec(),
                vec!["reply 100", "reply 200", "body KLZF", "reply 304"],
            ),
            ("tds", tds(&tls), vec!["tls a.example"]),
        ]
    }

    #[test]
    fn names_behind_carriers_in_any_cut() {
        for (what, stream, told) in cases() {
            assert_eq!(read(Hint::None, &[&stream]).0, told, "{what}");
            for cut in 0..stream.len() {
                assert_eq!(read(Hint::None, &[&stream[..cut], &stream[cut..]]).0, told, "{what} cut at {cut}");
            }
            let octets: Vec<&[u8]> = stream.chunks(1).collect();
            assert_eq!(read(Hint::None, &octets).0, told, "{what} one by one");
        }
    }

    #[test]
    fn blank_lines_are_no_head_that_nothing_ends() {
        for blank in ["\t\n\n", " \r\n\r\n", "\r\t\r\n\r\n", " \n\r\n\n"] {
            let stream = [blank.as_bytes(), b"a1 STARTTLS\r\n", &hello("a.example")].concat();
            for cut in 0..stream.len() {
                assert_eq!(
                    read(Hint::None, &[&stream[..cut], &stream[cut..]]).0,
                    ["tls a.example"],
                    "{blank:?} cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn every_message_of_dns() {
        let message = [&[0, 12][..], &[7; 12], &[0, 13], &[7; 13], &[0, 99]].concat();
        assert_eq!(read(Hint::Dns, &[&message[..20], &message[20..]]).0, ["dns 12", "dns 13"]);
        assert_eq!(read(Hint::Dns, &[b"SSH-2.0-x\r\n", b"\0\x01"]).1.wants(), Wants::More);
        assert_eq!(read(Hint::Dns, &[b"\0\x01x"]).1.wants(), Wants::Start);
    }

    #[test]
    fn what_says_nothing_is_not_asked_for() {
        let (_, upload) = read(Hint::None, &[b"PUT / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n123"]);
        assert_eq!(upload.wants(), Wants::Blind(999_997));
        assert_eq!(read(Hint::None, &[b"\x01\x02\x03\x04\x05\x06\x07\x08"]).1.wants(), Wants::Start);
        assert_eq!(read(Hint::None, &[&hello("a")]).1.wants(), Wants::Nothing);
        assert_eq!(read(Hint::None, &[&vec![b'a'; 9000], &vec![b'a'; 20_000]]).1.wants(), Wants::Start);
        assert!(Dialogue::may_start(Hint::None, b"GET /") && Dialogue::may_start(Hint::None, b"HTTP/1.1 200"));
        assert!(Dialogue::may_start(Hint::None, &hello("a")) && !Dialogue::may_start(Hint::None, b"Get a life"));
    }

    proptest! {
        #[test]
        fn any_octets_end(parts: Vec<Vec<u8>>, which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), octet: u8) {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            read_any(&parts);
            let cases = cases();
            let (_, stream, _) = which.get(&cases);
            let mut bent = stream.clone();
            let at = at.index(bent.len());
            bent[at] = octet;
            read_any(&[&bent]);
        }
    }

    fn read_any(parts: &[&[u8]]) {
        for hint in [Hint::None, Hint::Dns] {
            let mut dialogue = Dialogue::new(hint);
            parts.iter().for_each(|part| dialogue.feed(part, &mut |_| {}));
            dialogue.finish(&mut |_| {});
            assert_eq!(dialogue.wants(), Wants::Nothing);
        }
    }
}
