//! The two tables that are wanted.
//!
//! `interdict-hold` stops, counts and logs what goes to listed addresses. It needs nobody: it goes on when we are dead, and no
//! other program can change it where the kernel lets us own it. `interdict` has what needs us alive: the redirect of DNS, which
//! lapses by itself, and encrypted DNS on its own port.

use super::inspect::{self, Entrance};
use super::listed::{Kind, Listed};
use super::near;
use super::settings::{Clients, Encrypted, GatewaySettings, Handling, Redirect, Watching};
use super::sighted;
use super::table::{Chain, Element, Elements, Family, Hook, Key, Part, Protocol, Range, Rule, SetKind, Table, Then};
use crate::base::model::Decision;
use crate::policy::{Exception, Policy};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// The table that holds without us.
pub const HOLD: &str = "interdict-hold";
/// The table that holds in its place while it is made anew.
pub const BRIDGE: &str = "interdict-bridge";
/// The table of everything else.
pub const MAIN: &str = "interdict";
/// The map of listed IPv4 addresses.
pub const LISTED_V4: &str = "listed4";
/// The map of listed IPv6 addresses.
pub const LISTED_V6: &str = "listed6";
/// Counts packets whose source had no room in the table of those that are logged: nobody will be named for them.
pub const UNLOGGED: &str = "unlogged";
/// The set with port 53, as long as we answer.
pub const ANSWERING: &str = "answering";

/// The set with the ports of TCP whose connections are looked at, as long as we do.
pub const INSPECT_TCP: &str = "inspect-tcp";
/// The same for UDP.
pub const INSPECT_UDP: &str = "inspect-udp";

/// The sets of learned addresses that pass and are recorded, for IPv4 and IPv6.
pub const LEARNED_OBSERVED: [&str; 2] = ["learned4", "learned6"];
/// The same for those that are refused.
pub const LEARNED_REFUSED: [&str; 2] = ["learned-refused4", "learned-refused6"];

/// Packets a second of one source that are logged for each vendor and purpose, and how many at once.
pub const LOGGED_SHARE: (u64, u32) = (10, 20);

/// Interfaces that lead outside.
const OUTSIDE: &str = "outside";
/// Before filters of others, so that what they accept is not accepted for us.
const FILTER_PRIORITY: i32 = -10;
/// After listed addresses, which need nobody.
const MAIN_PRIORITY: i32 = -9;
/// Before others' redirects.
const REDIRECT_PRIORITY: i32 = -110;
/// Seconds after which a source that was logged counts as new: its next packet is logged whatever its share.
const LOGGED_TIMEOUT_S: u32 = 600;
/// Sources for each kind and family.
const LOGGED_MAX: u32 = 65_536;
/// Exceptions for some clients that become rules; a longer list would be walked for every packet to a listed address.
const EXCEPTIONS_MAX: usize = 1_000;
/// DNS.
const DNS: u16 = 53;
/// DNS over TLS and over QUIC (RFC 7858, RFC 9250).
pub(super) const DOT: u16 = 853;
/// The word of packets of encrypted DNS that are refused.
pub(super) const DOT_REFUSED: &str = "interdict dot refused";
/// This machine, to itself.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];
/// Private and link-local space.
const PRIVATE: [&str; 6] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"];

/// What this machine's interfaces are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Those that a default route leads over.
    pub outside: BTreeSet<String>,
    /// The networks on the others, which reach us without a router.
    pub inside: Vec<IpNet>,
    /// Our addresses.
    pub own: Vec<IpAddr>,
}

/// The tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// [`HOLD`].
    pub hold: Table,
    /// [`MAIN`].
    pub main: Table,
    /// What lapses in [`MAIN`] unless it is renewed: ports by set.
    pub renewed: BTreeMap<&'static str, BTreeSet<u16>>,
}

