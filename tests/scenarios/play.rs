//! Plays a scenario: the client and the servers as it says, everything between them as it runs in the daemon.

use crate::dns_fixture::{CLIENT, rules, with};
use crate::message::{hex, name, opt, option, option_of, question_end, rcode, record, rtype, shown, shown_words};
use crate::script::{Scenario, Step};
use interdict::base::model::{BlockAnswer, Now, Stage};
use interdict::engine::resolver::core::{
    Core, CoreSettings, Counters, ExchangeFailure, Mode, Transmit, Waiter, ZoneServers,
};
use interdict::engine::resolver::front::{self, Outcome};
use interdict::engine::resolver::{Ask, Cache, Cookies, Transport};
use interdict::policy::local::{Local, LocalRecord, LocalSettings};
use interdict::policy::{Policy, Settings, Sinkhole};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The cookie of every server that has one.
const SERVER_COOKIE: &[u8] = b"SERVERCO";
/// Steps of waking within one `pass`; more is a loop.
const WAKES_MAX: usize = 10_000;

/// What a scenario is played with.
pub(crate) struct Setup {
    pub(crate) core: CoreSettings,
    pub(crate) stale_max: u32,
    pub(crate) cache_bytes: usize,
    pub(crate) local: LocalSettings,
}

/// What went otherwise than written.
pub(crate) struct Wrong {
    pub(crate) line: usize,
    pub(crate) what: String,
}

type Done = Result<(), String>;

struct World {
    core: Core<()>,
    cache: Arc<Cache>,
    counters: Arc<Counters>,
    policy: Policy,
    local: Arc<Local>,
    epoch: u64,
    now: Now,
    /// Sent upstream and not looked at.
    out: VecDeque<Transmit>,
    /// Looked at, by name; the last one is "".
    seen: BTreeMap<String, Transmit>,
    /// Replies to clients, not looked at.
    replies: VecDeque<Vec<u8>>,
    /// The last message of the client was dropped.
    dropped: bool,
    /// Toward clients.
    cookies: Cookies,
    scratch: Vec<u8>,
}

/// Plays a scenario under settings that `change` has changed.
pub(crate) fn play(scenario: &Scenario, change: &impl Fn(&mut Setup)) -> Result<(), Wrong> {
    let mut setup = Setup {
        core: CoreSettings::new(vec![server(1), server(2)]),
        stale_max: 86_400,
        cache_bytes: 1 << 20,
        local: LocalSettings::default(),
    };
    scenario.steps.iter().filter(|step| step.verb == "set").for_each(|step| set(&mut setup, step));
    change(&mut setup);
    let mut world = World::new(&setup);
    let mut line = 0;
    for step in scenario.steps.iter().filter(|step| step.verb != "set") {
        line = step.line;
        world.step(step).map_err(|what| Wrong { line, what })?;
    }
    world.nothing_left().map_err(|what| Wrong { line, what: format!("at the end {what}") })
}

fn server(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 53))
}

fn set(setup: &mut Setup, step: &Step) {
    let (key, value) = (step.word(0), step.word(1));
    let number = || value.parse::<u32>().unwrap();
    let answers = &mut setup.core.answers;
    match key {
        "servers" => setup.core.servers = (1..=u8::try_from(number()).unwrap()).map(server).collect(),
        "mode" => setup.core.mode = value.parse::<Mode>().unwrap(),
        "zone" => setup.core.zones.push(ZoneServers {
            name: value.parse().unwrap(),
            servers: step.words[2..].iter().map(|number| server(number.parse().unwrap())).collect(),
        }),
        "stale_max" => setup.stale_max = number(),
        "ttl_min" => answers.ttl_min = number(),
        "ttl_max" => answers.ttl_max = number(),
        "negative_ttl_max" => answers.negative_ttl_max = number(),
        "failure_ttl" => answers.failure_ttl = number(),
        "links_max" => answers.links_max = value.parse().unwrap(),
        "records_max" => answers.records_max = value.parse().unwrap(),
        "queries" => setup.core.bounds.queries = number(),
        "record" => setup.local.records.push(step.words[1..].join(" ").parse::<LocalRecord>().unwrap()),
        "private_name" => setup.local.private_names.push(value.parse().unwrap()),
        "rebind_protection" => setup.local.rebind_protection = value == "on",
        "canaries" => setup.local.canaries = value == "on",
        _ => panic!("set {key} is not known"),
    }
}

