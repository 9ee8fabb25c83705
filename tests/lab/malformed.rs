//! Messages that are no proper queries, each with what it deserves (RFC 8906, RFC 9267, RFC 9619).

use crate::dns::{A, header, query, question, wire};

const FORMERR: u8 = 1;
const SERVFAIL: u8 = 2;
const NOTIMP: u8 = 4;
const REFUSED: u8 = 5;

/// What a message deserves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reply {
    /// Silence over UDP, an end over TCP.
    Silence,
    /// A response code; 16 and above need an OPT.
    Rcode(u8),
    /// Any answer but a failure of ours.
    Sound,
}

impl Reply {
    /// Whether a reply is this.
    pub(crate) fn is(self, reply: Option<&[u8]>) -> bool {
        let Some(reply) = reply else { return matches!(self, Self::Silence) };
        // The upper bits of BADVERS are in an OPT, and a reply to it has nothing after that.
        let upper = if reply.len() >= 23 && reply[11] == 1 { reply[reply.len() - 6] } else { 0 };
        let rcode = upper << 4 | reply[3] & 15;
        reply[2] & 0x80 != 0
            && match self {
                Self::Silence => false,
                Self::Rcode(wanted) => rcode == wanted,
                Self::Sound => rcode != SERVFAIL,
            }
    }
}

/// A message and its name.
#[derive(Clone, Debug)]
pub(crate) struct Seed {
    pub(crate) what: &'static str,
    pub(crate) message: Vec<u8>,
    pub(crate) reply: Reply,
}

const NAME: &str = "s00.upd.kaspersky.com";
const RD: u16 = 0x0100;
const OPT: &[u8] = &[0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0];

/// All of them.
pub(crate) fn seeds() -> Vec<Seed> {
    let all = [headers(), names(), records(), edns(), questions()].concat();
    all.into_iter().map(|(what, message, reply)| Seed { what, message, reply }).collect()
}

