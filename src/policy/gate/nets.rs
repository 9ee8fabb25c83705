//! Addresses that no list may take: too wide ranges, the operator's own, those that we depend on, those that many share.

use super::{Check, Fault, Limits};
use crate::policy::list::parse_range;
use ipnet::IpNet;

/// Edges of content delivery networks.
const SHARED: &str = include_str!("../../../blocklists/shared/ranges.txt");

/// The shortest IPv4 prefix that may be taken within a shared range: a customer's own.
const SHARED_V4_PREFIX_MIN: u8 = 24;
/// The same for IPv6.
const SHARED_V6_PREFIX_MIN: u8 = 48;

/// Ranges that no list may take.
#[derive(Clone, Debug)]
pub(super) struct Nets {
    protected: Vec<(IpNet, Check)>,
    shared: Vec<IpNet>,
}

impl Nets {
    /// With the shared ranges of the distribution.
    pub(super) fn with_shared() -> Self {
        Self { protected: Vec::new(), shared: SHARED.lines().filter_map(parse_range).collect() }
    }

    /// Adds a range of which nothing may be taken.
    pub(super) fn protect(&mut self, check: Check, net: IpNet) {
        self.protected.push((net, check));
    }

    /// What is wrong with a rule.
    pub(super) fn judge(&self, net: IpNet, limits: &Limits) -> Option<Fault> {
        let (least, shared_least) = match net {
            IpNet::V4(_) => (limits.v4_prefix_min, SHARED_V4_PREFIX_MIN),
            IpNet::V6(_) => (limits.v6_prefix_min, SHARED_V6_PREFIX_MIN),
        };
        if net.prefix_len() < least {
            let why = format!("{net} is wider than /{least} and would cut off others");
            return Some(Fault::refusal(Check::Width, why));
        }
        let overlaps = |other: &IpNet| other.contains(&net) || net.contains(other);
        if let Some((other, check)) = self.protected.iter().find(|(other, _)| overlaps(other)) {
            let whose = match check {
                Check::Upstream => "a server that is asked for answers",
                Check::Remote => "a server that lists come from",
                _ => "the operator's own",
            };
            return Some(Fault::refusal(*check, format!("{net} takes of {other}, which is {whose}")));
        }
        let shared = self.shared.iter().find(|other| overlaps(other))?;
        let why = format!("{net} is shared by many ({shared})");
        Some(match net.prefix_len() < shared_least {
            true => Fault::refusal(Check::Shared, why),
            false => Fault::warning(Check::Shared, why),
        })
    }
}
