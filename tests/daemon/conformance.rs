//! The flag and EDNS checks that ISC's genreport and RFC 8906 §8 make of a server, each against a name that is blocked, one that
//! upstream answers, and one that is answered here; over UDP and TCP.

use crate::harness::{Home, over_tcp, over_udp};
use crate::upstream::{Act, Upstream};
use hickory_proto::op::Message;
use std::net::Ipv4Addr;

const AA: u16 = 0x0400;
const TC: u16 = 0x0200;
const RD: u16 = 0x0100;
const RA: u16 = 0x0080;
const Z: u16 = 0x0040;
const AD: u16 = 0x0020;
const CD: u16 = 0x0010;
const QR: u16 = 0x8000;

const A: u16 = 1;
const SOA: u16 = 6;
const IN: u16 = 1;
const CH: u16 = 3;

/// An OPT in a query.
#[derive(Clone, Copy)]
struct Opt {
    version: u8,
    size: u16,
    flags: u16,
    options: &'static [u8],
}

const PLAIN: Opt = Opt { version: 0, size: 4096, flags: 0, options: &[] };
const DO: u16 = 0x8000;
const UNKNOWN: &[u8] = &[0, 100, 0, 0];
const NSID: &[u8] = &[0, 3, 0, 0];
const COOKIE: &[u8] = b"\0\x0a\0\x08genrepor";
const EXPIRE: &[u8] = &[0, 9, 0, 0];
const SUBNET: &[u8] = &[0, 8, 0, 4, 0, 1, 0, 0];
const KEEPALIVE: &[u8] = &[0, 11, 0, 0];
const PADDING: &[u8] = &[0, 12, 0, 4, 0, 0, 0, 0];
const OPTLIST: &[u8] = b"\0\x03\0\0\0\x08\0\x04\0\x01\0\0\0\x09\0\0\0\x0a\0\x08genrepor";

/// One check: what is asked, and what the reply is.
struct Check {
    name: &'static str,
    flags: u16,
    qtype: u16,
    class: u16,
    opt: Option<Opt>,
    wanted: Wanted,
}

/// What a reply is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    /// NOERROR with the answer.
    Answer,
    /// NOERROR, whatever records.
    Sound,
    /// BADVERS without records, with an OPT of version 0.
    BadVersion,
    /// This response code and nothing but the header.
    Header(u8),
    /// This response code without records.
    Rcode(u8),
}

fn checks() -> Vec<Check> {
    use Wanted::{Answer, BadVersion, Header, Rcode, Sound};
    let dns = |name, flags| Check { name, flags, qtype: A, class: IN, opt: None, wanted: Answer };
    let typed = |name, qtype| Check { qtype, wanted: Sound, ..dns(name, RD) };
    let edns = |name, opt| Check { opt: Some(opt), ..dns(name, RD) };
    let with = |name, options| edns(name, Opt { options, ..PLAIN });
    let bad = |name, opt: Opt| Check { wanted: BadVersion, ..edns(name, Opt { version: 1, ..opt }) };
    let code = |name, opcode: u16, flags| Check { wanted: Header(4), ..dns(name, opcode << 11 | flags) };
    vec![
        dns("dns", RD),
        dns("aa", RD | AA),
        dns("ad", RD | AD),
        dns("cd", RD | CD),
        dns("ra", RD | RA),
        dns("norec", 0),
        dns("tc", RD | TC),
        dns("zflag", RD | Z),
        dns("every flag", AA | TC | RD | RA | Z | AD | CD),
        typed("soa", SOA),
        typed("type666", 666),
        typed("type1000", 1_000),
        code("opcode 1", 1, RD),
        code("opcode 3", 3, 0),
        code("opcode 15", 15, 0),
        code("opcodeflg", 15, AA | TC | RD | RA | Z | AD | CD),
        Check { class: CH, qtype: 16, wanted: Rcode(5), ..dns("class CH", RD) },
        edns("edns", PLAIN),
        edns("edns@512", Opt { size: 512, ..PLAIN }),
        edns("edns@0", Opt { size: 0, ..PLAIN }),
        edns("do", Opt { flags: DO, ..PLAIN }),
        edns("ednsflags", Opt { flags: 0x0080, ..PLAIN }),
        edns("every EDNS flag", Opt { flags: 0xffff, ..PLAIN }),
        with("ednsopt", UNKNOWN),
        with("ednsnsid", NSID),
        with("ednscookie", COOKIE),
        with("ednsexpire", EXPIRE),
        with("ednssubnet", SUBNET),
        with("ednskeepalive", KEEPALIVE),
        with("ednspadding", PADDING),
        with("optlist", OPTLIST),
        bad("edns1", PLAIN),
        bad("edns1opt", Opt { options: UNKNOWN, ..PLAIN }),
        bad("edns1do", Opt { flags: DO, ..PLAIN }),
        bad("edns1flags", Opt { flags: 0x0080, ..PLAIN }),
        bad("edns1nsid", Opt { options: NSID, ..PLAIN }),
        bad("edns1 of broken options", Opt { options: &[0, 1, 0, 9], ..PLAIN }),
        Check { opt: Some(Opt { flags: DO, options: OPTLIST, ..PLAIN }), ..dns("dig 9.11", RD | AD) },
        Check { opt: Some(Opt { flags: DO, options: COOKIE, size: 1232, ..PLAIN }), ..dns("bind 9.18", CD) },
    ]
}

