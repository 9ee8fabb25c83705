//! dnsmasq configuration: `address=/name/…/ADDRESS`, `local=/name/`, `server=/name/…`; each name stands for everything below it.
//!
//! `address=` without an address, with `#`, or with one that leads nowhere is a plain block; another address is answer data.
//! `local=` and `server=` without a server answer from nothing but local data, which is a block; `server=/name/#` goes back to
//! the usual servers, so the name passes as far as this list goes; a server of its own is routing and says nothing here. All
//! other options are counted and left alone.

use super::host;
use super::line::{self, Refusal};
use super::out::{Action, Out};
use crate::base::name::{Match, Pattern};
use std::io::BufRead;
use std::net::IpAddr;

/// Reads a list.
///
/// # Errors
/// A file that is no list, and a name that would take a whole top-level domain.
pub(super) fn read(out: &mut Out<'_>, from: &mut dyn BufRead) -> Result<(), Refusal> {
    line::each(out, from, |out, number, text| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let key = key.trim().trim_start_matches("--");
        let is_local = match key {
            "address" => false,
            "local" | "server" => true,
            _ if is_option(key) => {
                out.report.ignored(number, format!("{key:?} lists no names"));
                return Ok(());
            }
            _ => {
                out.report.bad(number, format!("{text:?} is no option of dnsmasq"));
                return Ok(());
            }
        };
        let Some((names, to)) = value.trim().strip_prefix('/').and_then(|rest| rest.rsplit_once('/')) else {
            out.report.ignored(number, format!("{text:?} names no domain"));
            return Ok(());
        };
        let target = if is_local { local(to) } else { address(out, to) };
        let Some(target) = target else {
            let why = format!("{to:?} sends the names to another server or holds no address, which blocks nothing");
            out.report.ignored(number, why);
            return Ok(());
        };
        names.split('/').try_for_each(|name| one(out, name, &target, text, number))
    })
}

/// What becomes of the names of a line.
enum Target {
    Block(Action),
    Pass,
}

fn local(to: &str) -> Option<Target> {
    match to {
        "" => Some(Target::Block(Action::PLAIN)),
        "#" => Some(Target::Pass),
        _ => None,
    }
}

fn address(out: &Out<'_>, to: &str) -> Option<Target> {
    match to {
        "" | "#" => Some(Target::Block(Action::PLAIN)),
        _ => to.parse::<IpAddr>().ok().map(|address| Target::Block(out.addresses(&[address]))),
    }
}

fn one(out: &mut Out<'_>, name: &str, target: &Target, text: &str, number: u32) -> Result<(), Refusal> {
    if name == "#" {
        if matches!(target, Target::Pass) {
            return Ok(());
        }
        return Err(out.refuse(number, "\"/#/\" would take every name"));
    }
    match (host::parse(name.strip_prefix("*.").unwrap_or(name)), target) {
        (Ok(name), Target::Block(action)) => out.name(&Pattern::new(name, Match::Suffix), action, number),
        (Ok(name), Target::Pass) => out.passes(Pattern::new(name, Match::Suffix), text, number),
        (Err(why), _) => {
            out.report.bad(number, why);
            Ok(())
        }
    }
}

/// Whether a word is written as options are.
fn is_option(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-')
}

#[cfg(test)]
mod tests {
    use super::super::format::Format;
    use super::super::testing::{entries, entries_with_answers, refused};

    #[test]
    fn every_form_of_a_block() {
        let text = "# c\ndomain-needed\naddress=/a.example/#\naddress=/b.example/\naddress=/c.example/0.0.0.0\n\
            address=/d.example/e.example/::\nlocal=/f.example/\nserver=/g.example/\nserver=/h.example/192.0.2.1\n\
            server=/i.a.example/#\naddress=/j.example/192.0.2.7\nserver=192.0.2.1\nipset=/k.example/set\n";
        let (all, report) = entries(Format::Dnsmasq, text);
        assert_eq!(
            all,
            [
                "3 suffix a.example",
                "4 suffix b.example",
                "5 suffix c.example",
                "6 suffix d.example",
                "6 suffix e.example",
                "7 suffix f.example",
                "8 suffix g.example",
                "10 pass Plain suffix i.a.example",
                "11 suffix j.example",
            ]
        );
        assert_eq!((report.rules, report.ignored, report.bad), (9, 4, 0));
        let (all, _) = entries_with_answers(Format::Dnsmasq, text);
        assert_eq!(all.last().unwrap(), "11 suffix j.example -> 192.0.2.7");
    }

    #[test]
    fn everything_and_top_level_domains_are_refused() {
        assert!(refused(Format::Dnsmasq, "address=/#/\n").starts_with("f:1: \"/#/\" would take every name"));
        assert!(refused(Format::Dnsmasq, "address=/com/\n").starts_with("f:1: \"com\" would take a whole"));
    }
}
