//! Attempts as the ledger wants them, one by one, for those who keep no findings: a daemon that inspects for months.

use super::names::Ends;
use crate::base::model::{Channel, Decision, Outcome, RuleFacts};
use crate::policy::{Hit, Policy};
use ipnet::IpNet;
use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Attempts that wait to be taken; they are taken with every batch of frames.
const ATTEMPTS_MAX: usize = 65_536;

/// One attempt.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Whose flow or query it is, and where to.
    pub ends: Ends,
    /// The policy that decided.
    pub policy: Arc<Policy>,
    /// What it was, and what was decided.
    pub what: What,
}

/// How an attempt was recognised.
#[derive(Clone, Debug)]
pub enum What {
    /// By a rule of the policy.
    Rule(Hit),
    /// By payload forms, which are no rules: what they are put down to, what was decided, what became of it, and which they were.
    Forms(RuleFacts, Decision, Outcome, Arc<str>),
}

impl Attempt {
    /// What was decided.
    #[must_use]
    pub const fn decision(&self) -> Decision {
        match &self.what {
            What::Rule(hit) => hit.decision,
            What::Forms(_, decision, ..) => *decision,
        }
    }
}

/// What others record already, so that it is not counted twice: the resolver what it is asked, the gateway what its kernel logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// This machine's addresses: what it asks itself is its resolver's work.
    pub own: BTreeSet<IpAddr>,
    /// Where this machine answers DNS; an unspecified address is all of its own.
    pub listen: Vec<SocketAddr>,
    /// Where its sinkhole takes connections.
    pub sinkhole: Vec<SocketAddr>,
    /// Whether DNS to others is led to us: networks whose resolvers may be asked, and clients that may ask anybody.
    pub redirect: Option<(Vec<IpNet>, Vec<IpNet>)>,
    /// Ports of TCP and UDP on which the gateway rules by the names in first packets, and records them.
    pub ruled: (BTreeSet<u16>, BTreeSet<u16>),
    /// Whether the kernel logs packets to addresses that are blocked, and to those that are observed.
    pub kernel_logs: (bool, bool),
}

impl Elsewhere {
    /// Whether somebody else records an attempt.
    #[must_use]
    pub fn records(&self, ends: &Ends, channel: Channel, decision: Decision) -> bool {
        match channel {
            _ if self.is_at(&self.sinkhole, ends) => true,
            Channel::Dns => self.answers(ends),
            Channel::TlsSni | Channel::HttpHost => self.ruled.0.contains(&ends.dport),
            Channel::QuicSni => self.ruled.1.contains(&ends.dport),
            Channel::Address => match decision {
                Decision::Block => self.kernel_logs.0,
                Decision::Observe => self.kernel_logs.1,
                Decision::Allow => false,
            },
            _ => false,
        }
    }

    /// Whether a flow leads to one of these addresses.
    fn is_at(&self, addresses: &[SocketAddr], ends: &Ends) -> bool {
        let is_own = self.own.contains(&ends.dst);
        let is_it = |ip: IpAddr| ip == ends.dst || ip.is_unspecified() && is_own;
        addresses.iter().any(|address| address.port() == ends.dport && is_it(address.ip()))
    }

    /// Whether a query is answered or asked by this machine's resolver.
    fn answers(&self, ends: &Ends) -> bool {
        let holds = |nets: &[IpNet], address: &IpAddr| nets.iter().any(|net| net.contains(address));
        let is_led_here = |(internal, servers): &(Vec<IpNet>, Vec<IpNet>)| {
            ends.dport == 53 && !holds(internal, &ends.dst) && !holds(servers, &ends.src)
        };
        self.own.contains(&ends.src)
            || self.is_at(&self.listen, ends)
            || self.redirect.as_ref().is_some_and(is_led_here)
    }
}

