//! `[[blocklist]]`: a file, or files of a git repository.

use super::check::Problems;
use super::file;
use crate::base::model::Stage;
use crate::base::name::Name;
use crate::io::sync::remote::Transport;
use crate::io::sync::{Reference, Remote, RepoPath};
use crate::policy::gate::{Limits, Target};
use crate::policy::list::{Format, parse_range};
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

/// The shortest time between two looks at a remote; less would only be a burden to it.
const EVERY_MIN: Duration = Duration::from_secs(1);

/// Percent that a list may grow at once; more is no limit.
const GROWTH_PERCENT_MAX: u32 = 1_000_000;
/// Percent of unreadable lines with which a file is still taken for a list by its reader.
const UNREADABLE_PERCENT_MAX: u32 = 20;
/// The shortest prefixes that a reader takes.
const V4_PREFIX_MIN: u8 = 12;
const V6_PREFIX_MIN: u8 = 32;

/// A list of the operator's.
#[derive(Clone, Debug)]
pub struct Blocklist {
    /// What reports call it.
    pub id: String,
    /// Where its text is.
    pub origin: Origin,
    /// How it is written.
    pub format: Format,
    /// Whether it may answer with data of its own.
    pub answers: bool,
    /// What is wanted for it.
    pub stage: Stage,
    /// What a revision of it must be to become policy.
    pub gate: ListGate,
}

/// What a revision of a list must be to become policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListGate {
    /// Numbers.
    pub limits: Limits,
    /// Entries that must be there.
    pub must_have: Vec<Target>,
}

/// Where the text of a list is.
#[derive(Clone, Debug)]
pub enum Origin {
    /// In a file of this machine.
    File(PathBuf),
    /// In a git repository.
    Git(Box<GitList>),
}

/// A list in a git repository.
#[derive(Clone, Debug)]
pub struct GitList {
    /// The repository.
    pub remote: Remote,
    /// What is followed in it.
    pub reference: Reference,
    /// A file, or a folder of files.
    pub path: RepoPath,
    /// How often the remote is asked.
    pub every: Duration,
    /// Who may sign; without it nothing is verified beyond the transport.
    pub signers: Option<PathBuf>,
    /// How old its newest commit may be before that is said.
    pub promise: Option<Duration>,
}

/// Checks all lists.
pub(super) fn all(p: &mut Problems<'_>, lists: &[file::Blocklist], base: &Path) -> Vec<Blocklist> {
    let mut made: Vec<Blocklist> = Vec::new();
    for list in lists {
        let id = list.id.get_ref();
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_' || c == '.';
        if id.is_empty() || id.starts_with('.') || !id.chars().all(good) {
            p.push(&list.id, &format!("id = {id:?}: write lower-case letters, digits, '-', '_' and '.', no '.' first"));
        }
        if made.iter().any(|other| other.id == *id) {
            p.push(&list.id, &format!("id = {id:?} is taken by a [[blocklist]] above"));
        }
        let format = p.parse(&list.format, "format", "leave it out to tell it by content");
        let stage = p.parse(&list.stage, "stage", "leave it out for \"block\"");
        let origin = match &list.git {
            Some(url) => git(p, list, url, base).map(|git| Origin::Git(Box::new(git))),
            None => file_alone(p, list).then(|| Origin::File(base.join(list.path.get_ref()))),
        };
        if let (Some(format), Some(stage), Some(origin)) = (format, stage, origin) {
            let made_so_far = &made;
            if let Origin::Git(git) = &origin {
                same_signers(p, made_so_far, git, list);
            }
            let gate = gate(p, &list.gate);
            made.push(Blocklist { id: id.clone(), origin, format, answers: list.answers, stage, gate });
        }
    }
    made
}

fn gate(p: &mut Problems<'_>, at: &file::Gate) -> ListGate {
    let limits = Limits {
        minimum: *at.minimum.get_ref(),
        shrink_percent_max: p.bound(&at.shrink, "shrink", 0, 100),
        growth_percent_max: p.bound(&at.growth, "growth", 0, GROWTH_PERCENT_MAX),
        bad_percent_max: p.bound(&at.unreadable, "unreadable", 0, UNREADABLE_PERCENT_MAX),
        v4_prefix_min: p.bound(&at.widest_v4, "widest_v4", V4_PREFIX_MIN, 32),
        v6_prefix_min: p.bound(&at.widest_v6, "widest_v6", V6_PREFIX_MIN, 128),
    };
    ListGate { limits, must_have: targets(p, &at.must_have, "must_have") }
}

