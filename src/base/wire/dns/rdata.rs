//! The data of the record types that decide something: addresses, aliases, service bindings, the SOA's minimum.

use super::answer::AnswerFault;
use super::name;
use super::{Record, rtype};
use crate::base::name::{NameBuf, NameRef};
use crate::base::wire::Reader;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Octets of the five numbers at the end of an SOA.
const SOA_NUMBERS: usize = 20;

impl<'a> Record<'a> {
    /// The address of an A or AAAA; `None` for other types.
    ///
    /// # Errors
    /// The data are not 4 or 16 octets.
    pub fn address(&self) -> Result<Option<IpAddr>, AnswerFault> {
        let wrong = |_| AnswerFault::Rdata(self.rtype);
        match self.rtype {
            rtype::A => <[u8; 4]>::try_from(self.data()).map(|octets| Some(IpAddr::from(octets))).map_err(wrong),
            rtype::AAAA => <[u8; 16]>::try_from(self.data()).map(|octets| Some(IpAddr::from(octets))).map_err(wrong),
            _ => Ok(None),
        }
    }

    /// Where a CNAME or DNAME leads; `None` for other types.
    ///
    /// # Errors
    /// The data are not exactly one name.
    pub fn target(&self) -> Result<Option<NameBuf>, AnswerFault> {
        if !matches!(self.rtype, rtype::CNAME | rtype::DNAME) {
            return Ok(None);
        }
        let mut reader = self.reader();
        name::skip(&mut reader)?;
        if !reader.is_empty() {
            return Err(AnswerFault::Rdata(self.rtype));
        }
        Ok(Some(name::expand(self.message(), self.data_range().start)?))
    }

    /// The last number of an SOA, which bounds how long absence is believed (RFC 2308 §4); `None` for other types.
    ///
    /// # Errors
    /// The data are not two names and five numbers.
    pub fn soa_minimum(&self) -> Result<Option<u32>, AnswerFault> {
        if self.rtype != rtype::SOA {
            return Ok(None);
        }
        let mut reader = self.reader();
        name::skip(&mut reader)?;
        name::skip(&mut reader)?;
        reader.take(SOA_NUMBERS - 4)?;
        let minimum = reader.u32()?;
        if reader.is_empty() { Ok(Some(minimum)) } else { Err(AnswerFault::Rdata(self.rtype)) }
    }

    /// The type that an RRSIG signs; `None` for other types.
    ///
    /// # Errors
    /// The data end before it.
    pub fn signed_type(&self) -> Result<Option<u16>, AnswerFault> {
        if self.rtype != rtype::RRSIG { Ok(None) } else { Ok(Some(self.reader().u16()?)) }
    }

    /// The service binding of an SVCB or HTTPS; `None` for other types.
    ///
    /// # Errors
    /// The data are not a priority, an uncompressed name and parameters in ascending order (RFC 9460 §2.2).
    pub fn svcb(&self) -> Result<Option<Svcb<'a>>, AnswerFault> {
        if !matches!(self.rtype, rtype::SVCB | rtype::HTTPS) {
            return Ok(None);
        }
        let wrong = AnswerFault::Rdata(self.rtype);
        let mut reader = self.reader();
        let priority = reader.u16()?;
        let target = name::read_plain(&mut reader)?;
        let params = SvcbParams(reader);
        let mut last = None;
        let mut check = params;
        while !check.0.is_empty() {
            let (key, value) = check.next().ok_or(wrong)?;
            let whole = match key {
                Svcb::IPV4HINT => !value.is_empty() && value.len().is_multiple_of(4),
                Svcb::IPV6HINT => !value.is_empty() && value.len().is_multiple_of(16),
                Svcb::MANDATORY => !value.is_empty() && value.len().is_multiple_of(2),
                _ => true,
            };
            if !whole || last.is_some_and(|last| key <= last) {
                return Err(wrong);
            }
            last = Some(key);
        }
        Ok(Some(Svcb { priority, target, params }))
    }

    /// Checks the form of the data where the type is one of those above.
    ///
    /// # Errors
    /// They do not have it.
    pub fn check(&self) -> Result<(), AnswerFault> {
        self.address()?;
        self.target()?;
        self.soa_minimum()?;
        self.signed_type()?;
        self.svcb().map(|_| ())
    }

    /// A cursor over the data alone, with positions of the message.
    fn reader(&self) -> Reader<'a> {
        let data = self.data_range();
        Reader::starting_at(self.message().get(..data.end).unwrap_or_default(), data.start)
    }
}

