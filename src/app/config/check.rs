//! From the file to what the engines take; everything that is wrong is collected, each with its line.

use super::blocklist::{self, Blocklist};
use super::file::{self, File};
use super::gateway::{self, GatewayConfig};
use super::load::line_of;
use super::sinkhole;
use super::upstream::{self, Resolving, Upstreams};
use super::{ConfigError, Source};
use super::{clients, local};
use crate::app::time::parse_span;
use crate::base::model::{BlockAnswer, PurposeSelector, Wall};
use crate::base::name::Name;
use crate::io::listen::{Forwarder, LimitSettings};
use crate::policy::gate::Target;
use crate::policy::local::Local;
use crate::policy::{BlockSettings, Exception, Scope, Settings, StageSetting};
use ipnet::IpNet;
use jiff::tz::TimeZone;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use toml::Spanned;

/// Workers for one address; more would only share out the same cores.
const WORKERS_MAX: usize = 256;
/// Mebibytes that the answer cache may take.
const CACHE_MIB_MAX: usize = 65_536;

/// Octets of the name of an interface (`IFNAMSIZ` without its zero).
const INTERFACE_OCTETS_MAX: usize = 15;
/// Interfaces that are inspected; each has a thread and 16 MiB that it shares with the kernel.
const INTERFACES_MAX: usize = 32;

/// A config that can be run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it came from.
    pub source: Source,
    /// The file as written, defaults filled in; what `config show` prints.
    pub file: File,
    /// Addresses that we answer on.
    pub listen: Vec<SocketAddr>,
    /// Networks that may ask.
    pub allow: Vec<IpNet>,
    /// How much clients may ask.
    pub limits: LimitSettings,
    /// Who asks for others.
    pub forwarders: Vec<Forwarder>,
    /// UDP workers for each address.
    pub workers: usize,
    /// Octets of the answer cache.
    pub cache_octets: usize,
    /// Who answers what is not blocked.
    pub upstreams: Upstreams,
    /// How they are asked, and how long their answers are kept.
    pub resolving: Resolving,
    /// What is wanted.
    pub settings: Settings,
    /// The line of each of `settings.stages` in the file, from 1.
    pub stage_lines: Vec<usize>,
    /// The line of each of `settings.groups` in the file, from 1.
    pub group_lines: Vec<usize>,
    /// A folder of vendor files instead of the embedded ones.
    pub vendors: Option<PathBuf>,
    /// Further lists, in order.
    pub blocklists: Vec<Blocklist>,
    /// Our own names and networks, which no list may take.
    pub own: Vec<Target>,
    /// The folder of ledger and control socket.
    pub store: PathBuf,
    /// Interfaces that are inspected.
    pub inspect: Vec<String>,
    /// What the kernel enforces.
    pub gateway: GatewayConfig,
    /// Where connections to blocked names are taken.
    pub sinkhole_listen: Vec<SocketAddr>,
    /// Days that the ledger keeps a row.
    pub keep_days: u32,
    /// Least severe level that is logged.
    pub log_level: String,
    /// Whether logs are JSON.
    pub log_json: bool,
}

/// The text with its name, and what was found wrong with it.
pub(super) struct Problems<'a> {
    file: String,
    text: &'a str,
    all: Vec<String>,
}

impl Problems<'_> {
    pub(super) fn push<T>(&mut self, at: &Spanned<T>, sentence: &str) {
        let line = line_of(self.text, at.span().start);
        self.all.push(format!("{}:{line}: {sentence}", self.file));
    }

    /// Parses a value with the type's own words for what is wrong.
    pub(super) fn parse<T: FromStr>(&mut self, at: &Spanned<String>, key: &str, form: &str) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        match at.get_ref().parse() {
            Ok(value) => Some(value),
            Err(why) => {
                self.push(at, &format!("{key} = {:?}: {why}; {form}", at.get_ref()));
                None
            }
        }
    }

    /// Reads a host name.
    pub(super) fn parse_host(&mut self, at: &Spanned<String>) -> Option<Name> {
        let name = Name::parse_host(at.get_ref());
        name.map_err(|why| self.push(at, &format!("names = {:?}: {why}", at.get_ref()))).ok()
    }

    fn parse_all<T: FromStr>(&mut self, all: &[Spanned<String>], key: &str, form: &str) -> Vec<T>
    where
        T::Err: std::fmt::Display,
    {
        all.iter().filter_map(|at| self.parse(at, key, form)).collect()
    }

    /// A stretch of time, like `24h`.
    pub(super) fn span(&mut self, at: &Spanned<String>, key: &str) -> Option<Duration> {
        parse_span(at.get_ref()).map_err(|why| self.push(at, &format!("{key}: {why}"))).ok()
    }

    pub(super) fn bound<T: PartialOrd + Copy + std::fmt::Display>(
        &mut self,
        at: &Spanned<T>,
        key: &str,
        least: T,
        most: T,
    ) -> T {
        let value = *at.get_ref();
        if value < least || value > most {
            self.push(at, &format!("{key} = {value} is out of bounds; it must be {least} to {most}"));
        }
        value
    }
}

