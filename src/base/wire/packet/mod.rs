//! Captured frames, as an untrusted sender may have made them: borrowed views from the link down to the transport, in one pass and
//! without allocation. What a tunnel carries is what counts: [`Frame::decode`] yields the innermost packet that can be read.
//!
//! | type | what |
//! |---|---|
//! | [`Frame`], [`LinkType`] | what a source of packets hands over |
//! | [`Packet`], [`Content`] | what is in it, after all links and tunnels |
//! | [`Link`], [`Tunnels`] | how it came here |
//! | [`Ip`], [`Fragment`] | addresses, and what the network did to the packet |
//! | [`Transport`], [`Tcp`], [`Udp`], [`Icmp`] | ports and payload |
//! | [`Arp`], [`Packet::neighbour`] | who says to have which address |
//! | [`Checksum`] | whether a packet would have been taken by its receiver; computed on demand |
//!
//! Lengths are believed as far as they agree with what was captured: a link's padding is cut by the length in the IP header, what that
//! promises beyond the capture is in [`Ip::missing`], and a length of 0, as offloading cards write it, means all there is.

mod checksum;
mod frame;
#[cfg(test)]
#[path = "../../../../tests/common/frames.rs"]
pub(crate) mod frames;
mod ip;
mod link;
mod neighbour;
mod shim;
#[cfg(test)]
mod tests;
mod transport;
mod tunnel;
mod wifi;

pub use checksum::Checksum;
pub use frame::{Direction, Frame, LinkType};
pub use ip::{Fragment, Ip, protocol};
pub use link::{Link, Vlans};
pub use neighbour::Arp;
pub use transport::{Icmp, Tcp, TcpFlags, TcpOption, TcpOptions, Transport, Udp};
pub use tunnel::{TunnelKind, Tunnels};

use crate::base::wire::Short;
use shim::Layer;

/// Tunnels within tunnels that are followed.
pub const TUNNELS_MAX: u8 = 8;
/// Headers of one frame that are walked before the transport, tunnels included.
const LAYERS_MAX: usize = 40;

/// Why nothing of a frame could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It ends within a header.
    #[error("the frame ends within a header")]
    Short,
    /// A header contradicts itself: a version, a length.
    #[error("a header contradicts itself")]
    Malformed,
    /// More headers than are walked.
    #[error("the frame has more headers than are walked")]
    TooDeep,
    /// A link type that is not read.
    #[error("frames of this link type are not read")]
    Link,
}

impl From<Short> for Fault {
    fn from(_: Short) -> Self {
        Self::Short
    }
}

/// The innermost packet of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The link that it was seen on: the innermost one, so that a hardware address is never that of a tunnel's end.
    pub link: Link,
    /// The tunnels around it.
    pub tunnels: Tunnels,
    /// What it is.
    pub content: Content<'a>,
}

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// An IPv4 or IPv6 packet.
    Ip(Ip<'a>),
    /// An address resolution message.
    Arp(Arp),
    /// Something else, with its EtherType; 0 where it has none, as in an encrypted or a management frame.
    Other(u16),
}

impl<'a> Packet<'a> {
    /// The IP packet, if it is one.
    #[must_use]
    pub const fn ip(&self) -> Option<&Ip<'a>> {
        match &self.content {
            Content::Ip(ip) => Some(ip),
            Content::Arp(_) | Content::Other(_) => None,
        }
    }

    /// Goes on with a datagram that was put together from fragments, of which `self` is one: what follows its fragment header, and the
    /// protocol number of that. Tunnels in it are followed.
    #[must_use]
    pub fn resume<'b>(&self, protocol: u8, payload: &'b [u8]) -> Packet<'b>
    where
        'a: 'b,
    {
        let Content::Ip(ip) = self.content else { return *self };
        let mut walk = Walk { link: self.link, tunnels: self.tunnels, outer: None };
        let ip = ip.reassembled(protocol, payload);
        match walk.enter(&ip) {
            None => walk.packet(Content::Ip(ip)),
            // Having entered a tunnel there is always the packet around it to fall back upon.
            Some((layer, bytes)) => walk.run(layer, bytes).unwrap_or(*self),
        }
    }
}

impl<'a> Frame<'a> {
    /// The innermost packet.
    ///
    /// # Errors
    /// See [`Fault`]; what is unreadable within a tunnel is no fault, the tunnel's own packet is the result then.
    #[inline]
    pub fn decode(&self) -> Result<Packet<'a>, Fault> {
        let link = Link { direction: self.direction, ..Link::default() };
        let mut walk = Walk { link, tunnels: Tunnels::default(), outer: None };
        let (layer, bytes) = link::read(self.link, self.bytes, &mut walk.link)?;
        if let Some(tag) = self.vlan_tag {
            // It stood before those that are still to come.
            walk.link.vlans.push(tag);
        }
        walk.run(layer, bytes)
    }
}

/// A walk from the outside in.
struct Walk<'a> {
    link: Link,
    tunnels: Tunnels,
    /// The packet that carries the one that is being read.
    outer: Option<Packet<'a>>,
}

impl<'a> Walk<'a> {
    /// The innermost packet, or the one that carries what cannot be read.
    #[inline]
    fn run(&mut self, layer: Layer, bytes: &'a [u8]) -> Result<Packet<'a>, Fault> {
        match (self.descend(layer, bytes), self.outer) {
            (innermost, None) => innermost,
            (Ok(packet), Some(_)) if !matches!(packet.content, Content::Other(_)) => Ok(packet),
            (_, Some(outer)) => Ok(outer),
        }
    }

    #[inline]
    fn descend(&mut self, mut layer: Layer, mut bytes: &'a [u8]) -> Result<Packet<'a>, Fault> {
        for _ in 0..LAYERS_MAX {
            let ip = match layer {
                Layer::Type(shim::IPV4) => Ip::v4(bytes)?,
                Layer::Type(shim::IPV6) => Ip::v6(bytes)?,
                Layer::Ip => Ip::any(bytes)?,
                Layer::Type(shim::ARP) => return Ok(self.packet(Content::Arp(Arp::read(bytes)?))),
                Layer::Unknown(number) => return Ok(self.packet(Content::Other(number))),
                shim => {
                    (layer, bytes) = shim::peel(shim, bytes, &mut self.link)?;
                    continue;
                }
            };
            match self.enter(&ip) {
                Some(inside) => (layer, bytes) = inside,
                None => return Ok(self.packet(Content::Ip(ip))),
            }
        }
        Err(Fault::TooDeep)
    }

    /// Goes into a tunnel; `None` if the packet is none's, or one too many.
    #[inline]
    fn enter(&mut self, ip: &Ip<'a>) -> Option<(Layer, &'a [u8])> {
        let inside = tunnel::inside(ip)?;
        if self.tunnels.depth >= TUNNELS_MAX {
            self.tunnels.too_deep = true;
            return None;
        }
        self.outer = Some(self.packet(Content::Ip(*ip)));
        self.tunnels.enter(&inside, ip);
        self.link = Link::default();
        Some((inside.layer, inside.bytes))
    }

    #[inline]
    const fn packet(&self, content: Content<'a>) -> Packet<'a> {
        Packet { link: self.link, tunnels: self.tunnels, content }
    }
}