/// Says what the kernel should have.
#[must_use]
pub fn plan(listed: &Listed, policy: &Policy, settings: &GatewaySettings, interfaces: &Interfaces) -> Wanted {
    let mut renewed = BTreeMap::new();
    if settings.redirect.is_some() {
        renewed.insert(ANSWERING, BTreeSet::from([DNS]));
    }
    if let Some(inspection) = &settings.inspect {
        renewed.insert(INSPECT_TCP, inspection.tcp.clone());
        renewed.insert(INSPECT_UDP, inspection.udp.clone());
    }
    Wanted { hold: hold(listed, policy, settings, interfaces), main: main(settings, interfaces, policy), renewed }
}

impl GatewaySettings {
    /// The networks of the clients, as far as they are known.
    #[must_use]
    pub fn client_networks(&self, interfaces: &Interfaces) -> Vec<IpNet> {
        match &self.clients {
            Clients::Networks(nets) => nets.clone(),
            Clients::Private => private().chain(interfaces.inside.iter().copied()).collect(),
        }
    }
}

/// Private and link-local networks.
fn private() -> impl Iterator<Item = IpNet> {
    PRIVATE.iter().filter_map(|net| net.parse().ok())
}

//----------- Hold -----------------------------------------------------------

fn hold(listed: &Listed, policy: &Policy, settings: &GatewaySettings, interfaces: &Interfaces) -> Table {
    let mut table = Table { name: HOLD, ..Table::default() };
    let who = Who::new(&mut table, settings, interfaces);
    table.counters.insert(UNLOGGED.into());
    for kind in &listed.kinds {
        add_kind(&mut table, kind, settings);
    }
    let mut jumps = Vec::new();
    for family in Family::BOTH {
        let name = if family == Family::V4 { LISTED_V4 } else { LISTED_V6 };
        let element = |(range, kind): &(Range, Arc<Kind>)| (Element::Range(*range), Some(Arc::from(kind.to_string())));
        let elements = listed.of_family(family).map(element).collect();
        let map = table.set(name, Key::Address(family), SetKind::Chains, elements);
        let mut rules: Vec<Rule> = spared(policy, family).take(EXCEPTIONS_MAX).collect();
        rules.push(vec![Part::Then(Then::ChainOf(family, Arc::clone(&map)))]);
        table.chains.push(Chain { name: Arc::clone(&map), hook: None, rules });
        let blocks = near::blocks(listed, family).map(|blocks| {
            let name = format!("near{}", family.digit());
            table.set(&name, Key::Address(family), SetKind::Plain, blocks)
        });
        let near = blocks.map(|blocks| Part::ToBlock(family, blocks));
        jumps.push((family, near, Part::Then(Then::Jump(map))));
    }
    // First the question that nearly every packet answers with no.
    let of_clients = |(family, near, jump): &(Family, Option<Part>, Part)| -> Rule {
        near.iter().cloned().chain(who.inside()).chain([who.from(*family), jump.clone()]).collect()
    };
    let rules = jumps.iter().map(of_clients).collect();
    table.chains.push(Chain { name: "forward".into(), hook: Some((Hook::Forward, FILTER_PRIORITY)), rules });
    if settings.local {
        let rules = jumps.into_iter().map(|(_, near, jump)| near.into_iter().chain([jump]).collect()).collect();
        table.chains.push(Chain { name: "output".into(), hook: Some((Hook::Output, FILTER_PRIORITY)), rules });
    }
    table
}

/// Counter, tables of who is logged, and chain of a kind.
fn add_kind(table: &mut Table, kind: &Kind, settings: &GatewaySettings) {
    let name: Arc<str> = kind.to_string().into();
    let word = if kind.decision == Decision::Block { "interdict block" } else { "interdict observe" };
    let mut rules = if kind.decision == Decision::Observe { first_only() } else { Vec::new() };
    rules.extend(logged(table, &name, word, settings.log_group));
    if kind.decision == Decision::Block {
        match settings.handling_of(&kind.vendor) {
            Handling::Drop => rules.push(vec![Part::Then(Then::Drop)]),
            Handling::Reject => rules.extend(refusal()),
        }
    }
    table.chains.push(Chain { name, hook: None, rules });
}

