//! What the operator wants: read from the config by `app`, or the defaults of the design.

use super::group::Group;
use super::local::Local;
use super::{Exception, Scope};
use crate::base::model::{BlockAnswer, Family, Purpose, PurposeSelector, Stage, is_private};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Seconds that a block answer may be cached by the client.
pub(super) const BLOCK_TTL_DEFAULT: u32 = 60;

/// Everything that, together with the rules, makes a policy.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whose law counts.
    pub scope: Scope,
    /// The operator's own stages, which win over authorities.
    pub stages: Vec<StageSetting>,
    /// Clients for whom other stages hold, [`GROUPS_MAX`](super::GROUPS_MAX) groups at most.
    pub groups: Vec<Group>,
    /// The operator's exceptions, which win over everything.
    pub exceptions: Vec<Exception>,
    /// How blocks are answered.
    pub block: BlockSettings,
    /// Vendors and lists whose blocks are answered otherwise than they themselves want.
    pub answers: BTreeMap<String, BlockAnswer>,
    /// Where the sinkhole is, if there is one.
    pub sinkhole: Sinkhole,
    /// What is answered here.
    pub local: Arc<Local>,
    /// `false` while enforcement is paused: what would be blocked is observed.
    pub enforce: bool,
}

impl Default for Settings {
    /// Jurisdiction `us`, scope `everyone`, nothing else.
    fn default() -> Self {
        Self {
            scope: Scope { jurisdictions: vec!["us".to_owned()], binds: vec!["everyone".to_owned()] },
            stages: Vec::new(),
            groups: Vec::new(),
            exceptions: Vec::new(),
            block: BlockSettings::default(),
            answers: BTreeMap::new(),
            sinkhole: Sinkhole::default(),
            local: Arc::default(),
            enforce: true,
        }
    }
}

/// A stage that the operator fixed for a vendor, or for one family or purpose of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageSetting {
    /// Vendor or bundle id.
    pub vendor: String,
    /// The part of it; `None` is the bare vendor: update, telemetry, licensing, remote and network, never web.
    pub part: Option<PurposeSelector>,
    /// What is wanted.
    pub stage: Stage,
}

impl StageSetting {
    /// How exactly it speaks of a purpose: 3 the purpose, 2 its family, 1 the bare vendor; `None` not at all.
    #[must_use]
    pub fn closeness(&self, vendor: &str, purpose: Purpose) -> Option<u8> {
        if self.vendor != vendor {
            return None;
        }
        match self.part {
            Some(PurposeSelector::Purpose(one)) => (one == purpose).then_some(3),
            Some(PurposeSelector::Family(family)) => (family == purpose.family()).then_some(2),
            None => bare_vendor_means(purpose.family()).then_some(1),
        }
    }
}

impl StageSetting {
    /// How the config spells it: `vendor` or `vendor:purpose`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.part {
            Some(part) => format!("{}:{part}", self.vendor),
            None => self.vendor.clone(),
        }
    }
}

/// Families that a vendor's bare name in `stages` stands for. The bypass family is the whole of the `encrypted-dns`
/// bundle, so it is meant too; a vendor's public face never is.
const fn bare_vendor_means(family: Family) -> bool {
    !matches!(family, Family::Web)
}

/// How blocks are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSettings {
    /// The answer for rules whose vendor file wants none of its own.
    pub answer: BlockAnswer,
    /// Seconds that it may be cached.
    pub ttl: u32,
}

impl Default for BlockSettings {
    fn default() -> Self {
        Self { answer: BlockAnswer::Null, ttl: BLOCK_TTL_DEFAULT }
    }
}

/// The addresses that sinkholed names resolve to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sinkhole {
    /// For A.
    pub v4: Option<Ipv4Addr>,
    /// For AAAA.
    pub v6: Option<Ipv6Addr>,
    /// Who may be answered with one that is private. Whoever filters against DNS rebinding takes such an answer for an attack.
    pub private_for: Vec<IpNet>,
}

impl Sinkhole {
    /// Whether one is configured.
    #[must_use]
    pub const fn is_some(&self) -> bool {
        self.v4.is_some() || self.v6.is_some()
    }

    /// The addresses that a client is led to: in the place of a private one that it may not have, one that leads nowhere.
    #[must_use]
    pub fn of(&self, client: IpAddr) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
        let client = client.to_canonical();
        let may = |address: IpAddr| !is_private(address) || self.private_for.iter().any(|net| net.contains(&client));
        let v4 = self.v4.map(|v4| if may(v4.into()) { v4 } else { Ipv4Addr::UNSPECIFIED });
        let v6 = self.v6.map(|v6| if may(v6.into()) { v6 } else { Ipv6Addr::UNSPECIFIED });
        (v4, v6)
    }
}