/// Checks a file.
///
/// # Errors
/// Everything that is wrong, each with its line.
pub(super) fn config(file: &File, text: &str, source: &Source, base: &Path) -> Result<Config, ConfigError> {
    let mut problems = Problems { file: source.to_string(), text, all: Vec::new() };
    let p = &mut problems;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let resolving = upstream::resolving(p, file);
    let local = local::local(p, file, &resolving.zones, base);
    let (sinkhole, sinkhole_listen) = sinkhole::check(p, &file.sinkhole);
    let workers = p.bound(&file.dns.workers, "workers", 0, WORKERS_MAX);
    let config = Config {
        source: source.clone(),
        file: file.clone(),
        listen: p.parse_all(&file.dns.listen, "listen", "write \"address:port\", as \"127.0.0.1:5300\""),
        allow: p.parse_all(&file.dns.allow, "allow", "write a network, as \"192.168.0.0/16\""),
        limits: clients::limits(p, &file.dns),
        forwarders: clients::forwarders(p, &file.dns),
        workers: if workers == 0 { cores } else { workers },
        cache_octets: p.bound(&file.dns.cache_mib, "cache_mib", 1, CACHE_MIB_MAX) << 20,
        upstreams: upstream::servers(p, &file.upstream),
        settings: Settings { sinkhole, ..settings(p, file, local) },
        resolving,
        stage_lines: file.policy.stages.keys().map(|key| line_of(text, key.span().start)).collect(),
        group_lines: file.group.iter().map(|group| line_of(text, group.id.span().start)).collect(),
        vendors: file.policy.vendors.as_ref().map(|path| base.join(path.get_ref())),
        blocklists: blocklist::all(p, &file.blocklist, base),
        own: blocklist::targets(p, &file.policy.own, "own"),
        store: base.join(&file.store.path),
        inspect: interfaces(p, &file.inspect),
        gateway: gateway::check(p, &file.gateway),
        sinkhole_listen,
        keep_days: p.bound(&file.ledger.keep_days, "keep_days", 1, 36_500),
        log_level: one_of(p, &file.log.level, "level", &["error", "warn", "info", "debug", "trace"]),
        log_json: one_of(p, &file.log.format, "format", &["text", "json"]) == "json",
    };
    if config.listen.is_empty() && problems.all.is_empty() {
        problems.all.push(format!("{}: [dns] listen is empty, so nobody could ask; name an address", problems.file));
    }
    if problems.all.is_empty() { Ok(config) } else { Err(ConfigError(problems.all)) }
}

/// Names of interfaces as the kernel takes them; whether they are there is another matter, since they come and go.
fn interfaces(p: &mut Problems<'_>, file: &file::Inspect) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for at in &file.interfaces {
        let name = at.get_ref();
        let is_name = (1..=INTERFACE_OCTETS_MAX).contains(&name.len())
            && !name.contains(|letter: char| letter == '/' || letter.is_whitespace() || letter.is_control());
        if !is_name {
            p.push(at, &format!("interfaces: {name:?} is no name of an interface; `ip link` shows them"));
        } else if names.contains(name) {
            p.push(at, &format!("interfaces: {name:?} is there twice; everything on it would count twice"));
        } else {
            names.push(name.clone());
        }
    }
    if names.len() > INTERFACES_MAX {
        let count = names.len();
        p.all.push(format!("{}: [inspect] interfaces has {count}; it takes {INTERFACES_MAX} at most", p.file));
    }
    names
}

fn one_of(p: &mut Problems<'_>, at: &Spanned<String>, key: &str, words: &[&str]) -> String {
    if !words.contains(&at.get_ref().as_str()) {
        p.push(at, &format!("{key} = {:?} is not one of {}", at.get_ref(), words.join(", ")));
    }
    at.get_ref().clone()
}

fn settings(p: &mut Problems<'_>, file: &File, local: Arc<Local>) -> Settings {
    let word = |at: &Spanned<String>| at.get_ref().to_ascii_lowercase();
    Settings {
        scope: Scope {
            jurisdictions: file.policy.jurisdictions.iter().map(word).collect(),
            binds: file.policy.scope.iter().map(word).collect(),
        },
        stages: file.policy.stages.iter().filter_map(|(key, value)| stage(p, key, value)).collect(),
        groups: clients::groups(p, &file.group),
        exceptions: file.exception.iter().filter_map(|at| exception(p, at, &file.group)).collect(),
        block: BlockSettings {
            answer: p.parse(&file.block.answer, "answer", "see [block] in the template").unwrap_or(BlockAnswer::Null),
            ttl: p.bound(&file.block.ttl, "ttl", 0, 86_400),
        },
        answers: file.block.answers.iter().filter_map(|(id, word)| answer(p, id, word)).collect(),
        local,
        ..Settings::default()
    }
}

