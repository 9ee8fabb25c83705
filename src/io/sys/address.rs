//! Socket addresses and packet info between Rust's form and the kernel's.

use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::mmsg::LocalAddress;

/// Octets of the control buffer of one datagram: room for either packet info, twice over.
pub(super) const CONTROL_OCTETS: usize = 88;

/// A control buffer, aligned as `cmsghdr` wants it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control(pub(super) [u8; CONTROL_OCTETS]);

impl Control {
    pub(super) const EMPTY: Self = Self([0; CONTROL_OCTETS]);
}

/// An address buffer without an address.
pub(super) const fn no_address() -> libc::sockaddr_storage {
    // SAFETY: sockaddr_storage is integers and arrays of them; all zeroes is a value of it (AF_UNSPEC).
    unsafe { mem::zeroed() }
}

/// Writes `address` into `storage`; returns its length.
pub(super) fn write_address(address: SocketAddr, storage: &mut libc::sockaddr_storage) -> libc::socklen_t {
    let at = (&raw mut *storage).cast::<libc::c_void>();
    match address {
        SocketAddr::V4(v4) => {
            let raw = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: sockaddr_storage is at least as large and as aligned as any sockaddr; `at` is exclusively ours.
            unsafe { at.cast::<libc::sockaddr_in>().write(raw) };
            size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(v6) => {
            let raw = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: as above.
            unsafe { at.cast::<libc::sockaddr_in6>().write(raw) };
            size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

/// Reads the address that the kernel wrote; `None` for another family.
pub(super) fn read_address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let at = (&raw const *storage).cast::<libc::c_void>();
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: sockaddr_storage is at least as large and as aligned as sockaddr_in, wholly initialised, and any
            // bytes are a sockaddr_in.
            let raw = unsafe { at.cast::<libc::sockaddr_in>().read() };
            let ip = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(raw.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for sockaddr_in6.
            let raw = unsafe { at.cast::<libc::sockaddr_in6>().read() };
            let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(raw.sin6_port), raw.sin6_flowinfo, raw.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Reads the packet info out of what the kernel wrote for one datagram.
///
/// # Safety
/// `header.msg_control` must point to `header.msg_controllen` initialised octets, as after a receive.
pub(super) unsafe fn read_local(header: &libc::msghdr) -> Option<LocalAddress> {
    // SAFETY: the caller vouches for the control buffer; the macros stay within msg_controllen.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !at.is_null() {
        // SAFETY: `at` is non-null, so it points to a whole cmsghdr in the buffer.
        let (level, kind) = unsafe { ((*at).cmsg_level, (*at).cmsg_type) };
        // SAFETY: the data of a cmsghdr in the buffer.
        let data = unsafe { libc::CMSG_DATA(at) };
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // SAFETY: the kernel wrote an in_pktinfo under this type; it may be unaligned.
                let info = unsafe { data.cast::<libc::in_pktinfo>().read_unaligned() };
                // The address to answer from; for a broadcast it is ours, not the one asked.
                let address = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
                return Some(LocalAddress { address: IpAddr::V4(address), interface: 0 });
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // SAFETY: the kernel wrote an in6_pktinfo under this type; it may be unaligned.
                let info = unsafe { data.cast::<libc::in6_pktinfo>().read_unaligned() };
                let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                // A link-local address means something on its link only; any other leaves the way to the routes.
                let interface = if address.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
                return Some(LocalAddress { address: IpAddr::V6(address), interface });
            }
            // SAFETY: `at` is a cmsghdr of this header's buffer.
            _ => at = unsafe { libc::CMSG_NXTHDR(header, at) },
        }
    }
    None
}

/// Writes packet info that makes a datagram leave from `local`; returns the octets of control data.
pub(super) fn write_local(local: LocalAddress, control: &mut Control) -> usize {
    match local.address {
        IpAddr::V4(v4) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(v4.octets()) },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            write_control(control, libc::IPPROTO_IP, libc::IP_PKTINFO, info)
        }
        IpAddr::V6(v6) => {
            let info =
                libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: v6.octets() }, ipi6_ifindex: local.interface };
            write_control(control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
        }
    }
}

/// Writes one control message.
fn write_control<T>(control: &mut Control, level: libc::c_int, kind: libc::c_int, data: T) -> usize {
    const {
        // SAFETY: CMSG_SPACE is arithmetic.
        assert!(unsafe { libc::CMSG_SPACE(size_of::<T>() as u32) } as usize <= CONTROL_OCTETS);
    }
    let header = control.0.as_mut_ptr().cast::<libc::cmsghdr>();
    // SAFETY: the buffer is aligned for cmsghdr and, as asserted above, holds the header and `data`; CMSG_DATA points into it.
    unsafe {
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<T>() as u32) as usize;
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        libc::CMSG_DATA(header).cast::<T>().write_unaligned(data);
        libc::CMSG_SPACE(size_of::<T>() as u32) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_they_went() {
        for text in ["192.0.2.7:53", "[2001:db8::7]:5353", "[fe80::1%3]:53"] {
            let address: SocketAddr = text.parse().unwrap();
            let mut storage = no_address();
            let len = write_address(address, &mut storage);
            assert!(len as usize <= size_of::<libc::sockaddr_storage>());
            assert_eq!(read_address(&storage), Some(address));
        }
        assert_eq!(read_address(&no_address()), None);
    }
}