/// A service binding (RFC 9460).
#[derive(Clone, Debug)]
pub struct Svcb<'a> {
    /// 0 is an alias; else smaller is preferred.
    pub priority: u16,
    target: NameBuf,
    params: SvcbParams<'a>,
}

impl<'a> Svcb<'a> {
    /// Key of the list of keys that a client must understand.
    pub const MANDATORY: u16 = 0;
    /// Key of the IPv4 hints.
    pub const IPV4HINT: u16 = 4;
    /// Key of the ECH configuration.
    pub const ECH: u16 = 5;
    /// Key of the IPv6 hints.
    pub const IPV6HINT: u16 = 6;

    /// Where it leads; the root stands for the owner itself.
    #[must_use]
    pub fn target(&self) -> NameRef<'_> {
        self.target.as_ref()
    }

    /// The parameters in ascending order of their keys.
    #[must_use]
    pub const fn params(&self) -> SvcbParams<'a> {
        self.params
    }

    /// The value of a parameter.
    #[must_use]
    pub fn param(&self, key: u16) -> Option<&'a [u8]> {
        self.params.into_iter().find_map(|(have, value)| (have == key).then_some(value))
    }

    /// The address hints.
    pub fn hints(&self) -> impl Iterator<Item = IpAddr> + use<'a> {
        let v4 = self.param(Self::IPV4HINT).unwrap_or_default();
        let v6 = self.param(Self::IPV6HINT).unwrap_or_default();
        let v4 = v4.as_chunks().0.iter().map(|&octets: &[u8; 4]| IpAddr::V4(Ipv4Addr::from(octets)));
        v4.chain(v6.as_chunks().0.iter().map(|&octets: &[u8; 16]| IpAddr::V6(Ipv6Addr::from(octets))))
    }

    /// Whether there is an ECH configuration, which would hide the server name from everybody on the way.
    #[must_use]
    pub fn has_ech(&self) -> bool {
        self.param(Self::ECH).is_some()
    }

    /// Whether a client may not use this without understanding ECH.
    #[must_use]
    pub fn demands_ech(&self) -> bool {
        self.param(Self::MANDATORY)
            .is_some_and(|keys| keys.as_chunks().0.iter().any(|&key: &[u8; 2]| u16::from_be_bytes(key) == Self::ECH))
    }

    /// The data again without the ECH configuration, uncompressed.
    #[must_use]
    pub fn without_ech(&self) -> Vec<u8> {
        let mut data = self.priority.to_be_bytes().to_vec();
        data.extend_from_slice(self.target.as_ref().as_wire());
        for (key, value) in self.params.into_iter().filter(|&(key, _)| key != Self::ECH) {
            data.extend_from_slice(&key.to_be_bytes());
            data.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
            data.extend_from_slice(value);
        }
        data
    }
}

/// The parameters of a service binding: key and value.
#[derive(Clone, Copy, Debug)]
pub struct SvcbParams<'a>(Reader<'a>);