fn policy(epoch: u64, local: &Arc<Local>, step: Option<&Step>) -> Policy {
    let has = |word: &str| step.is_some_and(|step| step.has(word));
    let stage = match () {
        () if has("off") => Stage::Off,
        () if has("observe") => Stage::Observe,
        () => Stage::Block,
    };
    let answer = step.and_then(|step| step.value("answer")).unwrap_or("null").parse::<BlockAnswer>().unwrap();
    let excepted: Vec<&str> = step.and_then(|step| step.value("except")).into_iter().collect();
    let base = with(epoch, answer, stage, &excepted, Sinkhole::default());
    let settings = Settings { local: Arc::clone(local), ..base.settings().clone() };
    Policy::new(epoch, rules(), Arc::new(settings), base.at())
}

impl World {
    fn new(setup: &Setup) -> Self {
        let counters = Arc::new(Counters::default());
        // As the config does it: names with servers of their own may have private addresses.
        let mut local = setup.local.clone();
        local.private_names.extend(setup.core.zones.iter().map(|zone| zone.name.clone()));
        let local = Arc::new(Local::new(local));
        let cache = Arc::new(Cache::with_stale(setup.cache_bytes, 7, setup.stale_max));
        Self {
            core: Core::new(&setup.core, Arc::clone(&cache), Arc::clone(&counters), [7; 32]),
            cache,
            counters,
            policy: policy(1, &local, None),
            local,
            epoch: 1,
            now: crate::dns_fixture::at(0),
            out: VecDeque::new(),
            seen: BTreeMap::new(),
            replies: VecDeque::new(),
            dropped: false,
            cookies: Cookies::new([1, 2]),
            scratch: vec![0; 65_535],
        }
    }

    fn step(&mut self, step: &Step) -> Done {
        match step.verb.as_str() {
            "query" => self.query(step),
            "raw" => {
                let tcp = step.word(0) == "tcp";
                let octets = hex(&step.words[usize::from(tcp)..].concat());
                self.ask(if tcp { Transport::Tcp } else { Transport::Udp }, &octets);
                Ok(())
            }
            "out" => self.expect_out(step),
            "reply" => self.reply(step),
            "fail" => self.fail(step),
            "answer" => self.expect_answer(step),
            "silence" if self.dropped => Ok(()),
            "silence" => Err("it was not dropped".to_owned()),
            "quiet" => self.nothing_left(),
            "pass" => self.pass(step.word(0)),
            "count" => self.count(step),
            "policy" => {
                self.epoch += 1;
                self.policy = policy(self.epoch, &self.local, Some(step));
                Ok(())
            }
            verb => panic!("line {}: {verb} is no step", step.line),
        }
    }

    fn nothing_left(&self) -> Done {
        match (self.out.front(), self.replies.front()) {
            (Some(sent), _) => Err(format!("there is one more query upstream: {sent:?}")),
            (_, Some(reply)) => Err(format!("there is one more reply: {:?}", shown(reply))),
            (None, None) => Ok(()),
        }
    }
}

/// The client.
impl World {
    fn query(&mut self, step: &Step) -> Done {
        let flags = [("nord", 0, 0x0100), ("ad", 0x0020, 0), ("cd", 0x0010, 0)];
        let mut bits = 0x0100_u16;
        for (word, on, off) in flags {
            if step.has(word) {
                bits = bits & !off | on;
            }
        }
        let edns = !step.has("noedns");
        let id = step.value("id").map_or_else(|| vec![0x12, 0x34], hex);
        let mut message = [&id[..], &bits.to_be_bytes(), &[0, 1, 0, 0, 0, 0, 0, u8::from(edns)]].concat();
        message.extend(name(step.word(0)));
        message.extend(rtype(step.word(1)).to_be_bytes());
        message.extend([0, 1]);
        if edns {
            let options = step.value("option").map(|text| {
                let (code, data) = text.split_once(':').unwrap();
                option(code.parse().unwrap(), &hex(data))
            });
            let size = step.value("size").map_or(1_232, |size| size.parse().unwrap());
            message.extend(opt(size, 0, step.has("do"), &options.unwrap_or_default()));
        }
        let transport = if step.has("tcp") { Transport::Tcp } else { Transport::Udp };
        for _ in 0..if step.has("twice") { 2 } else { 1 } {
            self.ask(transport, &message);
        }
        Ok(())
    }

