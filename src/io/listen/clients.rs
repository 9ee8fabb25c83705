//! Who asks: whether they may, how much, and for whom.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, TryLockError};

use super::Acl;
use super::forwarder::{Forwarder, is_proxied, read_proxy};
use super::limit::{LimitSettings, Limits};
use crate::base::model::Mono;
use crate::base::wire::Short;
use crate::base::wire::dns::QueryView;
use crate::engine::ledger::Crowd;

/// Forwarders that can be named.
pub const FORWARDERS_MAX: usize = 256;

/// Who is told that a client asks for many others. It must neither wait nor panic.
pub type ForwarderSink = Box<dyn Fn(IpAddr) + Send + Sync>;

/// What listeners know about their clients.
pub struct Clients {
    acl: Acl,
    limits: Limits,
    forwarders: Box<[Forwarder]>,
    crowd: Mutex<Crowd>,
    sink: ForwarderSink,
}

/// One message and who it is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Told<'a> {
    /// The client that policy and ledger know: the one that a forwarder names, else the sender.
    pub(super) client: IpAddr,
    /// The message without what a forwarder put before it.
    pub(super) message: &'a [u8],
    /// Whether a forwarder asks without saying for whom: then it is many clients.
    pub(super) is_many: bool,
}

impl Clients {
    /// Clients within `acl`, under limits, some of them forwarders; beyond [`FORWARDERS_MAX`] they are left out. `seed` is random.
    #[must_use]
    pub fn new(acl: Acl, limits: LimitSettings, forwarders: impl IntoIterator<Item = Forwarder>, seed: u64) -> Self {
        let forwarders = forwarders.into_iter().take(FORWARDERS_MAX).collect();
        Self { acl, limits: Limits::new(limits, seed), forwarders, crowd: Mutex::default(), sink: Box::new(|_| ()) }
    }

    /// The same, who tell when one of them shows itself to be a forwarder.
    #[must_use]
    pub fn telling(self, sink: ForwarderSink) -> Self {
        Self { sink, ..self }
    }

    /// Looks at a query for who asks for many. One that another worker is in the way of is passed over.
    pub(super) fn count(&self, now: Mono, told: Told<'_>) {
        let Ok(query) = QueryView::parse(told.message) else { return };
        let mut crowd = match self.crowd.try_lock() {
            Ok(crowd) => crowd,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let is_new = crowd.add(now, told.client, query.name());
        drop(crowd);
        if is_new {
            (self.sink)(told.client);
        }
    }

    /// Whether a sender is answered.
    pub(super) fn allows(&self, sender: IpAddr) -> bool {
        self.acl.allows(sender)
    }

    /// What they may use.
    pub(super) const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The forwarder that a sender is.
    pub(super) fn forwarder(&self, sender: IpAddr) -> Option<&Forwarder> {
        if self.forwarders.is_empty() {
            return None;
        }
        let sender = sender.to_canonical();
        self.forwarders.iter().find(|forwarder| forwarder.net.contains(&sender))
    }

    /// Who a datagram is from.
    ///
    /// # Errors
    /// A forwarder's header before the message is broken.
    pub(super) fn told<'a>(&self, sender: IpAddr, datagram: &'a [u8]) -> Result<Told<'a>, Short> {
        let plain = Told { client: sender, message: datagram, is_many: false };
        let Some(forwarder) = self.forwarder(sender) else { return Ok(plain) };
        if !forwarder.proxies() || !is_proxied(datagram) {
            return Ok(named(forwarder, plain));
        }
        let proxied = read_proxy(datagram)?;
        let message = datagram.get(proxied.len..).unwrap_or_default();
        Ok(match proxied.client {
            Some(client) => Told { client, message, is_many: false },
            None => named(forwarder, Told { message, ..plain }),
        })
    }

    /// Who a message of a stream is from, whose start may have named a client.
    pub(super) fn told_in_stream<'a>(&self, sender: IpAddr, proxied: Option<IpAddr>, message: &'a [u8]) -> Told<'a> {
        let plain = Told { client: proxied.unwrap_or(sender), message, is_many: false };
        match self.forwarder(sender) {
            Some(forwarder) if proxied.is_none() => named(forwarder, plain),
            _ => plain,
        }
    }
}

/// The client that a forwarder's message names, or that it names nobody.
fn named<'a>(forwarder: &Forwarder, told: Told<'a>) -> Told<'a> {
    match forwarder.named(told.message) {
        Some(client) => Told { client, ..told },
        None => Told { is_many: true, ..told },
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acl, limits, forwarders, .. } = self;
        f.debug_struct("Clients")
            .field("acl", acl)
            .field("limits", limits)
            .field("forwarders", forwarders)
            .finish_non_exhaustive()
    }
}

/// The neighbourhood, and no forwarders.
impl Default for Clients {
    fn default() -> Self {
        Self::new(Acl::default(), LimitSettings::default(), [], 0)
    }
}
