//! Writes a reply into a given buffer: header, question as asked, records, OPT. No allocation; what does not fit is refused
//! whole, so that a reply is either well-formed or cut to its question with TC set.

use super::{Edns, Fault, Flags, HEADER_OCTETS, Header, QueryView, Rcode, option, rtype};
use crate::base::model::limits::UDP_OCTETS_MAX;

/// A pointer to the question's name, which always stands right after the header.
const QUESTION_NAME: [u8; 2] = [0xc0, 0x0c];
/// Octets of an OPT without options.
const OPT_OCTETS: usize = 11;

/// Options that every reply to a query carries, whatever else it says. They go into an OPT, so only where the client sent one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReplyOptions {
    /// The client's cookie with ours after it (RFC 7873 §5.2).
    pub cookie: Option<[u8; 24]>,
    /// How long the stream may idle, in tenths of a second (RFC 7828).
    pub keepalive: Option<u16>,
}

impl ReplyOptions {
    /// Octets that they take.
    const fn octets(&self) -> usize {
        (if self.cookie.is_some() { 4 + 24 } else { 0 }) + (if self.keepalive.is_some() { 4 + 2 } else { 0 })
    }
}

/// What a reply repeats of its query.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The query's id.
    pub id: u16,
    /// The query's flags.
    pub flags: Flags,
    /// The question section as it came; empty where it could not be read.
    pub question: &'a [u8],
    /// Whether the client sent an OPT, and wants DNSSEC records.
    pub edns: Option<bool>,
    /// The options that it carries.
    pub options: ReplyOptions,
}

impl<'a> From<&QueryView<'a>> for Head<'a> {
    fn from(query: &QueryView<'a>) -> Self {
        let header = query.header();
        let edns = query.edns().map(|edns| edns.dnssec_ok);
        Self { id: header.id, flags: header.flags, question: query.question(), edns, options: *query.reply_options() }
    }
}

impl<'a> From<&Fault<'a>> for Head<'a> {
    fn from(fault: &Fault<'a>) -> Self {
        let edns = fault.edns.map(|Edns { dnssec_ok, .. }| dnssec_ok);
        let question = fault.question.unwrap_or_default();
        Self { id: fault.header.id, flags: fault.header.flags, question, edns, options: ReplyOptions::default() }
    }
}

/// A reply in the making. Room for an OPT with the options of its head is kept from the start where the client sent one.
#[derive(Debug)]
pub struct Reply<'o> {
    out: &'o mut [u8],
    at: usize,
    limit: usize,
    header: Header,
    edns: Option<bool>,
    options: ReplyOptions,
    question_end: usize,
}

impl<'o> Reply<'o> {
    /// Starts a reply of at most `limit` octets. RA is set; RD, CD and the opcode are repeated; AA, AD and TC are clear. With
    /// another opcode than QUERY the flags mean something else, or nothing: then none is set (RFC 8906 §3.1.4).
    /// `None` where not even the question and OPT fit.
    #[must_use]
    pub fn new(out: &'o mut [u8], limit: usize, head: &Head<'_>) -> Option<Self> {
        let flags = Flags(match head.flags.keep(Flags::OPCODE) {
            0 => {
                let repeated = head.flags.keep(Flags::RECURSION_DESIRED | Flags::CHECKING_DISABLED);
                Flags::RESPONSE | Flags::RECURSION_AVAILABLE | repeated
            }
            opcode => Flags::RESPONSE | opcode,
        });
        let questions = u16::from(!head.question.is_empty());
        let header = Header { id: head.id, flags, questions, answers: 0, authorities: 0, additionals: 0 };
        let kept = if head.edns.is_some() { OPT_OCTETS + head.options.octets() } else { 0 };
        let limit = limit.min(out.len()).checked_sub(kept)?;
        let (edns, options) = (head.edns, head.options);
        let mut reply = Self { out, at: HEADER_OCTETS, limit, header, edns, options, question_end: 0 };
        reply.put(&[head.question])?;
        reply.question_end = reply.at;
        Some(reply)
    }

    /// Sets AD: the data was validated upstream and the client wants to hear it.
    pub fn set_authentic(&mut self) {
        self.header.flags.0 |= Flags::AUTHENTIC;
    }

    /// Appends an answer record owned by the question's name, of class IN. `None`, and nothing written, where it does not fit.
    #[must_use]
    pub fn answer(&mut self, rtype: u16, ttl: u32, data: &[u8]) -> Option<()> {
        self.record(rtype, ttl, &[data])?;
        self.header.answers += 1;
        Some(())
    }