/// What passes is an attempt once a connection, not once a packet.
fn first_only() -> Vec<Rule> {
    vec![vec![Part::Established, Part::Then(Then::Return)]]
}

/// A reset for TCP, an ICMP error for everything else.
pub(super) fn refusal() -> [Rule; 2] {
    [vec![Part::Is(Protocol::Tcp), Part::Then(Then::Reset)], vec![Part::Then(Then::Prohibited)]]
}

/// Counts everything, and logs each source within its share, its first packet always.
pub(super) fn logged(table: &mut Table, name: &Arc<str>, word: &'static str, group: u16) -> Vec<Rule> {
    table.counters.insert(Arc::clone(name));
    let mut rules = vec![vec![Part::Count(Arc::clone(name))]];
    let sources = Family::BOTH.map(|family| {
        let kind = SetKind::Logged { timeout_s: LOGGED_TIMEOUT_S, size: LOGGED_MAX };
        let set = table.set(&format!("{name}/{}", family.digit()), Key::Address(family), kind, Elements::new());
        (family, set)
    });
    for (family, set) in &sources {
        rules.push(vec![Part::Share(*family, Arc::clone(set)), Part::Log(word, group)]);
    }
    for (family, set) in sources {
        rules.push(vec![Part::NotFrom(family, set), Part::Count(UNLOGGED.into())]);
    }
    rules
}

/// Exceptions in force for some clients; those for all are cut out of the ranges already, and the kernel knows no groups.
fn spared(policy: &Policy, family: Family) -> impl Iterator<Item = Rule> + '_ {
    let is_of = move |net: &IpNet| Family::of(net.addr()) == family;
    let in_force =
        |exception: &&Exception| exception.groups.is_empty() && exception.until.is_none_or(|until| until > policy.at());
    let exceptions = policy.settings().exceptions.iter().filter(in_force);
    exceptions.filter_map(|exception| Some((exception.net?, &exception.clients))).flat_map(move |(net, clients)| {
        let clients = clients.iter().copied().filter(move |client| is_of(&net) && is_of(client));
        clients.map(move |client| vec![Part::FromNet(client), Part::ToNet(net), Part::Then(Then::Return)])
    })
}

//----------- Main -----------------------------------------------------------

fn main(settings: &GatewaySettings, interfaces: &Interfaces, policy: &Policy) -> Table {
    let mut table = Table { name: MAIN, ..Table::default() };
    let watched = settings.dot != Encrypted::Off || settings.learned != Watching::Off;
    let is_forwarding = watched || settings.inspect.is_some();
    if settings.redirect.is_none() && !is_forwarding {
        return table;
    }
    let who = Who::new(&mut table, settings, interfaces);
    if let Some(redirect) = &settings.redirect {
        add_redirect(&mut table, redirect, settings, &who, interfaces);
    }
    let inspect = settings.inspect.as_ref();
    let inspect =
        inspect.map(|inspection| inspect::add(&mut table, inspection, &who, (policy.epoch(), settings.local)));
    let Entrance { first, last, local } = inspect.unwrap_or_default();
    let learned = learned(&mut table, settings);
    if settings.local {
        add_output(&mut table, interfaces, (&first, &learned, &local));
    }
    let is_of_sighted = settings.dot == Encrypted::RefuseSighted;
    let mut rules = if is_of_sighted { sighted::add(&mut table, policy, settings.log_group) } else { Vec::new() };
    rules.extend(first);
    rules.extend(who.not_outside());
    rules.extend(learned.into_iter().map(|(family, rule)| [vec![who.from(family)], rule].concat()));
    if settings.dot != Encrypted::Off {
        rules.extend(dot(&mut table, settings, &who));
    }
    rules.extend(last);
    if is_forwarding {
        table.chains.push(Chain { name: "forward".into(), hook: Some((Hook::Forward, MAIN_PRIORITY)), rules });
    }
    table
}

