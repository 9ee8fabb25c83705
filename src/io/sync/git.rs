//! A narrow port over the `git` program: fetch into a bare repository, and read commits and blobs out of it. There is never a
//! work tree, so that links, attributes, filters, hooks and submodules of a repository have nothing to act on.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::files::write_whole;
use super::object::{BadObject, CommitId, CommitInfo, OBJECT_OCTETS_MAX, TagInfo};
use super::remote::{Protocol, Reference, Remote, RepoPath};
use super::run::{GitError, Limits, Progress, Run, garbled, too_much};
use super::transport;

/// Where a fetch puts what it found.
const INCOMING: &str = "refs/interdict/incoming";
/// What keeps the history of the newest accepted commit.
const NEWEST: &str = "refs/interdict/newest";
/// All that makes a folder a bare repository, beside its folders.
const FILES: [(&str, &str); 2] =
    [("HEAD", "ref: refs/heads/none\n"), ("config", "[core]\n\trepositoryformatversion = 0\n\tbare = true\n")];
/// Entries below one path that are looked at.
pub const ENTRIES_MAX: usize = 10_000;
/// Octets of git's answer to a small question.
const ANSWER_OCTETS_MAX: usize = 64 * 1024;
/// References that a bundle may have.
const BUNDLE_OCTETS_MAX: usize = 1 << 20;
/// Packs after which they become one.
const PACKS_MAX: usize = 32;

/// What a fetch may ask of its caller.
#[derive(Clone, Copy)]
pub struct Access<'a> {
    /// The addresses of a host name, from our own upstreams; the system's resolver is never asked.
    pub resolve: &'a dyn Fn(&str) -> Vec<IpAddr>,
    /// Told how far it is, some times a second.
    pub progress: &'a dyn Fn(Progress),
}

/// What a reference leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The commit.
    pub commit: CommitId,
    /// The annotated tag that points at it, if that was fetched.
    pub tag: Option<TagInfo>,
}

/// What an entry of a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A plain file.
    File,
    /// A symbolic link; never followed.
    Link,
    /// Another repository; never fetched.
    Submodule,
}

/// One entry below a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// From the repository's root.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Its blob.
    id: String,
}

/// What git knows of an object before reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct About {
    id: String,
    kind: String,
    size: u64,
}

/// A bare repository that this program alone uses.
#[derive(Clone, Debug)]
pub struct Repo {
    dir: PathBuf,
    limits: Limits,
}

