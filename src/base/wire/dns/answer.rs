//! A borrowed view of a response: its question, and its records one by one.

use super::name::{self, NameFault};
use super::{Flags, HEADER_OCTETS, Header};
use crate::base::name::{NameBuf, NameRef};
use crate::base::wire::{Reader, Short};
use std::ops::Range;

/// What is wrong with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerFault {
    /// It ends before what its counts and lengths promise.
    #[error("the response ends before what its counts and lengths promise")]
    Short,
    /// It is a query.
    #[error("the message is no response to a query")]
    NotAResponse,
    /// It repeats no question, or several.
    #[error("the response does not repeat exactly one question")]
    Questions,
    /// A name cannot be expanded.
    #[error("the response holds a name that cannot be read: {0}")]
    Name(#[from] NameFault),
    /// The data of a record of a known type do not have that type's form.
    #[error("the response holds a record of type {0} whose data do not have that type's form")]
    Rdata(u16),
}

impl From<Short> for AnswerFault {
    fn from(_: Short) -> Self {
        Self::Short
    }
}

/// A response whose header and question are read; records are read as they are asked for.
#[derive(Clone, Debug)]
pub struct AnswerView<'a> {
    message: &'a [u8],
    header: Header,
    name: NameBuf,
    qtype: u16,
    qclass: u16,
    records_at: usize,
}

/// Where in a response a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// The answer.
    Answer,
    /// Whose answer it is, or why there is none.
    Authority,
    /// What may help.
    Additional,
}

impl<'a> AnswerView<'a> {
    /// Reads header and question.
    ///
    /// # Errors
    /// It is no response to a query with one readable, uncompressed question.
    pub fn parse(message: &'a [u8]) -> Result<Self, AnswerFault> {
        let mut reader = Reader::new(message);
        let header = Header::read(&mut reader)?;
        if !header.flags.has(Flags::RESPONSE) || header.flags.has(Flags::OPCODE) {
            return Err(AnswerFault::NotAResponse);
        }
        if header.questions != 1 {
            return Err(AnswerFault::Questions);
        }
        let name = name::read_plain(&mut reader)?;
        let qtype = reader.u16()?;
        let qclass = reader.u16()?;
        Ok(Self { message, header, name, qtype, qclass, records_at: reader.position() })
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The name that was asked for, lower-cased.
    #[must_use]
    pub fn name(&self) -> NameRef<'_> {
        self.name.as_ref()
    }

    /// The type that was asked for.
    #[must_use]
    pub const fn qtype(&self) -> u16 {
        self.qtype
    }

    /// The class that was asked for.
    #[must_use]
    pub const fn qclass(&self) -> u16 {
        self.qclass
    }

    /// The question section as it stands there.
    #[must_use]
    pub fn question(&self) -> &'a [u8] {
        self.message.get(HEADER_OCTETS..self.records_at).unwrap_or_default()
    }

    /// Where the first record starts.
    #[must_use]
    pub const fn records_at(&self) -> usize {
        self.records_at
    }

    /// The records in order; the first fault ends them.
    #[must_use]
    pub const fn records(&self) -> Records<'a> {
        Records {
            message: self.message,
            reader: Reader::starting_at(self.message, self.records_at),
            left: [self.header.answers, self.header.authorities, self.header.additionals],
        }
    }
}

/// The records of a response; made by [`AnswerView::records`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    message: &'a [u8],
    reader: Reader<'a>,
    left: [u16; 3],
}

impl<'a> Records<'a> {
    /// The records of any message, however many questions it has: multicast answers have none, and registrations are queries.
    #[must_use]
    pub fn read_any(message: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(message);
        let header = Header::read(&mut reader).ok()?;
        for _ in 0..header.questions {
            name::skip(&mut reader).ok()?;
            reader.take(4).ok()?;
        }
        Some(Self { message, reader, left: [header.answers, header.authorities, header.additionals] })
    }

