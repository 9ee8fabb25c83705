//! The gate with everything that it must know of this machine, and what stands before it: the lists of a commit, of a reload, of a
//! start.

use super::config::{Blocklist, Config, Origin};
use super::daemon::asked;
use super::lists::{self, Lists, Snapshots};
use super::sync::{Feed, feeds};
use crate::base::name::Name;
use crate::io::sync::Remote;
use crate::policy::gate::{Check, Counts, Gate, Passed, Refused, Target};
use crate::policy::list::Report;
use crate::policy::{ClassId, Limit, RuleView};
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What is in force while new lists stand before the gate.
#[derive(Clone, Copy)]
pub struct InForce<'a> {
    /// The config.
    pub config: &'a Config,
    /// Its lists.
    pub lists: &'a Lists,
}

/// A gate that lets no list take our names and networks, the servers that we ask, and those that lists come from.
#[must_use]
pub fn gate(config: &Config) -> Gate {
    let mut gate = Gate::default();
    for net in &config.allow {
        gate.must_not_take(Check::Own, Target::Net(*net));
    }
    for target in &config.own {
        gate.must_not_take(Check::Own, target.clone());
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

/// Judges the lists of a feed, where `is_compared` beside what is in force of it. Warnings go to `new`.
///
/// # Errors
/// The first refusal.
pub fn judge_feed(config: &Config, feed: &Feed, new: &mut Lists, is_compared: bool) -> Result<(), String> {
    let gate = gate(config);
    let old = is_compared.then(|| held(config, feed)).flatten();
    for list in config.blocklists.iter().filter(|list| feed.has(&list.id)) {
        let before = old.as_ref().and_then(|old| counts(old, &list.id));
        let passed = judge_list(&gate, list, new, before.as_ref()).map_err(|refused| words(&refused))?;
        new.warnings.insert(list.id.clone(), warnings(&list.id, &passed));
    }
    Ok(())
}

/// Judges all lists of the operator's as a reload brings them, or a start, which has nothing to compare with. A commit that is in
/// force passed when it came: what has become wrong with it since, by other settings or another version of this program, is a
/// warning. Warnings go to `new`.
///
/// # Errors
/// The first refusal.
pub fn judge_all(config: &Config, new: &mut Lists, before: Option<InForce<'_>>) -> Result<(), String> {
    judge_these(config.blocklists.iter(), config, new, before)
}

/// The same for lists from files alone.
///
/// # Errors
/// The first refusal.
pub fn judge_files(config: &Config, new: &mut Lists, before: InForce<'_>) -> Result<(), String> {
    let is_file = |list: &&Blocklist| matches!(list.origin, Origin::File(_));
    judge_these(config.blocklists.iter().filter(is_file), config, new, Some(before))
}

fn judge_these<'c>(
    these: impl Iterator<Item = &'c Blocklist>,
    config: &Config,
    new: &mut Lists,
    before: Option<InForce<'_>>,
) -> Result<(), String> {
    let gate = gate(config);
    for list in these {
        let is_from_git = matches!(list.origin, Origin::Git(_));
        // Nothing was taken of it yet, or what was cannot be used; both are said elsewhere.
        if is_from_git && !new.commits.iter().any(|commit| commit.list == list.id) {
            continue;
        }
        let old = before.and_then(|before| counts_before(&before, list));
        let said = match judge_list(&gate, list, new, old.as_ref()) {
            Ok(passed) => warnings(&list.id, &passed),
            Err(refused) if is_from_git && is_known(&list.id, new, before) => {
                vec![format!("list {}: {}; it stays in force", list.id, words(&refused))]
            }
            Err(refused) => return Err(words(&refused)),
        };
        new.warnings.insert(list.id.clone(), said);
    }
    Ok(())
}

/// Whether a list's commit was judged before: it is in force, or was when the last run ended.
fn is_known(id: &str, new: &Lists, before: Option<InForce<'_>>) -> bool {
    let commit = |lists: &Lists| lists.commits.iter().find(|commit| commit.list == id).map(|commit| commit.id.clone());
    before.is_none_or(|before| commit(before.lists) == commit(new))
}

/// What a file was the last time that it was read; none where the id meant another file then.
fn counts_before(before: &InForce<'_>, list: &Blocklist) -> Option<Counts> {
    let Origin::File(path) = &list.origin else { return None };
    let is_same = |other: &&Blocklist| other.id == list.id && matches!(&other.origin, Origin::File(old) if old == path);
    before.config.blocklists.iter().find(is_same)?;
    counts(before.lists, &list.id)
}

/// Judges one list of those that were read.
///
/// # Errors
/// The first refusal.
pub fn judge_list(
    gate: &Gate,
    list: &Blocklist,
    lists: &Lists,
    before: Option<&Counts>,
) -> Result<Passed, Box<Refused>> {
    let all = judge_whole(gate, list, lists, before, 1);
    all.map_err(|mut refused| Box::new(refused.swap_remove(0)))
}

/// The same with up to `most` refusals.
///
/// # Errors
/// What is refused, at least one thing.
pub fn judge_whole(
    gate: &Gate,
    list: &Blocklist,
    lists: &Lists,
    before: Option<&Counts>,
    most: usize,
) -> Result<Passed, Vec<Refused>> {
    let mut report = Report::default();
    for (_, one) in lists.reports_of(&list.id) {
        report.rules += one.rules;
        report.bad += one.bad;
        report.ignored += one.ignored;
    }
    let classes = classes(lists, &list.id);
    let rules = lists.rules.rules().filter(|rule| classes.contains(&rule.class));
    let place = |rule: &RuleView<'_>| {
        let of = lists.rules.class(rule.class).and_then(|class| lists.rules.list(class.list));
        of.map_or_else(String::new, |of| format!("{}:{}", of.file, rule.line))
    };
    let gate = gate.with(list.gate.limits, &list.gate.must_have);
    gate.judge_rules(&list.id, rules, place, (&report, before), most)
}