/// The chain for encrypted DNS, and the rules that lead there.
fn dot(table: &mut Table, settings: &GatewaySettings, who: &Who) -> Vec<Rule> {
    let name: Arc<str> = "dot".into();
    let refuses = settings.dot == Encrypted::Refuse;
    let word = if refuses { DOT_REFUSED } else { "interdict dot observed" };
    table.counters.insert(UNLOGGED.into());
    let mut rules = if refuses { Vec::new() } else { first_only() };
    rules.extend(logged(table, &name, word, settings.log_group));
    if refuses {
        rules.extend(refusal());
    }
    table.chains.push(Chain { name: Arc::clone(&name), hook: None, rules });
    let to = |family| vec![who.from(family), Part::ToPort(DOT), Part::Then(Then::Jump(Arc::clone(&name)))];
    Family::BOTH.map(to).to_vec()
}

/// The chain where this machine's own packets enter: by learned addresses and by names. What it sends itself is left alone.
fn add_output(
    table: &mut Table,
    interfaces: &Interfaces,
    (first, learned, local): (&[Rule], &[(Family, Rule)], &[Rule]),
) {
    if learned.is_empty() && local.is_empty() {
        return;
    }
    let loopback = LOOPBACK.iter().filter_map(|net| net.parse().ok());
    let own: Vec<IpNet> = interfaces.own.iter().copied().map(IpNet::from).chain(loopback).collect();
    // Resets that end a connection at its server are ours.
    let mut rules = vec![vec![Part::IsReset, Part::Then(Then::Return)]];
    for family in Family::BOTH {
        let name = format!("own{}", family.digit());
        let own = table.set(&name, Key::Address(family), SetKind::Ranges, ranges(&own, family));
        rules.push(vec![Part::To(family, own), Part::Then(Then::Return)]);
    }
    rules.extend(first.iter().cloned());
    rules.extend(learned.iter().map(|(_, rule)| rule.clone()));
    rules.extend(local.iter().cloned());
    table.chains.push(Chain { name: "output".into(), hook: Some((Hook::Output, MAIN_PRIORITY)), rules });
}

/// The sets of learned addresses and their chains, and the rules that lead there. Only who learns says what is in the sets.
fn learned(table: &mut Table, settings: &GatewaySettings) -> Vec<(Family, Rule)> {
    let mut rules = Vec::new();
    let kinds = [
        (LEARNED_REFUSED, "learned/block", "interdict learned refused", settings.learned == Watching::Refuse),
        (LEARNED_OBSERVED, "learned/observe", "interdict learned observed", settings.learned != Watching::Off),
    ];
    for (sets, name, word, _) in kinds.into_iter().filter(|(.., is_wanted)| *is_wanted) {
        let name: Arc<str> = name.into();
        table.counters.insert(UNLOGGED.into());
        let refuses = sets == LEARNED_REFUSED;
        let mut chain = if refuses { Vec::new() } else { first_only() };
        chain.extend(logged(table, &name, word, settings.log_group));
        chain.extend(refuses.then(refusal).into_iter().flatten());
        table.chains.push(Chain { name: Arc::clone(&name), hook: None, rules: chain });
        for (family, set) in Family::BOTH.into_iter().zip(sets) {
            let set = table.set(set, Key::Address(family), SetKind::Timed, Elements::new());
            rules.push((family, vec![Part::To(family, set), Part::Then(Then::Jump(Arc::clone(&name)))]));
        }
    }
    rules
}

