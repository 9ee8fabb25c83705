//! Finding and reading the config; every error is one sentence with file and line.

use super::file::{File, VERSION};
use super::{Config, check};
use crate::io::control::SOCKET_NAME;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Where the config is looked for when none is named.
pub const DEFAULT_PATH: &str = "/etc/interdict/interdict.toml";

/// Octets of the largest config file.
const FILE_OCTETS_MAX: u64 = 4 << 20;

/// Where a config came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// No file: the embedded default.
    Embedded,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Embedded => f.write_str("the embedded default"),
        }
    }
}

/// What is wrong with a config; displays as one `file:line: sentence` a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

impl ConfigError {
    fn one(sentence: String) -> Self {
        Self(vec![sentence])
    }
}

/// Reads the named file; without a name the one at [`DEFAULT_PATH`] if it is there, else the embedded default.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(named: Option<&Path>) -> Result<Config, ConfigError> {
    let Some(path) = file(named) else {
        return check::config(&File::default(), "", &Source::Embedded, Path::new(""));
    };
    let said = path.display();
    let meta = std::fs::metadata(path).map_err(|error| ConfigError::one(unreadable(path, &error)))?;
    if meta.len() > FILE_OCTETS_MAX {
        return Err(ConfigError::one(format!("{said}: the file is larger than 4 MiB, so it is no config")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::one(unreadable(path, &error)))?;
    parse(&text, &Source::File(path.to_owned()))
}

/// The file that is read, if one is.
fn file(named: Option<&Path>) -> Option<&Path> {
    named.or_else(|| Some(Path::new(DEFAULT_PATH)).filter(|default| default.exists()))
}

/// The folder of ledger and control socket, for those who talk to a daemon that runs already. A config that has become wrong
/// since it started must not keep anybody from looking at it or pausing it, so here the folder alone has to be readable.
///
/// # Errors
/// Everything that is wrong with the config, where no daemon is found in spite of that.
pub fn running_store(named: Option<&Path>) -> Result<PathBuf, ConfigError> {
    load(named).map(|config| config.store).or_else(|error| {
        let folder = file(named).and_then(folder_alone);
        folder.filter(|folder| folder.join(SOCKET_NAME).exists()).ok_or(error)
    })
}

/// `[store] path` of a file, or its default, whatever else is in it.
fn folder_alone(path: &Path) -> Option<PathBuf> {
    let table: toml::Table = std::fs::read_to_string(path).ok()?.parse().ok()?;
    let default = File::default().store.path;
    let folder = match table.get("store").and_then(|store| store.get("path")) {
        Some(folder) => PathBuf::from(folder.as_str()?),
        None => default,
    };
    Some(path.parent().unwrap_or_else(|| Path::new("")).join(folder))
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("{}: cannot be read: {error}; give a readable file with --config", path.display())
}

/// Reads a config's text. Relative paths in it are relative to the folder of its source.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, source: &Source) -> Result<Config, ConfigError> {
    let name = source.to_string();
    let file: File = toml::from_str(text).map_err(|error| ConfigError::one(sentence(&name, text, &error)))?;
    match &file.version {
        Some(version) if *version.get_ref() == VERSION => {}
        Some(version) => {
            let line = line_of(text, version.span().start);
            let found = version.get_ref();
            let text =
                format!("{name}:{line}: version {found} is not known here; this program reads version = {VERSION}");
            return Err(ConfigError::one(text));
        }
        None => {
            return Err(ConfigError::one(format!(
                "{name}:1: the version is missing; begin with `version = {VERSION}`"
            )));
        }
    }
    let base = match source {
        Source::File(path) => path.parent().unwrap_or_else(|| Path::new("")).to_owned(),
        Source::Embedded => PathBuf::new(),
    };
    check::config(&file, text, source, &base)
}

/// The line, from 1, that an octet stands in.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|&&octet| octet == b'\n').count() + 1
}

/// A TOML error as one sentence; an unknown key gets the known one that it resembles.
fn sentence(file: &str, text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map_or(1, |span| line_of(text, span.start));
    let message = error.message().trim_end().replace('\n', " ");
    let mut said = format!("{file}:{line}: {message}");
    let mut quoted = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field")
        && let Some(unknown) = quoted.next()
    {
        said = format!("{file}:{line}: unknown key `{unknown}`");
        match crate::policy::list::did_you_mean(unknown, quoted) {
            Some(known) => {
                let _ = write!(said, "; did you mean `{known}`?");
            }
            None => said.push_str("; `interdict config template` shows every key"),
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse(text, &Source::File("c.toml".into())).unwrap_err().to_string()
    }

    #[test]
    fn every_mistake_is_one_sentence_with_its_line() {
        for (text, said) in [
            ("version = 1\n[dns]\nlisen = []\n", "c.toml:3: unknown key `lisen`; did you mean `listen`?"),
            ("version = 1\n[upstreams]\n", "c.toml:2: unknown key `upstreams`; did you mean `upstream`?"),
            ("version = 1\n[dns]\nworkers = \"two\"\n", "c.toml:3: invalid type: string \"two\", expected usize"),
            ("version = 2\n", "c.toml:1: version 2 is not known here; this program reads version = 1"),
            ("[dns]\n", "c.toml:1: the version is missing; begin with `version = 1`"),
            (
                "version = 1\n[dns]\nlisten = [\"localhost\"]\n",
                "c.toml:3: listen = \"localhost\": invalid socket address",
            ),
            ("version = 1\n[upstream]\nservers = [\"x\"]\n", "c.toml:3: servers: \"x\" is no \"address:port\""),
            ("version = 1\n[policy.stages]\n\"a:b\" = \"block\"\n", "c.toml:3: stages: \"b\" is no Purpose"),
            ("version = 1\n[policy.stages]\n\"a\" = \"blok\"\n", "c.toml:3: a = \"blok\": \"blok\" is no Stage"),
            (
                "version = 1\n[[exception]]\nreason = \"r\"\napprover = \"a\"\n",
                "c.toml:3: an [[exception]] needs a name",
            ),
            (
                "version = 1\n[[exception]]\nname = \"a.b\"\nreason = \"r\"\napprover = \"a\"\nuntil = \"soon\"\n",
                "c.toml:6: until = \"soon\" is no date",
            ),
            ("version = 1\n[[blocklist]]\nid = \"A\"\npath = \"l\"\n", "c.toml:3: id = \"A\": write lower-case"),
            ("version = 1\nx", "c.toml:2: "),
        ] {
            let error = refused(text);
            assert!(error.starts_with(said), "{text}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn all_mistakes_are_said_at_once() {
        let error = refused("version = 1\n[dns]\nlisten = [\"x\"]\n[block]\nanswer = \"y\"\n");
        assert_eq!(error.lines().count(), 2, "{error}");
    }

    #[test]
    fn relative_paths_are_relative_to_the_file() {
        let config = parse("version = 1\n[store]\npath = \"s\"\n", &Source::File("/etc/x/c.toml".into())).unwrap();
        assert_eq!(config.store, Path::new("/etc/x/s"));
    }
}
