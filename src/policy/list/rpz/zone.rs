//! Records of a zone file (RFC 1035 §5), one by one: `$ORIGIN`, `$TTL`, comments, quotes, parentheses over several lines, owners
//! left out. Owners come without the zone's own name.

use super::super::line::{self, Refusal};
use super::super::out::Out;
use std::io::BufRead;

/// Lines that one record may take.
const RECORD_LINES_MAX: u32 = 64;
/// Octets that the words of one record may take.
const RECORD_OCTETS_MAX: usize = 65_536;

/// A record.
pub(super) struct Record<'a> {
    /// Whose it is: lower case, the zone's name and the last dot taken off.
    pub(super) owner: &'a str,
    /// The type, upper case.
    pub(super) kind: &'a str,
    /// The words after the type.
    pub(super) data: &'a [String],
    /// Where it begins.
    pub(super) line: u32,
}

/// What is known where the reader stands.
#[derive(Default)]
struct Place {
    /// What relative names end with, a dot first; `None` until something says so.
    origin: Option<String>,
    /// The zone's own name, in the same form.
    zone: Option<String>,
    owner: String,
    /// A record that is not complete yet.
    words: Vec<String>,
    octets: usize,
    depth: u32,
    line: u32,
    has_owner: bool,
    lines: u32,
}

/// Hands each record to `each`; those of the zone itself are left out.
pub(super) fn each(
    out: &mut Out<'_>,
    from: &mut dyn BufRead,
    mut each: impl FnMut(&mut Out<'_>, &Record<'_>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut place = Place::default();
    line::each_raw(out, from, |out, number, text| {
        if place.depth == 0 {
            place.words.clear();
            (place.line, place.lines, place.octets) = (number, 0, 0);
            place.has_owner = !text.starts_with([' ', '\t']);
        }
        if let Err(why) = place.take(text) {
            out.report.bad(place.line, why);
            place.words.clear();
            place.depth = 0;
            return Ok(());
        }
        if place.depth > 0 || place.words.is_empty() {
            return Ok(());
        }
        place.complete(out, &mut each)
    })?;
    if place.depth > 0 {
        out.report.bad(place.line, "a parenthesis is never closed".to_owned());
    }
    Ok(())
}

impl Place {
    /// Splits a line into words and follows parentheses.
    fn take(&mut self, text: &str) -> Result<(), String> {
        self.lines += 1;
        self.octets += text.len();
        if self.lines > RECORD_LINES_MAX || self.octets > RECORD_OCTETS_MAX {
            return Err(format!("a record of more than {RECORD_LINES_MAX} lines; is a parenthesis not closed?"));
        }
        let mut word: Option<String> = None;
        let mut quoted = false;
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => {
                    let word = word.get_or_insert_default();
                    word.push(c);
                    word.extend(chars.next());
                }
                '"' => {
                    quoted = !quoted;
                    word.get_or_insert_default();
                }
                _ if quoted => word.get_or_insert_default().push(c),
                ';' => break,
                '(' => self.depth += 1,
                ')' if self.depth == 0 => return Err("a parenthesis is closed that was not opened".to_owned()),
                ')' => self.depth -= 1,
                c if c.is_whitespace() => {}
                c => {
                    word.get_or_insert_default().push(c);
                    continue;
                }
            }
            if !quoted && matches!(c, '(' | ')' | ' ' | '\t') {
                self.words.extend(word.take());
            }
        }
        if quoted {
            return Err("a quote is never closed".to_owned());
        }
        self.words.extend(word);
        Ok(())
    }

    fn complete(
        &mut self,
        out: &mut Out<'_>,
        each: &mut impl FnMut(&mut Out<'_>, &Record<'_>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let line = self.line;
        let mut words = std::mem::take(&mut self.words);
        let first = words.first().map_or("", String::as_str);
        if first.starts_with('$') {
            match (first.to_ascii_uppercase().as_str(), words.get(1)) {
                ("$ORIGIN", Some(origin)) => self.origin = Some(self.absolute(origin)),
                ("$TTL", Some(_)) => {}
                _ => out.report.ignored(line, format!("{first:?} is not followed")),
            }
            return Ok(());
        }
        if self.has_owner && !words.is_empty() {
            self.owner = self.absolute(&words.remove(0));
        }
        let skip = words.iter().take_while(|word| is_ttl_or_class(word)).count();
        words.drain(..skip);
        if words.is_empty() {
            out.report.bad(line, "a record without a type".to_owned());
            return Ok(());
        }
        let kind = words.remove(0).to_ascii_uppercase();
        if kind == "SOA" && self.zone.is_none() {
            // Without an origin, `@` is a zone whose name is not said; then owners are taken as they stand.
            self.zone = Some(self.owner.clone());
        }
        let zone = self.zone.as_deref().or(self.origin.as_deref()).unwrap_or_default();
        let owner = match self.owner.strip_suffix(zone) {
            Some(owner) => owner.strip_prefix('.').unwrap_or(owner),
            None => {
                out.report.bad(line, format!("{:?} is not in the zone {zone:?}", self.owner));
                return Ok(());
            }
        };
        if owner.is_empty() {
            return Ok(());
        }
        each(out, &Record { owner, kind: &kind, data: &words, line })
    }

    /// A name with a dot before each label and none after: `.a.example`.
    fn absolute(&self, name: &str) -> String {
        let name = name.to_lowercase();
        let origin = self.origin.as_deref().unwrap_or_default();
        match name.strip_suffix('.') {
            _ if name == "@" => origin.to_owned(),
            Some("") => String::new(),
            Some(absolute) => format!(".{absolute}"),
            None => format!(".{name}{origin}"),
        }
    }
}

