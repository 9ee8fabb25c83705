//! Commits and annotated tags as git stores them, taken apart: pure text work, no git.

use std::fmt;
use std::str::FromStr;

use crate::base::model::Wall;

/// Octets of the largest commit or tag object that is read.
pub const OBJECT_OCTETS_MAX: u64 = 1 << 20;

/// The line that begins an SSH signature.
const SSH_BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
/// The line that ends it.
const SSH_END: &str = "-----END SSH SIGNATURE-----";
/// What begins a signature of another kind.
const OTHER_BEGINS: [&str; 3] =
    ["-----BEGIN PGP SIGNATURE-----", "-----BEGIN PGP MESSAGE-----", "-----BEGIN SIGNED MESSAGE-----"];

/// The full id of an object that was seen as a commit: 40 (SHA-1) or 64 (SHA-256) lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(String);

impl CommitId {
    /// All digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, for sentences.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

/// A text that is no full object id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a commit is written as all of its 40 hexadecimal digits")]
pub struct BadCommitId;

impl FromStr for CommitId {
    type Err = BadCommitId;

    fn from_str(text: &str) -> Result<Self, BadCommitId> {
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex || !matches!(text.len(), 40 | 64) {
            return Err(BadCommitId);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How an object is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signed {
    /// Not at all.
    No,
    /// With SSH: the armoured signature.
    Ssh(String),
    /// With OpenPGP or X.509, which is not looked into.
    Other,
}

/// What a commit says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitInfo {
    /// The committer's time: what git and OpenSSH hold a key's validity against.
    pub time: Wall,
    /// The author, `Name <mail>`, control characters left out.
    pub author: String,
    /// How it is signed.
    pub signed: Signed,
    /// The octets that the signature covers.
    pub payload: Vec<u8>,
}

/// What an annotated tag says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagInfo {
    /// What it points at.
    pub commit: CommitId,
    /// Its own name.
    pub name: String,
    /// The tagger's time.
    pub time: Wall,
    /// How it is signed.
    pub signed: Signed,
    /// The octets that the signature covers.
    pub payload: Vec<u8>,
}

/// An object that git stores but that cannot be read as what it claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {0}")]
pub struct BadObject(&'static str);

impl CommitInfo {
    /// Reads a raw commit object.
    ///
    /// # Errors
    /// A commit without a readable committer, or with two signatures.
    pub fn parse(raw: &[u8]) -> Result<Self, BadObject> {
        let (mut author, mut time) = (None, None);
        let (mut signature, mut payload) = (None::<String>, Vec::with_capacity(raw.len()));
        let mut rest = raw;
        while let Some((name, value, lines, after)) = header(rest) {
            rest = after;
            match name {
                b"gpgsig" if signature.is_some() => return Err(BadObject("commit carries two signatures")),
                b"gpgsig" => signature = Some(String::from_utf8_lossy(&value).into_owned()),
                // The signature over the same commit under another hash is not part of what this one covers.
                b"gpgsig-sha256" => {}
                _ => payload.extend_from_slice(lines),
            }
            match name {
                b"author" => author = Some(person(&value).0),
                b"committer" => time = person(&value).1,
                _ => {}
            }
        }
        payload.extend_from_slice(rest);
        let time = time.ok_or(BadObject("commit names no committer with a time"))?;
        let signed = signature.map_or(Signed::No, |text| kind(&text));
        Ok(Self { time, author: author.unwrap_or_default(), signed, payload })
    }
}

impl TagInfo {
    /// Reads a raw tag object.
    ///
    /// # Errors
    /// A tag of anything but a commit, or without a tagger.
    pub fn parse(raw: &[u8]) -> Result<Self, BadObject> {
        let (mut commit, mut name, mut time) = (None, None, None);
        let mut is_commit = false;
        let mut rest = raw;
        while let Some((key, value, _, after)) = header(rest) {
            rest = after;
            match key {
                b"object" => commit = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok()),
                b"type" => is_commit = value == b"commit",
                b"tag" => name = Some(String::from_utf8_lossy(&value).into_owned()),
                b"tagger" => time = person(&value).1,
                _ => {}
            }
        }
        let (true, Some(commit)) = (is_commit, commit) else {
            return Err(BadObject("tag does not point at a commit"));
        };
        let (Some(name), Some(time)) = (name, time) else {
            return Err(BadObject("tag names no tagger with a time"));
        };
        let body = raw.len() - rest.len();
        let cut = signature_start(rest).map_or(raw.len(), |start| body + start);
        let (payload, signature) = raw.split_at(cut);
        let signed = if signature.is_empty() { Signed::No } else { kind(&String::from_utf8_lossy(signature)) };
        Ok(Self { commit, name, time, signed, payload: payload.to_vec() })
    }
}

/// One header: its name, its value with continuation lines joined by newlines, its raw lines, and what follows.
type Header<'a> = (&'a [u8], Vec<u8>, &'a [u8], &'a [u8]);

/// The next header. None at the empty line before the message.
fn header(raw: &[u8]) -> Option<Header<'_>> {
    let mut lines = raw.split_inclusive(|byte| *byte == b'\n');
    let first = lines.next()?;
    let blank = first.iter().position(|byte| *byte == b' ')?;
    let (name, value) = first.split_at(blank);
    let mut value = value.get(1..)?.strip_suffix(b"\n")?.to_vec();
    let mut taken = first.len();
    for line in lines {
        let Some(more) = line.strip_prefix(b" ") else { break };
        value.push(b'\n');
        value.extend_from_slice(more.strip_suffix(b"\n").unwrap_or(more));
        taken += line.len();
    }
    let (lines, after) = raw.split_at_checked(taken)?;
    Some((name, value, lines, after))
}

