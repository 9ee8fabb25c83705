//! Writes a response record by record out of records of another: names are expanded where they were and compressed anew, so
//! that any record can be left out, moved or shortened without touching what another record's pointers lead to.
//!
//! Which data hold names: the types of RFC 1035, whose names are compressed here too, and those of RFC 3597 §4, whose names may
//! come compressed but are written in full. The data of all other types are copied as they are.

use super::name::{self, NameFault};
use super::{Flags, HEADER_OCTETS, Header, Rcode, Record, Section, rtype};
use crate::base::model::limits::MESSAGE_OCTETS_MAX;
use crate::base::wire::{Reader, Short};
use std::collections::BTreeMap;

/// Names whose place is remembered for compression.
const NAMES_MAX: usize = 512;
/// Octets into a message that a pointer can reach.
const POINTER_MAX: usize = 0x3fff;

/// Why a record cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// The message would pass 65,535 octets.
    #[error("the response would be longer than 65535 octets")]
    TooLong,
    /// The data of the record do not have their type's form.
    #[error("a record of type {0} has data that do not have that type's form")]
    Rdata(u16),
    /// A name cannot be expanded.
    #[error("the response holds a name that cannot be read: {0}")]
    Name(#[from] NameFault),
}

impl From<Short> for ComposeError {
    fn from(_: Short) -> Self {
        Self::Name(NameFault::Short)
    }
}

/// A response in the making.
#[derive(Clone, Debug)]
pub struct Composer {
    octets: Vec<u8>,
    /// Octets of the question's name, which stands after the header.
    asked: usize,
    counts: [u16; 3],
    /// Where names were written that are no ending of the question's.
    names: BTreeMap<Box<[u8]>, u16>,
    ttls_at: Vec<u16>,
}

impl Composer {
    /// Starts a response with this question section: one name in wire form, type and class. `expected` octets of a response are
    /// written without a move.
    #[must_use]
    pub fn new(question: &[u8], expected: usize) -> Self {
        let mut octets = Vec::with_capacity(expected.max(HEADER_OCTETS + question.len()));
        octets.resize(HEADER_OCTETS, 0);
        octets.extend_from_slice(question);
        let asked = question.len().saturating_sub(4);
        Self { octets, asked, counts: [0; 3], names: BTreeMap::new(), ttls_at: Vec::new() }
    }

    /// Appends a record with another time to live.
    ///
    /// # Errors
    /// The record cannot be read, or the message would be too long; the message is of no use then.
    pub fn record(&mut self, record: &Record<'_>, ttl: u32) -> Result<(), ComposeError> {
        let at = self.head(record, ttl)?;
        self.data(record)?;
        self.close(record.section, at)
    }

    /// Appends a record with another time to live and other data, which hold no compressed name.
    ///
    /// # Errors
    /// The record's owner cannot be read, or the message would be too long; the message is of no use then.
    pub fn record_with(&mut self, record: &Record<'_>, ttl: u32, data: &[u8]) -> Result<(), ComposeError> {
        let at = self.head(record, ttl)?;
        self.octets.extend_from_slice(data);
        self.close(record.section, at)
    }

    /// Ends the message with id 0, this response code and these flags besides `QR`; gives it with the places of all times to live.
    #[must_use]
    pub fn finish(mut self, rcode: Rcode, flags: u16) -> (Vec<u8>, Vec<u16>) {
        let [answers, authorities, additionals] = self.counts;
        let flags = Flags(Flags::RESPONSE | flags | rcode.low());
        let header = Header { id: 0, flags, questions: 1, answers, authorities, additionals };
        if let Some(head) = self.octets.first_chunk_mut() {
            *head = header.to_octets();
        }
        (self.octets, self.ttls_at)
    }

    /// Owner, type, class, time to live and a length of zero; gives where the data start.
    fn head(&mut self, record: &Record<'_>, ttl: u32) -> Result<usize, ComposeError> {
        let owner = name::expand_raw(record.message(), record.owner_at())?;
        self.name(&owner, true);
        self.octets.extend_from_slice(&record.rtype.to_be_bytes());
        self.octets.extend_from_slice(&record.class.to_be_bytes());
        self.ttls_at.push(u16::try_from(self.octets.len()).map_err(|_| ComposeError::TooLong)?);
        self.octets.extend_from_slice(&ttl.to_be_bytes());
        self.octets.extend_from_slice(&[0, 0]);
        Ok(self.octets.len())
    }

