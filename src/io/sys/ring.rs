//! Packets from a ring that is shared with the kernel (TPACKET_V3, `Documentation/networking/packet_mmap.rst`): no system call
//! and no copy a packet.
//!
//! The ring is blocks. Each is the kernel's until it sets the block's status, and then ours until we clear it. A block that is ours
//! is a plain slice here, read with checked steps.

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::packet::{self, BUFFER_OCTETS};

/// Octets of one block: more than the longest frame.
const BLOCK_OCTETS: usize = 1 << 20;
/// Blocks of the ring.
const BLOCKS: usize = BUFFER_OCTETS / BLOCK_OCTETS;
/// Milliseconds after which the kernel hands over a block that is not full.
const BLOCK_TIMEOUT_MS: u32 = 20;
/// A nominal size that the kernel wants; frames of the third version take what they need.
const FRAME_OCTETS: u32 = 2_048;

/// A packet socket with its ring.
pub struct Ring {
    map: NonNull<u8>,
    socket: OwnedFd,
    /// The block that is read, or waited for.
    block: usize,
    /// Where its next frame begins, and how many are left; `None` when it is not ours yet.
    within: Option<(usize, u32)>,
    lost: u64,
}

// SAFETY: the mapping belongs to the value alone, and nothing in it is tied to a thread.
unsafe impl Send for Ring {}

/// A packet in a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingPacket<'a> {
    /// When it came: seconds and nanoseconds since 1970.
    pub time: (u32, u32),
    /// Its octets.
    pub octets: &'a [u8],
    /// How long it was.
    pub original_len: u32,
    /// The tag control information of a VLAN tag that is not among its octets.
    pub vlan_tag: Option<u16>,
    /// Whether this host sent it.
    pub is_outgoing: bool,
    /// Whether its transport checksum is left to hardware.
    pub checksum_not_ready: bool,
}

