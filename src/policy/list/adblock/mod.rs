//! Adblock rules as DNS filters read them (AdGuard's *DNS filtering rules syntax*).
//!
//! | written | matches |
//! |---|---|
//! | `\|\|name^`, `\|\|name`, `\|\|name\|` | the name and everything below it |
//! | `\|name^` | that name |
//! | `name`, `0.0.0.0 name` | that name, as in a hosts file |
//! | `\|\|*.name^` | everything below the name |
//! | `\|\|ads*.name^`, `\|ads.`, `-ads-`, `name^` | names with that text at that place; `*` is any characters |
//! | `/expression/` | names of which the regular expression is true |
//! | `\|\|192.0.2.1^` | that address in an answer |
//!
//! `@@` lets pass. Modifiers: `$important`, `$badfilter` (takes the same rule without it back), `$denyallow`, `$dnstype`,
//! `$client` by address or network. Within the list the order is `@@` with `$important`, `$important`, `@@`, the rest. A rule
//! with any other modifier, about parts of a page, or about a path is counted and left out, never made broader. `\|\|name`
//! without `^` would also be true of longer last labels in a browser (`\|\|a.co` of `a.com`); here it is not.
//!
//! | module | what |
//! |---|---|
//! | `modifier` | what stands after `$` |
//! | `pattern` | what stands before it |

mod modifier;
mod pattern;

use super::line::{self, Refusal};
use super::out::{Action, Entry, Out};
use crate::policy::apart::{ApartRule, Tier, Trigger};
use modifier::Modifiers;
use std::io::BufRead;

/// Signs of a rule about parts of a page, of scripts, or of what a page is made of.
const PAGE_SIGNS: [&str; 10] = ["##", "#@#", "#?#", "#@?#", "#$#", "#@$#", "#%#", "#@%#", "$$", "$@$"];

/// Reads a list.
///
/// # Errors
/// A file that is no list, and a plain rule that would take a whole top-level domain.
pub(super) fn read(out: &mut Out<'_>, from: &mut dyn BufRead) -> Result<(), Refusal> {
    line::each_raw(out, from, |out, number, text| {
        let text = text.trim();
        if text.is_empty() || text.starts_with('!') || is_header(text) || is_comment(text) {
            return Ok(());
        }
        if is_about_page(text) {
            out.report.ignored(number, "it is about parts of a page, not about names".to_owned());
            return Ok(());
        }
        match rule(out, text, number) {
            Ok(()) => Ok(()),
            Err(Left::Refused(refusal)) => Err(refusal),
            Err(Left::Ignored(why)) => {
                out.report.ignored(number, why);
                Ok(())
            }
            Err(Left::Bad(why)) => {
                out.report.bad(number, why);
                Ok(())
            }
        }
    })
}

/// Why a line makes no rule.
enum Left {
    /// It says something that is not judged.
    Ignored(String),
    /// It says nothing readable.
    Bad(String),
    /// The whole list is refused.
    Refused(Refusal),
}

fn is_header(text: &str) -> bool {
    text.starts_with('[') && text.ends_with(']')
}

fn is_comment(text: &str) -> bool {
    text.starts_with('#') && !PAGE_SIGNS.iter().any(|sign| text.starts_with(sign))
}

fn is_about_page(text: &str) -> bool {
    // A regular expression may hold any of the signs.
    !text.trim_start_matches('@').starts_with('/') && PAGE_SIGNS.iter().any(|sign| text.contains(sign))
}

fn rule(out: &mut Out<'_>, text: &str, number: u32) -> Result<(), Left> {
    let (passes, body) = text.strip_prefix("@@").map_or((false, text), |body| (true, body));
    if let Some((address, names)) = pattern::hosts_line(text) {
        let action = out.addresses(&[address]);
        return names.into_iter().try_for_each(|pattern| out.name(&pattern, &action, number)).map_err(Left::Refused);
    }
    let (head, tail) = split(body);
    let modifiers = tail.map_or_else(|| Ok(Modifiers::default()), modifier::parse).map_err(Left::Ignored)?;
    let trigger = pattern::parse(head)?;
    let form = || format!("{}{}${}", if passes { "@@" } else { "" }, pattern::form(&trigger), modifiers.form);
    let is_plain = !passes && modifiers.is_empty();
    if modifiers.badfilter {
        let entry = match &trigger {
            Trigger::Name(pattern) if is_plain => Entry::TakeBack(pattern.clone()),
            _ => Entry::TakeBackApart(form().into()),
        };
        return out.take_back(entry, number).map_err(Left::Refused);
    }
    let done = match &trigger {
        Trigger::Name(pattern) if is_plain => out.name(pattern, &Action::PLAIN, number),
        Trigger::Address(net) if is_plain => out.range(*net, &Action::PLAIN, number),
        _ => {
            let tier = match (passes, modifiers.important, &trigger) {
                (true, true, _) => Tier::ImportantException,
                (false, true, _) => Tier::Important,
                (true, false, _) => Tier::Exception,
                (false, false, Trigger::Address(_)) => Tier::Address,
                (false, false, _) => Tier::Plain,
            };
            let form = form().into();
            let rule = ApartRule { text: text.into(), trigger, conditions: modifiers.conditions, tier, passes };
            out.apart(rule, Some(form), &Action::PLAIN, number)
        }
    };
    done.map_err(Left::Refused)
}