    /// Writes the length of the data that started at `at`, and counts the record.
    fn close(&mut self, section: Section, at: usize) -> Result<(), ComposeError> {
        if self.octets.len() > MESSAGE_OCTETS_MAX {
            return Err(ComposeError::TooLong);
        }
        let len = u16::try_from(self.octets.len() - at).map_err(|_| ComposeError::TooLong)?;
        if let Some(into) = self.octets.get_mut(at - 2..at) {
            into.copy_from_slice(&len.to_be_bytes());
        }
        let [answers, authorities, additionals] = &mut self.counts;
        let count = match section {
            Section::Answer => answers,
            Section::Authority => authorities,
            Section::Additional => additionals,
        };
        *count = count.checked_add(1).ok_or(ComposeError::TooLong)?;
        Ok(())
    }

    fn data(&mut self, record: &Record<'_>) -> Result<(), ComposeError> {
        let (layout, compress) = layout(record.rtype);
        let data = record.data_range();
        let message = record.message();
        let mut reader = Reader::starting_at(message.get(..data.end).unwrap_or_default(), data.start);
        for part in layout {
            match part {
                Part::Octets(len) => self.octets.extend_from_slice(reader.take(*len)?),
                Part::Text => {
                    let len = reader.u8()?;
                    self.octets.push(len);
                    self.octets.extend_from_slice(reader.take(usize::from(len))?);
                }
                Part::Name => {
                    let expanded = name::expand_raw(message, reader.position())?;
                    name::skip(&mut reader)?;
                    self.name(&expanded, compress);
                }
                Part::Rest => {
                    self.octets.extend_from_slice(reader.rest());
                    return Ok(());
                }
            }
        }
        if reader.is_empty() { Ok(()) } else { Err(ComposeError::Rdata(record.rtype)) }
    }

    /// Writes a name given in uncompressed wire form, its ending as a pointer where it was written before.
    fn name(&mut self, raw: &[u8], compress: bool) {
        // Most owners are the name that was asked for: no table is needed for them.
        if compress && let Some(before) = self.in_question(raw) {
            self.octets.extend_from_slice(&(0xc000 | before).to_be_bytes());
            return;
        }
        let lower = raw.to_ascii_lowercase();
        let mut at = 0;
        while let Some(&len) = raw.get(at).filter(|&&len| len != 0) {
            let suffix = lower.get(at..).unwrap_or_default();
            let before = || self.in_question(suffix).or_else(|| self.names.get(suffix).copied());
            if compress && let Some(before) = before() {
                self.octets.extend_from_slice(&(0xc000 | before).to_be_bytes());
                return;
            }
            let here = self.octets.len();
            if here <= POINTER_MAX && self.names.len() < NAMES_MAX {
                self.names.entry(suffix.into()).or_insert_with(|| u16::try_from(here).unwrap_or_default());
            }
            let end = at + 1 + usize::from(len);
            self.octets.extend_from_slice(raw.get(at..end).unwrap_or_default());
            at = end;
        }
        self.octets.push(0);
    }

    /// Where in the question a name stands that is an ending of the one asked for, in any case of letters; the root nowhere.
    fn in_question(&self, name: &[u8]) -> Option<u16> {
        let asked = self.octets.get(HEADER_OCTETS..HEADER_OCTETS + self.asked)?;
        let start = asked.len().checked_sub(name.len()).filter(|_| name.len() > 1)?;
        let mut at = 0;
        while at < start {
            at += 1 + usize::from(*asked.get(at)?);
        }
        let same = at == start && asked.get(start..)?.eq_ignore_ascii_case(name);
        same.then(|| u16::try_from(HEADER_OCTETS + start).ok()).flatten()
    }
}

/// A part of a record's data.
enum Part {
    Octets(usize),
    Text,
    Name,
    Rest,
}

/// The parts of a type's data, and whether names among them are written compressed.
const fn layout(of: u16) -> (&'static [Part], bool) {
    use Part::{Name, Octets, Rest, Text};
    match of {
        // NS, MD, MF, CNAME, MB, MG, MR, PTR
        2..=5 | 7..=9 | rtype::PTR => (&[Name], true),
        rtype::SOA => (&[Name, Name, Octets(20)], true),
        // MINFO
        14 => (&[Name, Name], true),
        rtype::MX => (&[Octets(2), Name], true),
        // RP
        17 => (&[Name, Name], false),
        // AFSDB, RT, KX
        18 | 21 | 36 => (&[Octets(2), Name], false),
        // SIG
        24 => (&[Octets(18), Name, Rest], false),
        // PX
        26 => (&[Octets(2), Name, Name], false),
        // NXT
        30 => (&[Name, Rest], false),
        rtype::SRV => (&[Octets(6), Name], false),
        // NAPTR
        35 => (&[Octets(4), Text, Text, Text, Name], false),
        rtype::DNAME => (&[Name], false),
        _ => (&[Rest], false),
    }
}

#[cfg(test)]
mod tests {
    use super::super::AnswerView;
    use super::*;
    use hickory_proto::op::{Message, MessageType, OpCode, Query};
    use hickory_proto::rr::rdata::{A, CNAME, MX, NAPTR, NS, SOA, SRV, TXT};
    use hickory_proto::rr::{Name, RData, Record as HickoryRecord, RecordType};
    use proptest::prelude::*;