impl Ring {
    /// Makes a ring on a socket from [`packet::open`] for the interface of this index, and takes what comes by it from now on, for
    /// whomever it is.
    ///
    /// # Errors
    /// The kernel's: without CAP_NET_RAW `PermissionDenied`; without support for the ring, or memory for it, others.
    pub fn open(socket: OwnedFd, interface: u32) -> io::Result<Self> {
        let version = libc::tpacket_versions::TPACKET_V3 as libc::c_int;
        packet::set(&socket, libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
        let request = libc::tpacket_req3 {
            tp_block_size: BLOCK_OCTETS as libc::c_uint,
            tp_block_nr: BLOCKS as libc::c_uint,
            tp_frame_size: FRAME_OCTETS,
            tp_frame_nr: (BLOCK_OCTETS * BLOCKS) as libc::c_uint / FRAME_OCTETS,
            tp_retire_blk_tov: BLOCK_TIMEOUT_MS,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        packet::set(&socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        // SAFETY: a new mapping of the ring just made, at an address of the kernel's choice, with the ring's length.
        let map = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let fd = socket.as_raw_fd();
            libc::mmap(ptr::null_mut(), BLOCK_OCTETS * BLOCKS, protection, libc::MAP_SHARED, fd, 0)
        };
        if map == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let map = NonNull::new(map.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let ring = Self { map, socket, block: 0, within: None, lost: 0 };
        ring.bind(interface)?;
        ring.join(interface)?;
        Ok(ring)
    }

    /// The next packet, waiting for it as long as `patience`. Its octets are good until the next call.
    ///
    /// # Errors
    /// The kernel's: the interface is gone, or down.
    #[inline]
    pub fn next(&mut self, patience: Duration) -> io::Result<Option<RingPacket<'_>>> {
        let (at, left) = loop {
            match self.within {
                Some((at, left)) if left > 0 => break (at, left),
                Some(_) => self.release(),
                None => {
                    if !self.acquire() && !self.wait(patience)? {
                        self.lost += u64::from(packet::lost(&self.socket)?);
                        return Ok(None);
                    }
                }
            }
        };
        let Some(head) = Head::read(self.octets(), at) else {
            // A header that leads out of its block; the kernel makes none. The rest of the block is given up.
            self.within = Some((at, 0));
            return Ok(None);
        };
        self.within = Some((at + head.step, left - 1));
        Ok(self.octets().get(head.at..head.at + head.len).map(|octets| RingPacket { octets, ..head.packet }))
    }

    /// Packets that the kernel dropped because the ring was full, as far as known.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    fn bind(&self, interface: u32) -> io::Result<()> {
        // SAFETY: sockaddr_ll is integers and an array of them; all zeroes is a value of it.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as libc::c_ushort;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = interface as libc::c_int;
        // SAFETY: `address` is live and initialised for the length given, and only read.
        let result = unsafe {
            let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            libc::bind(self.socket.as_raw_fd(), (&raw const address).cast(), len)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Takes also what is for others.
    fn join(&self, interface: u32) -> io::Result<()> {
        let request = libc::packet_mreq {
            mr_ifindex: interface as libc::c_int,
            mr_type: libc::PACKET_MR_PROMISC as libc::c_ushort,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        packet::set(&self.socket, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
    }

    /// Takes the block if the kernel has handed it over.
    fn acquire(&mut self) -> bool {
        const HEAD: usize = offset_of!(libc::tpacket_block_desc, hdr);
        const COUNT: usize = HEAD + offset_of!(libc::tpacket_hdr_v1, num_pkts);
        const FIRST: usize = HEAD + offset_of!(libc::tpacket_hdr_v1, offset_to_first_pkt);
        if self.status().load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return false;
        }
        let octets = self.octets();
        self.within = word(octets, FIRST).zip(word(octets, COUNT)).map(|(first, count)| (first as usize, count));
        self.within.is_some()
    }

    /// Gives the block back to the kernel and goes to the next.
    fn release(&mut self) {
        self.status().store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.block = (self.block + 1) % BLOCKS;
        self.within = None;
        // Asked once a block, so that what was lost under load is known while it goes on.
        self.lost += u64::from(packet::lost(&self.socket).unwrap_or_default());
    }

    /// Waits until the kernel hands over a block; `false` when it does not.
    fn wait(&self, patience: Duration) -> io::Result<bool> {
        let mut wanted = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLIN | libc::POLLERR, revents: 0 };
        let milliseconds = libc::c_int::try_from(patience.as_millis()).unwrap_or(libc::c_int::MAX);
        // SAFETY: one live pollfd.
        let ready = unsafe { libc::poll(&raw mut wanted, 1, milliseconds) };
        if ready < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(false) } else { Err(error) };
        }
        if wanted.revents & (libc::POLLERR | libc::POLLNVAL | libc::POLLHUP) != 0 {
            return Err(self.pending_error());
        }
        Ok(ready > 0)
    }

    fn pending_error(&self) -> io::Error {
        let socket = socket2::SockRef::from(&self.socket);
        socket.take_error().ok().flatten().unwrap_or_else(|| io::ErrorKind::NetworkDown.into())
    }

    /// The status of the block.
    fn status(&self) -> &AtomicU32 {
        const STATUS: usize =
            offset_of!(libc::tpacket_block_desc, hdr) + offset_of!(libc::tpacket_hdr_v1, block_status);
        // SAFETY: the block lies within the mapping, which lives as long as `self`; the field is aligned, since blocks are pages;
        // kernel and we both change it as a whole word, and nobody holds a reference to it that is not atomic.
        unsafe { AtomicU32::from_ptr(self.map.as_ptr().add(self.block * BLOCK_OCTETS + STATUS).cast()) }
    }

    /// The block after its status, which is ours between `acquire` and `release`. Offsets in it are the block's.
    fn octets(&self) -> &[u8] {
        // SAFETY: the block lies within the mapping, which lives as long as `self`. It is only called while the block is ours: the
        // kernel does not write to it then, and `release`, which gives it back, takes `self` mutably and so ends this borrow. Our
        // own store to the status goes through an atomic there.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(self.block * BLOCK_OCTETS), BLOCK_OCTETS) }
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `open`, with its length; nothing borrows from it any more.
        unsafe { libc::munmap(self.map.as_ptr().cast(), BLOCK_OCTETS * BLOCKS) };
    }
}

/// A packet's header in its block.
struct Head {
    /// All but the octets.
    packet: RingPacket<'static>,
    /// Where its octets begin in the block.
    at: usize,
    len: usize,
    /// How far it is to the next header.
    step: usize,
}

impl Head {
    #[inline]
    fn read(block: &[u8], at: usize) -> Option<Self> {
        /// The packet's address structure follows the header.
        const ADDRESS: usize = libc::TPACKET3_HDRLEN - size_of::<libc::sockaddr_ll>();
        const KIND: usize = ADDRESS + offset_of!(libc::sockaddr_ll, sll_pkttype);
        const VLAN_TAG: usize =
            offset_of!(libc::tpacket3_hdr, hv1) + offset_of!(libc::tpacket_hdr_variant1, tp_vlan_tci);
        let head = block.get(at..)?;
        let status = word(head, offset_of!(libc::tpacket3_hdr, tp_status))?;
        let has_tag = status & libc::TP_STATUS_VLAN_VALID != 0;
        let begin =
            head.get(offset_of!(libc::tpacket3_hdr, tp_mac)..)?.first_chunk().map(|&two| u16::from_ne_bytes(two))?;
        let packet = RingPacket {
            time: (
                word(head, offset_of!(libc::tpacket3_hdr, tp_sec))?,
                word(head, offset_of!(libc::tpacket3_hdr, tp_nsec))?,
            ),
            octets: &[],
            original_len: word(head, offset_of!(libc::tpacket3_hdr, tp_len))?,
            vlan_tag: has_tag.then(|| word(head, VLAN_TAG).map(|tag| (tag & 0xffff) as u16)).flatten(),
            is_outgoing: *head.get(KIND)? == libc::PACKET_OUTGOING,
            checksum_not_ready: status & libc::TP_STATUS_CSUMNOTREADY != 0,
        };
        Some(Self {
            packet,
            at: at + usize::from(begin),
            len: word(head, offset_of!(libc::tpacket3_hdr, tp_snaplen))? as usize,
            step: word(head, offset_of!(libc::tpacket3_hdr, tp_next_offset))? as usize,
        })
    }
}

/// A word of this host's order.
#[inline]
fn word(octets: &[u8], at: usize) -> Option<u32> {
    octets.get(at..)?.first_chunk().map(|&four| u32::from_ne_bytes(four))
}