fn is_ttl_or_class(word: &str) -> bool {
    let is_ttl = word.starts_with(|c: char| c.is_ascii_digit())
        && word.bytes().all(|octet| octet.is_ascii_digit() || b"smhdwSMHDW".contains(&octet));
    is_ttl || ["IN", "CH", "HS", "CS"].iter().any(|class| word.eq_ignore_ascii_case(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str) -> (Vec<String>, usize) {
        let mut none = |_: super::super::super::out::Entry<'_>, _| Ok(());
        let mut out = Out::new("f", false, &mut none);
        let mut all = Vec::new();
        each(&mut out, &mut text.as_bytes(), |_, record| {
            all.push(format!("{} {} {} {}", record.line, record.owner, record.kind, record.data.join("|")));
            Ok(())
        })
        .unwrap();
        (all, out.report.bad)
    }

    #[test]
    fn owners_origins_and_what_may_be_left_out() {
        let text = "$ORIGIN example.\n$TTL 1h\nrpz SOA a. b. ( 1\n ; c\n 2 3 4 5 )\n  NS ns.\n$ORIGIN rpz\nA.Com 1h IN CNAME .\n\
            \tTXT \"x (y\" z\\\"\n$ORIGIN org.rpz.example.\nb IN 60 A 192.0.2.1\n@ CNAME .\n";
        // A relative $ORIGIN is relative to the one before.
        let (all, bad) = records(text);
        assert_eq!(all, ["8 a.com CNAME .", "9 a.com TXT x (y|z\\\"", "11 b.org A 192.0.2.1", "12 org CNAME ."]);
        assert_eq!(bad, 0);
    }

    #[test]
    fn broken_records_are_counted_and_the_rest_is_read() {
        let (all, bad) = records("a CNAME \"x\nb CNAME )\nc\nd CNAME .\ne ( CNAME\n .\n");
        assert_eq!(all, ["4 d CNAME ."]);
        assert_eq!(bad, 4);
        let long = format!("a CNAME (\n{}b CNAME .\n", "x\n".repeat(70));
        let (_, bad) = records(&long);
        assert!(bad >= 1);
    }
}
