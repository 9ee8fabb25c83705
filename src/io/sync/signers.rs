//! An allowed-signers file of OpenSSH (`ssh-keygen(1)`, ALLOWED SIGNERS), read strictly: who may sign, for which namespaces, from
//! when until when. One line that cannot be read refuses the file, because a line that is skipped may be the one that expires a key.

use std::path::{Path, PathBuf};

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use ssh_key::PublicKey;
use ssh_key::public::KeyData;

use crate::base::model::Wall;

/// Lines with a key that a file may have.
pub const SIGNERS_MAX: usize = 1_000;
/// Octets that a file may have.
pub const FILE_OCTETS_MAX: u64 = 1 << 20;

/// A file that is refused; one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {why}", .file.display())]
pub struct BadSigners {
    /// The file.
    file: PathBuf,
    /// Counted from 1.
    line: usize,
    /// What is wrong, and what to write.
    why: String,
}

/// Who may sign.
#[derive(Clone, Debug, Default)]
pub struct AllowedSigners {
    signers: Vec<Signer>,
}

/// One line of the file.
#[derive(Clone, Debug)]
pub(super) struct Signer {
    /// Who: the principals as written.
    pub(super) principals: String,
    /// The key; none for a kind that is not accepted here.
    pub(super) key: Option<KeyData>,
    /// Namespaces it may sign in; none is all.
    namespaces: Option<String>,
    /// First moment of validity.
    pub(super) valid_after: Option<Wall>,
    /// Last moment of validity.
    pub(super) valid_before: Option<Wall>,
}

impl AllowedSigners {
    /// Reads the text of `file`. Times without a `Z` are of `zone`, as OpenSSH takes them.
    ///
    /// # Errors
    /// The first line that is not understood or not accepted, with its number.
    pub fn parse(text: &str, file: &Path, zone: &TimeZone) -> Result<Self, BadSigners> {
        let mut signers = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let bad = |why: String| BadSigners { file: file.to_owned(), line: index + 1, why };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if signers.len() == SIGNERS_MAX {
                return Err(bad(format!("more than {SIGNERS_MAX} signers")));
            }
            signers.push(Signer::parse(line, zone).map_err(bad)?);
        }
        if signers.is_empty() {
            let why = "nobody is allowed to sign; write a line PRINCIPAL ssh-ed25519 KEY".to_owned();
            return Err(BadSigners { file: file.to_owned(), line: 1, why });
        }
        Ok(Self { signers })
    }

    /// The lines with this key.
    pub(super) fn with_key<'a>(&'a self, key: &'a KeyData) -> impl Iterator<Item = &'a Signer> {
        self.signers.iter().filter(move |signer| signer.key.as_ref() == Some(key))
    }
}

impl Signer {
    fn parse(line: &str, zone: &TimeZone) -> Result<Self, String> {
        let (principals, rest) = principals(line)?;
        let (options, rest) = if is_key_type(rest) { ("", rest) } else { split_options(rest)? };
        let mut signer = Self { principals, key: None, namespaces: None, valid_after: None, valid_before: None };
        for option in split_quoted(options, ',') {
            signer.apply(option, zone)?;
        }
        let mut words = rest.split_whitespace();
        let (Some(kind), Some(key)) = (words.next(), words.next()) else {
            return Err("no key after the principals; write PRINCIPAL [OPTIONS] ssh-ed25519 KEY".into());
        };
        if !is_key_type(kind) {
            return Err(format!("{kind:?} is no kind of SSH key"));
        }
        if super::signature::ACCEPTED.contains(&kind) {
            let key = PublicKey::from_openssh(&format!("{kind} {key}"));
            signer.key =
                Some(key.map_err(|_| format!("the {kind} key cannot be read; copy the .pub file's line"))?.into());
        }
        Ok(signer)
    }