    fn ask(&mut self, transport: Transport, message: &[u8]) {
        let ask = Ask { cookies: Some((&self.cookies, CLIENT)), ..Ask::new(CLIENT, transport, message) };
        let outcome = front::answer(self.now, &self.policy, &self.cache, &ask, &mut self.scratch);
        self.dropped = matches!(outcome, Outcome::Drop(_) | Outcome::Answered { len: 0, .. });
        match outcome {
            Outcome::Answered { len, .. } if len > 0 => self.replies.push_back(self.scratch[..len].to_vec()),
            Outcome::Miss(miss) => {
                let waiter = Waiter { client: CLIENT, transport, message: message.into(), token: () };
                self.core.handle_miss(self.now.mono, &miss.key, waiter);
            }
            Outcome::Answered { .. } | Outcome::Drop(_) => {}
        }
        self.pump();
    }

    fn expect_answer(&mut self, step: &Step) -> Done {
        let reply = self.replies.pop_front().ok_or("there is no reply")?;
        let flags = u16::from_be_bytes([reply[2], reply[3]]);
        let message = hickory_proto::op::Message::from_vec(&reply).map_err(|error| error.to_string())?;
        let got = u16::from(message.metadata.response_code);
        if got != rcode(step.word(0)) {
            return Err(format!("the client gets {} with {:?}", message.metadata.response_code, shown(&reply)));
        }
        let wanted = |word| step.has(word);
        let bits = [("tc", 0x0200), ("aa", 0x0400), ("ad", 0x0020), ("cd", 0x0010)];
        for (word, bit) in bits {
            let want = wanted(word) || word == "tc" && wanted("cut");
            if want != (flags & bit != 0) {
                return Err(format!("{word} is {}", !want));
            }
        }
        if flags & 0x8000 == 0 || (flags & 0x0080 != 0) == step.has("!ra") {
            return Err("QR is clear, or RA is not as it should be".to_owned());
        }
        if step.has("noopt") != message.edns.is_none() {
            return Err("the OPT is there, or it is not".to_owned());
        }
        let error = option_of(&reply, 15).map(|data| {
            let (code, text) = data.split_at(2);
            (u16::from_be_bytes([code[0], code[1]]).to_string(), String::from_utf8_lossy(text).replace(' ', "-"))
        });
        match (step.value("ede"), &error) {
            (None, None) => {}
            (Some(want), Some((code, text))) if want == code || want == format!("{code}:{text}") => {}
            (want, got) => return Err(format!("the extended error is {got:?}, not {want:?}")),
        }
        let (want, got) = (shown_words(&step.records), shown(&reply));
        if want == got { Ok(()) } else { Err(format!("the client gets\n  {}", got.join("\n  "))) }
    }
}

/// The servers.
impl World {
    fn expect_out(&mut self, step: &Step) -> Done {
        let sent = self.out.pop_front().ok_or("nothing is asked upstream")?;
        let message = &sent.message;
        let end = question_end(message);
        let question = &message[12..end];
        let want = [&name(step.word(0))[..], &rtype(step.word(1)).to_be_bytes(), &[0, 1]].concat();
        if question[..question.len() - 4].to_ascii_lowercase() != want[..want.len() - 4]
            || question[question.len() - 4..] != want[want.len() - 4..]
        {
            return Err(format!("upstream is asked {:?}", String::from_utf8_lossy(question)));
        }
        let edns = message[11] == 1;
        let cookie = option_of(message, 10);
        let facts = [
            ("udp", sent.transport == Transport::Udp),
            ("tcp", sent.transport == Transport::Tcp),
            ("edns", edns),
            ("do", edns && message[end + 7] & 0x80 != 0),
            ("cd", message[3] & 0x10 != 0),
            ("ad", message[3] & 0x20 != 0),
            ("cookie", cookie.is_some()),
            ("ecs", option_of(message, 8).is_some()),
            ("mixed", question[..question.len() - 4].iter().any(u8::is_ascii_uppercase)),
        ];
        for (word, is) in facts {
            if step.has(word) && !is || step.has(&format!("!{word}")) && is {
                return Err(format!("{word} is {is}"));
            }
        }
        let to = format!("@{}", sent.server.to_string().trim_start_matches("192.0.2.").trim_end_matches(":53"));
        if step.words.iter().any(|word| word.starts_with('@') && *word != to) {
            return Err(format!("it goes to {to}"));
        }
        if let Some(theirs) = step.value("cookie")
            && cookie.is_none_or(|cookie| cookie[8..] != hex(theirs))
        {
            return Err("the server's cookie is another".to_owned());
        }
        if let Some(name) = step.value("as") {
            self.seen.insert(name.to_owned(), sent.clone());
        }
        self.seen.insert(String::new(), sent);
        Ok(())
    }

