//! A borrowed view of a query, and what becomes of what is none (RFC 8906, RFC 9267, RFC 9619, RFC 6891).
//!
//! | the message | what it gets |
//! |---|---|
//! | shorter than a header, or a response | nothing: an answer would serve reflection and loops |
//! | another opcode than QUERY | NOTIMP |
//! | not exactly one question, or one that cannot be read | FORMERR |
//! | records before the additional section, octets after the last record | FORMERR |
//! | two OPT, an OPT that is not the root's, options whose lengths do not add up, a cookie of a length that none has | FORMERR |
//! | an EDNS version other than 0 | BADVERS |
//! | another class than IN or ANY, a zone transfer | REFUSED |
//! | a question for MAILA, MAILB, OPT, TKEY or TSIG | NOTIMP; NXNAME gets FORMERR (RFC 9824) |
//!
//! Flags that mean nothing in a query (AA, TC, RA, Z), unknown EDNS options and other additional records are passed over.

use super::name::{self, NameFault};
use super::{Flags, Header, Rcode, ReplyOptions, class, option, rtype};
use crate::base::name::{NameBuf, NameRef};
use crate::base::wire::{Reader, Short};

/// Octets of an answer that every client takes (RFC 1035 §4.2.1).
const UDP_OCTETS_MIN: u16 = 512;

/// A query that may be answered.
#[derive(Clone, Debug)]
pub struct QueryView<'a> {
    header: Header,
    name: NameBuf,
    question: &'a [u8],
    qtype: u16,
    qclass: u16,
    edns: Option<Edns<'a>>,
    reply_options: ReplyOptions,
}

/// What a query's OPT record says (RFC 6891 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns<'a> {
    /// EDNS version; 0 in a query that is answered.
    pub version: u8,
    /// Octets that the client takes over UDP, 512 at least.
    pub udp_octets: u16,
    /// The client wants DNSSEC records (RFC 3225).
    pub dnssec_ok: bool,
    /// The options as they stand there: code, length, data; lengths are checked in a query that is answered.
    pub options: &'a [u8],
}

/// Why a message is not answered with data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed<'a> {
    /// It gets no reply at all.
    Unanswered(Unanswered),
    /// It gets an error.
    Fault(Fault<'a>),
}

/// Why a message gets no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unanswered {
    /// There is no whole header.
    #[error("the message is shorter than a DNS header")]
    TooShort,
    /// Answering responses makes loops.
    #[error("the message is a response")]
    Response,
}

/// An error reply, with what of the message it repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault<'a> {
    /// The error.
    pub rcode: Rcode,
    /// The message's header.
    pub header: Header,
    /// The question section as it came, where it could be read.
    pub question: Option<&'a [u8]>,
    /// The OPT record, where one was read.
    pub edns: Option<Edns<'a>>,
}

impl<'a> QueryView<'a> {
    /// Reads a query; the module's table says what is none. No allocation; time linear in the length.
    ///
    /// # Errors
    /// What to reply instead, if anything.
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed<'a>> {
        let mut reader = Reader::new(message);
        let header = Header::read(&mut reader).map_err(|Short| Malformed::Unanswered(Unanswered::TooShort))?;
        if header.flags.has(Flags::RESPONSE) {
            return Err(Malformed::Unanswered(Unanswered::Response));
        }
        let mut fault = Fault { rcode: Rcode::FORMERR, header, question: None, edns: None };
        if header.flags.has(Flags::OPCODE) {
            return Err(Malformed::Fault(Fault { rcode: Rcode::NOTIMP, ..fault }));
        }
        if header.questions != 1 {
            return Err(Malformed::Fault(fault));
        }
        let Ok((name, qtype, qclass)) = read_question(&mut reader) else { return Err(Malformed::Fault(fault)) };
        let question = message.get(super::HEADER_OCTETS..reader.position()).unwrap_or_default();
        fault.question = Some(question);
        let empty = header.answers == 0 && header.authorities == 0;
        let read = empty && read_additionals(&mut reader, header.additionals, &mut fault.edns).is_ok();
        let rcode = if !read || !reader.is_empty() {
            Rcode::FORMERR
        } else if fault.edns.is_some_and(|edns| edns.version != 0) {
            Rcode::BADVERS
        } else {
            unasked(qtype, qclass)
        };
        if rcode != Rcode::NOERROR {
            return Err(Malformed::Fault(Fault { rcode, ..fault }));
        }
        Ok(Self { header, name, question, qtype, qclass, edns: fault.edns, reply_options: ReplyOptions::default() })
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Whether the client wants recursion.
    #[must_use]
    pub const fn recursion_desired(&self) -> bool {
        self.header.flags.has(Flags::RECURSION_DESIRED)
    }