    fn apply(&mut self, option: &str, zone: &TimeZone) -> Result<(), String> {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        match name.to_ascii_lowercase().as_str() {
            "namespaces" if !value.is_empty() && self.namespaces.is_none() => self.namespaces = Some(value.to_owned()),
            "valid-after" if self.valid_after.is_none() => self.valid_after = Some(moment(value, zone)?),
            "valid-before" if self.valid_before.is_none() => self.valid_before = Some(moment(value, zone)?),
            "cert-authority" => {
                return Err("cert-authority: certificates are not accepted; name each signer's own key".into());
            }
            "namespaces" | "valid-after" | "valid-before" => {
                return Err(format!("the option {name} is empty or there twice"));
            }
            _ => return Err(format!("{option:?} is no option of an allowed-signers file")),
        }
        Ok(())
    }

    /// Whether it may sign in this namespace.
    pub(super) fn may_sign_in(&self, namespace: &str) -> bool {
        let Some(patterns) = &self.namespaces else { return true };
        let mut found = false;
        for pattern in patterns.split(',').map(str::trim) {
            match pattern.strip_prefix('!') {
                Some(never) if matches(never.as_bytes(), namespace.as_bytes()) => return false,
                Some(_) => {}
                None => found |= matches(pattern.as_bytes(), namespace.as_bytes()),
            }
        }
        found
    }
}

fn principals(line: &str) -> Result<(String, &str), String> {
    let (who, rest) = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or("the principals' quote does not end")?,
        None => line.split_once(char::is_whitespace).ok_or("no key after the principals")?,
    };
    if who.is_empty() || who.chars().any(char::is_control) {
        return Err("the principals are empty or have control characters".into());
    }
    Ok((who.to_owned(), rest.trim_start()))
}

fn is_key_type(text: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|start| text.starts_with(start))
}

/// Options up to the first blank outside quotes, and what follows.
fn split_options(text: &str) -> Result<(&str, &str), String> {
    let mut is_quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            c if c.is_whitespace() && !is_quoted => {
                let (options, rest) = text.split_at(at);
                return Ok((options, rest.trim_start()));
            }
            _ => {}
        }
    }
    Err("no key after the options".into())
}

/// The parts between separators outside quotes.
fn split_quoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |c| {
        is_quoted ^= c == '"';
        c == separator && !is_quoted
    })
    .filter(|part| !part.is_empty())
}

/// `YYYYMMDD[Z]` or `YYYYMMDDHHMM[SS][Z]`.
fn moment(text: &str, zone: &TimeZone) -> Result<Wall, String> {
    let bad = || format!("{text:?} is no time; write YYYYMMDDZ or YYYYMMDDHHMMSSZ");
    let (digits, zone) = match text.strip_suffix(['Z', 'z']) {
        Some(digits) => (digits, &TimeZone::UTC),
        None => (text, zone),
    };
    if !digits.is_ascii() || !digits.bytes().all(|byte| byte.is_ascii_digit()) || !matches!(digits.len(), 8 | 12 | 14) {
        return Err(bad());
    }
    let part = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |text| text.parse::<i8>().ok());
    let year = digits.get(..4).and_then(|text| text.parse::<i16>().ok());
    let parts = (year, part(4, 6), part(6, 8), part(8, 10), part(10, 12), part(12, 14));
    let (Some(year), Some(month), Some(day), Some(hour), Some(minute), Some(second)) = parts else { return Err(bad()) };
    let date = Date::new(year, month, day).map_err(|_| bad())?;
    let at = DateTime::new(date.year(), date.month(), date.day(), hour, minute, second, 0).map_err(|_| bad())?;
    zone.to_timestamp(at).map_err(|_| bad())
}

