//! Interfaces as sources: through the kernel's ring, or through pnet where there is none.

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::time::Duration;

use pnet::datalink::{self, Channel, DataLinkReceiver, NetworkInterface};

use super::{CaptureError, Next, Source, Stats};
use crate::base::wire::packet::{Direction, Frame, LinkType};
use crate::io::sys::clock;
use crate::io::sys::packet;
use crate::io::sys::ring::Ring;

/// How long a source waits for a packet before it says that there is none.
const PATIENCE: Duration = Duration::from_millis(100);
/// Octets of the longest frame that pnet reads; segments that the card or the kernel has joined have 64 KiB and their headers.
const READ_OCTETS: usize = 128 << 10;

/// Frames after which pnet's socket is asked what it lost, beside each time that there is nothing to read.
const ASK_EVERY: u64 = 8_192;

/// An interface through the kernel's ring: knows what the kernel dropped, which way packets go, tags that the card took out, and
/// checksums that are not there yet.
pub struct RingSource {
    interface: Interface,
    ring: Ring,
    stats: Stats,
}

/// An interface through pnet: works wherever packet sockets do, with a system call and a copy a packet.
pub struct PnetSource {
    interface: Interface,
    receiver: Box<dyn DataLinkReceiver>,
    /// The same socket, to ask what it lost.
    socket: OwnedFd,
    stats: Stats,
}

/// Opens an interface, through the ring if the kernel has one.
///
/// # Errors
/// There is no such interface, its link type is not read, or the kernel refuses.
pub fn open(interface: &str) -> Result<Box<dyn Source + Send>, CaptureError> {
    match RingSource::open(interface) {
        Ok(source) => Ok(Box::new(source)),
        Err(CaptureError::Open { error, .. }) if error.kind() != io::ErrorKind::PermissionDenied => {
            tracing::warn!(interface, %error, "no packet ring; reading through pnet, which drops earlier under load");
            PnetSource::open(interface).map(|source| Box::new(source) as _)
        }
        Err(error) => Err(error),
    }
}

#[derive(Debug)]
struct Interface {
    name: String,
    index: u32,
    link: LinkType,
}

impl Interface {
    /// Finds an interface, and opens a socket for it that is not bound yet.
    fn find(name: &str) -> Result<(Self, NetworkInterface, OwnedFd), CaptureError> {
        let failed = |error| CaptureError::Open { name: name.into(), error };
        let found = datalink::interfaces().into_iter().find(|interface| interface.name == name);
        let found =
            found.ok_or_else(|| failed(io::Error::new(io::ErrorKind::NotFound, "there is no such interface")))?;
        let socket = packet::open().map_err(failed)?;
        let device = packet::device_kind(&socket, name).map_err(failed)?;
        let link = link_type(device).ok_or_else(|| {
            failed(io::Error::new(io::ErrorKind::Unsupported, format!("devices of kind {device} are not read")))
        })?;
        if found.is_loopback() {
            packet::ignore_outgoing(&socket).map_err(failed)?;
        }
        Ok((Self { name: name.into(), index: found.index, link }, found, socket))
    }

    fn failed(&self, error: io::Error) -> CaptureError {
        CaptureError::Open { name: self.name.clone(), error }
    }

    fn stopped(&self, offset: u64, error: io::Error) -> CaptureError {
        CaptureError::Read { name: self.name.clone(), offset, error }
    }
}

/// How frames of a device begin, by the kernel's number of its kind (`if_arp.h`).
const fn link_type(device: u16) -> Option<LinkType> {
    match device {
        // Ethernet, loopback.
        1 | 772 => Some(LinkType::ETHERNET),
        // PPP, tunnels in IPv4 and IPv6, sit, GRE in both, and devices without a header, as WireGuard's.
        512 | 768 | 769 | 776 | 778 | 823 | 65_534 => Some(LinkType::RAW),
        801 => Some(LinkType::WIFI),
        803 => Some(LinkType::RADIOTAP),
        _ => None,
    }
}

impl RingSource {
    /// Opens an interface.
    ///
    /// # Errors
    /// See [`open`].
    pub fn open(name: &str) -> Result<Self, CaptureError> {
        let (interface, _, socket) = Interface::find(name)?;
        let ring = Ring::open(socket, interface.index).map_err(|error| interface.failed(error))?;
        Ok(Self { interface, ring, stats: Stats::default() })
    }
}

impl Source for RingSource {
    #[inline]
    fn next(&mut self) -> Result<Next<'_>, CaptureError> {
        let packet = match self.ring.next(PATIENCE) {
            Ok(Some(packet)) => packet,
            Ok(None) => return Ok(Next::Idle),
            Err(error) => return Err(self.interface.stopped(self.stats.octets, error)),
        };
        self.stats.frames += 1;
        self.stats.octets += packet.octets.len() as u64;
        Ok(Next::Frame(Frame {
            time_ns: u64::from(packet.time.0) * 1_000_000_000 + u64::from(packet.time.1),
            original_len: packet.original_len,
            interface: self.interface.index,
            direction: Some(if packet.is_outgoing { Direction::Out } else { Direction::In }),
            vlan_tag: packet.vlan_tag,
            checksums_offloaded: packet.checksum_not_ready,
            ..Frame::new(self.interface.link, packet.octets)
        }))
    }

    fn stats(&self) -> Stats {
        Stats { dropped: self.ring.lost(), ..self.stats }
    }
}

impl PnetSource {
    /// Opens an interface.
    ///
    /// # Errors
    /// See [`open`].
    pub fn open(name: &str) -> Result<Self, CaptureError> {
        let (interface, found, socket) = Interface::find(name)?;
        let given = socket.try_clone().map_err(|error| interface.failed(error))?;
        let config = datalink::Config {
            read_buffer_size: READ_OCTETS,
            read_timeout: Some(PATIENCE),
            // pnet closes it, also when it fails.
            socket_fd: Some(given.into_raw_fd()),
            ..datalink::Config::default()
        };
        match datalink::channel(&found, config) {
            Ok(Channel::Ethernet(_, receiver)) => Ok(Self { interface, receiver, socket, stats: Stats::default() }),
            Ok(_) => Err(interface.failed(io::ErrorKind::Unsupported.into())),
            Err(error) => Err(interface.failed(error)),
        }
    }
}

impl Source for PnetSource {
    fn next(&mut self) -> Result<Next<'_>, CaptureError> {
        match self.receiver.next() {
            Ok(octets) => {
                self.stats.frames += 1;
                self.stats.octets += octets.len() as u64;
                if self.stats.frames.is_multiple_of(ASK_EVERY) {
                    self.stats.dropped += u64::from(packet::lost(&self.socket).unwrap_or_default());
                }
                let time = clock::now().wall.as_nanosecond();
                let frame = Frame::new(self.interface.link, octets);
                let (time_ns, interface) = (u64::try_from(time).unwrap_or_default(), self.interface.index);
                Ok(Next::Frame(Frame { time_ns, interface, ..frame }))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::Interrupted) => {
                self.stats.dropped += u64::from(packet::lost(&self.socket).unwrap_or_default());
                Ok(Next::Idle)
            }
            Err(error) => Err(self.interface.stopped(self.stats.octets, error)),
        }
    }

    fn stats(&self) -> Stats {
        self.stats
    }
}