type Seeds = Vec<(&'static str, Vec<u8>, Reply)>;

/// A query whose question is these octets.
fn asking(octets: &[u8]) -> Vec<u8> {
    [&header(1, RD, [1, 0, 0, 0])[..], octets].concat()
}

/// A proper question with these counts, and these octets after it.
fn with(counts: [u16; 4], rest: &[u8]) -> Vec<u8> {
    [&header(1, RD, counts)[..], &question(NAME, A), rest].concat()
}

fn headers() -> Seeds {
    let flags = |flags| [&header(1, flags, [1, 0, 0, 0])[..], &question(NAME, A)].concat();
    let many = [question(NAME, A), question("b.example", A)].concat();
    vec![
        ("nothing but an id", vec![0, 1], Reply::Silence),
        ("eleven octets", header(1, RD, [1, 0, 0, 0])[..11].to_vec(), Reply::Silence),
        ("a response", flags(0x8180), Reply::Silence),
        ("a response with everything wrong", header(1, 0xffff, [9, 9, 9, 9]), Reply::Silence),
        ("a header alone", header(1, RD, [0, 0, 0, 0]), Reply::Rcode(FORMERR)),
        ("a question that is not there", header(1, RD, [1, 0, 0, 0]), Reply::Rcode(FORMERR)),
        ("65,535 questions", with([65_535, 0, 0, 0], b""), Reply::Rcode(FORMERR)),
        ("two questions", [&header(1, RD, [2, 0, 0, 0])[..], &many].concat(), Reply::Rcode(FORMERR)),
        ("65,535 of everything", with([1, 65_535, 65_535, 65_535], b""), Reply::Rcode(FORMERR)),
        ("opcode STATUS", flags(0x1100), Reply::Rcode(NOTIMP)),
        ("opcode NOTIFY", flags(0x2100), Reply::Rcode(NOTIMP)),
        ("opcode UPDATE", flags(0x2900), Reply::Rcode(NOTIMP)),
        ("opcode 15", flags(0x7900), Reply::Rcode(NOTIMP)),
        ("TC in a query", flags(0x0300), Reply::Sound),
        ("AA and Z in a query", flags(0x0540), Reply::Sound),
    ]
}

fn names() -> Seeds {
    let end = [0, 1, 0, 1];
    let label = |len: u8| [&[len][..], &vec![b'x'; usize::from(len)]].concat();
    let fails = |what, octets: Vec<u8>| (what, asking(&[&octets[..], &end].concat()), Reply::Rcode(FORMERR));
    vec![
        fails("a pointer to itself", vec![0xc0, 12]),
        fails("a pointer to the header", vec![0xc0, 0]),
        fails("a pointer forward", vec![0xc0, 40]),
        fails("a pointer past the end", vec![0xff, 0xff]),
        fails("a label and a pointer to it", vec![1, b'a', 0xc0, 12]),
        fails("label type 01", vec![0x41, 1, 0]),
        fails("label type 10", vec![0x81, 1, 0]),
        fails("a label longer than the message", vec![63, b'a']),
        fails("no end of the name", wire("a.example")[..9].to_vec()),
        fails("256 octets", [label(63), label(63), label(63), label(62), vec![0]].concat()),
        fails("a thousand labels", [label(1).repeat(1_000), vec![0]].concat()),
        (
            "255 octets",
            asking(&[&[label(63), label(63), label(63), label(61), vec![0]].concat()[..], &end].concat()),
            Reply::Sound,
        ),
        ("127 labels", asking(&[&[label(1).repeat(127), vec![0]].concat()[..], &end].concat()), Reply::Sound),
        (
            "octets of all values",
            asking(&[&[&[60][..], &(0..60).collect::<Vec<u8>>(), &[0]].concat()[..], &end].concat()),
            Reply::Sound,
        ),
        ("no class", asking(&[&wire(NAME)[..], &[0, 1]].concat()), Reply::Rcode(FORMERR)),
    ]
}

fn records() -> Seeds {
    let poison = [&wire("www.allowed.example")[..], &[0, 1, 0, 1, 0, 0, 14, 16, 0, 4, 6, 6, 6, 6]].concat();
    let fails = |what, message| (what, message, Reply::Rcode(FORMERR));
    vec![
        fails("octets after the end", with([1, 0, 0, 0], b"junk")),
        fails("an answer in a query", with([1, 1, 0, 0], &poison)),
        fails("an authority in a query", with([1, 0, 1, 0], &poison)),
        fails("record data longer than the message", with([1, 0, 0, 1], &[0, 0, 1, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 1])),
        ("an address in the additional section", with([1, 0, 0, 1], &poison), Reply::Sound),
    ]
}

fn edns() -> Seeds {
    let opt = |version: u8, options: &[u8]| {
        let len = u16::try_from(options.len()).unwrap().to_be_bytes();
        [&[0, 0, 41, 0x04, 0xd0, 0, version, 0, 0][..], &len, options].concat()
    };
    let one = |version, options: &[u8]| with([1, 0, 0, 1], &opt(version, options));
    let fails = |what, message| (what, message, Reply::Rcode(FORMERR));
    let empty_options = [0xfd, 0xe9, 0, 0].repeat(900);
    vec![
        fails("two OPT records", with([1, 0, 0, 2], &[OPT, OPT].concat())),
        fails("an OPT with a name", with([1, 0, 0, 1], &[&[1, b'a'][..], OPT].concat())),
        fails("an option longer than its OPT", one(0, &[0, 10, 0, 9, 1])),
        fails("half an option", one(0, &[0, 10, 0])),
        fails("an OPT longer than the message", with([1, 0, 0, 1], &[0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0xff, 0xff])),
        ("EDNS version 1", one(1, &[]), Reply::Rcode(16)),
        ("EDNS version 255 with nonsense", one(255, &[1, 2, 3]), Reply::Rcode(16)),
        ("900 empty options", one(0, &empty_options), Reply::Sound),
        ("a client's cookie", one(0, &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]), Reply::Sound),
        ("an unknown option", one(0, &[0xff, 0xfe, 0, 2, 1, 2]), Reply::Sound),
        ("EDNS for 1 octet", with([1, 0, 0, 1], &[0, 0, 41, 0, 1, 0, 0, 0, 0, 0, 0]), Reply::Sound),
        (
            "EDNS for 65,535 octets and DO",
            with([1, 0, 0, 1], &[0, 0, 41, 0xff, 0xff, 0, 0, 0x80, 0, 0, 0]),
            Reply::Sound,
        ),
    ]
}

fn questions() -> Seeds {
    let of = |qtype: u16, class: u16| asking(&[&wire(NAME)[..], &qtype.to_be_bytes(), &class.to_be_bytes()].concat());
    vec![
        ("class CH", of(16, 3), Reply::Rcode(REFUSED)),
        ("class 0", of(A, 0), Reply::Rcode(REFUSED)),
        ("class NONE", of(A, 254), Reply::Rcode(REFUSED)),
        ("class ANY", of(A, 255), Reply::Sound),
        ("AXFR", of(252, 1), Reply::Rcode(REFUSED)),
        ("IXFR", of(251, 1), Reply::Rcode(REFUSED)),
        ("MAILB", of(253, 1), Reply::Rcode(NOTIMP)),
        ("type OPT", of(41, 1), Reply::Rcode(NOTIMP)),
        ("type TSIG", of(250, 1), Reply::Rcode(NOTIMP)),
        ("type ANY", of(255, 1), Reply::Sound),
        ("type 0", of(0, 1), Reply::Sound),
        ("type 65,535", of(65_535, 1), Reply::Sound),
        ("the root", query(1, "", 2), Reply::Sound),
    ]
}
