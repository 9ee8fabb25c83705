//! Parts of rules as the kernel's attributes. Numbers are those of `linux/netfilter/nf_tables.h`.

use crate::engine::gateway::{Family, LOGGED_SHARE, Part, Protocol, Then};
use crate::io::sys::netlink::Writer;
use ipnet::IpNet;
use std::net::IpAddr;

const REGISTER_VERDICT: u32 = 0;
const REGISTER: u32 = 1;
const CODE_DROP: i32 = 0;
const CODE_JUMP: i32 = -3;
pub(super) const CODE_GOTO: i32 = -4;
const CODE_RETURN: i32 = -5;
const META_MARK: u32 = 3;
const META_IIFNAME: u32 = 6;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const BASE_NETWORK: u32 = 1;
const BASE_TRANSPORT: u32 = 2;
const CT_STATE: u32 = 0;
const CT_MARK: u32 = 3;
const OBJECT_COUNTER: u32 = 1;
pub(super) const INTERFACE_OCTETS: usize = 16;
const TCP_RST: u8 = 4;

/// The list element that expressions and elements are wrapped in.
pub(super) const LIST_ELEMENT: u16 = 1;

//----------- Rules ----------------------------------------------------------

/// How a rule can hand a packet to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queueing {
    /// By nftables' own `queue`.
    Native,
    /// By the target NFQUEUE of iptables, called from our own table.
    Target,
    /// Not at all.
    Missing,
}

impl Queueing {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "queue",
            Self::Target => "xt target NFQUEUE",
            Self::Missing => "none",
        }
    }
}

/// Writes the expressions of a rule.
pub(super) fn rule(writer: &mut Writer, parts: &[Part], queueing: Queueing) {
    let mut rule = Expressions { writer, family: None, protocol: None, queueing };
    for part in parts {
        rule.part(part);
    }
}

struct Expressions<'w> {
    writer: &'w mut Writer,
    /// The family that is asked for already.
    family: Option<Family>,
    /// The protocol that is asked for already.
    protocol: Option<Protocol>,
    queueing: Queueing,
}