    /// Appends an SOA owned by the question's name to the authority section, for a negative answer (RFC 2308 §3). Its names
    /// are in wire form; its time to live is its minimum.
    #[must_use]
    pub fn soa(&mut self, server: &[u8], contact: &[u8], serial: u32, ttl: u32) -> Option<()> {
        let numbers = [serial, 3600, 600, 86_400, ttl].map(u32::to_be_bytes);
        self.record(rtype::SOA, ttl, &[server, contact, numbers.as_flattened()])?;
        self.header.authorities += 1;
        Some(())
    }

    /// Appends everything after the question of a message whose question is as long; gives the octets for patching.
    #[must_use]
    pub fn sections(&mut self, counts: &Header, octets: &[u8]) -> Option<&mut [u8]> {
        let start = self.at;
        self.put(&[octets])?;
        self.header.answers = counts.answers;
        self.header.authorities = counts.authorities;
        self.header.additionals = counts.additionals;
        self.out.get_mut(start..self.at)
    }

    /// Leaves header, question and OPT alone, with TC set: the client asks again over TCP.
    pub fn truncate(&mut self) {
        self.at = self.question_end;
        self.header.flags.0 |= Flags::TRUNCATED;
        self.header.flags.0 &= !Flags::AUTHENTIC;
        (self.header.answers, self.header.authorities, self.header.additionals) = (0, 0, 0);
    }

    /// Ends the reply with this response code and, where the client sent an OPT, an OPT with these whole options; options that
    /// do not fit are left out. Gives the reply's length.
    #[must_use]
    pub fn finish(mut self, rcode: Rcode, options: &[u8]) -> usize {
        if let Some(dnssec_ok) = self.edns {
            self.limit += OPT_OCTETS + self.options.octets();
            let left = self.limit - self.at;
            let fits = left >= OPT_OCTETS + options.len() + self.options.octets();
            self.opt(rcode, dnssec_ok, if fits { options } else { &[] });
        }
        self.header.flags.0 |= rcode.low();
        if let Some(head) = self.out.first_chunk_mut() {
            *head = self.header.to_octets();
        }
        self.at
    }

    fn opt(&mut self, rcode: Rcode, dnssec_ok: bool, options: &[u8]) {
        let [high, low] = u16::try_from(UDP_OCTETS_MAX).unwrap_or(512).to_be_bytes();
        let len = u16::try_from(options.len() + self.options.octets()).unwrap_or_default().to_be_bytes();
        let dnssec_ok = if dnssec_ok { 0x80 } else { 0 };
        let opt = [0, 0, 41, high, low, rcode.high(), 0, dnssec_ok, 0];
        let mut written = self.put(&[&opt, &len, options]);
        let ReplyOptions { cookie, keepalive } = self.options;
        if let Some(cookie) = cookie {
            written = written.and_then(|()| self.put(&[&option::COOKIE.to_be_bytes(), &[0, 24], &cookie]));
        }
        if let Some(tenths) = keepalive {
            let option = [option::KEEPALIVE.to_be_bytes(), [0, 2], tenths.to_be_bytes()];
            written = written.and_then(|()| self.put(&[option.as_flattened()]));
        }
        if written.is_some() {
            self.header.additionals += 1;
        }
    }

    fn record(&mut self, rtype: u16, ttl: u32, data: &[&[u8]]) -> Option<()> {
        let len = u16::try_from(data.iter().map(|part| part.len()).sum::<usize>()).ok()?.to_be_bytes();
        let start = self.at;
        let head = [&QUESTION_NAME[..], &rtype.to_be_bytes(), &[0, 1], &ttl.to_be_bytes(), &len];
        let written = self.put(&head).and_then(|()| self.put(data));
        if written.is_none() {
            self.at = start;
        }
        written
    }

    fn put(&mut self, parts: &[&[u8]]) -> Option<()> {
        for part in parts {
            let end = self.at + part.len();
            if end > self.limit {
                return None;
            }
            self.out.get_mut(self.at..end)?.copy_from_slice(part);
            self.at = end;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AnswerView, class};
    use super::*;
    use hickory_proto::op::{Message, ResponseCode};
    use hickory_proto::rr::{RData, RecordType};

    const QUERY: &[u8] =
        b"\x12\x34\x01\x30\0\x01\0\0\0\0\0\x01\x02Ab\x07example\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\x80\0\0\0";

    fn head() -> Head<'static> {
        Head::from(&QueryView::parse(QUERY).unwrap())
    }

