//! Response policy zones as zone files (draft-vixie-dnsop-dns-rpz; BIND 9 ARM, *Response Policy Zone*).
//!
//! | trigger | what it matches | | action | what is done |
//! |---|---|---|---|---|
//! | `name` | that name | | `CNAME .` | NXDOMAIN |
//! | `*.name` | everything below it | | `CNAME *.` | NODATA |
//! | `….rpz-client-ip` | who asks | | `CNAME rpz-passthru.` | the zone lets it pass |
//! | `….rpz-ip` | an address in the answer | | `CNAME rpz-drop.` | no answer |
//! | `….rpz-nsdname`, `….rpz-nsip` | name servers: not judged while forwarding, counted | | `CNAME rpz-tcp-only.` | truncated |
//! | | | | other data | local data |
//!
//! Within the zone the client's address goes before the name, and the name before addresses; a name itself before wildcards,
//! longer wildcards before shorter; longer prefixes before shorter. A wildcard holds below other triggers as well where none of
//! them is closer, as in the PowerDNS Recursor; a server that looks names up in the zone itself would end at the closest
//! encloser (RFC 4592). A zone that has `name` and right after it `*.name` with the
//! same action means a suffix and becomes one rule, so that NXDOMAIN is true of it (RFC 8020).
//!
//! | module | what |
//! |---|---|
//! | `zone` | records of a zone file, one by one |
//! | `trigger` | what an owner name triggers on |

mod trigger;
mod zone;

use super::host;
use super::line::Refusal;
use super::out::{self, Action, Out};
use crate::base::model::BlockAnswer;
use crate::base::name::{Match, Name, Pattern};
use crate::policy::AnswerData;
use crate::policy::apart::{Tier, Trigger as Apart};
use std::io::BufRead;
use trigger::Trigger;
use zone::Record;

/// Reads a list.
///
/// # Errors
/// A file that is no list, and a trigger that would take a whole top-level domain or too wide a range.
pub(super) fn read(out: &mut Out<'_>, from: &mut dyn BufRead) -> Result<(), Refusal> {
    let mut reader = Reader::default();
    zone::each(out, from, |out, record| reader.record(out, record))?;
    reader.flush(out)
}

/// What a trigger does.
#[derive(Clone, PartialEq)]
enum Does {
    Pass,
    Block(Action),
}

/// A rule that waits for the records after it.
struct Pending {
    trigger: Trigger,
    does: Does,
    data: AnswerData,
    text: String,
    line: u32,
}

#[derive(Default)]
struct Reader {
    pending: Option<Pending>,
    /// The wildcard that the rule before has taken in.
    folded: Option<Name>,
}

impl Reader {
    fn record(&mut self, out: &mut Out<'_>, record: &Record<'_>) -> Result<(), Refusal> {
        let trigger = match trigger::parse(record.owner) {
            Ok(trigger) => trigger,
            Err(trigger::Not::Judged(why)) => {
                out.report.ignored(record.line, why);
                return Ok(());
            }
            Err(trigger::Not::Readable(why)) => {
                out.report.bad(record.line, why);
                return Ok(());
            }
        };
        if matches!(&trigger, Trigger::Below(name) if self.folded.as_ref() == Some(name)) {
            return Ok(());
        }
        let mut data = AnswerData::default();
        let does = match does(record, &mut data) {
            Ok(does) => does,
            Err(why) => {
                out.report.ignored(record.line, why);
                return Ok(());
            }
        };
        if let Some(pending) = self.pending.as_mut().filter(|pending| pending.trigger == trigger) {
            pending.data.v4.append(&mut data.v4);
            pending.data.v6.append(&mut data.v6);
            return Ok(());
        }
        if let (Some(pending), Trigger::Below(name)) = (&mut self.pending, &trigger)
            && pending.trigger == Trigger::Name(name.clone())
            && (pending.does == does && pending.data == data)
        {
            pending.trigger = Trigger::Suffix(name.clone());
            self.folded = Some(name.clone());
            return Ok(());
        }
        self.flush(out)?;
        let text = format!("{} {} {}", record.owner, record.kind, record.data.join(" "));
        self.pending = Some(Pending { trigger, does, data, text, line: record.line });
        Ok(())
    }

    /// Hands on the rule that waits.
    fn flush(&mut self, out: &mut Out<'_>) -> Result<(), Refusal> {
        let Some(Pending { trigger, does, data, text, line }) = self.pending.take() else { return Ok(()) };
        self.folded = None;
        let passes = does == Does::Pass;
        let action = match does {
            Does::Block(action) if data == AnswerData::default() => action,
            Does::Block(_) => out.data(data),
            Does::Pass => Action::PLAIN,
        };
        let apart = |trigger, tier| out::rule(&text, trigger, tier, passes);
        let pattern = match trigger {
            Trigger::Client(net) => return out.apart(apart(Apart::Client(net), Tier::Client), None, &action, line),
            Trigger::Address(net) if passes => {
                return out.apart(apart(Apart::Address(net), Tier::Address), None, &action, line);
            }
            Trigger::Address(net) => return out.range(net, &action, line),
            Trigger::Name(name) => Pattern::new(name, Match::Exact),
            Trigger::Suffix(name) => Pattern::new(name, Match::Suffix),
            Trigger::Below(name) => match host::below(&name) {
                Ok(pattern) => pattern,
                Err(why) => {
                    out.report.bad(line, why);
                    return Ok(());
                }
            },
        };
        if passes { out.passes(pattern, &text, line) } else { out.name(&pattern, &action, line) }
    }
}