/// Names and networks.
pub(super) fn targets(p: &mut Problems<'_>, all: &[Spanned<String>], key: &str) -> Vec<Target> {
    let target = |at: &Spanned<String>| {
        let text = at.get_ref();
        let made = match parse_range(text) {
            Some(net) => Ok(Target::Net(net)),
            None => Name::parse_host(text).map(Target::Name),
        };
        made.map_err(|why| {
            p.push(
                at,
                &format!(
                    "{key}: {text:?} is neither a name nor a network: {why}; write \"example.org\" or \"192.0.2.0/24\""
                ),
            );
        })
    };
    all.iter().map(target).filter_map(Result::ok).collect()
}

/// Whether a list without `git` has none of the keys that go with it.
fn file_alone(p: &mut Problems<'_>, list: &file::Blocklist) -> bool {
    let texts = [
        ("branch", list.branch.as_ref()),
        ("tag", list.tag.as_ref()),
        ("commit", list.commit.as_ref()),
        ("every", list.every.as_ref()),
        ("promise", list.promise.as_ref()),
    ];
    let paths = [
        ("signers", list.signers.as_ref()),
        ("ca", list.ca.as_ref()),
        ("ssh_key", list.ssh_key.as_ref()),
        ("known_hosts", list.known_hosts.as_ref()),
    ];
    let sentence = |key: &str| format!("{key} goes with git, which this [[blocklist]] does not have");
    texts.iter().for_each(|(key, at)| at.iter().for_each(|at| p.push(at, &sentence(key))));
    paths.iter().for_each(|(key, at)| at.iter().for_each(|at| p.push(at, &sentence(key))));
    texts.iter().all(|(_, at)| at.is_none()) && paths.iter().all(|(_, at)| at.is_none())
}

fn git(p: &mut Problems<'_>, list: &file::Blocklist, url: &Spanned<String>, base: &Path) -> Option<GitList> {
    let remote = match Remote::parse(url.get_ref(), list.insecure) {
        Ok(remote) => Some(remote),
        Err(why) => {
            p.push(url, &format!("git: {why}"));
            None
        }
    };
    let reference = reference(p, list, url);
    let path = match list.path.get_ref().to_string_lossy().parse::<RepoPath>() {
        Ok(path) => Some(path),
        Err(why) => {
            p.push(&list.path, &format!("path: {why}"));
            None
        }
    };
    let every = match &list.every {
        Some(at) => p.span(at, "every"),
        None => Some(file::EVERY_DEFAULT),
    };
    let promise = list.promise.as_ref().map(|at| p.span(at, "promise"));
    let file = |at: &Option<Spanned<PathBuf>>| at.as_ref().map(|at| base.join(at.get_ref()));
    let transport =
        Transport { ca: file(&list.ca), ssh_key: file(&list.ssh_key), known_hosts: file(&list.known_hosts) };
    Some(GitList {
        remote: with_transport(remote?, transport),
        reference: reference?,
        path: path?,
        every: every?.max(EVERY_MIN),
        signers: file(&list.signers),
        promise: promise.flatten(),
    })
}

fn with_transport(mut remote: Remote, transport: Transport) -> Remote {
    remote.transport = transport;
    remote
}

/// What is followed: one of three keys.
fn reference(p: &mut Problems<'_>, list: &file::Blocklist, url: &Spanned<String>) -> Option<Reference> {
    let mut named = [&list.branch, &list.tag, &list.commit].into_iter().flatten();
    match (named.next(), named.next()) {
        (Some(_), None) => {}
        (None, _) => {
            p.push(url, "git needs what to follow: branch, tag or commit");
            return None;
        }
        (_, Some(second)) => {
            p.push(second, "a [[blocklist]] follows one of branch, tag and commit, not two");
            return None;
        }
    }
    let form = "write it as the repository has it";
    if let Some(at) = &list.branch {
        return p.parse(at, "branch", form).map(Reference::Branch);
    }
    if let Some(at) = &list.tag {
        return p.parse(at, "tag", form).map(Reference::Tag);
    }
    p.parse(list.commit.as_ref()?, "commit", form).map(Reference::Commit)
}

/// Lists of one repository and reference come from one commit, so that one file says who may sign it.
fn same_signers(p: &mut Problems<'_>, before: &[Blocklist], git: &GitList, list: &file::Blocklist) {
    for other in before {
        let Origin::Git(have) = &other.origin else { continue };
        if have.is_same_source(git) && (have.signers != git.signers || have.remote != git.remote) {
            let sentence = format!(
                "this repository and reference are in [[blocklist]] {:?} too; say signers, ca, ssh_key and known_hosts the same",
                other.id
            );
            p.push(&list.id, &sentence);
        }
    }
}

impl Blocklist {
    /// A file that blocks, all else at its default.
    #[must_use]
    pub fn of_file(id: impl Into<String>, path: impl Into<PathBuf>, format: Format) -> Self {
        let origin = Origin::File(path.into());
        Self { id: id.into(), origin, format, answers: false, stage: Stage::Block, gate: ListGate::default() }
    }
}