impl Expressions<'_> {
    fn part(&mut self, part: &Part) {
        match part {
            Part::CameOver(set) => {
                self.meta(META_IIFNAME);
                self.lookup(set, false, None);
            }
            Part::NotOver(set) => {
                self.meta(META_IIFNAME);
                self.lookup(set, true, None);
            }
            Part::From(family, set) => self.address_in(*family, Side::Source, set, false),
            Part::NotFrom(family, set) => self.address_in(*family, Side::Source, set, true),
            Part::To(family, set) => self.address_in(*family, Side::Destination, set, false),
            Part::FromNet(net) => self.address_within(Side::Source, *net),
            Part::ToBlock(family, set) => self.block_in(*family, set),
            Part::ToNet(net) => self.address_within(Side::Destination, *net),
            Part::Established => self.established(),
            Part::Is(protocol) => self.protocol(*protocol),
            Part::ConnMark(mask, value) => {
                self.ct(CT_MARK);
                self.marked(*mask, *value);
            }
            Part::Mark(mask, value) => {
                self.meta(META_MARK);
                self.marked(*mask, *value);
            }
            Part::Bare(family, words) => self.bare(*family, *words),
            Part::IsReset => {
                self.protocol(Protocol::Tcp);
                self.payload(BASE_TRANSPORT, 13, 1);
                self.masked(&[TCP_RST]);
                self.equals(&[TCP_RST]);
            }
            Part::SetConnMark(mask, value) => {
                self.ct(CT_MARK);
                self.bits(&(!mask).to_ne_bytes(), &value.to_ne_bytes());
                self.expression("ct", |data| {
                    data.number(2, CT_MARK);
                    data.number(4, REGISTER);
                });
            }
            Part::ClearMark(mask) => {
                self.meta(META_MARK);
                self.masked(&(!mask).to_ne_bytes());
                self.expression("meta", |data| {
                    data.number(2, META_MARK);
                    data.number(3, REGISTER);
                });
            }
            Part::ToPortOf(set) => {
                self.payload(BASE_TRANSPORT, 2, 2);
                self.lookup(set, false, None);
            }
            Part::ToPort(port) => {
                self.payload(BASE_TRANSPORT, 2, 2);
                self.equals(&port.to_be_bytes());
            }
            Part::Count(counter) => self.expression("objref", |data| {
                data.number(1, OBJECT_COUNTER);
                data.text(2, counter);
            }),
            Part::Share(family, set) => self.share(*family, set),
            Part::Log(word, group) => self.expression("log", |data| {
                data.attribute(1, &group.to_be_bytes());
                data.text(2, word);
            }),
            Part::Then(then) => self.then(then),
        }
    }

    fn then(&mut self, then: &Then) {
        match then {
            Then::ChainOf(family, map) => {
                self.address(*family, Side::Destination);
                self.lookup(map, false, Some(REGISTER_VERDICT));
            }
            Then::Jump(chain) => self.verdict(CODE_JUMP, Some(chain)),
            Then::Queue(first, count) => self.queue(*first, *count),
            Then::Return => self.verdict(CODE_RETURN, None),
            Then::Drop => self.verdict(CODE_DROP, None),
            Then::Reset => self.expression("reject", |data| data.number(1, 1)),
            Then::Prohibited => self.expression("reject", |data| {
                data.number(1, 2);
                data.attribute(2, &[3]);
            }),
            Then::Redirect(port) => {
                self.expression("immediate", |data| {
                    data.number(1, REGISTER);
                    data.nested(2, |value| value.attribute(1, &port.to_be_bytes()));
                });
                self.expression("redir", |data| {
                    data.number(1, REGISTER);
                    data.number(3, 2);
                });
            }
        }
    }

    fn protocol(&mut self, protocol: Protocol) {
        if self.protocol == Some(protocol) {
            return;
        }
        self.protocol = Some(protocol);
        self.meta(META_L4PROTO);
        self.equals(&[match protocol {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }]);
    }

    /// Whether the length of a packet leaves no room for data behind a header of so many words.
    fn bare(&mut self, family: Family, words: u8) {
        self.of_family(family);
        // IPv4 has the length of all in its header, IPv6 that of what follows it.
        let (offset, header) = if family == Family::V4 { (2, 20) } else { (4, 0) };
        self.payload(BASE_NETWORK, offset, 2);
        self.equals(&(header + u16::from(words) * 4).to_be_bytes());
        self.protocol(Protocol::Tcp);
        self.payload(BASE_TRANSPORT, 12, 1);
        self.masked(&[0xf0]);
        self.equals(&[words << 4]);
    }

    fn ct(&mut self, key: u32) {
        self.expression("ct", |data| {
            data.number(2, key);
            data.number(1, REGISTER);
        });
    }

    fn marked(&mut self, mask: u32, value: u32) {
        self.masked(&mask.to_ne_bytes());
        self.equals(&value.to_ne_bytes());
    }

    fn queue(&mut self, first: u16, count: u16) {
        /// Where nobody reads the queue, packets pass.
        const BYPASS: u16 = 1;
        match self.queueing {
            Queueing::Native => self.expression("queue", |data| {
                data.attribute(1, &first.to_be_bytes());
                data.attribute(2, &count.to_be_bytes());
                data.attribute(3, &BYPASS.to_be_bytes());
            }),
            Queueing::Target => self.expression("target", |data| {
                data.text(1, "NFQUEUE");
                data.number(2, 3);
                let info = [first, count, BYPASS, 0].map(u16::to_ne_bytes);
                data.attribute(3, &info.concat());
            }),
            Queueing::Missing => self.verdict(CODE_RETURN, None),
        }
    }

    fn expression(&mut self, name: &str, data: impl FnOnce(&mut Writer)) {
        self.writer.nested(LIST_ELEMENT, |element| expression(element, name, data));
    }

    fn meta(&mut self, key: u32) {
        self.expression("meta", |data| {
            data.number(1, REGISTER);
            data.number(2, key);
        });
    }

    fn payload(&mut self, base: u32, offset: u32, length: u32) {
        self.expression("payload", |data| {
            data.number(1, REGISTER);
            data.number(2, base);
            data.number(3, offset);
            data.number(4, length);
        });
    }

    fn equals(&mut self, value: &[u8]) {
        self.expression("cmp", |data| {
            data.number(1, REGISTER);
            data.number(2, 0);
            data.nested(3, |inner| inner.attribute(1, value));
        });
    }

    fn lookup(&mut self, set: &str, not: bool, into: Option<u32>) {
        self.expression("lookup", |data| {
            data.text(1, set);
            data.number(2, REGISTER);
            if let Some(register) = into {
                data.number(3, register);
            }
            if not {
                data.number(5, 1);
            }
        });
    }

    fn verdict(&mut self, code: i32, chain: Option<&str>) {
        self.expression("immediate", |data| {
            data.number(1, REGISTER_VERDICT);
            data.nested(2, |inner| verdict(inner, code, chain));
        });
    }

    /// Loads an address, after asking for its family where that is not known yet.
    fn address(&mut self, family: Family, side: Side) {
        self.of_family(family);
        let (offset, length) = match (family, side) {
            (Family::V4, Side::Source) => (12, 4),
            (Family::V4, Side::Destination) => (16, 4),
            (Family::V6, Side::Source) => (8, 16),
            (Family::V6, Side::Destination) => (24, 16),
        };
        self.payload(BASE_NETWORK, offset, length);
    }

    fn of_family(&mut self, family: Family) {
        if self.family != Some(family) {
            self.family = Some(family);
            self.meta(META_NFPROTO);
            self.equals(&[match family {
                Family::V4 => 2,
                Family::V6 => 10,
            }]);
        }
    }

    fn address_in(&mut self, family: Family, side: Side, set: &str, not: bool) {
        self.address(family, side);
        self.lookup(set, not, None);
    }

    fn block_in(&mut self, family: Family, set: &str) {
        self.address(family, Side::Destination);
        let mut mask = octets(family.least());
        mask.iter_mut().take(usize::from(family.block_bits() / 8)).for_each(|octet| *octet = 0xff);
        self.masked(&mask);
        self.lookup(set, false, None);
    }

    fn address_within(&mut self, side: Side, net: IpNet) {
        self.address(Family::of(net.addr()), side);
        let (mask, network) = (octets(net.netmask()), octets(net.network()));
        if net.prefix_len() < net.max_prefix_len() {
            self.masked(&mask);
        }
        self.equals(&network);
    }

    fn established(&mut self) {
        /// `established` and `related`, in the order of the processor as the kernel has them.
        const STATES: u32 = 0x6;
        self.ct(CT_STATE);
        self.masked(&STATES.to_ne_bytes());
        self.expression("cmp", |data| {
            data.number(1, REGISTER);
            data.number(2, 1);
            data.nested(3, |inner| inner.attribute(1, &[0; 4]));
        });
    }

    fn masked(&mut self, mask: &[u8]) {
        self.bits(mask, &vec![0; mask.len()]);
    }

    /// Keeps the bits of a mask and turns round those of `flipped`.
    fn bits(&mut self, mask: &[u8], flipped: &[u8]) {
        self.expression("bitwise", |data| {
            data.number(1, REGISTER);
            data.number(2, REGISTER);
            data.number(3, u32::try_from(mask.len()).unwrap_or_default());
            data.nested(4, |inner| inner.attribute(1, mask));
            data.nested(5, |inner| inner.attribute(1, flipped));
        });
    }

    fn share(&mut self, family: Family, set: &str) {
        let (rate, burst) = LOGGED_SHARE;
        self.address(family, Side::Source);
        self.expression("dynset", |data| {
            data.text(1, set);
            data.number(3, 1);
            data.number(4, REGISTER);
            data.nested(7, |inner| {
                expression(inner, "limit", |limit| {
                    limit.attribute(1, &rate.to_be_bytes());
                    limit.attribute(2, &1_u64.to_be_bytes());
                    limit.number(3, burst);
                    limit.number(4, 0);
                    limit.number(5, 0);
                });
            });
        });
    }
}

#[derive(Clone, Copy)]
enum Side {
    Source,
    Destination,
}

fn expression(writer: &mut Writer, name: &str, data: impl FnOnce(&mut Writer)) {
    writer.text(1, name);
    writer.nested(2, data);
}

pub(super) fn verdict(writer: &mut Writer, code: i32, chain: Option<&str>) {
    writer.nested(2, |inner| {
        inner.attribute(1, &code.to_be_bytes());
        if let Some(chain) = chain {
            inner.text(2, chain);
        }
    });
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}
