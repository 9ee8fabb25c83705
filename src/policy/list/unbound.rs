//! Unbound configuration: `local-zone: "name" TYPE` and `local-data: "RECORD"`.
//!
//! A zone stands for its name and everything below it. Types that answer nothing true are blocks, with the answer that the type
//! names; `transparent`, `typetransparent`, `always_transparent`, `inform` and `nodefault` let the zone pass as far as this list
//! goes, the closest zone winning. `local-data` stands for its name alone, or for its zone where that is a `redirect`; its
//! addresses are answer data. What stands in a `view:` is for some clients only and is counted, not taken.

use super::host;
use super::line::{self, Refusal};
use super::out::{Action, Out};
use crate::base::model::BlockAnswer;
use crate::base::name::{Match, Name, Pattern};
use std::io::BufRead;
use std::net::IpAddr;

/// What the lines above say.
#[derive(Default)]
struct Above {
    in_view: bool,
    /// The last zone whose data is for everything in it, and its line; a block of its own unless data follows.
    redirect: Option<(Name, u32)>,
    /// Data has followed.
    redirected: bool,
}

/// Reads a list.
///
/// # Errors
/// A file that is no list, and a zone that would take a whole top-level domain.
pub(super) fn read(out: &mut Out<'_>, from: &mut dyn BufRead) -> Result<(), Refusal> {
    let mut above = Above::default();
    line::each(out, from, |out, number, text| {
        let Some((key, value)) = text.split_once(':') else {
            out.report.bad(number, format!("{text:?} is no \"option: value\""));
            return Ok(());
        };
        let value = value.trim();
        match key.trim() {
            "view" if value.is_empty() => above.in_view = true,
            _ if value.is_empty() => above.in_view = false,
            "local-zone" | "local-data" if above.in_view => {
                out.report.ignored(number, format!("{text:?} stands in a view, which is for some clients only"));
            }
            "local-zone" => return zone(out, value, &mut above, text, number),
            "local-data" => return data(out, value, &mut above, number),
            key => out.report.ignored(number, format!("{key:?} lists no names")),
        }
        Ok(())
    })?;
    above.close(out)
}

impl Above {
    /// Ends a zone that waited for data.
    fn close(&mut self, out: &mut Out<'_>) -> Result<(), Refusal> {
        match self.redirect.take() {
            Some((name, line)) if !self.redirected => out.suffix(name, line),
            _ => Ok(()),
        }
    }
}

/// What a zone type means; `None` where it lists nothing.
enum Means {
    Block(Action),
    Pass,
}

fn zone(out: &mut Out<'_>, value: &str, above: &mut Above, text: &str, number: u32) -> Result<(), Refusal> {
    let (name, kind) = value.rsplit_once(|c: char| c.is_ascii_whitespace()).unwrap_or((value, ""));
    let kind = unquoted(kind);
    let block = |answer| Some(Means::Block(Action::of(answer)));
    let means = match kind {
        "always_null" | "static" => Some(Means::Block(Action::PLAIN)),
        "always_nxdomain" => block(BlockAnswer::Nxdomain),
        "always_nodata" => block(BlockAnswer::Nodata),
        "refuse" | "always_refuse" => block(BlockAnswer::Refused),
        "deny" | "always_deny" | "inform_deny" => block(BlockAnswer::Drop),
        "transparent" | "typetransparent" | "always_transparent" | "inform" | "nodefault" => Some(Means::Pass),
        _ => None,
    };
    let name = match host::parse(unquoted(name)) {
        Ok(name) => name,
        Err(why) => {
            out.report.bad(number, why);
            return Ok(());
        }
    };
    above.close(out)?;
    if kind.ends_with("redirect") {
        (above.redirect, above.redirected) = (Some((name, number)), false);
        return Ok(());
    }
    let pattern = Pattern::new(name, Match::Suffix);
    match means {
        Some(Means::Block(action)) => out.name(&pattern, &action, number),
        Some(Means::Pass) => out.passes(pattern, text, number),
        None => {
            out.report.ignored(number, format!("the zone type {kind:?} is not judged"));
            Ok(())
        }
    }
}

fn data(out: &mut Out<'_>, value: &str, above: &mut Above, number: u32) -> Result<(), Refusal> {
    let mut words = unquoted(value).split_ascii_whitespace();
    let name = match host::parse(words.next().unwrap_or_default()) {
        Ok(name) => name,
        Err(why) => {
            out.report.bad(number, why);
            return Ok(());
        }
    };
    let rest = words.find(|word| !is_ttl_or_class(word)).zip(words.next());
    let address = rest.and_then(|(kind, data)| {
        let is_address = kind.eq_ignore_ascii_case("a") || kind.eq_ignore_ascii_case("aaaa");
        if is_address { data.parse::<IpAddr>().ok() } else { None }
    });
    let action = out.addresses(address.as_slice());
    let is_redirect = above.redirect.as_ref().is_some_and(|(zone, _)| *zone == name);
    above.redirected |= is_redirect;
    let kind = if is_redirect { Match::Suffix } else { Match::Exact };
    out.name(&Pattern::new(name, kind), &action, number)
}

fn is_ttl_or_class(word: &str) -> bool {
    word.bytes().all(|octet| octet.is_ascii_digit()) || word.eq_ignore_ascii_case("in")
}

fn unquoted(text: &str) -> &str {
    text.trim().trim_matches(['"', '\''])
}

#[cfg(test)]
mod tests {
    use super::super::format::Format;
    use super::super::testing::{entries, entries_with_answers, refused};

    const TEXT: &str = "server:\n  local-zone: \"a.example.\" always_null\n  local-zone: b.example always_nxdomain\n\
        local-zone: \"c.example\" deny # c\nlocal-zone: 'ok.a.example' transparent\nlocal-zone: d.example block_a\n\
        local-zone: \"e.example\" redirect\nlocal-data: \"e.example A 192.0.2.7\"\nlocal-data: \"f.example. 60 IN A 0.0.0.0\"\n\
        local-data: 'g.example 60 IN AAAA 2001:db8::7'\ninterface: 127.0.0.1\nview:\nname: \"x\"\n\
        local-zone: \"v.example\" refuse\nserver:\nlocal-zone: \"w.example\" refuse\n";

    #[test]
    fn zones_data_and_views() {
        let (all, report) = entries(Format::Unbound, TEXT);
        assert_eq!(
            all,
            [
                "2 suffix a.example",
                "3 suffix b.example nxdomain",
                "4 suffix c.example drop",
                "5 pass Plain suffix ok.a.example",
                "8 suffix e.example",
                "9 exact f.example",
                "10 exact g.example",
                "16 suffix w.example refused",
            ]
        );
        assert_eq!((report.rules, report.duplicates, report.ignored, report.bad), (8, 0, 4, 0));
        let (all, _) = entries_with_answers(Format::Unbound, TEXT);
        assert!(all.contains(&"8 suffix e.example -> 192.0.2.7".to_owned()), "{all:?}");
        assert!(all.contains(&"10 exact g.example -> 2001:db8::7".to_owned()), "{all:?}");
    }

    #[test]
    fn the_root_and_top_level_domains_are_refused() {
        assert!(refused(Format::Unbound, "local-zone: \".\" refuse\n").contains("this would take every name"));
        assert!(refused(Format::Unbound, "local-zone: \"net.\" refuse\n").contains("whole top-level domain"));
    }
}