impl Repo {
    /// Opens the repository in `dir`, and makes it if it is not there or was left half made. The files are written here, not by
    /// `git init`: killed, that leaves locks that its next run trips over.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn open_or_init(dir: &Path, limits: Limits) -> Result<Self, GitError> {
        let failed = |error| GitError::Io { what: "making the repository", error };
        for folder in ["objects/info", "objects/pack", "refs/heads"] {
            fs::create_dir_all(dir.join(folder)).map_err(failed)?;
        }
        for (name, text) in FILES {
            let file = dir.join(name);
            if fs::read(&file).ok().as_deref() != Some(text.as_bytes()) {
                write_whole(dir, &file, text.as_bytes()).map_err(failed)?;
            }
        }
        Ok(Self { dir: dir.to_owned(), limits })
    }

    /// Removes locks and temporary files that a killed git left. The caller knows that no git is at work here.
    pub fn sweep(&self) {
        let mut folders = vec![self.dir.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let (name, path) = (entry.file_name(), entry.path());
                let name = name.as_encoded_bytes();
                if name.starts_with(b"tmp_") || name.starts_with(b".tmp-") || name.ends_with(b".lock") {
                    // What cannot be removed shows when git trips over it.
                    let _ = fs::remove_file(path);
                } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(path);
                }
            }
        }
    }

    /// Makes a repository that sees the objects of `kept` as well, and offers `have` to remotes as known.
    ///
    /// # Errors
    /// As [`Repo::open_or_init`].
    pub fn init_beside(dir: &Path, kept: &Self, have: Option<&CommitId>) -> Result<Self, GitError> {
        let repo = Self::open_or_init(dir, kept.limits)?;
        let failed = |error| GitError::Io { what: "making the repository", error };
        let objects = kept.dir.join("objects");
        let line = objects.to_str().filter(|path| !path.contains(['\n', '"'])).ok_or_else(|| failed(garbled()))?;
        fs::write(dir.join("objects/info/alternates"), format!("{line}\n")).map_err(failed)?;
        if let Some(have) = have {
            repo.write_ref(NEWEST, have)?;
        }
        Ok(repo)
    }

    /// Fetches a reference with its whole history. Nothing is said here about whether it may be used.
    ///
    /// # Errors
    /// Any [`GitError`]; the repository's other references are untouched then.
    pub fn fetch(&self, remote: &Remote, reference: &Reference, access: &Access<'_>) -> Result<Fetched, GitError> {
        let what = "the fetch";
        let routes = transport::routes(remote, access.resolve).map_err(|said| GitError::Failed { what, said })?;
        if routes.iter().any(|route| !route.settings.is_empty()) && remote.host_name().is_some() {
            self.require_version()?;
        }
        let mut refused = None;
        for route in routes {
            let mut run = self.fetch_run(what, remote.protocol(), remote.as_str(), &reference.remote_name());
            run.settings.extend(route.settings);
            run.env = route.env;
            run.progress = Some(access.progress);
            match run.output(&self.limits, ANSWER_OCTETS_MAX) {
                Ok(_) => return self.tip(),
                Err(GitError::Failed { said, .. }) if transport::is_no_connection(&said) => {
                    refused = Some(GitError::Failed { what, said });
                }
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or_else(|| GitError::Failed { what, said: "no address to try".into() }))
    }

    /// Fetches a reference out of a bundle file, after its prerequisites were found here.
    ///
    /// # Errors
    /// Any [`GitError`].
    pub fn fetch_bundle(&self, file: &Path, reference: &Reference) -> Result<Fetched, GitError> {
        let what = "reading the bundle";
        let failed = |error| GitError::Io { what, error };
        let file = file.canonicalize().map_err(failed)?;
        let about = fs::metadata(&file).map_err(failed)?;
        if !about.is_file() || about.len() > self.limits.disk_bytes {
            return Err(GitError::Disk { what, limit: self.limits.disk_bytes });
        }
        let path = file.to_str().ok_or_else(|| failed(garbled()))?;
        self.run(what, &["bundle", "verify", "--quiet", path]).output(&self.limits, ANSWER_OCTETS_MAX)?;
        let heads = self.run(what, &["bundle", "list-heads", path]).output(&self.limits, BUNDLE_OCTETS_MAX)?;
        let wanted = reference.remote_name();
        let heads = String::from_utf8_lossy(&heads);
        let name = heads
            .lines()
            .filter_map(|line| line.split_once(' '))
            .find(|(id, name)| [*id, *name].contains(&wanted.as_str()));
        let Some((_, name)) = name else {
            return Err(GitError::Failed { what, said: format!("it has no {reference}") });
        };
        let run = self.fetch_run(what, Protocol::File, path, name);
        run.output(&self.limits, ANSWER_OCTETS_MAX)?;
        self.tip()
    }

    /// Takes over what `other` fetched, as the newest.
    ///
    /// # Errors
    /// Any [`GitError`]; what was here stays.
    pub fn keep(&self, other: &Self, commit: &CommitId) -> Result<(), GitError> {
        let what = "keeping what was fetched";
        let source = other.dir.to_str().ok_or_else(|| GitError::Io { what, error: garbled() })?;
        // git moves a reference forwards only, and this may be the first commit of another history.
        self.run(what, &["update-ref", "-d", INCOMING]).output(&self.limits, ANSWER_OCTETS_MAX)?;
        let mut run = self.fetch_run(what, Protocol::File, source, INCOMING);
        run.progress = Some(&|_| ());
        run.output(&self.limits, ANSWER_OCTETS_MAX)?;
        self.write_ref(NEWEST, commit)
    }

    /// Makes one pack of many, keeping the history of `newest` only.
    ///
    /// # Errors
    /// Any [`GitError`]; nothing is lost then.
    pub fn compact(&self, newest: &CommitId) -> Result<(), GitError> {
        let packs = fs::read_dir(self.dir.join("objects/pack")).into_iter().flatten().flatten();
        let is_pack = |entry: &fs::DirEntry| entry.path().extension().is_some_and(|ending| ending == "pack");
        if packs.filter(is_pack).count() <= PACKS_MAX {
            return Ok(());
        }
        self.write_ref(NEWEST, newest)?;
        let mut run = self.run("compacting the repository", &["repack", "-a", "-d", "-q"]);
        run.settings.push("repack.writeBitmaps=false".into());
        run.output(&self.limits, ANSWER_OCTETS_MAX).map(drop)
    }

    /// Whether the history of `later` has `earlier`, or is it.
    ///
    /// # Errors
    /// One of them is not here.
    pub fn is_ancestor(&self, earlier: &CommitId, later: &CommitId) -> Result<bool, GitError> {
        let without = format!("^{later}");
        let args = ["rev-list", "--max-count=1", earlier.as_str(), &without, "--"];
        let found = self.run("comparing histories", &args).output(&self.limits, ANSWER_OCTETS_MAX)?;
        Ok(found.is_empty())
    }

    /// The one commit whose id begins with these digits, if it is here.
    ///
    /// # Errors
    /// Any [`GitError`].
    pub fn resolve(&self, digits: &str) -> Result<Option<CommitId>, GitError> {
        if !(4..=64).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let about = self.about(&[format!("{digits}^{{commit}}")])?;
        Ok(about.into_iter().next().flatten().and_then(|about| about.id.parse().ok()))
    }

    /// What a commit says of itself.
    ///
    /// # Errors
    /// It is not here, no commit, or cannot be read.
    pub fn commit_info(&self, commit: &CommitId) -> Result<CommitInfo, GitError> {
        let (about, raw) = self.object(commit.as_str())?;
        match CommitInfo::parse(&raw) {
            Ok(info) if about.kind == "commit" => Ok(info),
            Ok(_) => Err(unreadable("it is no commit".into())),
            Err(bad) => Err(unreadable(bad.to_string())),
        }
    }

    /// What lies at `path` and below it, in git's order. Nothing there is an empty list; a file is one entry of that path.
    ///
    /// # Errors
    /// More than [`ENTRIES_MAX`], or any other [`GitError`].
    pub fn list(&self, commit: &CommitId, path: &RepoPath) -> Result<Vec<Entry>, GitError> {
        let args = ["ls-tree", "-r", "-z", "--full-tree", commit.as_str(), "--", path.as_str()];
        self.run("listing the commit", &args).stream(&self.limits, |stdout| {
            let mut entries = Vec::new();
            let mut reader = BufReader::new(stdout);
            loop {
                let mut line = Vec::new();
                reader.by_ref().take(ANSWER_OCTETS_MAX as u64).read_until(0, &mut line)?;
                match line.pop() {
                    None => return Ok(entries),
                    Some(0) if entries.len() < ENTRIES_MAX => entries.push(entry(&line).ok_or_else(garbled)?),
                    Some(0) => return Err(too_much()),
                    Some(_) => return Err(garbled()),
                }
            }
        })
    }

    /// The sizes of entries in octets, without reading them.
    ///
    /// # Errors
    /// One is not here, or any other [`GitError`].
    pub fn sizes(&self, entries: &[&Entry]) -> Result<Vec<u64>, GitError> {
        let names: Vec<_> = entries.iter().map(|entry| entry.id.clone()).collect();
        let sizes: Option<Vec<u64>> = self.about(&names)?.into_iter().map(|about| Some(about?.size)).collect();
        sizes.ok_or_else(|| unreadable("a file's contents are missing".into()))
    }

    /// The octets of entries. The caller has looked at their sizes before; none larger than `octets_max` is read.
    ///
    /// # Errors
    /// One is not here or larger, or any other [`GitError`].
    pub fn read_all(&self, entries: &[&Entry], octets_max: u64) -> Result<Vec<Vec<u8>>, GitError> {
        let names: Vec<_> = entries.iter().map(|entry| entry.id.clone()).collect();
        let read = self.batch(&names, octets_max)?;
        Ok(read.into_iter().map(|(_, octets)| octets).collect())
    }

    /// The octets of the plain file at `path`.
    ///
    /// # Errors
    /// It is not there, no plain file, larger than the limit, or any other [`GitError`].
    pub fn read(&self, commit: &CommitId, path: &RepoPath) -> Result<Vec<u8>, GitError> {
        let entries = self.list(commit, path)?;
        let is_it = |entry: &&Entry| entry.path == path.as_str() && entry.kind == Kind::File;
        let found: Vec<_> = entries.iter().filter(is_it).collect();
        if self.sizes(&found)?.iter().any(|size| *size > self.limits.file_bytes) {
            return Err(GitError::Output { what: "reading the file" });
        }
        let octets = self.read_all(&found, self.limits.file_bytes)?.pop();
        octets.ok_or_else(|| unreadable(format!("{path} is no plain file of that commit")))
    }

    /// The limits it works under.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    //--- What the above is made of

    fn run(&self, what: &'static str, args: &[&str]) -> Run<'_> {
        Run::new(what, &self.dir, args)
    }

    fn fetch_run(&self, what: &'static str, protocol: Protocol, source: &str, name: &str) -> Run<'_> {
        let refspec = format!("{name}:{INCOMING}");
        let flags = ["--quiet", "--no-tags", "--no-recurse-submodules", "--no-auto-gc", "--no-write-fetch-head", "--"];
        let args = [&["fetch"][..], &flags, &[source, &refspec]].concat();
        let mut run = self.run(what, &args);
        run.settings.push(format!("protocol.{}.allow=always", protocol.name()));
        run
    }

    /// What the last fetch found.
    fn tip(&self) -> Result<Fetched, GitError> {
        let (about, raw) = self.object(INCOMING)?;
        match about.kind.as_str() {
            "commit" => about.id.parse().map(|commit| Fetched { commit, tag: None }).map_err(|_| unreadable(about.id)),
            "tag" => {
                let tag = TagInfo::parse(&raw).map_err(|bad: BadObject| unreadable(bad.to_string()))?;
                Ok(Fetched { commit: tag.commit.clone(), tag: Some(tag) })
            }
            kind => Err(unreadable(format!("the reference leads to a {kind}, not to a commit"))),
        }
    }

    fn object(&self, name: &str) -> Result<(About, Vec<u8>), GitError> {
        let names = [name.to_owned()];
        let missing = || unreadable(format!("{name} is not there"));
        let about = self.about(&names)?.into_iter().next().flatten().ok_or_else(missing)?;
        if about.size > OBJECT_OCTETS_MAX {
            return Err(unreadable(format!("{} octets are too many for a commit or tag", about.size)));
        }
        self.batch(&names, OBJECT_OCTETS_MAX)?.pop().ok_or_else(missing)
    }

    fn about(&self, names: &[String]) -> Result<Vec<Option<About>>, GitError> {
        let mut run = self.run("looking objects up", &["cat-file", "--batch-check"]);
        run.stdin = lines(names);
        let answer = run.output(&self.limits, ANSWER_OCTETS_MAX + names.len() * 256)?;
        let answer = String::from_utf8_lossy(&answer);
        let found: Vec<_> = answer.lines().map(about).collect();
        if found.len() == names.len() { Ok(found) } else { Err(unreadable("git's answer is too short".into())) }
    }

    fn batch(&self, names: &[String], octets_max: u64) -> Result<Vec<(About, Vec<u8>)>, GitError> {
        let mut run = self.run("reading objects", &["cat-file", "--batch"]);
        run.stdin = lines(names);
        run.stream(&self.limits, |stdout| {
            let mut reader = BufReader::new(stdout);
            let mut read = Vec::with_capacity(names.len());
            for _ in names {
                let mut head = String::new();
                reader.by_ref().take(ANSWER_OCTETS_MAX as u64).read_line(&mut head)?;
                let about = about(head.trim_end()).ok_or_else(garbled)?;
                if about.size > octets_max {
                    return Err(too_much());
                }
                let mut octets = Vec::new();
                reader.by_ref().take(about.size).read_to_end(&mut octets)?;
                let mut end = [0];
                reader.read_exact(&mut end)?;
                if octets.len() as u64 != about.size || end != *b"\n" {
                    return Err(garbled());
                }
                read.push((about, octets));
            }
            Ok(read)
        })
    }

    fn write_ref(&self, name: &str, commit: &CommitId) -> Result<(), GitError> {
        let args = ["update-ref", name, commit.as_str()];
        self.run("noting the newest commit", &args).output(&self.limits, ANSWER_OCTETS_MAX).map(drop)
    }

    /// Older ones would not know how to be told addresses, and ask the system's resolver without a word.
    fn require_version(&self) -> Result<(), GitError> {
        let said = self.run("asking for git's version", &["version"]).output(&self.limits, ANSWER_OCTETS_MAX)?;
        let said = String::from_utf8_lossy(&said);
        let version = said.trim().strip_prefix("git version ").unwrap_or(&said).trim();
        let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        if (numbers.next(), numbers.next()) >= (Some(2), Some(37)) {
            return Ok(());
        }
        Err(GitError::Version(version.chars().filter(|c| !c.is_control()).take(40).collect()))
    }
}

fn unreadable(said: String) -> GitError {
    GitError::Failed { what: "reading the repository", said }
}

fn lines(names: &[String]) -> Vec<u8> {
    names.iter().flat_map(|name| [name.as_bytes(), b"\n"].concat()).collect()
}

/// `id kind size`; none for `name missing` and its like.
fn about(line: &str) -> Option<About> {
    let mut words = line.split(' ');
    let (id, kind, size) = (words.next()?, words.next()?, words.next()?);
    let about = About { id: id.to_owned(), kind: kind.to_owned(), size: size.parse().ok()? };
    words.next().is_none().then_some(about)
}

/// `mode kind id<tab>path`.
fn entry(line: &[u8]) -> Option<Entry> {
    let line = String::from_utf8_lossy(line);
    let (head, path) = line.split_once('\t')?;
    let mut words = head.split(' ');
    let (mode, _, id) = (words.next()?, words.next()?, words.next()?);
    let kind = match mode {
        "100644" | "100755" | "100664" => Kind::File,
        "120000" => Kind::Link,
        "160000" => Kind::Submodule,
        _ => return None,
    };
    Some(Entry { path: path.to_owned(), kind, id: id.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_s_answers_are_read_or_refused() {
        assert_eq!(about("abc blob 12"), Some(About { id: "abc".into(), kind: "blob".into(), size: 12 }));
        for bad in ["abc missing", "", "abc blob x", "abc blob 1 2", "abc ambiguous"] {
            assert_eq!(about(bad), None, "{bad}");
        }
        let kind = |line: &str| entry(line.as_bytes()).map(|entry| entry.kind);
        assert_eq!(kind("100644 blob abc\ta b"), Some(Kind::File));
        assert_eq!(kind("120000 blob abc\ta"), Some(Kind::Link));
        assert_eq!(kind("160000 commit abc\ta"), Some(Kind::Submodule));
        assert_eq!(kind("040000 tree abc\ta"), None);
        assert_eq!(kind("100644 blob abc a"), None);
    }

    #[test]
    fn no_fetch_is_shallow_or_forced() {
        let repo = Repo { dir: "/nonexistent".into(), limits: Limits::default() };
        let run = repo.fetch_run("the fetch", Protocol::Https, "https://a.example/x", "refs/heads/main");
        let spec = format!("refs/heads/main:{INCOMING}");
        assert_eq!(run.args.last(), Some(&spec));
        assert!(!run.args.iter().any(|arg| arg.starts_with('+') || arg.starts_with("--depth") || arg == "--force"));
        assert_eq!(run.settings, ["protocol.https.allow=always"]);
    }
}