    /// Whether the client validates for itself (RFC 4035 §3.2.2).
    #[must_use]
    pub const fn checking_disabled(&self) -> bool {
        self.header.flags.has(Flags::CHECKING_DISABLED)
    }

    /// Whether the client wants to hear that data was validated: AD (RFC 6840 §5.7) or DO.
    #[must_use]
    pub fn wants_authentic(&self) -> bool {
        self.header.flags.has(Flags::AUTHENTIC) || self.dnssec_ok()
    }

    /// The name asked for, lower-cased.
    #[must_use]
    pub fn name(&self) -> NameRef<'_> {
        self.name.as_ref()
    }

    /// The question section as it came: name in the client's case, type, class.
    #[must_use]
    pub const fn question(&self) -> &'a [u8] {
        self.question
    }

    /// The type asked for.
    #[must_use]
    pub const fn qtype(&self) -> u16 {
        self.qtype
    }

    /// The class asked for: IN or ANY.
    #[must_use]
    pub const fn qclass(&self) -> u16 {
        self.qclass
    }

    /// The OPT record.
    #[must_use]
    pub const fn edns(&self) -> Option<&Edns<'a>> {
        self.edns.as_ref()
    }

    /// The data of the first EDNS option with this code.
    #[must_use]
    pub fn option(&self, code: u16) -> Option<&'a [u8]> {
        let mut reader = Reader::new(self.edns?.options);
        while let (Ok(at), Ok(len)) = (reader.u16(), reader.u16()) {
            let data = reader.take(usize::from(len)).ok()?;
            if at == code {
                return Some(data);
            }
        }
        None
    }

    /// The options that every reply to this query carries.
    #[must_use]
    pub const fn reply_options(&self) -> &ReplyOptions {
        &self.reply_options
    }

    /// Says which options every reply to this query is to carry.
    pub const fn set_reply_options(&mut self, options: ReplyOptions) {
        self.reply_options = options;
    }

    /// Whether the client wants DNSSEC records.
    #[must_use]
    pub fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// Octets that the client takes over UDP.
    #[must_use]
    pub fn udp_octets(&self) -> usize {
        usize::from(self.edns.map_or(UDP_OCTETS_MIN, |edns| edns.udp_octets))
    }
}

fn read_question(reader: &mut Reader<'_>) -> Result<(NameBuf, u16, u16), NameFault> {
    let name = name::read_plain(reader)?;
    Ok((name, reader.u16()?, reader.u16()?))
}

/// The additional section cannot be read, or its OPT is not what it must be.
struct Broken;

impl From<Short> for Broken {
    fn from(_: Short) -> Self {
        Self
    }
}

impl From<NameFault> for Broken {
    fn from(_: NameFault) -> Self {
        Self
    }
}

/// Reads the additional section for its one OPT, which is left in `edns` also when what follows is broken.
fn read_additionals<'a>(reader: &mut Reader<'a>, count: u16, edns: &mut Option<Edns<'a>>) -> Result<(), Broken> {
    for _ in 0..count {
        let owner = reader.position();
        name::skip(reader)?;
        let owned_by_root = reader.position() == owner + 1;
        let rtype = reader.u16()?;
        let class = reader.u16()?;
        // The extended response code means nothing in a query.
        let [_rcode, version, flags, _] = reader.take_array()?;
        let len = reader.u16()?;
        let data = reader.take(usize::from(len))?;
        if rtype != rtype::OPT {
            continue;
        }
        if edns.is_some() || !owned_by_root {
            return Err(Broken);
        }
        *edns =
            Some(Edns { version, udp_octets: class.max(UDP_OCTETS_MIN), dnssec_ok: flags & 0x80 != 0, options: data });
        // What options look like is this version's to say.
        if version == 0 {
            check_options(data)?;
        }
    }
    Ok(())
}