fn answer(p: &mut Problems<'_>, id: &Spanned<String>, word: &Spanned<String>) -> Option<(String, BlockAnswer)> {
    let answer = p.parse(word, id.get_ref(), "see [block] in the template")?;
    Some((id.get_ref().clone(), answer))
}

pub(super) fn stage(p: &mut Problems<'_>, key: &Spanned<String>, value: &Spanned<String>) -> Option<StageSetting> {
    let (vendor, part) = match key.get_ref().split_once(':') {
        Some((vendor, part)) => (vendor, Some(part)),
        None => (key.get_ref().as_str(), None),
    };
    let part = match part.map(PurposeSelector::from_str).transpose() {
        Ok(part) => part,
        Err(why) => {
            p.push(key, &format!("stages: {why}"));
            return None;
        }
    };
    let stage = p.parse(value, key.get_ref(), "write \"off\", \"observe\" or \"block\"")?;
    Some(StageSetting { vendor: vendor.to_owned(), part, stage })
}

fn exception(p: &mut Problems<'_>, at: &file::Exception, groups: &[file::Group]) -> Option<Exception> {
    let name = match &at.name {
        None => None,
        Some(text) => match Name::parse_host(text.get_ref()) {
            Ok(name) => Some(name),
            Err(why) => {
                p.push(text, &format!("name = {:?}: {why}", text.get_ref()));
                return None;
            }
        },
    };
    let net = match &at.address {
        None => None,
        Some(text) => Some(network(p, text, "address")?),
    };
    if name.is_none() && net.is_none() {
        p.push(&at.reason, "an [[exception]] needs a name or an address");
    }
    for (key, text) in [("reason", &at.reason), ("approver", &at.approver)] {
        if text.get_ref().trim().is_empty() {
            p.push(text, &format!("{key} is empty; say it, so that the exception can be judged later"));
        }
    }
    for id in &at.groups {
        if !groups.iter().any(|group| group.id.get_ref() == id.get_ref()) {
            p.push(id, &format!("groups: {:?} is no [[group]] of this file", id.get_ref()));
        }
    }
    Some(Exception {
        groups: at.groups.iter().map(|id| id.get_ref().clone()).collect(),
        name,
        net,
        clients: at.clients.iter().filter_map(|text| network(p, text, "clients")).collect(),
        reason: at.reason.get_ref().clone(),
        approver: at.approver.get_ref().clone(),
        until: at.until.as_ref().and_then(|text| moment(p, text)),
    })
}

pub(super) fn network(p: &mut Problems<'_>, at: &Spanned<String>, key: &str) -> Option<IpNet> {
    let net = crate::policy::list::parse_range(at.get_ref());
    if net.is_none() {
        p.push(at, &format!("{key} = {:?} is no address or network; write \"192.0.2.0/24\"", at.get_ref()));
    }
    net
}

fn moment(p: &mut Problems<'_>, at: &Spanned<String>) -> Option<Wall> {
    let moment = parse_moment(at.get_ref());
    if moment.is_none() {
        p.push(
            at,
            &format!(
                "until = {:?} is no date; write \"2027-01-01\" (UTC) or a full time with its offset",
                at.get_ref()
            ),
        );
    }
    moment
}

/// Reads a moment: a full RFC 3339 time, or a day, which means its first moment in UTC. Seconds may be left out.
#[must_use]
pub fn parse_moment(text: &str) -> Option<Wall> {
    let day = || TimeZone::UTC.to_timestamp(text.parse::<jiff::civil::Date>().ok()?.into()).ok();
    // A plain date-time would be read as a date with its time dropped; only a time with an offset is a moment.
    if text.len() > "2027-01-01".len() { text.parse().ok() } else { day() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_with_and_without_seconds_and_days_in_utc() {
        for (text, same) in [
            ("2024-09-28T23:59-04:00", "2024-09-29T03:59:00Z"),
            ("2024-09-29T00:00:00-04:00", "2024-09-29T04:00:00Z"),
            ("2027-01-01", "2027-01-01T00:00:00Z"),
        ] {
            assert_eq!(parse_moment(text), Some(same.parse().unwrap()), "{text}");
        }
        for bad in ["soon", "2027-01-01T00:00:00", "2027-13-01", ""] {
            assert_eq!(parse_moment(bad), None, "{bad}");
        }
    }
}
