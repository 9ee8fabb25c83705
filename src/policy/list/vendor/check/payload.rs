//! Payload signatures.

use super::{At, Check, raw};
use crate::policy::list::vendor::{Signature, SignatureKind};

impl Check<'_> {
    pub(super) fn signature(&mut self, At { line, entry }: At<raw::Signature>) -> Option<Signature> {
        let kind = self.word::<SignatureKind>(&entry.kind);
        let confidence = self.word(&entry.confidence);
        if entry.value.as_ref().is_empty() {
            self.report.push(line, "this signature has no value");
        }
        if kind == Some(SignatureKind::HttpHostLiteral) {
            for value in entry.value.as_ref() {
                if !matches!(value.as_ref().as_str(), "ipv4" | "ipv6") {
                    self.problem(
                        value,
                        format!("{:?} is no kind of literal: write \"ipv4\" or \"ipv6\"", value.as_ref()),
                    );
                }
            }
        }
        if kind.is_some_and(|kind| kind != SignatureKind::BodyMagic) && (entry.offset.is_some() || entry.hex.is_some())
        {
            self.report.push(line, "`offset` and `hex` belong to signatures of kind body-magic alone");
        }
        let octets = entry.hex.as_ref().and_then(|hex| {
            let octets = octets(hex.as_ref());
            if octets.is_none() {
                self.problem(hex, format!("`hex` {:?} is to be pairs of hexadecimal digits", hex.as_ref()));
            }
            octets
        });
        let values = self.texts(entry.value.into_inner(), "value");
        if let (Some(octets), Some(hex)) = (&octets, &entry.hex)
            && values.first().is_some_and(|value| value.as_bytes() != octets)
        {
            self.problem(hex, "`hex` and the first `value` are not the same octets");
        }
        Some(Signature {
            kind: kind?,
            values,
            offset: entry.offset.map(toml::Spanned::into_inner),
            octets,
            meaning: self.maybe(entry.meaning, "meaning"),
            confidence: confidence?,
            note: self.maybe(entry.note, "note"),
            provenance: self.provenance(line, entry.source, None),
        })
    }
}

/// Octets of pairs of hexadecimal digits; `None` for anything else, and for none.
fn octets(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        hex.chars().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok())).collect();
    let digits = digits.filter(|digits| !digits.is_empty() && digits.len().is_multiple_of(2))?;
    Some(digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |octet, digit| octet << 4 | digit)).collect())
}