fn add_redirect(
    table: &mut Table,
    redirect: &Redirect,
    settings: &GatewaySettings,
    who: &Who,
    interfaces: &Interfaces,
) {
    let answering = table.set(ANSWERING, Key::Port, SetKind::Timed, Elements::new());
    let own = interfaces.own.iter().copied().map(IpNet::from);
    let internal: Vec<IpNet> = redirect.internal.iter().chain(&interfaces.inside).copied().chain(own).collect();
    let (mut rules, counter) = (who.not_outside(), Arc::<str>::from("dns"));
    table.counters.insert(Arc::clone(&counter));
    for family in Family::BOTH {
        let of = |name: &str| format!("{name}{}", family.digit());
        let servers =
            table.set(&of("servers"), Key::Address(family), SetKind::Ranges, ranges(&redirect.servers, family));
        let internal = table.set(&of("internal"), Key::Address(family), SetKind::Ranges, ranges(&internal, family));
        rules.push(vec![Part::From(family, servers), Part::Then(Then::Return)]);
        rules.push(vec![Part::To(family, internal), Part::Then(Then::Return)]);
        for protocol in [Protocol::Udp, Protocol::Tcp] {
            rules.push(vec![
                who.from(family),
                Part::Is(protocol),
                Part::ToPortOf(Arc::clone(&answering)),
                Part::Count(Arc::clone(&counter)),
                Part::Log("interdict dns", settings.log_group),
                Part::Then(Then::Redirect(redirect.port)),
            ]);
        }
    }
    table.chains.push(Chain { name: "prerouting".into(), hook: Some((Hook::Redirect, REDIRECT_PRIORITY)), rules });
}

//----------- Who ------------------------------------------------------------

/// The sets that say whose traffic is meant.
pub(super) struct Who {
    outside: Option<Arc<str>>,
    clients: [Arc<str>; 2],
}

impl Who {
    fn new(table: &mut Table, settings: &GatewaySettings, interfaces: &Interfaces) -> Self {
        let nets = settings.client_networks(interfaces);
        let outside = (settings.clients == Clients::Private).then(|| {
            let elements = interfaces.outside.iter().map(|name| (Element::Interface(name.clone()), None)).collect();
            table.set(OUTSIDE, Key::Interface, SetKind::Plain, elements)
        });
        let clients = Family::BOTH.map(|family| {
            let name = format!("clients{}", family.digit());
            table.set(&name, Key::Address(family), SetKind::Ranges, ranges(&nets, family))
        });
        Self { outside, clients }
    }

    /// What comes from outside is nobody's.
    fn not_outside(&self) -> Vec<Rule> {
        let rule = |set: &Arc<str>| vec![Part::CameOver(Arc::clone(set)), Part::Then(Then::Return)];
        self.outside.iter().map(rule).collect()
    }

    /// It did not come from outside.
    fn inside(&self) -> Option<Part> {
        self.outside.clone().map(Part::NotOver)
    }

    /// Its source is a client's.
    pub(super) fn from(&self, family: Family) -> Part {
        let [v4, v6] = &self.clients;
        Part::From(family, Arc::clone(if family == Family::V4 { v4 } else { v6 }))
    }
}

