//! Where a list comes from: the remote, the reference that is followed, and paths inside the repository. All three are parsed
//! once, so that nothing that git could read as an option, a command or another transport ever reaches its command line.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::object::CommitId;

/// Octets of the longest remote, reference and path.
pub const TEXT_OCTETS_MAX: usize = 1_024;

/// A remote, reference or path that is refused; one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is refused: {why}")]
pub struct BadSource {
    /// What kind of text it is.
    what: &'static str,
    /// The text.
    text: String,
    /// Why, and what to write instead.
    why: &'static str,
}

//----------- Remote ---------------------------------------------------------

/// How git reaches a remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `https://`
    Https,
    /// `http://`: to loopback, or where the config says `insecure = true`.
    Http,
    /// `ssh://` or `user@host:path`
    Ssh,
    /// `file://` or an absolute path
    File,
}

impl Protocol {
    /// The name in git's `protocol.<name>.allow`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::Ssh => "ssh",
            Self::File => "file",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
            Self::Ssh => 22,
            Self::File => 0,
        }
    }
}

/// What a transport needs beside the address. None of it comes from the environment or a home folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transport {
    /// Certificates that https is checked against instead of the system's.
    pub ca: Option<PathBuf>,
    /// The private key for ssh.
    pub ssh_key: Option<PathBuf>,
    /// The host keys for ssh instead of the system's `/etc/ssh/ssh_known_hosts`; an unknown host is always refused.
    pub known_hosts: Option<PathBuf>,
}

/// The address of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    url: String,
    protocol: Protocol,
    host: String,
    port: u16,
    /// Keys and certificates for the way there.
    pub transport: Transport,
}

impl Remote {
    /// Reads `https://host[:port]/path`, `ssh://[user@]host[:port]/path`, `user@host:path`, `file:///path`, `/path`, and
    /// `http://` to loopback, or anywhere if `insecure`.
    ///
    /// # Errors
    /// A sentence with what is wrong and what to write.
    pub fn parse(text: &str, insecure: bool) -> Result<Self, BadSource> {
        let bad = |why| BadSource { what: "the remote", text: without_secret(text), why };
        if text.is_empty() || text.len() > TEXT_OCTETS_MAX {
            return Err(bad("write 1 to 1024 characters"));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '\\' | '\'' | '"')) {
            return Err(bad("it has blanks, quotes, backslashes or control characters"));
        }
        if text.starts_with('/') {
            return Self::file(text, text).map_err(bad);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Self::scp(text).map_err(bad);
        };
        match scheme {
            "https" => Self::network(text, Protocol::Https, rest).map_err(bad),
            "ssh" => Self::network(text, Protocol::Ssh, rest).map_err(bad),
            "file" => Self::file(text, rest).map_err(bad),
            "http" => {
                let remote = Self::network(text, Protocol::Http, rest).map_err(bad)?;
                if insecure || is_loopback(&remote.host) {
                    return Ok(remote);
                }
                Err(bad("http can be read and changed on the way; write https://, or insecure = true"))
            }
            _ => Err(bad("write https://, ssh:// or file://")),
        }
    }

    fn file(url: &str, path: &str) -> Result<Self, &'static str> {
        if !path.starts_with('/') {
            return Err("a file remote is an absolute path: file:///srv/lists.git");
        }
        let (protocol, transport) = (Protocol::File, Transport::default());
        Ok(Self { url: url.to_owned(), protocol, host: String::new(), port: 0, transport })
    }

    fn network(url: &str, protocol: Protocol, rest: &str) -> Result<Self, &'static str> {
        let (authority, path) = rest.split_once('/').ok_or("it has no path after the host")?;
        if path.is_empty() || path.contains(['?', '#']) {
            return Err("write host and path, and nothing after them");
        }
        let (user, place) = authority.rsplit_once('@').map_or((None, authority), |(user, place)| (Some(user), place));
        match (protocol, user) {
            (_, None) => {}
            (Protocol::Ssh, Some(user)) => check_user(user)?,
            _ => return Err("it names a user or password, which other programs could read; use ssh with a deploy key"),
        }
        let (host, port) = split_port(place, protocol.default_port())?;
        Ok(Self { url: url.to_owned(), protocol, host, port, transport: Transport::default() })
    }

    fn scp(url: &str) -> Result<Self, &'static str> {
        const SHAPE: &str = "write https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH, or an absolute path";
        let (authority, path) = url.split_once(':').ok_or(SHAPE)?;
        let (user, host) = authority.split_once('@').ok_or(SHAPE)?;
        check_user(user)?;
        // `ext::command` and its like: a transport of git that runs what it is given.
        if path.is_empty() || path.starts_with(':') || path.starts_with('-') {
            return Err(SHAPE);
        }
        let host = check_host(host)?;
        let (protocol, transport) = (Protocol::Ssh, Transport::default());
        Ok(Self { url: url.to_owned(), protocol, host, port: 22, transport })
    }

    /// How git reaches it.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The host, lower-case, without brackets; empty for a file.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, 0 for a file.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The host where it is a name that has to be resolved.
    #[must_use]
    pub fn host_name(&self) -> Option<&str> {
        (!self.host.is_empty() && self.host.parse::<IpAddr>().is_err()).then_some(self.host.as_str())
    }

    /// As git is given it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.url
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// The text without what stands between a user's colon and the `@`, for error messages.
fn without_secret(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    match rest.rsplit_once('@') {
        Some((user, place)) if user.contains(':') => format!("{scheme}://…@{place}"),
        _ => text.to_owned(),
    }
}

