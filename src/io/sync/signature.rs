//! SSH signatures (OpenSSH's PROTOCOL.sshsig) of commits and tags, verified in process against an allowed-signers file. What git
//! asks of `ssh-keygen -Y verify` is asked here: the namespace `git`, the key listed, valid at the commit's own time.

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use ssh_key::{HashAlg, LineEnding, PublicKey, SshSig};

use super::object::Signed;
use super::signers::{AllowedSigners, BadSigners, FILE_OCTETS_MAX};
use crate::base::model::Wall;

/// The namespace of git's signatures.
pub const NAMESPACE: &str = "git";
/// Kinds of keys that may sign.
pub const ACCEPTED: [&str; 2] = ["ssh-ed25519", "sk-ssh-ed25519@openssh.com"];

/// Who signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBy {
    /// The principals of the line in the allowed-signers file.
    pub principals: String,
    /// `SHA256:…` of the key.
    pub fingerprint: String,
}

/// Why something does not count as signed; one sentence each, with what was signed filled in by the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No signature at all.
    #[error("is not signed; sign it with an SSH key that {} lists", .file.display())]
    Unsigned {
        /// The allowed-signers file.
        file: PathBuf,
    },
    /// OpenPGP or X.509.
    #[error("is signed, but not with SSH; set gpg.format to ssh and sign it again")]
    NotSsh,
    /// No signature that can be read.
    #[error("carries a signature that cannot be read")]
    Unreadable,
    /// Another namespace than `git`.
    #[error("carries a signature made for {0:?}, not for git")]
    Namespace(String),
    /// A kind of key that is not accepted.
    #[error("is signed with a key of kind {kind}; accepted are {}", ACCEPTED.join(" and "))]
    KeyKind {
        /// The kind.
        kind: String,
    },
    /// The signature is not over this text.
    #[error("was changed after it was signed, or the signature was")]
    Tampered,
    /// The key is not listed.
    #[error("is signed with the key {fingerprint}, which {} does not list", .file.display())]
    Stranger {
        /// `SHA256:…` of the key.
        fingerprint: String,
        /// The allowed-signers file.
        file: PathBuf,
    },
    /// The key is listed, but not for git.
    #[error("is signed by {principals}, who may not sign in the namespace git")]
    NotForGit {
        /// Who.
        principals: String,
    },
    /// The key was not valid yet.
    #[error("is signed by {principals} on {at}, before the key was valid ({limit})")]
    NotYet {
        /// Who.
        principals: String,
        /// The commit's or tag's time.
        at: Wall,
        /// The key's first moment.
        limit: Wall,
    },
    /// The key had expired.
    #[error("is signed by {principals} on {at}, after the key had expired ({limit})")]
    Expired {
        /// Who.
        principals: String,
        /// The commit's or tag's time.
        at: Wall,
        /// The key's last moment.
        limit: Wall,
    },
}