/// Networks of a family as disjoint ranges.
fn ranges(nets: &[IpNet], family: Family) -> Elements {
    let of_family: Vec<IpNet> = nets.iter().filter(|net| Family::of(net.addr()) == family).copied().collect();
    let mut joined: Vec<Range> = Vec::new();
    for range in IpNet::aggregate(&of_family).into_iter().map(Range::of) {
        match joined.last_mut() {
            Some(before) if before.next() == Some(range.first) => before.last = range.last,
            _ => joined.push(range),
        }
    }
    joined.into_iter().map(|range| (Element::Range(range), None)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Inspection;
    use super::super::listed::tests::policy;
    use super::*;
    use crate::base::model::Stage;

    fn settings() -> GatewaySettings {
        GatewaySettings {
            clients: Clients::Private,
            local: false,
            handling: Handling::Reject,
            otherwise: BTreeSet::new(),
            observe: true,
            log_group: 7,
            redirect: None,
            dot: Encrypted::Off,
            learned: Watching::Off,
            inspect: None,
        }
    }

    fn planned(settings: &GatewaySettings, exceptions: Vec<Exception>) -> Wanted {
        let lists = [("b", Stage::Block, "192.0.2.0/24"), ("o", Stage::Observe, "198.51.100.7")];
        let policy = policy(&lists, exceptions);
        let interfaces = Interfaces {
            outside: ["eth0".to_owned()].into(),
            inside: vec!["100.64.1.0/24".parse().unwrap()],
            own: vec!["203.0.113.1".parse().unwrap()],
        };
        let listed = Listed::of(&policy, settings.observe).unwrap();
        plan(&listed, &policy, settings, &interfaces)
    }

    /// The rules of a chain in words; empty where there is no such chain.
    fn rules(table: &Table, chain: &str) -> Vec<String> {
        let chain = table.chains.iter().find(|one| &*one.name == chain);
        let words = |rule: &Rule| rule.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        chain.into_iter().flat_map(|chain| &chain.rules).map(words).collect()
    }

    fn elements(table: &Table, set: &str) -> Vec<String> {
        table.sets[set].elements.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn what_clients_send_inside_is_looked_up_and_nothing_else() {
        let hold = planned(&settings(), Vec::new()).hold;
        let forward = [
            "ip daddr & 255.255.0.0 @near4 iifname != @outside ip saddr @clients4 jump listed4",
            "ip6 daddr & ffff:ffff:: @near6 iifname != @outside ip6 saddr @clients6 jump listed6",
        ];
        assert_eq!(rules(&hold, "forward"), forward);
        assert_eq!(elements(&hold, "near4"), ["192.0.0.0", "198.51.0.0"]);
        assert_eq!(elements(&hold, "outside"), ["\"eth0\""]);
        let clients = ["10.0.0.0-10.255.255.255", "100.64.1.0-100.64.1.255", "169.254.0.0-169.254.255.255"];
        assert_eq!(elements(&hold, "clients4")[..3], clients);
        assert!(rules(&hold, "output").is_empty());
        let local = planned(&GatewaySettings { local: true, ..settings() }, Vec::new()).hold;
        assert_eq!(
            rules(&local, "output"),
            ["ip daddr & 255.255.0.0 @near4 jump listed4", "ip6 daddr & ffff:ffff:: @near6 jump listed6"]
        );
    }

    #[test]
    fn named_clients_are_meant_wherever_they_come_in() {
        let clients = Clients::Networks(vec!["203.0.113.0/25".parse().unwrap(), "203.0.113.128/25".parse().unwrap()]);
        let hold = planned(&GatewaySettings { clients, ..settings() }, Vec::new()).hold;
        assert_eq!(rules(&hold, "forward").len(), 2);
        assert_eq!(elements(&hold, "clients4"), ["203.0.113.0-203.0.113.255"]);
        assert_eq!(elements(&hold, "clients6"), [""; 0]);
    }

    #[test]
    fn what_is_blocked_is_counted_logged_and_refused_and_what_is_observed_passes() {
        let hold = planned(&settings(), Vec::new()).hold;
        let blocked = rules(&hold, "block/b/unknown");
        let share = "limit rate 10/second burst 20 packets } log prefix \"interdict block\" group 7";
        assert_eq!(blocked[0], "counter name \"block/b/unknown\"");
        assert_eq!(blocked[1], format!("update @block/b/unknown/4 {{ ip saddr {share}"));
        assert_eq!(blocked[2], format!("update @block/b/unknown/6 {{ ip6 saddr {share}"));
        assert_eq!(blocked[3], "ip saddr != @block/b/unknown/4 counter name \"unlogged\"");
        assert_eq!(blocked[5..], ["meta l4proto tcp reject with tcp reset", "reject with icmpx admin-prohibited"]);
        let otherwise = ["b".to_owned()].into();
        let dropped = planned(&GatewaySettings { otherwise, ..settings() }, Vec::new()).hold;
        assert_eq!(rules(&dropped, "block/b/unknown")[5..], ["drop"]);
        let observed = rules(&hold, "observe/o/unknown");
        assert_eq!(observed[0], "ct state established,related return");
        assert!(observed.iter().all(|rule| !rule.contains("reject") && !rule.contains("drop")), "{observed:?}");
        let blind = planned(&GatewaySettings { observe: false, ..settings() }, Vec::new()).hold;
        assert!(rules(&blind, "observe/o/unknown").is_empty());
    }

    #[test]
    fn first_packets_of_clients_are_looked_at_and_what_was_judged_is_not() {
        let inspection = Inspection {
            tcp: [80, 443].into(),
            udp: [443].into(),
            queue: 50,
            queues: 2,
            mask: super::super::Mask::new(0xff00_0000).unwrap(),
        };
        let Wanted { main, renewed, .. } =
            planned(&GatewaySettings { inspect: Some(inspection), ..settings() }, Vec::new());
        let forward = rules(&main, "forward");
        // Of the epoch 1: passed and refused.
        assert_eq!(forward[0], "ct mark & 0xff000000 == 0x09000000 return");
        assert_eq!(forward[1], "ct mark & 0xff000000 == 0x0a000000 jump refused");
        assert_eq!(forward[2], "iifname @outside return");
        assert_eq!(forward[3], "ip saddr @clients4 meta l4proto tcp th dport @inspect-tcp jump inspect");
        assert_eq!(forward[4], "ip saddr @clients4 meta l4proto udp th dport @inspect-udp jump inspect");
        let inspect = rules(&main, "inspect");
        assert_eq!(inspect[0], "ct mark & 0xff000000 == 0x00000000 ip length 40 tcp doff 5 return");
        assert_eq!(inspect.last().unwrap(), "queue flags bypass to 50-51");
        let verdicts = rules(&main, "verdicts");
        let passed = "meta mark & 0xff000000 == 0x09000000 ct mark set ct mark & 0x00ffffff ^ 0x09000000 \
             meta mark set meta mark & 0x00ffffff return";
        assert_eq!(verdicts[0], "meta mark & 0xff000000 == 0x00000000 return");
        assert_eq!(verdicts[1], passed);
        assert_eq!(verdicts[2], "meta mark & 0xff000000 == 0x05000000 meta mark set meta mark & 0x00ffffff return");
        assert_eq!(
            verdicts[4],
            "meta mark & 0xff000000 == 0x06000000 meta mark set meta mark & 0x00ffffff jump refused"
        );
        assert_eq!(rules(&main, "refused")[1], "tcp flags & rst == rst drop");
        assert_eq!(renewed[INSPECT_TCP], [80, 443].into());
        assert!(main.sets[INSPECT_TCP].elements.is_empty(), "only who looks may say so");
    }

    #[test]
    fn learned_addresses_pass_and_are_refused_only_where_that_is_wanted() {
        let of = |learned| planned(&GatewaySettings { learned, ..settings() }, Vec::new()).main;
        let main = of(Watching::Observe);
        let observed = [
            "ip saddr @clients4 ip daddr @learned4 jump learned/observe",
            "ip6 saddr @clients6 ip6 daddr @learned6 jump learned/observe",
        ];
        assert_eq!(rules(&main, "forward")[1..], observed);
        let chain = rules(&main, "learned/observe");
        assert_eq!(chain[..2], ["ct state established,related return", "counter name \"learned/observe\""]);
        assert!(chain.iter().all(|rule| !rule.contains("reject")), "{chain:?}");
        assert!(!main.sets.contains_key(LEARNED_REFUSED[0]));
        let main = of(Watching::Refuse);
        let refused = "ip saddr @clients4 ip daddr @learned-refused4 jump learned/block";
        assert_eq!(
            (rules(&main, "forward")[1].as_str(), &rules(&main, "forward")[3..]),
            (refused, &observed.map(str::to_owned)[..])
        );
        let chain = rules(&main, "learned/block");
        assert_eq!(
            chain[chain.len() - 2..],
            ["meta l4proto tcp reject with tcp reset", "reject with icmpx admin-prohibited"]
        );
        assert!(main.sets[LEARNED_REFUSED[1]].elements.is_empty(), "only who learns may say so");
    }

    #[test]
    fn what_this_machine_sends_itself_is_looked_at_where_that_is_wanted() {
        let inspection = Inspection {
            tcp: [443].into(),
            udp: [443].into(),
            queue: 50,
            queues: 1,
            mask: super::super::Mask::new(0xff00_0000).unwrap(),
        };
        let of = |local| {
            let settings = GatewaySettings { local, inspect: Some(inspection.clone()), ..settings() };
            planned(&GatewaySettings { learned: Watching::Observe, ..settings }, Vec::new()).main
        };
        let main = of(true);
        let output = rules(&main, "output");
        assert_eq!(output[..3], ["tcp flags & rst == rst return", "ip daddr @own4 return", "ip6 daddr @own6 return"]);
        assert_eq!(output[3], "ct mark & 0xff000000 == 0x09000000 return");
        assert_eq!(output[5], "ip daddr @learned4 jump learned/observe");
        assert_eq!(output[7], "meta l4proto tcp th dport @inspect-tcp jump inspect");
        assert_eq!(elements(&main, "own4"), ["127.0.0.0-127.255.255.255", "203.0.113.1"]);
        assert_eq!(rules(&main, "verdicts-output"), rules(&main, "verdicts"));
        let main = of(false);
        assert!(rules(&main, "output").is_empty() && rules(&main, "verdicts-output").is_empty());
    }

    #[test]
    fn exceptions_for_some_clients_come_before_the_look_up() {
        let exception = Exception {
            name: None,
            net: Some("192.0.2.9/32".parse().unwrap()),
            clients: vec!["10.1.0.0/16".parse().unwrap(), "fd00::/8".parse().unwrap()],
            groups: Vec::new(),
            reason: "r".into(),
            approver: "a".into(),
            until: None,
        };
        let over = Exception { until: Some("1969-01-01T00:00:00Z".parse().unwrap()), ..exception.clone() };
        let of_a_group = Exception { groups: vec!["guests".into()], ..exception.clone() };
        let hold = planned(&settings(), vec![over, of_a_group, exception]).hold;
        let rows = ["ip saddr 10.1.0.0/16 ip daddr 192.0.2.9/32 return", "ip daddr vmap @listed4"];
        assert_eq!(rules(&hold, "listed4"), rows);
    }

    #[test]
    fn dns_is_redirected_while_we_answer_and_never_from_servers_or_to_resolvers_inside() {
        let redirect = Redirect {
            port: 5301,
            internal: vec!["10.0.0.0/8".parse().unwrap()],
            servers: vec!["10.0.0.53/32".parse().unwrap()],
        };
        let main = planned(&GatewaySettings { redirect: Some(redirect), ..settings() }, Vec::new()).main;
        let rows = rules(&main, "prerouting");
        assert_eq!(rows[..3], ["iifname @outside return", "ip saddr @servers4 return", "ip daddr @internal4 return"]);
        let led = "th dport @answering counter name \"dns\" log prefix \"interdict dns\" group 7 redirect to :5301";
        assert_eq!(rows[3], format!("ip saddr @clients4 meta l4proto udp {led}"));
        assert_eq!(rows[4], format!("ip saddr @clients4 meta l4proto tcp {led}"));
        let internal = ["10.0.0.0-10.255.255.255", "100.64.1.0-100.64.1.255", "203.0.113.1"];
        assert_eq!(elements(&main, "internal4"), internal);
        assert!(main.sets[ANSWERING].elements.is_empty(), "only who answers may say so");
        assert!(planned(&settings(), Vec::new()).main.chains.is_empty());
    }
}