    #[test]
    fn a_whole_reply_reads_back() {
        let mut out = [0; 512];
        let mut reply = Reply::new(&mut out, 512, &head()).unwrap();
        reply.answer(rtype::A, 7, &[0, 0, 0, 0]).unwrap();
        reply.soa(b"\x01m\0", b"\x01r\0", 9, 60).unwrap();
        let len = reply.finish(Rcode::NXDOMAIN, b"\0\x0f\0\x04\0\x10hi");
        let message = Message::from_vec(&out[..len]).unwrap();
        assert_eq!(message.metadata.id, 0x1234);
        let flags = &message.metadata;
        assert!(flags.recursion_desired && flags.recursion_available && flags.checking_disabled);
        assert!(!flags.authoritative && !flags.authentic_data && !flags.truncation);
        assert_eq!(flags.response_code, ResponseCode::NXDomain);
        assert_eq!(message.queries[0].name().to_string(), "Ab.example.", "case as asked");
        assert_eq!((message.answers[0].ttl, message.answers[0].record_type()), (7, RecordType::A));
        let RData::SOA(soa) = &message.authorities[0].data else { panic!("{message:?}") };
        assert_eq!((soa.minimum, soa.serial, message.authorities[0].ttl), (60, 9, 60));
        assert_eq!(message.authorities[0].name.to_string(), "Ab.example.");
        let edns = message.edns.unwrap();
        assert_eq!((edns.max_payload(), edns.flags().dnssec_ok, edns.version()), (1232, true, 0));
        assert!(out[..len].ends_with(b"\0\x0f\0\x04\0\x10hi"));
    }

    #[test]
    fn options_of_the_head_are_kept_when_everything_else_has_to_go() {
        let options = ReplyOptions { cookie: Some([7; 24]), keepalive: Some(100) };
        let head = Head { options, ..head() };
        let mut out = [0; 512];
        let least = 12 + 16 + 11 + 28 + 6;
        assert!(Reply::new(&mut out, least - 1, &head).is_none());
        let reply = Reply::new(&mut out, least, &head).unwrap();
        let len = reply.finish(Rcode::NOERROR, &[0; 6]);
        assert_eq!(len, least, "other options do not fit");
        let (cookie, keepalive) = ([&[0, 10, 0, 24][..], &[7; 24]].concat(), [0, 11, 0, 2, 0, 100]);
        assert!(out[..len].ends_with(&[&cookie[..], &keepalive].concat()));
        let message = Message::from_vec(&out[..len]).unwrap();
        assert_eq!(message.edns.unwrap().options().as_ref().len(), 2);
        let mut plain = [0; 512];
        let reply = Reply::new(&mut plain, 512, &Head { edns: None, ..head }).unwrap();
        assert_eq!(reply.finish(Rcode::NOERROR, &[]), 12 + 16, "without an OPT there are none");
    }

    #[test]
    fn with_another_opcode_no_flag_is_set() {
        let mut out = [0; 512];
        let head = Head { flags: Flags(0x7bf0), question: &[], ..head() };
        let len = Reply::new(&mut out, 512, &head).unwrap().finish(Rcode::NOTIMP, &[]);
        assert_eq!((&out[2..4], len), (&[0xf8, 4][..], 12 + 11));
    }

    #[test]
    fn what_does_not_fit_is_left_out_whole() {
        let question_and_opt = 12 + 16 + 11;
        let mut out = [0; 512];
        assert!(Reply::new(&mut out, question_and_opt - 1, &head()).is_none());
        let mut reply = Reply::new(&mut out, question_and_opt + 15, &head()).unwrap();
        assert!(reply.answer(rtype::A, 7, &[0, 0, 0, 0]).is_none(), "16 octets");
        assert!(reply.sections(&Header::read(&mut crate::base::wire::Reader::new(QUERY)).unwrap(), &[0; 16]).is_none());
        reply.truncate();
        let len = reply.finish(Rcode::BADVERS, &[0; 16]);
        assert_eq!(len, question_and_opt, "options do not fit either");
        let message = Message::from_vec(&out[..len]).unwrap();
        assert!(message.metadata.truncation && message.answers.is_empty());
        assert_eq!(u16::from(message.metadata.response_code), 16);
        let view = AnswerView::parse(&out[..len]).unwrap();
        assert_eq!((view.qtype(), view.qclass(), view.header().additionals), (rtype::A, class::IN, 1));
        let mut small = [0; 20];
        assert!(Reply::new(&mut small, 512, &head()).is_none(), "the buffer is a limit too");
    }
}