impl GitList {
    /// Whether two lists come from the same repository and reference, and so from one commit.
    #[must_use]
    pub fn is_same_source(&self, other: &Self) -> bool {
        self.remote.as_str() == other.remote.as_str() && self.reference == other.reference
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Source, parse};
    use super::*;

    fn parsed(rest: &str) -> Result<Vec<Blocklist>, String> {
        let text = format!("version = 1\n[[blocklist]]\nid = \"geo\"\n{rest}");
        let config = parse(&text, &Source::File("/etc/x/c.toml".into()));
        config.map(|config| config.blocklists).map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_from_git_has_its_defaults() {
        let lists = parsed("git = \"https://example.org/l.git\"\nbranch = \"main\"\npath = \"lists/\"\n").unwrap();
        let [Blocklist { origin: Origin::Git(git), .. }] = &lists[..] else { panic!("{lists:?}") };
        assert_eq!((git.every, git.promise, git.path.as_str()), (Duration::from_secs(86_400), None, "lists"));
        let all =
            "git = \"/srv/l.git\"\ntag = \"v1\"\npath = \"a.txt\"\nevery = \"2h\"\npromise = \"7d\"\nsigners = \"s\"\n";
        let lists = parsed(all).unwrap();
        let [Blocklist { origin: Origin::Git(git), .. }] = &lists[..] else { panic!("{lists:?}") };
        assert_eq!((git.every.as_secs(), git.promise.unwrap().as_secs()), (7_200, 604_800));
        assert_eq!(git.signers.as_deref(), Some(Path::new("/etc/x/s")));
    }

    #[test]
    fn every_mistake_has_its_line() {
        for (rest, said) in [
            ("path = \"a\"\nbranch = \"main\"\n", "/etc/x/c.toml:5: branch goes with git"),
            ("path = \"a\"\nsigners = \"s\"\n", "/etc/x/c.toml:5: signers goes with git"),
            ("git = \"/l.git\"\npath = \"a\"\n", "/etc/x/c.toml:4: git needs what to follow: branch, tag or commit"),
            (
                "git = \"/l.git\"\npath = \"a\"\nbranch = \"b\"\ntag = \"t\"\n",
                "/etc/x/c.toml:7: a [[blocklist]] follows one",
            ),
            ("git = \"http://e.org/l\"\npath = \"a\"\nbranch = \"b\"\n", "/etc/x/c.toml:4: git: the remote"),
            (
                "git = \"/l.git\"\npath = \"../a\"\nbranch = \"b\"\n",
                "/etc/x/c.toml:5: path: the path in the repository",
            ),
            ("git = \"/l.git\"\npath = \"a\"\nbranch = \"-b\"\n", "/etc/x/c.toml:6: branch = \"-b\""),
            (
                "git = \"/l.git\"\npath = \"a\"\ncommit = \"12\"\n",
                "/etc/x/c.toml:6: commit = \"12\": a commit is written",
            ),
            (
                "git = \"/l.git\"\npath = \"a\"\nbranch = \"b\"\nevery = \"5\"\n",
                "/etc/x/c.toml:7: every: \"5\" is no span",
            ),
            ("path = \"a\"\n[blocklist.gate]\nshrink = 101\n", "/etc/x/c.toml:6: shrink = 101 is out of bounds"),
            ("path = \"a\"\n[blocklist.gate]\nwidest_v4 = 8\n", "/etc/x/c.toml:6: widest_v4 = 8 is out of bounds"),
            (
                "path = \"a\"\n[blocklist.gate]\nmust_have = [\"a b\"]\n",
                "/etc/x/c.toml:6: must_have: \"a b\" is neither",
            ),
            (
                "path = \"a\"\n[blocklist.gate]\nminium = 1\n",
                "/etc/x/c.toml:6: unknown key `minium`; did you mean `minimum`?",
            ),
            (
                "path = \"a\"\n[policy]\nown = [\"a b\"]\n",
                "/etc/x/c.toml:6: own: \"a b\" is neither a name nor a network",
            ),
            (
                "git = \"/l.git\"\npath = \"a\"\nbranch = \"b\"\n[[blocklist]]\nid = \"two\"\ngit = \"/l.git\"\npath = \"b\"\n\
                 branch = \"b\"\nsigners = \"s\"\n",
                "/etc/x/c.toml:8: this repository and reference are in [[blocklist]] \"geo\" too",
            ),
        ] {
            let error = parsed(rest).unwrap_err();
            assert!(error.starts_with(said), "{rest}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        let dots = parse("version = 1\n[[blocklist]]\nid = \"..\"\npath = \"l\"\n", &Source::Embedded).unwrap_err();
        assert!(dots.to_string().contains("no '.' first"), "{dots}");
    }
}