    fn name() -> impl Strategy<Value = Name> {
        prop::collection::vec(prop::sample::select(vec!["a", "B", "example", "xn--q", "com"]), 1..6)
            .prop_map(|labels| Name::from_labels(labels.iter().map(|label| label.as_bytes())).unwrap())
    }

    fn rdata() -> impl Strategy<Value = RData> {
        prop_oneof![
            any::<[u8; 4]>().prop_map(|octets| RData::A(A(octets.into()))),
            name().prop_map(|name| RData::CNAME(CNAME(name))),
            name().prop_map(|name| RData::NS(NS(name))),
            (any::<u16>(), name()).prop_map(|(preference, name)| RData::MX(MX::new(preference, name))),
            (any::<u16>(), name()).prop_map(|(port, name)| RData::SRV(SRV::new(1, 2, port, name))),
            name().prop_map(|name| RData::NAPTR(NAPTR::new(1, 2, (*b"s").into(), (*b"x").into(), (*b"").into(), name))),
            (name(), name(), any::<u32>()).prop_map(|(m, r, minimum)| RData::SOA(SOA::new(m, r, 9, 1, 2, 3, minimum))),
            "[a-z]{0,40}".prop_map(|text| RData::TXT(TXT::new(vec![text]))),
        ]
    }

    proptest! {
        #[test]
        fn what_is_left_reads_as_it_did(
            question in name(),
            records in prop::collection::vec((name(), any::<u32>(), rdata(), any::<bool>(), 0..2_u8), 0..12),
        ) {
            let mut message = Message::new(0, MessageType::Response, OpCode::Query);
            message.add_query(Query::query(question, RecordType::A));
            let mut keep = Vec::new();
            for (name, ttl, data, kept, section) in records {
                let record = HickoryRecord::from_rdata(name, ttl >> 1, data);
                if section == 0 {
                    message.add_answer(record);
                    keep.insert(message.answers.len() - 1, kept);
                } else {
                    message.add_authority(record);
                    keep.push(kept);
                }
            }
            let octets = message.to_vec().unwrap();
            let view = AnswerView::parse(&octets).unwrap();
            let mut composer = Composer::new(view.question(), 0);
            for (record, _) in view.records().zip(&keep).filter(|(_, kept)| **kept) {
                let record = record.unwrap();
                composer.record(&record, record.ttl).unwrap();
            }
            let (composed, ttls_at) = composer.finish(Rcode::NXDOMAIN, Flags::AUTHENTIC);
            let back = Message::from_vec(&composed).unwrap();
            let mut left = keep.into_iter();
            message.answers.retain(|_| left.next().unwrap());
            message.authorities.retain(|_| left.next().unwrap());
            prop_assert_eq!(&back.answers, &message.answers);
            prop_assert_eq!(&back.authorities, &message.authorities);
            prop_assert_eq!(&back.queries, &message.queries);
            prop_assert!(back.metadata.authentic_data);
            let places: Vec<_> = AnswerView::parse(&composed).unwrap().records().map(|r| r.unwrap().ttl_at).collect();
            prop_assert_eq!(places, ttls_at.into_iter().map(usize::from).collect::<Vec<_>>());
            if message.answers.len() + message.authorities.len() == octets.len() {
                prop_assert!(composed.len() <= octets.len());
            }
        }
    }

    #[test]
    fn a_name_is_written_once_and_pointed_to_in_any_case() {
        let source = b"\0\0\x80\0\0\x01\0\x01\0\0\0\0\x01a\x02Bb\0\0\x01\0\x01\x01A\x02bB\0\0\x05\0\x01\0\0\0\x01\0\x07\x01x\x02bb\0";
        let source = [&source[..], b"x"].concat();
        let view = AnswerView::parse(&source).unwrap();
        let mut composer = Composer::new(view.question(), 0);
        let mut record = view.records().next().unwrap().unwrap();
        record.section = Section::Authority;
        assert_eq!(composer.record(&record, 5), Err(ComposeError::Rdata(5)), "an octet after the name");
        let mut composer = Composer::new(view.question(), 0);
        record.rtype = 99;
        composer.record_with(&record, 5, b"\x01x\0").unwrap();
        let (octets, ttls_at) = composer.finish(Rcode::NOERROR, 0);
        assert_eq!(
            octets,
            b"\0\0\x80\0\0\x01\0\0\0\x01\0\0\x01a\x02Bb\0\0\x01\0\x01\xc0\x0c\0\x63\0\x01\0\0\0\x05\0\x03\x01x\0"
        );
        assert_eq!(ttls_at, [28]);
    }
}
