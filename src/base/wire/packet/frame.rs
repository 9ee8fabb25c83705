//! What a source of packets hands over.

/// A link type by its number in capture files (<https://www.tcpdump.org/linktypes.html>).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback, address family in the byte order of the capturing host.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// PPP, with or without address and control octets.
    pub const PPP: Self = Self(9);
    /// FDDI.
    pub const FDDI: Self = Self(10);
    /// Raw IP as libpcap numbers it on most systems.
    pub const RAW_12: Self = Self(12);
    /// Raw IP as libpcap numbers it on OpenBSD.
    pub const RAW_14: Self = Self(14);
    /// PPP in HDLC-like framing, or Cisco's.
    pub const PPP_SERIAL: Self = Self(50);
    /// PPPoE session packets without Ethernet.
    pub const PPP_ETHER: Self = Self(51);
    /// Raw IP.
    pub const RAW: Self = Self(101);
    /// Cisco's HDLC.
    pub const CISCO_HDLC: Self = Self(104);
    /// IEEE 802.11 without a radio header.
    pub const WIFI: Self = Self(105);
    /// OpenBSD loopback, address family in network order.
    pub const LOOP: Self = Self(108);
    /// Linux "cooked", version 1.
    pub const SLL: Self = Self(113);
    /// IEEE 802.11 with a radiotap header.
    pub const RADIOTAP: Self = Self(127);
    /// PPP as pppd on Linux captures it, with a direction octet.
    pub const PPP_PPPD: Self = Self(166);
    /// Raw IPv4.
    pub const IPV4: Self = Self(228);
    /// Raw IPv6.
    pub const IPV6: Self = Self(229);
    /// What the kernel's netfilter logs.
    pub const NFLOG: Self = Self(239);
    /// Linux "cooked", version 2.
    pub const SLL2: Self = Self(276);
}

/// Which way a packet went, seen from the capturing host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Towards it, or past it.
    In,
    /// Sent by it.
    Out,
}

impl Direction {
    /// By the kernel's packet types (`if_packet.h`), as cooked headers and some files have them.
    #[must_use]
    pub const fn of_packet_type(kind: u8) -> Option<Self> {
        match kind {
            0..=3 => Some(Self::In),
            4 => Some(Self::Out),
            _ => None,
        }
    }
}

/// A captured frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// When it was captured: nanoseconds since 1970-01-01 UTC, as the source says.
    pub time_ns: u64,
    /// How its octets begin.
    pub link: LinkType,
    /// What was captured of it.
    pub bytes: &'a [u8],
    /// How long it was on the wire.
    pub original_len: u32,
    /// The number of its interface within its source.
    pub interface: u32,
    /// Which way it went, where the source says so.
    pub direction: Option<Direction>,
    /// The tag control information of an outermost VLAN tag that was taken out of the octets.
    pub vlan_tag: Option<u16>,
    /// The sending host had left its transport checksum to the hardware, so that it is not there yet.
    pub checksums_offloaded: bool,
}

impl<'a> Frame<'a> {
    /// A whole frame of which nothing else is known.
    #[must_use]
    pub fn new(link: LinkType, bytes: &'a [u8]) -> Self {
        Self {
            time_ns: 0,
            link,
            bytes,
            original_len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            interface: 0,
            direction: None,
            vlan_tag: None,
            checksums_offloaded: false,
        }
    }

    /// Octets that were on the wire and not captured.
    #[must_use]
    pub fn missing(&self) -> u32 {
        self.original_len.saturating_sub(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX))
    }
}