impl<'a> Iterator for SvcbParams<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.0.u16().ok()?;
        let len = self.0.u16().ok()?;
        let value = self.0.take(usize::from(len)).ok()?;
        Some((key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::super::AnswerView;
    use super::*;
    use hickory_proto::op::{Message, MessageType, OpCode, Query};
    use hickory_proto::rr::rdata::svcb::{Alpn, EchConfigList, IpHint, SVCB, SvcParamKey, SvcParamValue};
    use hickory_proto::rr::rdata::{A, AAAA, HTTPS};
    use hickory_proto::rr::{Name, RData, Record as HickoryRecord, RecordType};
    use proptest::prelude::*;

    /// A response for `q.example` with one record of this type and these data.
    fn response(rtype: u16, data: &[u8]) -> Vec<u8> {
        let mut octets = b"\0\x01\x80\0\0\x01\0\x01\0\0\0\0\x01q\x07example\0".to_vec();
        octets.extend(rtype.to_be_bytes());
        octets.extend(b"\0\x01\xc0\x0c");
        octets.extend(rtype.to_be_bytes());
        octets.extend(b"\0\x01\0\0\0\x3c");
        octets.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        octets.extend(data);
        octets
    }

    fn check(rtype: u16, data: &[u8]) -> Result<(), AnswerFault> {
        let octets = response(rtype, data);
        AnswerView::parse(&octets).unwrap().records().next().unwrap().unwrap().check()
    }

    #[test]
    fn data_without_their_types_form_are_refused() {
        let wrong = |rtype, data: &[u8]| assert!(check(rtype, data).is_err(), "{rtype} {data:x?}");
        wrong(rtype::A, b"\x01\x02\x03");
        wrong(rtype::A, b"\x01\x02\x03\x04\x05");
        wrong(rtype::AAAA, b"\x01\x02\x03\x04");
        wrong(rtype::CNAME, b"");
        wrong(rtype::CNAME, b"\x01a\0x");
        wrong(rtype::CNAME, b"\x05a");
        wrong(rtype::DNAME, b"\xc0\xff");
        wrong(rtype::SOA, b"\0\0\0\0\0\x01");
        wrong(rtype::RRSIG, b"\0");
        wrong(rtype::HTTPS, b"\0\x01\xc0\x0c");
        wrong(rtype::HTTPS, b"\0\x01\0\0\x01\0\x05h2");
        wrong(rtype::HTTPS, b"\0\x01\0\0\x04\0\x03abc");
        wrong(rtype::HTTPS, b"\0\x01\0\0\x04\0\0");
        wrong(rtype::HTTPS, b"\0\x01\0\0\x05\0\0\0\x04\0\x04abcd");
        wrong(rtype::HTTPS, b"\0\x01\0\0\x05\0\0\0\x05\0\0");
        wrong(rtype::SVCB, b"\0\x01\0\0");
        assert_eq!(check(rtype::HTTPS, b"\0\x01\0"), Ok(()));
        assert_eq!(check(rtype::TXT, b"\x09no"), Ok(()), "not looked into");
    }

    proptest! {
        #[test]
        fn bindings_read_as_hickory_writes_them(
            priority: u16, target in prop::collection::vec("[a-zA-Z]{1,9}", 0..4), alpn: bool,
            v4 in prop::collection::vec(any::<[u8; 4]>(), 0..4), v6 in prop::collection::vec(any::<[u8; 16]>(), 0..4),
            ech in prop::option::of(prop::collection::vec(any::<u8>(), 1..40)),
        ) {
            let mut params = Vec::new();
            if ech.is_some() && alpn {
                params.push((SvcParamKey::Mandatory, SvcParamValue::Mandatory(
                    hickory_proto::rr::rdata::svcb::Mandatory(vec![SvcParamKey::EchConfigList]))));
            }
            if alpn {
                params.push((SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(vec!["h2".to_owned()]))));
            }
            if !v4.is_empty() {
                params.push((SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(v4.iter().map(|&o| A(o.into())).collect()))));
            }
            if let Some(ech) = &ech {
                params.push((SvcParamKey::EchConfigList, SvcParamValue::EchConfigList(EchConfigList(ech.clone()))));
            }
            if !v6.is_empty() {
                params.push((SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(IpHint(v6.iter().map(|&o| AAAA(o.into())).collect()))));
            }
            let name = Name::from_labels(target.iter().map(|label| label.as_bytes())).unwrap();
            let owner = Name::from_ascii("q.example.").unwrap();
            let mut message = Message::new(7, MessageType::Response, OpCode::Query);
            message.add_query(Query::query(owner.clone(), RecordType::HTTPS));
            let data = RData::HTTPS(HTTPS(SVCB::new(priority, name, params)));
            message.add_answer(HickoryRecord::from_rdata(owner, 60, data));
            let octets = message.to_vec().unwrap();
            let record = AnswerView::parse(&octets).unwrap().records().next().unwrap().unwrap();
            let svcb = record.svcb().unwrap().unwrap();
            let labels: Vec<_> = svcb.target().labels().map(<[u8]>::to_vec).collect();
            let asked: Vec<_> = target.iter().map(|label| label.to_lowercase().into_bytes()).collect();
            prop_assert_eq!((svcb.priority, labels), (priority, asked));
            let hints: Vec<IpAddr> = v4.iter().map(|&o| o.into()).chain(v6.iter().map(|&o| o.into())).collect();
            prop_assert!(svcb.hints().eq(hints.iter().copied()));
            prop_assert_eq!((svcb.has_ech(), svcb.demands_ech()), (ech.is_some(), ech.is_some() && alpn));
            let stripped = response(rtype::HTTPS, &svcb.without_ech());
            let record = AnswerView::parse(&stripped).unwrap().records().next().unwrap().unwrap();
            let bare = record.svcb().unwrap().unwrap();
            prop_assert!(!bare.has_ech());
            prop_assert_eq!(bare.target(), svcb.target());
            prop_assert_eq!(bare.hints().collect::<Vec<_>>(), hints);
            prop_assert_eq!(bare.params().count(), svcb.params().count() - usize::from(ech.is_some()));
        }
    }
}