/// What is kept instead of findings.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) elsewhere: Elsewhere,
    attempts: VecDeque<Attempt>,
    /// Flows that are put down to their address unless they say a name in time, and when they began.
    pub(super) waiting: VecDeque<(u64, Ends)>,
}

impl Live {
    /// Takes an attempt; `false` where there is no room.
    pub(super) fn push(&mut self, attempt: Attempt) -> bool {
        let is_known = match &attempt.what {
            What::Rule(hit) => self.elsewhere.records(&attempt.ends, hit.channel, hit.decision),
            What::Forms(..) => self.elsewhere.is_at(&self.elsewhere.sinkhole, &attempt.ends),
        };
        if is_known || self.attempts.len() >= ATTEMPTS_MAX {
            return is_known;
        }
        self.attempts.push_back(attempt);
        true
    }

    pub(super) fn pop(&mut self) -> Option<Attempt> {
        self.attempts.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(src: &str, dst: &str, dport: u16) -> Ends {
        Ends { src: src.parse().unwrap(), sport: 40_000, dst: dst.parse().unwrap(), dport }
    }

    #[test]
    fn what_the_resolver_and_the_kernel_record_is_left_to_them() {
        let own = ["10.1.0.1", "198.51.100.1"].map(|address| address.parse().unwrap());
        let mut elsewhere = Elsewhere {
            own: own.into_iter().collect(),
            listen: vec!["0.0.0.0:53".parse().unwrap(), "10.1.0.1:5300".parse().unwrap()],
            ..Elsewhere::default()
        };
        let dns = |elsewhere: &Elsewhere, src, dst, dport| {
            elsewhere.records(&ends(src, dst, dport), Channel::Dns, Decision::Block)
        };
        for (src, dst, dport, is_ours) in [
            ("10.1.0.2", "10.1.0.1", 53, true),
            ("10.1.0.2", "198.51.100.1", 53, true),
            ("10.1.0.2", "10.1.0.1", 5300, true),
            ("10.1.0.2", "198.51.100.1", 5300, false),
            ("10.1.0.2", "8.8.8.8", 53, false),
            ("198.51.100.1", "8.8.8.8", 53, true),
        ] {
            assert_eq!(dns(&elsewhere, src, dst, dport), is_ours, "{src} to {dst} port {dport}");
        }
        // A redirect leads the others' queries here too, but for those that it leaves alone.
        let nets = |net: &str| vec![net.parse().unwrap()];
        elsewhere.redirect = Some((nets("10.0.0.0/8"), nets("10.1.0.53/32")));
        assert!(dns(&elsewhere, "10.1.0.2", "8.8.8.8", 53));
        assert!(!dns(&elsewhere, "10.1.0.2", "8.8.8.8", 5353) && !dns(&elsewhere, "10.1.0.2", "10.9.9.9", 53));
        assert!(!dns(&elsewhere, "10.1.0.53", "8.8.8.8", 53));
        let flow = ends("10.1.0.2", "203.0.113.1", 443);
        elsewhere.kernel_logs = (true, false);
        for (channel, decision, is_known) in [
            (Channel::Address, Decision::Block, true),
            (Channel::Address, Decision::Observe, false),
            (Channel::TlsSni, Decision::Block, false),
        ] {
            assert_eq!(elsewhere.records(&flow, channel, decision), is_known, "{channel} {decision}");
        }
        elsewhere.ruled.1 = [443].into();
        assert!(elsewhere.records(&flow, Channel::QuicSni, Decision::Block));
        assert!(!elsewhere.records(&flow, Channel::TlsSni, Decision::Block));
        elsewhere.sinkhole = vec!["10.1.0.1:443".parse().unwrap()];
        for (to, is_known) in [("10.1.0.1", true), ("10.1.0.3", false)] {
            let flow = ends("10.1.0.2", to, 443);
            assert_eq!(elsewhere.records(&flow, Channel::TlsSni, Decision::Block), is_known, "{to}");
        }
    }
}