/// `Name <mail> seconds zone`, taken apart.
fn person(value: &[u8]) -> (String, Option<Wall>) {
    let text = String::from_utf8_lossy(value);
    let (who, when) = text.rsplit_once("> ").unwrap_or((&text, ""));
    let seconds = when.split(' ').next().and_then(|text| text.parse().ok());
    let who = who.chars().filter(|c| !c.is_control()).take(200).collect::<String>();
    (format!("{who}>"), seconds.and_then(|seconds| Wall::from_second(seconds).ok()))
}

/// Where the last signature of a tag's message begins.
fn signature_start(message: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut found = None;
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if std::iter::once(SSH_BEGIN).chain(OTHER_BEGINS).any(|begin| line.starts_with(begin.as_bytes())) {
            found = Some(at);
        }
        at += line.len();
    }
    found
}

/// What kind of signature this is. Text after its end makes it none that could be verified.
fn kind(text: &str) -> Signed {
    if !text.starts_with(SSH_BEGIN) {
        return Signed::Other;
    }
    match text.split_once(SSH_END) {
        Some((armour, after)) if after.trim().is_empty() => Signed::Ssh(format!("{armour}{SSH_END}\n")),
        _ => Signed::Ssh(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
        author A U Thor <a@example.org> 1700000000 +0200\n\
        committer C <c@example.org> 1700000100 -0500\n\
        gpgsig -----BEGIN SSH SIGNATURE-----\n AAAA\n -----END SSH SIGNATURE-----\n\
        encoding UTF-8\n\nsubject\n\ngpgsig is a word here\n";

    #[test]
    fn a_signed_commit_is_split_into_signature_and_what_it_covers() {
        let info = CommitInfo::parse(COMMIT.as_bytes()).unwrap();
        assert_eq!(info.time.as_second(), 1_700_000_100);
        assert_eq!(info.author, "A U Thor <a@example.org>");
        assert_eq!(info.signed, Signed::Ssh(format!("{SSH_BEGIN}\nAAAA\n{SSH_END}\n")));
        let payload = String::from_utf8(info.payload).unwrap();
        assert!(
            !payload.contains("AAAA") && payload.contains("encoding UTF-8\n\nsubject\n\ngpgsig is a word"),
            "{payload}"
        );
    }

    #[test]
    fn a_commit_without_or_with_two_or_with_foreign_signatures() {
        let plain = COMMIT.replace("gpgsig -----BEGIN SSH SIGNATURE-----\n AAAA\n -----END SSH SIGNATURE-----\n", "");
        let info = CommitInfo::parse(plain.as_bytes()).unwrap();
        assert_eq!((info.signed, info.payload), (Signed::No, plain.clone().into_bytes()));
        let twice = COMMIT.replace("encoding UTF-8", "gpgsig x");
        assert_eq!(CommitInfo::parse(twice.as_bytes()).unwrap_err().to_string(), "the commit carries two signatures");
        let pgp = COMMIT.replace("BEGIN SSH", "BEGIN PGP");
        assert_eq!(CommitInfo::parse(pgp.as_bytes()).unwrap().signed, Signed::Other);
        let more = COMMIT.replace(" -----END SSH SIGNATURE-----\n", " -----END SSH SIGNATURE-----\n more\n");
        assert_eq!(CommitInfo::parse(more.as_bytes()).unwrap().signed, Signed::Ssh(String::new()));
        let timeless = plain.replace("1700000100 -0500", "soon");
        assert!(CommitInfo::parse(timeless.as_bytes()).is_err());
    }

    #[test]
    fn a_tag_ends_with_its_signature() {
        let raw = "object 4b825dc642cb6eb9a060e54bf8d69288fbee4904\ntype commit\ntag v1\n\
            tagger T <t@example.org> 1700000000 +0000\n\nfirst\n-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n";
        let tag = TagInfo::parse(raw.as_bytes()).unwrap();
        assert_eq!((tag.name.as_str(), tag.time.as_second()), ("v1", 1_700_000_000));
        assert_eq!(tag.commit.short(), "4b825dc642cb");
        assert!(tag.payload.ends_with(b"\n\nfirst\n"));
        assert!(matches!(tag.signed, Signed::Ssh(armour) if armour.contains("AAAA")));
        let tree = raw.replace("type commit", "type tree");
        assert_eq!(TagInfo::parse(tree.as_bytes()).unwrap_err().to_string(), "the tag does not point at a commit");
        let plain = raw.split(SSH_BEGIN).next().unwrap();
        assert_eq!(TagInfo::parse(plain.as_bytes()).unwrap().signed, Signed::No);
    }

    #[test]
    fn hostile_objects_are_refused_not_read_past() {
        for raw in
            [&b""[..], b"\n", b"gpgsig", b"gpgsig ", b"committer \xff\xff", b"committer x> 99999999999999999999 +0\n\n"]
        {
            assert!(CommitInfo::parse(raw).is_err());
            assert!(TagInfo::parse(raw).is_err());
        }
    }

    #[test]
    fn ids_are_whole() {
        assert!("4B825DC642CB6EB9A060E54BF8D69288FBEE4904".parse::<CommitId>().is_ok());
        for bad in ["", "4b825dc", "--upload-pack", "4b825dc642cb6eb9a060e54bf8d69288fbee490g"] {
            assert!(bad.parse::<CommitId>().is_err(), "{bad}");
        }
    }
}