fn split_port(place: &str, default: u16) -> Result<(String, u16), &'static str> {
    const PORT: &str = "the port is no number from 1 to 65535";
    let (host, port) = match place.strip_prefix('[') {
        Some(inner) => {
            let (host, after) = inner.split_once(']').ok_or("the [ has no ]")?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| "what stands in brackets is no IPv6 address")?;
            let port = if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or(PORT)?) };
            (host.to_ascii_lowercase(), port)
        }
        None => match place.split_once(':') {
            Some((host, port)) => (check_host(host)?, Some(port)),
            None => (check_host(place)?, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(PORT)?,
        None => default,
    };
    Ok((host, port))
}

fn check_host(host: &str) -> Result<String, &'static str> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() || host.len() > 253 || host.starts_with(['-', '.']) || !host.chars().all(good) {
        return Err("the host is no host name or address");
    }
    Ok(host.to_ascii_lowercase())
}

fn check_user(user: &str) -> Result<(), &'static str> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if user.is_empty() || user.starts_with('-') || !user.chars().all(good) {
        return Err("the user is no plain name; a password has no place here");
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

//----------- Reference ------------------------------------------------------

/// What is followed in a remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// The tip of a branch.
    Branch(RefName),
    /// What a tag points at; an annotated tag may carry the signature.
    Tag(RefName),
    /// One commit for ever.
    Commit(CommitId),
}

impl Reference {
    /// The name in the remote: `refs/heads/…`, `refs/tags/…`, or the commit's id.
    #[must_use]
    pub fn remote_name(&self) -> String {
        match self {
            Self::Branch(name) => format!("refs/heads/{name}"),
            Self::Tag(name) => format!("refs/tags/{name}"),
            Self::Commit(id) => id.to_string(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Branch(name) => write!(f, "branch {name}"),
            Self::Tag(name) => write!(f, "tag {name}"),
            Self::Commit(id) => write!(f, "commit {id}"),
        }
    }
}

/// The name of a branch or tag that git allows, without a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefName(String);

impl FromStr for RefName {
    type Err = BadSource;