fn check_options(options: &[u8]) -> Result<(), Short> {
    let mut reader = Reader::new(options);
    while !reader.is_empty() {
        let code = reader.u16()?;
        let len = reader.u16()?;
        reader.take(usize::from(len))?;
        // A client's eight octets, alone or with a server's eight to 32 (RFC 7873 §5.2.2).
        if code == option::COOKIE && !matches!(len, 8 | 16..=40) {
            return Err(Short);
        }
    }
    Ok(())
}

/// The error for questions that nobody may put here; NOERROR for all others.
const fn unasked(qtype: u16, qclass: u16) -> Rcode {
    if qclass != class::IN && qclass != class::ANY {
        return Rcode::REFUSED;
    }
    match qtype {
        rtype::AXFR | rtype::IXFR => Rcode::REFUSED,
        rtype::MAILA | rtype::MAILB | rtype::OPT | rtype::TSIG | rtype::TKEY => Rcode::NOTIMP,
        rtype::NXNAME => Rcode::FORMERR,
        _ => Rcode::NOERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{Edns as HickoryEdns, Message, MessageType, OpCode, Query};
    use hickory_proto::rr::{DNSClass, Name as HickoryName, RecordType};
    use proptest::prelude::*;

    const OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\x80\0\0\0";

    /// A query for `Ab.example` with these counts and these octets after its question.
    fn query(flags: u16, counts: [u16; 4], qtype: u16, qclass: u16, rest: &[u8]) -> Vec<u8> {
        let [questions, answers, authorities, additionals] = counts;
        let header = Header { id: 0x1234, flags: Flags(flags), questions, answers, authorities, additionals };
        let mut message = header.to_octets().to_vec();
        message.extend(b"\x02Ab\x07example\0");
        message.extend(qtype.to_be_bytes());
        message.extend(qclass.to_be_bytes());
        message.extend(rest);
        message
    }

    fn fault(message: &[u8]) -> Fault<'_> {
        match QueryView::parse(message) {
            Err(Malformed::Fault(fault)) => fault,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_ordinary_query_is_read() {
        let message = query(0x0130, [1, 0, 0, 1], rtype::HTTPS, class::IN, b"\0\0\x29\x10\0\0\0\x80\0\0\x04\0\x0b\0\0");
        let view = QueryView::parse(&message).unwrap();
        assert_eq!(view.name().to_string(), "ab.example");
        assert_eq!(view.question(), b"\x02Ab\x07example\0\0\x41\0\x01");
        assert_eq!((view.qtype(), view.qclass(), view.header().id), (rtype::HTTPS, class::IN, 0x1234));
        assert!(view.recursion_desired() && view.checking_disabled() && view.wants_authentic() && view.dnssec_ok());
        assert_eq!(view.udp_octets(), 4096);
        assert_eq!(view.edns().unwrap().options, b"\0\x0b\0\0");
        assert_eq!((view.option(option::KEEPALIVE), view.option(option::COOKIE)), (Some(&[][..]), None));
        let plain = query(0, [1, 0, 0, 0], rtype::A, class::ANY, b"");
        let view = QueryView::parse(&plain).unwrap();
        assert_eq!((view.udp_octets(), view.wants_authentic(), view.edns()), (512, false, None));
    }

    #[test]
    fn nothing_is_said_to_fragments_and_responses() {
        for len in 0..12 {
            assert_eq!(QueryView::parse(&vec![0; len]).unwrap_err(), Malformed::Unanswered(Unanswered::TooShort));
        }
        let response = query(0x8000, [1, 0, 0, 0], rtype::A, class::IN, b"");
        assert_eq!(QueryView::parse(&response).unwrap_err(), Malformed::Unanswered(Unanswered::Response));
        // Also where everything else about it is wrong.
        let response = query(0xf800, [9, 9, 9, 9], rtype::A, class::IN, b"");
        assert_eq!(QueryView::parse(&response).unwrap_err(), Malformed::Unanswered(Unanswered::Response));
    }

    #[test]
    fn faults_and_what_they_repeat() {
        let two_opts = [OPT, OPT].concat();
        let bad_option = b"\0\0\x29\x04\xd0\0\0\0\0\0\x04\0\x0a\0\x09";
        let version_9 = b"\0\0\x29\x04\xd0\0\x09\0\0\0\x03abc";
        let named_opt = b"\x01a\0\0\x29\x04\xd0\0\0\0\0\0\0";
        type Case<'a> = (u16, [u16; 4], u16, u16, &'a [u8], Rcode, bool, bool);
        let cases: &[Case<'_>] = &[
            // flags, counts, type, class, after the question; rcode, question repeated, OPT repeated
            (0x2800, [1, 0, 0, 0], rtype::A, class::IN, b"", Rcode::NOTIMP, false, false),
            (0, [0, 0, 0, 0], rtype::A, class::IN, b"", Rcode::FORMERR, false, false),
            (0, [2, 0, 0, 0], rtype::A, class::IN, b"\x01a\0\0\x01\0\x01", Rcode::FORMERR, false, false),
            (0, [1, 0, 0, 0], rtype::A, class::IN, b"junk", Rcode::FORMERR, true, false),
            (0, [1, 0, 0, 1], rtype::A, class::IN, &[OPT, b"j"].concat(), Rcode::FORMERR, true, true),
            (0, [1, 1, 0, 0], rtype::A, class::IN, b"\0\0\x01\0\x01\0\0\0\0\0\0", Rcode::FORMERR, true, false),
            (0, [1, 0, 1, 0], rtype::A, class::IN, b"\0\0\x01\0\x01\0\0\0\0\0\0", Rcode::FORMERR, true, false),
            (0, [1, 0, 0, 2], rtype::A, class::IN, OPT, Rcode::FORMERR, true, true),
            (0, [1, 0, 0, 2], rtype::A, class::IN, &two_opts, Rcode::FORMERR, true, true),
            (0, [1, 0, 0, 1], rtype::A, class::IN, bad_option, Rcode::FORMERR, true, true),
            (0, [1, 0, 0, 1], rtype::A, class::IN, named_opt, Rcode::FORMERR, true, false),
            (0, [1, 0, 0, 1], rtype::A, class::IN, version_9, Rcode::BADVERS, true, true),
            (
                0,
                [1, 0, 0, 1],
                rtype::A,
                class::IN,
                b"\0\0\x29\x04\xd0\0\0\0\0\0\x05\0\x0a\0\x01x",
                Rcode::FORMERR,
                true,
                true,
            ),
            (0, [1, 0, 0, 0], rtype::TXT, 3, b"", Rcode::REFUSED, true, false),
            (0, [1, 0, 0, 1], rtype::AXFR, class::IN, OPT, Rcode::REFUSED, true, true),
            (0, [1, 0, 0, 0], rtype::IXFR, class::IN, b"", Rcode::REFUSED, true, false),
            (0, [1, 0, 0, 0], rtype::MAILA, class::IN, b"", Rcode::NOTIMP, true, false),
            (0, [1, 0, 0, 0], rtype::MAILB, class::IN, b"", Rcode::NOTIMP, true, false),
            (0, [1, 0, 0, 0], rtype::OPT, class::IN, b"", Rcode::NOTIMP, true, false),
            (0, [1, 0, 0, 0], rtype::TSIG, class::IN, b"", Rcode::NOTIMP, true, false),
            (0, [1, 0, 0, 0], rtype::NXNAME, class::IN, b"", Rcode::FORMERR, true, false),
        ];
        for &(flags, counts, qtype, qclass, rest, rcode, question, opt) in cases {
            let message = query(flags, counts, qtype, qclass, rest);
            let fault = fault(&message);
            assert_eq!(
                (fault.rcode, fault.question.is_some(), fault.edns.is_some()),
                (rcode, question, opt),
                "{message:x?}"
            );
            assert_eq!((fault.header.id, fault.header.flags), (0x1234, Flags(flags)));
        }
    }

    #[test]
    fn questions_that_cannot_be_read() {
        let header = Header { id: 1, flags: Flags(0), questions: 1, answers: 0, authorities: 0, additionals: 0 };
        let too_long = [&b"\x3f"[..], &[b'x'; 63]].concat().repeat(4);
        let cases: [&[u8]; 6] = [
            b"",
            b"\xc0\x0c\0\x01\0\x01",
            b"\x01a\xc0\x0c\0\x01\0\x01",
            b"\x41a\0\0\x01\0\x01",
            b"\x01a\0\0\x01\0",
            &too_long,
        ];
        for question in cases {
            let message = [&header.to_octets()[..], question].concat();
            assert_eq!((fault(&message).rcode, fault(&message).question), (Rcode::FORMERR, None), "{question:x?}");
        }
    }

    #[test]
    fn what_means_nothing_is_passed_over() {
        // The reserved flag, an unknown option, a TSIG, a record whose owner is a pointer.
        let unknown = b"\0\0\x29\x04\xd0\0\0\0\0\0\x06\xfd\xe9\0\x02xx";
        let tsig = b"\x01k\0\0\xfa\0\xff\0\0\0\0\0\x01x";
        let pointed = b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x01x";
        let message = query(0x0140, [1, 0, 0, 3], rtype::A, class::IN, &[&unknown[..], tsig, pointed].concat());
        assert!(QueryView::parse(&message).is_ok());
        // AA, TC, RA and Z are for replies, or for nobody.
        let flagged = query(0x07c0, [1, 0, 0, 0], rtype::A, class::IN, b"");
        assert!(QueryView::parse(&flagged).is_ok());
        let small = query(0x0100, [1, 0, 0, 1], rtype::A, class::IN, b"\0\0\x29\0\0\0\0\0\0\0\0");
        assert_eq!(QueryView::parse(&small).unwrap().udp_octets(), 512, "less than 512 means 512 (RFC 6891 §6.2.3)");
    }

    fn labels() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=63), 0..5)
            .prop_filter("255 octets", |labels| labels.iter().map(|label| label.len() + 1).sum::<usize>() < 255)
    }

    proptest! {
        #[test]
        fn reads_what_hickory_writes(
            id: u16, rd: bool, cd: bool, ad: bool, labels in labels(), qtype in 1..41_u16, any_class: bool,
            edns in prop::option::of((any::<u16>(), any::<bool>())),
        ) {
            let name = HickoryName::from_labels(labels.iter().map(Vec::as_slice)).unwrap();
            let mut message = Message::new(id, MessageType::Query, OpCode::Query);
            message.metadata.recursion_desired = rd;
            message.metadata.checking_disabled = cd;
            message.metadata.authentic_data = ad;
            let mut query = Query::query(name, RecordType::from(qtype));
            query.set_query_class(if any_class { DNSClass::ANY } else { DNSClass::IN });
            message.add_query(query);
            if let Some((octets, dnssec_ok)) = edns {
                let mut opt = HickoryEdns::new();
                opt.set_max_payload(octets).set_dnssec_ok(dnssec_ok);
                message.set_edns(opt);
            }
            let octets = message.to_vec().unwrap();
            let view = QueryView::parse(&octets).unwrap();
            prop_assert_eq!(view.header().id, id);
            prop_assert_eq!((view.recursion_desired(), view.checking_disabled()), (rd, cd));
            prop_assert_eq!((view.qtype(), view.qclass()), (qtype, if any_class { 255 } else { 1 }));
            let lower: Vec<_> = labels.iter().map(|label| label.to_ascii_lowercase()).collect();
            prop_assert_eq!(view.name().labels().map(<[u8]>::to_vec).collect::<Vec<_>>(), lower);
            prop_assert_eq!(view.edns().map(|edns| (edns.udp_octets, edns.dnssec_ok)), edns.map(|(octets, d)| (octets.max(512), d)));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(view) = QueryView::parse(&bytes) {
                prop_assert!(NameRef::from_wire(view.name().as_wire()).is_ok());
            }
        }

        #[test]
        fn what_a_query_is_cut_or_bent_into_is_read_or_refused(at in 0..60_usize, octet: u8, cut in 0..60_usize) {
            let mut message = query(0x0120, [1, 0, 0, 1], rtype::A, class::IN, OPT);
            if let Some(bent) = message.get_mut(at) {
                *bent = octet;
            }
            message.truncate(message.len() - cut.min(message.len()));
            let _ = QueryView::parse(&message);
        }
    }
}