/// What a record's type and data do.
fn does(record: &Record<'_>, data: &mut AnswerData) -> Result<Does, String> {
    let first = record.data.first().map_or("", String::as_str);
    match record.kind {
        "CNAME" => return cname(record.owner, first, data),
        "A" => data.v4.extend(first.parse::<std::net::Ipv4Addr>().ok()),
        "AAAA" => data.v6.extend(first.parse::<std::net::Ipv6Addr>().ok()),
        kind @ ("DNAME" | "NS" | "SOA") => return Err(format!("{kind} is no action")),
        // Other local data: what is asked for is not answered truly, so it is a block; the data is not kept.
        _ => {}
    }
    Ok(Does::Block(Action::PLAIN))
}

fn cname(owner: &str, target: &str, data: &mut AnswerData) -> Result<Does, String> {
    // BIND wants the dot; without it the target would be a name within the zone, which nobody means.
    match target.trim_end_matches('.').to_ascii_lowercase().as_str() {
        "" if target == "." => Ok(Does::Block(Action::of(BlockAnswer::Nxdomain))),
        "*" => Ok(Does::Block(Action::of(BlockAnswer::Nodata))),
        "rpz-passthru" => Ok(Does::Pass),
        "rpz-drop" => Ok(Does::Block(Action::of(BlockAnswer::Drop))),
        "rpz-tcp-only" => Ok(Does::Block(Action::of(BlockAnswer::TcpOnly))),
        other if other.starts_with("rpz-") => Err(format!("the action {other:?} is not known")),
        // The oldest form of passthru: the owner is its own target.
        other if other == owner => Ok(Does::Pass),
        other => {
            let name: Name = other.parse().map_err(|why| format!("CNAME {target:?}: {why}"))?;
            data.cname = Some(name);
            Ok(Does::Block(Action::PLAIN))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::Format;
    use super::super::testing::{entries, entries_with_answers, refused};

    const HEAD: &str = "$ORIGIN rpz.example.\n$TTL 60\n@ IN SOA ns.example. root.example. (\n 1 ; serial\n 2 3 4 5 )\n\
        \tIN NS ns.example.\n";

    #[test]
    fn every_trigger_and_action() {
        let text = format!(
            "{HEAD}a.example CNAME .\n*.a.example CNAME .\nb.example 60 IN CNAME *.\nok.a.example CNAME rpz-passthru.\n\
             *.c.example.rpz.example. CNAME rpz-drop.\nd.example CNAME rpz-tcp-only.\n24.0.2.0.192.rpz-ip CNAME .\n\
             32.9.2.0.192.rpz-ip CNAME rpz-passthru.\n128.7.zz.db8.2001.rpz-client-ip CNAME rpz-drop.\n\
             ns.evil.example.rpz-nsdname CNAME .\n24.0.2.0.192.rpz-nsip CNAME .\ne.example CNAME e.example.\n\
             f.example CNAME rpz-later.\ng.other.example. CNAME .\n"
        );
        let (all, report) = entries(Format::Rpz, &text);
        assert_eq!(
            all,
            [
                "7 suffix a.example nxdomain",
                "9 exact b.example nodata",
                "10 pass Plain exact ok.a.example",
                "11 wildcard *.c.example drop",
                "12 exact d.example tcp-only",
                "13 192.0.2.0/24 nxdomain",
                "14 pass Address 192.0.2.9/32",
                "15 block Client client 2001:db8::7/128 drop",
                "18 pass Plain exact e.example",
            ]
        );
        assert_eq!((report.rules, report.ignored, report.bad), (9, 3, 1));
        assert_eq!(report.shown[0].line, 20);
    }

    #[test]
    fn local_data_is_a_block_unless_lists_may_answer() {
        let text = format!(
            "{HEAD}a.example A 192.0.2.1\n\tA 192.0.2.2\n\tAAAA 2001:db8::1\n*.a.example A 192.0.2.1\nb.example CNAME w.example.\n\
             c.example TXT \"a; b\" ; c\n*.d.example CNAME *.g.example.\n"
        );
        let (all, _) = entries(Format::Rpz, &text);
        assert_eq!(
            all,
            [
                "7 exact a.example",
                "10 wildcard *.a.example",
                "11 exact b.example",
                "12 exact c.example",
                "13 wildcard *.d.example"
            ]
        );
        let (all, _) = entries_with_answers(Format::Rpz, &text);
        assert_eq!(
            all,
            [
                "7 exact a.example -> 192.0.2.1,192.0.2.2,2001:db8::1",
                "10 wildcard *.a.example -> 192.0.2.1",
                "11 exact b.example -> w.example",
                "12 exact c.example",
                "13 wildcard *.d.example -> *.g.example",
            ]
        );
    }

    #[test]
    fn a_zone_without_its_name_and_wide_triggers() {
        let text = "$TTL 30\n@ SOA localhost. root.localhost. 1 2 3 4 5\n  NS localhost.\na.example CNAME .\nb.example. CNAME .\n";
        let (all, _) = entries(Format::Rpz, text);
        assert_eq!(all, ["4 exact a.example nxdomain", "5 exact b.example nxdomain"]);
        assert!(refused(Format::Rpz, "*.com CNAME .\n").contains("whole top-level domain"));
        assert!(refused(Format::Rpz, "* CNAME .\n").contains("every name"));
        assert!(refused(Format::Rpz, "8.0.0.0.10.rpz-ip CNAME .\n").contains("10.0.0.0/8 is wider"));
    }
}
