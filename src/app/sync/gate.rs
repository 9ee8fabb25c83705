//! The gate with everything that it must know of this machine, over the lists of one feed.

use super::{Feed, feeds};
use crate::app::config::{Blocklist, Config, Origin};
use crate::app::daemon::asked;
use crate::app::lists::{self, Lists, Snapshots};
use crate::base::name::Name;
use crate::io::sync::Remote;
use crate::policy::gate::{Check, Counts, Gate, Limits, Refused, Target};
use crate::policy::list::Report;
use crate::policy::{Limit, RuleView, What};
use ipnet::IpNet;
use std::net::IpAddr;

/// A gate that lets no list take our networks, the servers that we ask, and those that lists come from.
#[must_use]
pub fn gate(config: &Config) -> Gate {
    let mut gate = Gate::new(Limits::default());
    for net in &config.allow {
        gate.must_not_take(Check::Own, Target::Net(*net));
    }
    for server in asked(config) {
        gate.must_not_take(Check::Upstream, Target::Net(IpNet::from(server.ip())));
    }
    for list in &config.blocklists {
        if let Origin::Git(git) = &list.origin
            && let Some(host) = host(&git.remote)
        {
            gate.must_not_take(Check::Remote, host);
        }
    }
    gate
}

fn host(remote: &Remote) -> Option<Target> {
    match remote.host_name() {
        Some(name) => Name::parse_host(name).ok().map(Target::Name),
        None => remote.host().parse::<IpAddr>().ok().map(|address| Target::Net(IpNet::from(address))),
    }
}

/// Judges the lists of a feed, where `is_compared` beside what is in force of it. The warnings, each with its place.
///
/// # Errors
/// The first refusal.
pub fn judge(config: &Config, feed: &Feed, new: &Lists, is_compared: bool) -> Result<Vec<String>, String> {
    let gate = gate(config);
    let old = is_compared.then(|| in_force(config, feed)).flatten();
    let mut warnings = Vec::new();
    for id in &feed.lists {
        let before = old.as_ref().map(|old| counts(old, id));
        // What was empty is no measure for what comes.
        let before = before.filter(|before| before.rules() > 0);
        let passed = judge_list(&gate, new, id, before.as_ref()).map_err(|refused| words(&refused))?;
        warnings.extend(passed.warnings.iter().map(|warning| format!("{}: {}", warning.place, warning.why)));
        if passed.more > 0 {
            warnings.push(format!("list {id}: and {} more", passed.more));
        }
    }
    Ok(warnings)
}

/// Judges one list of those that were read.
///
/// # Errors
/// The first refusal.
pub fn judge_list(
    gate: &Gate,
    lists: &Lists,
    id: &str,
    before: Option<&Counts>,
) -> Result<crate::policy::gate::Passed, Refused> {
    let mut report = Report::default();
    for (_, one) in lists.reports.iter().filter(|(label, _)| label.split(' ').next() == Some(id)) {
        report.rules += one.rules;
        report.bad += one.bad;
        report.ignored += one.ignored;
    }
    let list = |rule: &RuleView<'_>| lists.rules.list(lists.rules.class(rule.class)?.list);
    // What a vendor file says of shared address space is never blocked, whatever is wanted.
    let shared = |rule: &RuleView<'_>| lists.rules.class(rule.class).is_some_and(|c| c.limit == Some(Limit::Shared));
    let own = |rule: &RuleView<'_>| list(rule).is_some_and(|list| lists.is_of(id, list)) && !shared(rule);
    let own = lists.rules.rules().filter(own);
    let place =
        |rule: &RuleView<'_>| list(rule).map_or_else(String::new, |list| format!("{}:{}", list.file, rule.line));
    gate.judge_rules(id, own, place, (&report, before))
}

/// A refusal without what it says of the list in force, which is the caller's to say.
#[must_use]
pub fn words(refused: &Refused) -> String {
    format!("{}: refused by the gate ({}): {}", refused.place, refused.check, refused.why)
}

/// The lists of a feed as they are in force; none where there is nothing to compare with.
fn in_force(config: &Config, feed: &Feed) -> Option<Lists> {
    let feeds = feeds(config);
    let held = Snapshots::held(feeds.iter().filter(|other| other.id == feed.id)).ok()?;
    let own: Vec<Blocklist> = config.blocklists.iter().filter(|list| feed.has(&list.id)).cloned().collect();
    lists::read(None, false, &own, &held).ok()
}

fn counts(lists: &Lists, id: &str) -> Counts {
    let mut counts = Counts::default();
    for rule in lists.rules.rules() {
        let list = lists.rules.class(rule.class).and_then(|class| lists.rules.list(class.list));
        if list.is_some_and(|list| lists.is_of(id, list)) {
            match rule.what {
                What::Name(..) => counts.names += 1,
                What::Range(_) => counts.ranges += 1,
                What::Apart(_) => counts.apart += 1,
            }
        }
    }
    counts
}
