//! Names: host names in lower case with two labels at least, patterns that cannot catch half the net.

use super::{At, Check, Text, raw};
use crate::base::name::{Match, Name, Pattern};
use crate::policy::list::vendor::{Canary, Domain, Exclude};

/// Labels without `*` that a wildcard keeps at its right end.
const LITERAL_LABELS_MIN: usize = 2;

impl Check<'_> {
    pub(super) fn domain(&mut self, At { line, entry }: At<raw::Domain>) -> Option<Domain> {
        let pattern = self.pattern(&entry.name, &entry.kind, line);
        let purpose = self.word(&entry.purpose);
        let confidence = self.word(&entry.confidence);
        let provenance = self.provenance(line, entry.source, entry.verified);
        let examples = self.hosts(&entry.examples);
        if let Some(pattern) = &pattern {
            for (name, text) in examples.iter().zip(&entry.examples) {
                if !pattern.matches(name.as_ref()) {
                    self.problem(text, format!("the example {name} is not matched by this entry"));
                }
            }
        }
        Some(Domain {
            pattern: pattern?,
            purpose: purpose?,
            confidence: confidence?,
            shared: entry.shared,
            owner: self.maybe(entry.owner, "owner"),
            service: self.maybe(entry.service, "service"),
            protocols: self.words(&entry.protocols),
            examples,
            note: self.maybe(entry.note, "note"),
            provenance,
        })
    }

    pub(super) fn canary(&mut self, At { line, entry }: At<raw::Canary>) -> Option<Canary> {
        let pattern = self.pattern(&entry.name, &entry.kind, line);
        let answer = self.word(&entry.answer);
        let confidence = self.word(&entry.confidence);
        Some(Canary {
            provenance: self.provenance(line, entry.source, None),
            types: self.texts(entry.types, "types"),
            effect: self.text(entry.effect, "effect"),
            pattern: pattern?,
            answer: answer?,
            confidence: confidence?,
        })
    }

    pub(super) fn exclude(&mut self, At { line, entry }: At<raw::Exclude>) -> Option<Exclude> {
        let texts: Vec<_> = entry.name.into_iter().chain(entry.names).collect();
        if texts.is_empty() {
            self.report.push(line, "this entry names nothing: give `name` or `names`");
        }
        let names = self.hosts(&texts);
        names.iter().for_each(|name| self.once("exclude", name.to_string(), line));
        Some(Exclude {
            names,
            addresses: entry.addresses.iter().filter_map(|text| self.address(text)).collect(),
            reason: self.text(entry.reason, "reason"),
            provenance: self.provenance(line, entry.source, None),
        })
    }

    /// Names as in `hosts` and `examples`.
    pub(super) fn hosts(&mut self, texts: &[Text]) -> Vec<Name> {
        texts.iter().filter_map(|text| self.form(text, Match::Exact)).map(|pattern| pattern.name().to_name()).collect()
    }

    fn pattern(&mut self, name: &Text, kind: &Text, line: u32) -> Option<Pattern> {
        let kind = self.word::<Match>(kind)?;
        let pattern = self.form(name, kind)?;
        // Only the tables that carry rules come here; excludes and examples may name what is listed.
        self.once("name", format!("{} ({kind})", pattern.name()), line);
        Some(pattern)
    }

    /// A name that fits how it is matched.
    fn form(&mut self, text: &Text, kind: Match) -> Option<Pattern> {
        let name = text.as_ref();
        let wrong = shape(name, kind);
        if let Some(wrong) = wrong {
            self.problem(text, format!("{name:?} {wrong}"));
            return None;
        }
        match Pattern::parse(name, kind) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                self.problem(text, format!("{name:?} is no name: {error}"));
                None
            }
        }
    }
}

/// What [`Pattern::parse`] lets pass and a vendor file does not.
fn shape(name: &str, kind: Match) -> Option<&'static str> {
    let starred = name.contains('*');
    let labels = || name.split('.');
    if !name.is_ascii() {
        Some("is not ASCII: write it in its xn-- form")
    } else if name.bytes().any(|octet| octet.is_ascii_uppercase()) {
        Some("has capital letters: write it in lower case")
    } else if name.ends_with('.') {
        Some("ends with a dot: leave it out")
    } else if labels().any(|label| label.starts_with('-') || label.ends_with('-')) {
        Some("has a label that starts or ends with a hyphen")
    } else if kind == Match::Wildcard && !starred {
        Some("has no \"*\": write match = \"exact\" or \"suffix\"")
    } else if kind != Match::Wildcard && starred {
        Some("has a \"*\": write match = \"wildcard\"")
    } else if starred && labels().rev().take_while(|label| !label.contains('*')).count() < LITERAL_LABELS_MIN {
        Some("is too wide: a wildcard keeps two labels without \"*\" at its right end")
    } else if labels().count() < 2 {
        Some("is a single label: a whole top-level domain is never listed")
    } else {
        None
    }
}