/// An allowed-signers file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SignersError {
    /// A line that is refused.
    #[error(transparent)]
    Bad(#[from] BadSigners),
    /// It cannot be read.
    #[error("{}: the allowed-signers file cannot be read: {error}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// An allowed-signers file, read.
#[derive(Clone, Debug)]
pub struct Verifier {
    file: PathBuf,
    signers: AllowedSigners,
}

impl Verifier {
    /// Reads an allowed-signers file; times without `Z` are in the system's zone, as in OpenSSH.
    ///
    /// # Errors
    /// A file that is not there, too large, not UTF-8, or has a line that is refused.
    pub fn open(file: &Path) -> Result<Self, SignersError> {
        let read = |error| SignersError::Read { file: file.to_owned(), error };
        let size = std::fs::metadata(file).map_err(read)?.len();
        if size > FILE_OCTETS_MAX {
            return Err(read(std::io::Error::other("it is larger than 1 MiB")));
        }
        let text = std::fs::read_to_string(file).map_err(read)?;
        Self::parse(&text, file, &TimeZone::system())
    }

    /// Takes the text of an allowed-signers file as read.
    ///
    /// # Errors
    /// A line that is refused.
    pub fn parse(text: &str, file: &Path, zone: &TimeZone) -> Result<Self, SignersError> {
        Ok(Self { file: file.to_owned(), signers: AllowedSigners::parse(text, file, zone)? })
    }

    /// Whether `payload` is signed by somebody who may, with a key that was valid at `at`.
    ///
    /// # Errors
    /// Why it does not count as signed.
    pub fn verify(&self, signed: &Signed, payload: &[u8], at: Wall) -> Result<SignedBy, SignatureError> {
        let armour = match signed {
            Signed::No => return Err(SignatureError::Unsigned { file: self.file.clone() }),
            Signed::Other => return Err(SignatureError::NotSsh),
            Signed::Ssh(armour) => armour,
        };
        let kind = key_kind(armour).ok_or(SignatureError::Unreadable)?;
        if !ACCEPTED.contains(&kind.as_str()) {
            return Err(SignatureError::KeyKind { kind });
        }
        let signature = SshSig::from_pem(armour).map_err(|_| SignatureError::Unreadable)?;
        if signature.version() != SshSig::VERSION
            || !signature.reserved().is_empty()
            || !is_canonical(&signature, armour)
        {
            return Err(SignatureError::Unreadable);
        }
        if signature.namespace() != NAMESPACE {
            let namespace = signature.namespace().chars().filter(|c| !c.is_control()).take(64).collect();
            return Err(SignatureError::Namespace(namespace));
        }
        let key = signature.public_key();
        PublicKey::from(key.clone()).verify(NAMESPACE, payload, &signature).map_err(|_| SignatureError::Tampered)?;
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let stranger = SignatureError::Stranger { fingerprint: fingerprint.clone(), file: self.file.clone() };
        let mut refused = stranger;
        for signer in self.signers.with_key(key) {
            let principals = signer.principals.clone();
            refused = match (signer.valid_after, signer.valid_before) {
                _ if !signer.may_sign_in(NAMESPACE) => SignatureError::NotForGit { principals },
                (Some(limit), _) if at < limit => SignatureError::NotYet { principals, at, limit },
                (_, Some(limit)) if at > limit => SignatureError::Expired { principals, at, limit },
                _ => return Ok(SignedBy { principals, fingerprint }),
            };
        }
        Err(refused)
    }
}

/// The kind of key that a signature claims, read without knowing how keys of that kind look: after the preamble `SSHSIG`, a
/// version of 4 octets, and the lengths of the key and of its kind, of 4 octets each.
fn key_kind(armour: &str) -> Option<String> {
    const START: usize = 14;
    let digits = armour.lines().skip(1).flat_map(str::bytes).map_while(base64_digit);
    let mut octets = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for digit in digits.take(128) {
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            octets.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    let (length, rest) = octets.get(START..)?.split_first_chunk::<4>()?;
    let kind = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let is_word = !kind.is_empty() && kind.iter().all(|octet| octet.is_ascii_graphic());
    is_word.then(|| String::from_utf8_lossy(kind).into_owned())
}

fn base64_digit(octet: u8) -> Option<u8> {
    match octet {
        b'A'..=b'Z' => Some(octet - b'A'),
        b'a'..=b'z' => Some(octet - b'a' + 26),
        b'0'..=b'9' => Some(octet - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// Whether the armour is the one way to write this signature: the decoder takes some wrong lengths for right.
fn is_canonical(signature: &SshSig, armour: &str) -> bool {
    let packed = |text: &str| text.split_whitespace().collect::<String>();
    signature.to_pem(LineEnding::LF).is_ok_and(|again| packed(&again) == packed(armour))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};
    use ssh_key::public::{KeyData, SkEd25519};
    use ssh_key::{Algorithm, PrivateKey, Signature, SigningKey, private::Ed25519Keypair};

    const TEXT: &[u8] = b"tree 1\n\nsubject\n";

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
    }

    fn signed(seed: u8, namespace: &str) -> Signed {
        let signature = SshSig::sign(&key(seed), namespace, HashAlg::Sha512, TEXT).unwrap();
        Signed::Ssh(signature.to_pem(LineEnding::LF).unwrap())
    }

    /// The trait behind it is in scope only through this bound.
    fn sign_raw<K: SigningKey>(key: &K, text: &[u8]) -> Signature {
        key.try_sign(text).unwrap()
    }

    fn verifier(options: &str) -> Verifier {
        let line = format!("who@example.org {options} {}", key(1).public_key().to_openssh().unwrap());
        Verifier::parse(&line, Path::new("signers"), &TimeZone::UTC).unwrap()
    }

    fn at(day: &str) -> Wall {
        format!("{day}T12:00:00Z").parse().unwrap()
    }

    fn refusal(options: &str, signed: &Signed, text: &[u8]) -> String {
        verifier(options).verify(signed, text, at("2026-06-01")).unwrap_err().to_string()
    }

    #[test]
    fn a_listed_key_is_named() {
        let by = verifier("").verify(&signed(1, "git"), TEXT, at("2026-06-01")).unwrap();
        assert_eq!(by.principals, "who@example.org");
        assert!(by.fingerprint.starts_with("SHA256:"));
    }

    #[test]
    fn every_other_case_has_its_sentence() {
        let good = signed(1, "git");
        assert_eq!(refusal("", &Signed::No, TEXT), "is not signed; sign it with an SSH key that signers lists");
        assert!(refusal("", &Signed::Other, TEXT).contains("gpg.format"));
        assert_eq!(refusal("", &Signed::Ssh(String::new()), TEXT), "carries a signature that cannot be read");
        assert_eq!(refusal("", &signed(1, "file"), TEXT), "carries a signature made for \"file\", not for git");
        assert!(refusal("", &good, b"tree 2\n\nsubject\n").starts_with("was changed after it was signed"));
        let stranger = refusal("", &signed(2, "git"), TEXT);
        assert!(stranger.contains("SHA256:") && stranger.ends_with("which signers does not list"), "{stranger}");
        assert!(refusal("namespaces=\"file\"", &good, TEXT).contains("may not sign in the namespace git"));
        assert!(
            refusal("valid-after=\"20270101Z\"", &good, TEXT)
                .contains("before the key was valid (2027-01-01T00:00:00Z)")
        );
        assert!(
            refusal("valid-before=\"20260101Z\"", &good, TEXT)
                .contains("after the key had expired (2026-01-01T00:00:00Z)")
        );
    }

    #[test]
    fn a_key_renewed_on_a_second_line_is_valid_in_both_windows() {
        let public = key(1).public_key().to_openssh().unwrap();
        let text = format!("a valid-before=\"20260101Z\" {public}\nb valid-after=\"20260301Z\" {public}\n");
        let verifier = Verifier::parse(&text, Path::new("signers"), &TimeZone::UTC).unwrap();
        let by = |day| verifier.verify(&signed(1, "git"), TEXT, at(day)).map(|by| by.principals);
        assert_eq!((by("2025-06-01"), by("2026-06-01")), (Ok("a".into()), Ok("b".into())));
        assert!(by("2026-02-01").is_err());
    }

    #[test]
    fn every_part_of_the_signature_counts() {
        let Signed::Ssh(armour) = signed(1, "git") else { panic!() };
        let mut accepted = 0;
        for at_octet in (armour.find('\n').unwrap()..armour.rfind("\n-----").unwrap()).step_by(5) {
            let mut octets = armour.clone().into_bytes();
            octets[at_octet] = if octets[at_octet] == b'A' { b'B' } else { b'A' };
            let changed = Signed::Ssh(String::from_utf8(octets).unwrap());
            accepted += usize::from(verifier("").verify(&changed, TEXT, at("2026-06-01")).is_ok());
        }
        assert_eq!(accepted, 0);
    }

    #[test]
    fn a_security_key_may_sign() {
        let pair = key(1);
        let sk = SkEd25519::new(*pair.public_key().key_data().ed25519().unwrap(), "ssh:");
        let blob = SshSig::signed_data(NAMESPACE, HashAlg::Sha256, TEXT).unwrap();
        let trailer = [1, 0, 0, 0, 7];
        let text = [&Sha256::digest("ssh:")[..], &trailer, &Sha256::digest(&blob)].concat();
        let raw = sign_raw(&pair, &text);
        let made = Signature::new(Algorithm::SkEd25519, [raw.as_bytes(), &trailer].concat()).unwrap();
        let key = KeyData::SkEd25519(sk);
        let signature = SshSig::new(key.clone(), NAMESPACE, HashAlg::Sha256, made).unwrap();
        let line = format!("token {}", PublicKey::from(key).to_openssh().unwrap());
        let verifier = Verifier::parse(&line, Path::new("signers"), &TimeZone::UTC).unwrap();
        let signed = Signed::Ssh(signature.to_pem(LineEnding::LF).unwrap());
        assert_eq!(verifier.verify(&signed, TEXT, at("2026-06-01")).unwrap().principals, "token");
        assert_eq!(verifier.verify(&signed, b"else", at("2026-06-01")), Err(SignatureError::Tampered));
    }
}