/// OpenSSH's patterns: `*` for any text, `?` for one octet.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while let Some(octet) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(want) if *want == b'?' || want == octet => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                (p, t) = (at + 1, from + 1);
            }
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|octet| *octet == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn parse(text: &str) -> Result<AllowedSigners, String> {
        AllowedSigners::parse(text, Path::new("signers"), &TimeZone::UTC).map_err(|bad| bad.to_string())
    }

    fn one(options: &str) -> Signer {
        parse(&format!("who@example.org {options} {KEY} comment here")).unwrap().signers.remove(0)
    }

    #[test]
    fn principals_options_and_key() {
        let file = parse(&format!("# who\n\n a@x,b@x {KEY}\n\"c d\" namespaces=\"git,file\" {KEY} c\n")).unwrap();
        let [first, second] = &file.signers[..] else { panic!("{file:?}") };
        assert_eq!((first.principals.as_str(), second.principals.as_str()), ("a@x,b@x", "c d"));
        assert!(first.may_sign_in("git") && second.may_sign_in("git") && !second.may_sign_in("email"));
        assert_eq!(file.with_key(first.key.as_ref().unwrap()).count(), 2);
    }

    #[test]
    fn namespaces_are_pattern_lists() {
        for (list, is_in) in [
            ("git", true),
            ("file", false),
            ("*", true),
            ("g?t", true),
            ("*,!git", false),
            ("file,g*", true),
            ("gitx", false),
        ] {
            assert_eq!(one(&format!("namespaces=\"{list}\"")).may_sign_in("git"), is_in, "{list}");
        }
    }

    #[test]
    fn validity_in_utc_and_in_a_zone() {
        let signer = one("valid-after=\"20260101Z\",valid-before=\"202612312359Z\"");
        assert_eq!(signer.valid_after, Some("2026-01-01T00:00:00Z".parse().unwrap()));
        assert_eq!(signer.valid_before, Some("2026-12-31T23:59:00Z".parse().unwrap()));
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(moment("20260101020304", &zone), Ok("2026-01-01T00:03:04Z".parse().unwrap()));
        for bad in ["", "2026", "20261301Z", "20260101250000Z", "2026010é", "20260101T00"] {
            assert!(moment(bad, &zone).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_bad_line_refuses_the_file_with_its_number() {
        for (line, why) in [
            ("alone", "no key after the principals"),
            ("a@x nonsense", "no key after the options"),
            (
                &format!("a@x cert-authority {KEY}"),
                "cert-authority: certificates are not accepted; name each signer's own key",
            ),
            (&format!("a@x zone=utc {KEY}"), "\"zone=utc\" is no option of an allowed-signers file"),
            (&format!("a@x valid-before=\"soon\" {KEY}"), "\"soon\" is no time; write YYYYMMDDZ or YYYYMMDDHHMMSSZ"),
            (
                &format!("a@x namespaces=\"git\",namespaces=\"x\" {KEY}"),
                "the option namespaces is empty or there twice",
            ),
            ("a@x ssh-ed25519 AAAA", "the ssh-ed25519 key cannot be read; copy the .pub file's line"),
            ("a@x namespaces=\"git ssh-ed25519 AAAA", "no key after the options"),
            ("\"a@x", "the principals' quote does not end"),
        ] {
            let text = format!("# head\n{line}\n");
            assert_eq!(parse(&text).unwrap_err(), format!("signers:2: {why}"), "{line}");
        }
        assert!(parse("# nobody\n").unwrap_err().contains("nobody is allowed to sign"));
        assert!(parse(&format!("a@x {KEY}\n").repeat(SIGNERS_MAX + 1)).unwrap_err().contains("more than 1000"));
    }

    #[test]
    fn a_key_of_another_kind_stays_but_opens_nothing() {
        let file = parse("a@x ssh-rsa AAAAB3NzaC1yc2E=\n").unwrap();
        assert!(file.signers[0].key.is_none());
    }

    #[test]
    fn patterns_end() {
        assert!(matches(b"*a*b*", b"xxaxxbxx") && !matches(b"*a*b", b"xxaxxbxx"));
        assert!(matches(b"", b"") && !matches(b"", b"x") && matches(b"**", b""));
        assert!(!matches(&b"*a".repeat(40), &b"a".repeat(30)));
    }
}