    fn read(&mut self, section: Section) -> Result<Record<'a>, AnswerFault> {
        let owner_at = self.reader.position();
        name::skip(&mut self.reader)?;
        let rtype = self.reader.u16()?;
        let class = self.reader.u16()?;
        let ttl_at = self.reader.position();
        let ttl = self.reader.u32()?;
        let len = self.reader.u16()?;
        let start = self.reader.position();
        self.reader.take(usize::from(len))?;
        let data = start..self.reader.position();
        Ok(Record { message: self.message, owner_at, section, rtype, class, ttl, ttl_at, data })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, AnswerFault>;

    fn next(&mut self) -> Option<Self::Item> {
        let [answers, authorities, additionals] = &mut self.left;
        let (section, left) = if *answers > 0 {
            (Section::Answer, answers)
        } else if *authorities > 0 {
            (Section::Authority, authorities)
        } else if *additionals > 0 {
            (Section::Additional, additionals)
        } else {
            return None;
        };
        *left -= 1;
        let record = self.read(section);
        if record.is_err() {
            self.left = [0; 3];
        }
        Some(record)
    }
}

/// One record of a response.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    message: &'a [u8],
    owner_at: usize,
    /// Where it stands.
    pub section: Section,
    /// Its type.
    pub rtype: u16,
    /// Its class.
    pub class: u16,
    /// Its time to live, in seconds, as it was sent.
    pub ttl: u32,
    /// Where in the message the time to live stands.
    pub ttl_at: usize,
    data: Range<usize>,
}

impl<'a> Record<'a> {
    /// The owner, expanded and lower-cased.
    ///
    /// # Errors
    /// It cannot be expanded.
    pub fn owner(&self) -> Result<NameBuf, NameFault> {
        name::expand(self.message, self.owner_at)
    }

    /// The data as they stand there; names in them may be compressed.
    #[must_use]
    pub fn data(&self) -> &'a [u8] {
        self.message.get(self.data.clone()).unwrap_or_default()
    }

    /// Where in the message the data stand.
    #[must_use]
    pub const fn data_range(&self) -> &Range<usize> {
        &self.data
    }

    /// The whole message.
    pub(super) const fn message(&self) -> &'a [u8] {
        self.message
    }

    /// Where the owner starts.
    pub(super) const fn owner_at(&self) -> usize {
        self.owner_at
    }
}

