//! `--write`: the packets of listed flows, also those that came before their flow was known to be listed, as far as they are held.

use super::super::Failure;
use crate::base::wire::packet::{Frame, LinkType, Packet, Transport};
use crate::engine::inspector::Ends;
use crate::io::capture::{PcapNgWriter, PcapWriter};
use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{self, BufWriter};
use std::net::IpAddr;
use std::path::Path;

/// Octets of frames that are held for flows of which nothing is known yet.
const HELD_OCTETS_MAX: usize = 64 << 20;
/// Flows that are written.
const FLOWS_MAX: usize = 262_144;

/// Both ends, the smaller first. Without ports: fragments, and what else passes between both addresses of a listed flow.
type Flow = [(IpAddr, u16); 2];

/// The file, and what may have to go into it.
pub(super) struct Listed {
    name: String,
    out: Out,
    held: VecDeque<Held>,
    held_octets: usize,
    flows: HashSet<Flow>,
    /// Flows for which there was no room.
    crowded_out: u64,
    /// Why nothing is written any more.
    failed: Option<io::Error>,
}

/// A pcap file has one link type: that of its first frame. A pcapng file has any.
enum Out {
    Empty(BufWriter<File>),
    Pcap(PcapWriter<BufWriter<File>>),
    PcapNg(PcapNgWriter<BufWriter<File>>),
    Gone,
}

impl Out {
    fn write(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        self.begin(frame.link)?;
        match self {
            Self::Pcap(writer) => writer.write(frame),
            Self::PcapNg(writer) => writer.write(frame),
            Self::Empty(_) | Self::Gone => Ok(()),
        }
    }

    fn begin(&mut self, link: LinkType) -> io::Result<()> {
        match std::mem::replace(self, Self::Gone) {
            Self::Empty(file) => *self = Self::Pcap(PcapWriter::new(file, link)?),
            begun => *self = begun,
        }
        Ok(())
    }

    /// Completes the file; frames that it had no place for.
    fn finish(mut self) -> io::Result<u64> {
        self.begin(LinkType::ETHERNET)?;
        match self {
            Self::Pcap(writer) => {
                let refused = writer.refused();
                writer.finish().map(|_| refused)
            }
            Self::PcapNg(writer) => {
                let refused = writer.refused();
                writer.finish().map(|_| refused)
            }
            Self::Empty(_) | Self::Gone => Ok(0),
        }
    }
}

struct Held {
    flow: Flow,
    frame: Frame<'static>,
    octets: Box<[u8]>,
}

impl Listed {
    /// Makes the file.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let file =
            File::create(path).map_err(|error| Failure::failed(format!("{name}: cannot be written: {error}")))?;
        let file = BufWriter::new(file);
        let is_ng = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("pcapng"));
        let out = if is_ng { PcapNgWriter::new(file).map(Out::PcapNg) } else { Ok(Out::Empty(file)) };
        Ok(Self {
            out: out.map_err(|error| Failure::failed(format!("{name}: cannot be written: {error}")))?,
            name,
            held: VecDeque::new(),
            held_octets: 0,
            flows: HashSet::new(),
            crowded_out: 0,
            failed: None,
        })
    }

    /// Takes a frame: writes it, or holds it.
    pub(super) fn frame(&mut self, frame: &Frame<'_>) {
        let Some(flow) = frame.decode().ok().as_ref().and_then(flow_of) else { return };
        if self.flows.contains(&flow) || self.flows.contains(&without_ports(flow)) && flow == without_ports(flow) {
            return self.write(frame);
        }
        self.held_octets += frame.bytes.len();
        let octets = frame.bytes.into();
        self.held.push_back(Held { flow, frame: Frame { bytes: &[], ..*frame }, octets });
        while self.held_octets > HELD_OCTETS_MAX {
            let Some(gone) = self.held.pop_front() else { break };
            self.held_octets -= gone.octets.len();
        }
    }

    /// A flow is listed.
    pub(super) fn list(&mut self, ends: &Ends) {
        let flow = sorted((ends.src, ends.sport), (ends.dst, ends.dport));
        if self.flows.contains(&flow) {
            return;
        }
        if self.flows.len() + 2 > FLOWS_MAX {
            self.crowded_out += 1;
            return;
        }
        let new = [flow, without_ports(flow)];
        self.flows.extend(new);
        let (theirs, held) = std::mem::take(&mut self.held).into_iter().partition(|held| new.contains(&held.flow));
        self.held = held;
        let theirs: VecDeque<Held> = theirs;
        for Held { frame, octets, .. } in theirs {
            self.held_octets -= octets.len();
            self.write(&Frame { bytes: &octets, ..frame });
        }
    }

    fn write(&mut self, frame: &Frame<'_>) {
        if let Err(error) = self.out.write(frame) {
            self.out = Out::Gone;
            self.failed = Some(error);
        }
    }

    /// Completes the file; what of it is missing, a sentence each.
    pub(super) fn finish(self) -> Result<Vec<String>, Failure> {
        let Self { name, out, failed, crowded_out, .. } = self;
        let refused = failed.map_or_else(|| out.finish(), Err);
        let refused = refused.map_err(|error| Failure::failed(format!("{name}: cannot be written: {error}")))?;
        let mut missing = Vec::new();
        if refused > 0 {
            missing.push(format!(
                "{refused} frames of another link type than the first in {name}; a name that ends in .pcapng has room for all"
            ));
        }
        if crowded_out > 0 {
            missing.push(format!("{crowded_out} flows that {name} had no room for"));
        }
        Ok(missing)
    }
}

fn flow_of(packet: &Packet<'_>) -> Option<Flow> {
    let ip = packet.ip()?;
    let (sport, dport) = match &ip.transport {
        Transport::Tcp(tcp) => (tcp.sport, tcp.dport),
        Transport::Udp(udp) => (udp.sport, udp.dport),
        _ => (0, 0),
    };
    Some(sorted((ip.src, sport), (ip.dst, dport)))
}

fn sorted(one: (IpAddr, u16), other: (IpAddr, u16)) -> Flow {
    if one <= other { [one, other] } else { [other, one] }
}

fn without_ports([(one, _), (other, _)]: Flow) -> Flow {
    sorted((one, 0), (other, 0))
}