fn message(check: &Check, name: &str) -> Vec<u8> {
    let words = [0x4711, check.flags, 1, 0, 0, u16::from(check.opt.is_some())];
    let mut octets: Vec<u8> = words.iter().flat_map(|word: &u16| word.to_be_bytes()).collect();
    octets.extend(crate::upstream::wire(name));
    octets.extend([check.qtype, check.class].iter().flat_map(|word| word.to_be_bytes()));
    if let Some(opt) = check.opt {
        octets.extend([0, 0, 41]);
        octets.extend(opt.size.to_be_bytes());
        octets.extend([0, opt.version]);
        octets.extend(opt.flags.to_be_bytes());
        octets.extend(u16::try_from(opt.options.len()).unwrap().to_be_bytes());
        octets.extend(opt.options);
    }
    octets
}

/// Flags and records as the check wants them; a sentence about the first that is not.
fn judge(check: &Check, name: &str, tcp: bool, reply: &[u8]) -> Result<(), String> {
    let flags = u16::from_be_bytes([reply[2], reply[3]]);
    let opcode = check.flags & 0x7800;
    let is_query = opcode == 0;
    // Of a query's flags RD and CD are repeated, RA is ours; with another opcode there are none.
    let wanted = if is_query { QR | RA | check.flags & (RD | CD) } else { QR | opcode };
    let authentic = if is_query { AD } else { 0 };
    if flags & !0x000f & !authentic != wanted {
        return Err(format!("flags {flags:04x}, not {wanted:04x}"));
    }
    let read = Message::from_vec(reply).map_err(|error| error.to_string())?;
    let rcode = u16::from(read.metadata.response_code);
    let records = (read.answers.len(), read.authorities.len());
    match check.wanted {
        Wanted::Answer if rcode != 0 || records.0 == 0 => return Err(format!("{rcode}, {records:?}")),
        Wanted::Sound if rcode != 0 => return Err(format!("{rcode}")),
        Wanted::BadVersion if rcode != 16 || records != (0, 0) => return Err(format!("{rcode}, {records:?}")),
        Wanted::Header(code) if rcode != u16::from(code) || reply.len() != 12 => {
            return Err(format!("{rcode}, {reply:x?}"));
        }
        Wanted::Rcode(code) if rcode != u16::from(code) || records != (0, 0) => return Err(format!("{rcode}")),
        _ => {}
    }
    if is_query && (read.queries.len() != 1 || read.queries[0].name().to_string() != format!("{name}.")) {
        return Err(format!("{:?}", read.queries));
    }
    match (&check.opt, &read.edns) {
        (None, None) => Ok(()),
        (Some(asked), Some(edns)) => {
            if edns.version() != 0 || edns.flags().z != 0 || edns.flags().dnssec_ok != (asked.flags & DO != 0) {
                return Err(format!("{edns:?}"));
            }
            // Nothing comes back that was not understood: cookies, the stream's time, and reasons are.
            let known: &[u16] = if tcp { &[10, 11, 15] } else { &[10, 15] };
            let codes: Vec<u16> = edns.options().as_ref().iter().map(|(code, _)| u16::from(*code)).collect();
            if codes.iter().any(|code| !known.contains(code)) { Err(format!("options {codes:?}")) } else { Ok(()) }
        }
        (asked, got) => Err(format!("an OPT for who sent one: {} {}", asked.is_some(), got.is_some())),
    }
}

#[test]
fn every_flag_and_edns_check_is_right() {
    let upstream = Upstream::start([("www.allowed.example", Act::Address(Ipv4Addr::new(203, 0, 113, 7)))]);
    let home = Home::new(upstream.address, "");
    let daemon = home.start();
    let names = ["s00.upd.kaspersky.com", "www.allowed.example", "here.localhost"];
    let mut wrong = Vec::new();
    let mut made = 0;
    for check in checks() {
        for name in names {
            let query = message(&check, name);
            for (tcp, reply) in [(false, over_udp(daemon.address, &query)), (true, over_tcp(daemon.address, &query))] {
                made += 1;
                if let Err(why) = judge(&check, name, tcp, &reply) {
                    wrong.push(format!("{} of {name}{}: {why}", check.name, if tcp { " over TCP" } else { "" }));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {made}: {wrong:#?}", wrong.len());
    assert!(checks().len() >= 34, "as many as genreport has");
}