    /// The exchange that a step is about.
    fn exchange(&self, step: &Step) -> Transmit {
        let to = step.value("to").unwrap_or_default();
        self.seen.get(to).unwrap_or_else(|| panic!("line {}: nothing was asked as {to:?}", step.line)).clone()
    }

    fn reply(&mut self, step: &Step) -> Done {
        let to = self.exchange(step);
        let message = response(step, &to.message);
        self.core.handle_response(self.now.mono, to.exchange, &message);
        self.pump();
        Ok(())
    }

    fn fail(&mut self, step: &Step) -> Done {
        let why = match step.word(0) {
            "refused" => ExchangeFailure::Refused,
            "unreachable" => ExchangeFailure::Unreachable,
            "local" => ExchangeFailure::Local,
            word => panic!("{word} is no failure"),
        };
        let to = self.exchange(step);
        self.core.handle_failure(self.now.mono, to.exchange, why);
        self.pump();
        Ok(())
    }
}

/// What lies between.
impl World {
    /// Does with the outputs what the driver does.
    fn pump(&mut self) {
        self.core.handle_timeout(self.now.mono);
        self.out.extend(std::iter::from_fn(|| self.core.poll_transmit()));
        while self.core.poll_close().is_some() {}
        let out = &mut self.scratch;
        while let Some(reply) = self.core.poll_reply() {
            let waiter = reply.waiter;
            let cookies = Some((&self.cookies, CLIENT));
            let ask = Ask { cookies, ..Ask::new(waiter.client, waiter.transport, &waiter.message) };
            let len = match reply.result {
                Ok(stored) => match front::answer_from(self.now, &self.policy, &stored, &ask, out) {
                    Outcome::Answered { len, .. } => len,
                    Outcome::Miss(_) | Outcome::Drop(_) => 0,
                },
                Err(failure) => front::fail(self.now, &ask, failure, out),
            };
            if len > 0 {
                self.replies.push_back(out[..len].to_vec());
            }
        }
    }

    fn pass(&mut self, time: &str) -> Done {
        let digits = time.trim_end_matches(char::is_alphabetic);
        let millis = match &time[digits.len()..] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            unit => panic!("{unit} is no unit of time"),
        };
        let until = self.now.mono.plus(Duration::from_millis(digits.parse::<u64>().unwrap() * millis));
        for _ in 0..WAKES_MAX {
            let Some((wake, _)) = self.core.poll_timeout().filter(|(wake, _)| *wake <= until) else {
                self.now.mono = until;
                self.pump();
                return Ok(());
            };
            self.now.mono = wake.max(self.now.mono);
            self.pump();
        }
        Err("the resolver wants to be woken all the time".to_owned())
    }

    fn count(&self, step: &Step) -> Done {
        let counters: BTreeMap<&str, u64> = self.counters.snapshot().into_iter().collect();
        let is = counters.get(step.word(0)).unwrap_or_else(|| panic!("{} is no counter", step.word(0)));
        if *is == step.word(1).parse::<u64>().unwrap() { Ok(()) } else { Err(format!("{} is {is}", step.word(0))) }
    }
}