    /// The rules of `git check-ref-format`.
    fn from_str(text: &str) -> Result<Self, BadSource> {
        let bad = |why| Err(BadSource { what: "the branch or tag", text: text.to_owned(), why });
        if text.is_empty() || text.len() > 255 {
            return bad("write 1 to 255 characters");
        }
        let banned = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\\"'".contains(c);
        if text.chars().any(banned) || text.contains("..") || text.contains("@{") || text == "@" {
            return bad("git allows no blanks, '..', '@{', or any of ~^:?*[\\ in a name");
        }
        if text.split('/').any(|part| part.is_empty() || part.starts_with(['.', '-']) || part.ends_with('.')) {
            return bad("a part between slashes is empty, starts with '.' or '-', or ends with '.'");
        }
        if text.split('/').any(|part| part.ends_with(".lock")) {
            return bad("git allows no part that ends with '.lock'");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

//----------- Path -----------------------------------------------------------

/// The path of a file or folder inside the repository: relative, without `.`, `..` and `.git`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoPath(String);

impl RepoPath {
    /// With `/` between its parts.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepoPath {
    type Err = BadSource;

    fn from_str(text: &str) -> Result<Self, BadSource> {
        let bad = |why| Err(BadSource { what: "the path in the repository", text: text.to_owned(), why });
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.starts_with('/') {
            return bad("it is absolute; write it from the repository's root, like lists/vendors.txt");
        }
        if text.is_empty() || text.len() > TEXT_OCTETS_MAX {
            return bad("write 1 to 1024 characters");
        }
        if text.chars().any(|c| c.is_control() || c == '\\') {
            return bad("it has control characters or backslashes");
        }
        for part in text.split('/') {
            match part {
                "" => return bad("it has an empty part"),
                "." | ".." => return bad("it leads elsewhere by '.' or '..'"),
                _ if part.eq_ignore_ascii_case(".git") => return bad("'.git' is git's own"),
                _ => {}
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remotes_of_every_kind() {
        for (text, protocol, host, port) in [
            ("https://Lists.example.org/bans.git", Protocol::Https, "lists.example.org", 443),
            ("https://[2001:db8::1]:8443/x", Protocol::Https, "2001:db8::1", 8443),
            ("ssh://git@git.example.org:2222/bans", Protocol::Ssh, "git.example.org", 2222),
            ("git@git.example.org:org/bans.git", Protocol::Ssh, "git.example.org", 22),
            ("file:///srv/bans.git", Protocol::File, "", 0),
            ("/srv/bans.git", Protocol::File, "", 0),
            ("http://127.0.0.1:8080/bans", Protocol::Http, "127.0.0.1", 8080),
            ("http://localhost/bans", Protocol::Http, "localhost", 80),
        ] {
            let remote = Remote::parse(text, false).unwrap();
            assert_eq!((remote.protocol(), remote.host(), remote.port()), (protocol, host, port), "{text}");
            assert_eq!(remote.as_str(), text);
        }
        assert_eq!(Remote::parse("https://10.0.0.1/x", false).unwrap().host_name(), None);
        assert_eq!(Remote::parse("https://a.example/x", false).unwrap().host_name(), Some("a.example"));
    }

    #[test]
    fn what_could_mean_something_else_to_git_is_refused() {
        for text in [
            "",
            "ext::sh -c id",
            "ext::id",
            "fd::7",
            "-u./x",
            "--upload-pack=id",
            "https://-oProxyCommand=id/x",
            "https:///x",
            "https://host",
            "https://host/",
            "ssh://-oProxyCommand=id/x",
            "ssh://-u@host/x",
            "a@-host:x",
            "a@b:-x",
            "git://host/x",
            "https://host/x y",
            "https://host/x\n",
            "https://host:0/x",
            "https://host:99999/x",
            "https://[1]/x",
            "https://host/x?y",
            "relative/path",
            "file://host/x",
            "host:path",
            "https://host/x'y",
            "FILE:///x",
            "a@b::x",
        ] {
            assert!(Remote::parse(text, true).is_err(), "{text:?}");
        }
    }

    #[test]
    fn http_only_when_asked_for_and_passwords_never() {
        let refused = Remote::parse("http://lists.example/x", false).unwrap_err().to_string();
        assert!(refused.contains("insecure = true"), "{refused}");
        assert!(Remote::parse("http://lists.example/x", true).is_ok());
        let refused = Remote::parse("https://user:hunter2@host/x", false).unwrap_err().to_string();
        assert!(!refused.contains("hunter2") && refused.contains("deploy key"), "{refused}");
    }

    #[test]
    fn names_of_branches_and_tags() {
        for good in ["main", "release/2026", "v1.0", "a-b_c"] {
            assert_eq!(good.parse::<RefName>().unwrap().to_string(), good);
        }
        for bad in [
            "", "-x", "a..b", "a:b", "+main", "a*", "a b", "/a", "a/", "a//b", ".a", "a/.b", "a.lock", "@", "a@{1}",
            "a^", "x\0",
        ] {
            // A leading plus is allowed by git in a name, and harmless behind refs/heads/.
            assert_eq!(bad.parse::<RefName>().is_ok(), bad == "+main", "{bad:?}");
        }
        let branch = Reference::Branch("main".parse().unwrap());
        assert_eq!((branch.remote_name(), branch.to_string()), ("refs/heads/main".into(), "branch main".into()));
    }

    #[test]
    fn paths_stay_inside() {
        for good in ["a", "lists/a.txt", "lists/", "..a/b..", ":(top)x", "*"] {
            assert!(good.parse::<RepoPath>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "../../x",
            "a/../b",
            "a/./b",
            "a//b",
            ".git/config",
            "a/.GIT/x",
            "a\\b",
            "a\nb",
            "a\0",
        ] {
            assert!(bad.parse::<RepoPath>().is_err(), "{bad:?}");
        }
    }
}