/// A rule's pattern, and its modifiers if it has some.
fn split(body: &str) -> (&str, Option<&str>) {
    if body.starts_with('/') && body.len() > 1 {
        // `$` may stand within the expression; its modifiers begin after its last slash.
        if body.ends_with('/') {
            return (body, None);
        }
        if let Some((at, _)) = body.rmatch_indices("/$").find(|(at, _)| *at > 0) {
            let (head, tail) = body.split_at(at + 1);
            return (head, tail.get(1..));
        }
    }
    match body.split_once('$') {
        Some((head, tail)) => (head, Some(tail)),
        None => (body, None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::Format;
    use super::super::testing::{entries, refused};

    fn one(text: &str) -> String {
        let (all, report) = entries(Format::Adblock, text);
        assert!(report.bad == 0, "{:?}", report.shown);
        let shown = |report: &super::super::line::Report| report.ignored_shown.first().map(|bad| bad.why.clone());
        all.first().cloned().unwrap_or_else(|| format!("ignored: {}", shown(&report).unwrap_or_default()))
    }

    #[test]
    fn patterns() {
        for (text, said) in [
            ("||A.Example^", "1 suffix a.example"),
            ("||a.example", "1 suffix a.example"),
            ("||a.example|", "1 suffix a.example"),
            ("||a.example^|", "1 suffix a.example"),
            ("||a.example^*", "1 suffix a.example"),
            ("||bücher.example^", "1 suffix xn--bcher-kva.example"),
            ("|a.example^", "1 exact a.example"),
            ("|a.example|", "1 exact a.example"),
            ("a.example", "1 exact a.example"),
            ("0.0.0.0 a.example # c", "1 exact a.example"),
            ("||*.a.example^", "1 wildcard *.a.example"),
            ("*.a.example^", "1 wildcard *.a.example"),
            ("||ads*.a.example^", "1 block Plain glob .a.example"),
            ("-adserver-", "1 block Plain glob -adserver-"),
            ("a.example^", "1 block Plain glob a.example"),
            ("/^ads[0-9]+\\.[a-z]{2,3}$/", "1 block Plain /^ads[0-9]+\\.[a-z]{2,3}$/"),
            ("||192.0.2.1^", "1 192.0.2.1/32"),
            ("@@||a.example^", "1 pass Exception suffix a.example"),
        ] {
            assert_eq!(one(text), said, "{text}");
        }
    }

    #[test]
    fn modifiers() {
        for (text, said) in [
            ("||a.example^$important", "1 block Important suffix a.example"),
            ("@@||a.example^$important", "1 pass ImportantException suffix a.example"),
            (
                "||a.example^$denyallow=x.a.example|y.a.example",
                "1 block Plain suffix a.example but x.a.example,y.a.example",
            ),
            ("||a.example^$dnstype=AAAA|~65", "1 block Plain suffix a.example type 28|~65"),
            (
                "||a.example^$client=192.0.2.1|~10.0.0.0/8",
                "1 block Plain suffix a.example client 192.0.2.1/32|~10.0.0.0/8",
            ),
            ("/ads[0-9]/$important", "1 block Important /ads[0-9]/"),
            ("/^a$|^b\\.example$/$dnstype=A", "1 block Plain /^a$|^b\\.example$/ type 1"),
            ("||a.example^$badfilter", "1 back suffix a.example"),
            ("||a.example^$important,badfilter", "1 back suffix:a.example$important"),
            ("@@||a.example^$badfilter", "1 back @@suffix:a.example$"),
        ] {
            assert_eq!(one(text), said, "{text}");
        }
    }

    #[test]
    fn what_is_not_judged_is_counted_and_never_broader() {
        for text in [
            "||a.example^$third-party",
            "||a.example^$important,ctag=device_tv",
            "||a.example^$client=laptop",
            "||a.example^$client='Bob\\'s, laptop'",
            "||a.example^$dnstype=WHAT",
            "||a.example^$dnsrewrite=192.0.2.1",
            "||a.example^$denyallow=",
            "@@||a.example^$document",
            "||a.example/banner^",
            "||a.example^banner",
            "|https://a.example^",
            "a.example##.banner",
            "###banner",
            "a.example#@#.banner",
            "/(?=x)y/",
            "/.*/",
            "ad*",
            "*",
            "||*^$dnstype=AAAA",
            "||com^$dnstype=AAAA",
        ] {
            assert!(one(text).starts_with("ignored: "), "{text}: {}", one(text));
        }
    }

    #[test]
    fn headers_comments_and_top_level_domains() {
        let (all, report) = entries(Format::Adblock, "[Adblock Plus 2.0]\n! c\n# c\n\n||a.example^\n");
        assert_eq!((all.len(), report.bad, report.ignored), (1, 0, 0));
        assert!(refused(Format::Adblock, "||com^\n").contains("whole top-level domain"));
        let (_, report) = entries(Format::Adblock, &("||a.example^\n".repeat(9) + "what is this\n"));
        assert_eq!((report.bad, report.shown[0].line), (1, 10));
    }
}
