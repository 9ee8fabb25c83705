//! A device and the dated facts that are known of it, on their way to the ledger.

use super::{Mac, Wall};
use std::net::IpAddr;

/// A fact, and when it was seen first and last.
pub type Fact<T> = (T, Wall, Wall);

/// What is known of a device. Its hardware address or its client id is what it is known by when all else changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its hardware address, if it is its own.
    pub mac: Option<Mac>,
    /// What it calls itself to DHCP servers (a client id, a DUID), in hexadecimal digits.
    pub client_id: Option<String>,
    /// What made its DHCP client.
    pub vendor_class: Option<String>,
    /// Where it is: `vlan 12`, `relay 10.2.0.1`.
    pub segment: Option<String>,
    /// Addresses.
    pub addresses: Vec<Fact<IpAddr>>,
    /// Names as it says them.
    pub names: Vec<Fact<String>>,
    /// When it was heard of last.
    pub last: Wall,
}

/// News of devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceNote {
    /// This is known of one.
    Seen(Box<Device>),
    /// A hardware address is a router's, and nobody's identity.
    Router(Mac),
}