#[cfg(test)]
mod tests {
    use super::super::rtype;
    use super::*;
    use hickory_proto::op::{Message, MessageType, OpCode, Query};
    use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, SOA, TXT};
    use hickory_proto::rr::{Name, RData, Record as HickoryRecord, RecordType};
    use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};
    use proptest::prelude::*;

    fn name() -> impl Strategy<Value = Name> {
        // Few labels, so that names share endings and the encoder compresses them.
        prop::collection::vec(prop::sample::select(vec!["a", "B", "example", "xn--q", "com"]), 1..6)
            .prop_map(|labels| Name::from_labels(labels.iter().map(|label| label.as_bytes())).unwrap())
    }

    fn rdata() -> impl Strategy<Value = RData> {
        prop_oneof![
            any::<[u8; 4]>().prop_map(|octets| RData::A(A(octets.into()))),
            any::<[u8; 16]>().prop_map(|octets| RData::AAAA(AAAA(octets.into()))),
            name().prop_map(|name| RData::CNAME(CNAME(name))),
            (any::<u16>(), name()).prop_map(|(preference, name)| RData::MX(MX::new(preference, name))),
            (name(), name(), any::<[u32; 2]>(), any::<u32>())
                .prop_map(|(m, r, [serial, minimum], _)| RData::SOA(SOA::new(m, r, serial, 1, 2, 3, minimum))),
            "[a-z]{0,40}".prop_map(|text| RData::TXT(TXT::new(vec![text]))),
        ]
    }

    fn records() -> impl Strategy<Value = Vec<HickoryRecord>> {
        prop::collection::vec((name(), any::<u32>(), rdata()), 0..8).prop_map(|all| {
            all.into_iter().map(|(name, ttl, data)| HickoryRecord::from_rdata(name, ttl >> 1, data)).collect()
        })
    }

    fn lower(name: &Name) -> Vec<Vec<u8>> {
        name.iter().map(<[u8]>::to_ascii_lowercase).collect()
    }

    fn labels(name: &NameBuf) -> Vec<Vec<u8>> {
        name.as_ref().labels().map(<[u8]>::to_vec).collect()
    }

    fn assert_equal(ours: &Record<'_>, theirs: &HickoryRecord) {
        assert_eq!(labels(&ours.owner().unwrap()), lower(&theirs.name));
        assert_eq!((ours.rtype, ours.class, ours.ttl), (theirs.record_type().into(), 1, theirs.ttl));
        match &theirs.data {
            RData::A(a) => assert_eq!(ours.address(), Ok(Some(a.0.into()))),
            RData::AAAA(a) => assert_eq!(ours.address(), Ok(Some(a.0.into()))),
            RData::CNAME(target) => assert_eq!(labels(&ours.target().unwrap().unwrap()), lower(&target.0)),
            RData::SOA(soa) => assert_eq!(ours.soa_minimum(), Ok(Some(soa.minimum))),
            RData::TXT(text) => {
                let mut octets = Vec::new();
                text.emit(&mut BinEncoder::new(&mut octets)).unwrap();
                assert_eq!(ours.data(), octets);
            }
            _ => assert_eq!(ours.rtype, rtype::MX),
        }
    }

    proptest! {
        #[test]
        fn reads_what_hickory_writes(
            id: u16, question in name(), answers in records(), authorities in records(), additionals in records(),
        ) {
            let mut message = Message::new(id, MessageType::Response, OpCode::Query);
            message.add_query(Query::query(question.clone(), RecordType::A));
            message.add_answers(answers).add_authorities(authorities).add_additionals(additionals);
            let octets = message.to_vec().unwrap();
            let view = AnswerView::parse(&octets).unwrap();
            prop_assert_eq!(view.name().labels().map(<[u8]>::to_vec).collect::<Vec<_>>(), lower(&question));
            prop_assert_eq!((view.header().id, view.qtype(), view.qclass()), (id, rtype::A, 1));
            let ours: Vec<_> = view.records().map(Result::unwrap).collect();
            let sections = [
                (Section::Answer, &message.answers),
                (Section::Authority, &message.authorities),
                (Section::Additional, &message.additionals),
            ];
            let theirs: Vec<_> = sections.iter().flat_map(|(section, all)| all.iter().map(move |one| (*section, one))).collect();
            prop_assert_eq!(ours.len(), theirs.len());
            for (ours, (section, theirs)) in ours.iter().zip(theirs) {
                prop_assert_eq!(ours.section, section);
                assert_equal(ours, theirs);
                let ttl = octets.get(ours.ttl_at..ours.ttl_at + 4).unwrap();
                prop_assert_eq!(u32::from_be_bytes(ttl.try_into().unwrap()), ours.ttl);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(
            mut bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xc0), 0..16_u8], 0..700), header: bool,
        ) {
            if header && bytes.len() >= 12 {
                bytes[2..12].copy_from_slice(&[0x80, 0, 0, 1, 0, 9, 0, 9, 0, 9]);
            }
            let Ok(view) = AnswerView::parse(&bytes) else { return Ok(()) };
            for record in view.records().flatten() {
                let _ = (record.owner(), record.target(), record.address(), record.soa_minimum(), record.svcb());
            }
        }
    }

    #[test]
    fn what_is_no_response_is_refused() {
        let fault = |octets: &[u8]| AnswerView::parse(octets).unwrap_err();
        assert_eq!(fault(&[0; 12]), AnswerFault::NotAResponse);
        assert_eq!(fault(b"\0\0\x80\0\0\0\0\0\0\0\0\0"), AnswerFault::Questions);
        assert_eq!(fault(b"\0\0\x80\0\0\x01\0\0\0\0\0\0"), AnswerFault::Name(NameFault::Short));
        assert_eq!(fault(b"\0\0\xa8\0\0\x01\0\0\0\0\0\0\0\0\x01\0\x01"), AnswerFault::NotAResponse);
        // A count that nothing stands behind ends the records at once.
        let view = AnswerView::parse(b"\0\0\x80\0\0\x01\xff\xff\xff\xff\xff\xff\0\0\x01\0\x01").unwrap();
        assert_eq!(view.records().count(), 1);
    }
}