/// A refusal without what it says of the list in force, which is the caller's to say.
#[must_use]
pub fn words(refused: &Refused) -> String {
    format!("{}: refused by the gate ({}): {}", refused.place, refused.check, refused.why)
}

fn warnings(id: &str, passed: &Passed) -> Vec<String> {
    let mut said: Vec<String> =
        passed.warnings.iter().map(|warning| format!("{}: {}", warning.place, warning.why)).collect();
    if passed.more > 0 {
        said.push(format!("list {id}: and {} more", passed.more));
    }
    said
}

/// The lists of a feed as they are in force; none where there is nothing to compare with.
fn held(config: &Config, feed: &Feed) -> Option<Lists> {
    let feeds = feeds(config);
    let held = Snapshots::held(feeds.iter().filter(|other| other.id == feed.id)).ok()?;
    let own: Vec<Blocklist> = config.blocklists.iter().filter(|list| feed.has(&list.id)).cloned().collect();
    lists::read(None, false, &own, &held).ok()
}

/// How many rules a list has; none for an empty one, which is no measure for what comes.
fn counts(lists: &Lists, id: &str) -> Option<Counts> {
    let (classes, mut counts) = (classes(lists, id), Counts::default());
    lists.rules.rules().filter(|rule| classes.contains(&rule.class)).for_each(|rule| counts.count(&rule.what));
    (counts.rules() > 0).then_some(counts)
}

/// The classes of a list's rules, without what a vendor file says of shared address space: that is never blocked, whatever is
/// wanted.
fn classes(lists: &Lists, id: &str) -> BTreeSet<ClassId> {
    let is_its = |list| lists.rules.list(list).is_some_and(|list| lists.is_of(id, list));
    let its = lists.rules.classes().filter(|(_, class)| class.limit != Some(Limit::Shared) && is_its(class.list));
    its.map(|(id, _)| id).collect()
}