/// A response to a query, as the step says.
fn response(step: &Step, query: &[u8]) -> Vec<u8> {
    let code = rcode(step.word(0));
    let end = question_end(query);
    let mut out = query[..end].to_vec();
    let bits = [("tc", 0x0200), ("aa", 0x0400), ("ad", 0x0020), ("opcode", 0x2800)];
    let mut flags = 0x8080 | (u16::from(query[2]) << 8 & 0x0100) | (code & 0x0f);
    for (_, bit) in bits.iter().filter(|(word, _)| step.has(word)) {
        flags |= bit;
    }
    if step.has("query") {
        flags &= 0x7fff;
    }
    out[2..4].copy_from_slice(&flags.to_be_bytes());
    out[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    let mut counts = [0_u16; 3];
    for (at, section) in ["an", "au", "ar"].iter().enumerate() {
        for (_, words) in step.records.iter().filter(|(have, _)| have == section) {
            counts[at] += 1;
            out.extend(record(words));
        }
        if let (0, Some(many)) = (at, step.value("many")) {
            for host in 0..many.parse::<u16>().unwrap() {
                counts[0] += 1;
                let [high, low] = host.to_be_bytes();
                out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0x2c, 0, 4, 203, 0, high, low]);
            }
        }
    }
    let options = options(step, query);
    if !options.is_empty() || step.has("opt") || code > 15 {
        counts[2] += 1;
        out.extend(opt(1_232, code, false, &options));
    }
    for (at, count) in counts.iter().enumerate() {
        out[6 + 2 * at..8 + 2 * at].copy_from_slice(&count.to_be_bytes());
    }
    bend(step, out, end)
}

fn options(step: &Step, query: &[u8]) -> Vec<u8> {
    let mut options = Vec::new();
    let ours = option_of(query, 10).map(|cookie| cookie[..8].to_vec()).unwrap_or_default();
    let theirs = step.value("cookie").map(hex).or_else(|| step.has("cookie").then(|| SERVER_COOKIE.to_vec()));
    if let Some(theirs) = theirs.filter(|_| !ours.is_empty()) {
        options.extend(option(10, &[ours, theirs].concat()));
    } else if step.has("foreign-cookie") {
        options.extend(option(10, b"NOTYOURSSERVERCO"));
    } else if step.has("short-cookie") {
        options.extend(option(10, &ours[..ours.len().min(5)]));
    }
    if let Some(error) = step.value("ede") {
        let (code, text) = error.split_once(':').unwrap_or((error, ""));
        options.extend(option(15, &[&code.parse::<u16>().unwrap().to_be_bytes()[..], text.as_bytes()].concat()));
    }
    if step.has("bad-opt") {
        options.extend([0, 15, 0, 99, 0]);
    }
    options
}

/// Makes a response wrong.
fn bend(step: &Step, mut out: Vec<u8>, end: usize) -> Vec<u8> {
    if step.has("wrong-id") {
        out[0] ^= 0x55;
    }
    if step.has("wrong-name") {
        out[13] = if out[13] == b'z' { b'y' } else { b'z' };
    }
    if step.has("wrong-case") {
        out[12..end - 4].iter_mut().filter(|octet| octet.is_ascii_alphabetic()).for_each(|octet| *octet ^= 0x20);
    }
    if step.has("wrong-type") {
        out[end - 3] ^= 0x40;
    }
    if step.has("wrong-class") {
        out[end - 1] = 3;
    }
    if step.has("no-question") {
        out[5] = 0;
        out.drain(12..end);
    }
    if step.has("two-questions") {
        out[5] = 2;
        let question = out[12..end].to_vec();
        out.splice(end..end, question);
    }
    if step.has("counts") {
        out[6..8].copy_from_slice(&[0xff, 0xff]);
    }
    if step.has("header") {
        out.truncate(12);
        out[4..12].fill(0);
    }
    if let Some(octets) = step.value("cut") {
        out.truncate(out.len() - octets.parse::<usize>().unwrap());
    }
    if let Some(octets) = step.value("extra") {
        out.extend(vec![0; octets.parse().unwrap()]);
    }
    if step.has("garbage") {
        out = b"this is no DNS message at all".to_vec();
    }
    if step.has("empty") {
        out.clear();
    }
    out
}
