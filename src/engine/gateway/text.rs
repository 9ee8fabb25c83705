//! A table in the words of `nft`: what `gateway plan` prints, and what `nft` is given.

use super::plan::LOGGED_SHARE;
use super::table::{Element, Family, Hook, Key, Part, Protocol, Set, SetKind, Table, Then};
use std::fmt::{self, Write as _};

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table inet {} {{", self.name)?;
        for counter in &self.counters {
            writeln!(f, "\tcounter {counter} {{\n\t}}\n")?;
        }
        for (name, set) in &self.sets {
            write_set(f, name, set)?;
        }
        for chain in &self.chains {
            writeln!(f, "\tchain {} {{", chain.name)?;
            if let Some((hook, priority)) = chain.hook {
                let (kind, hook) = match hook {
                    Hook::Redirect => ("nat", "prerouting"),
                    Hook::Forward => ("filter", "forward"),
                    Hook::Output => ("filter", "output"),
                };
                writeln!(f, "\t\ttype {kind} hook {hook} priority {priority}; policy accept;")?;
            }
            for rule in &chain.rules {
                let mut words = String::new();
                for part in rule {
                    write!(words, " {part}")?;
                }
                writeln!(f, "\t\t{}", words.trim_start())?;
            }
            writeln!(f, "\t}}\n")?;
        }
        writeln!(f, "}}")
    }
}

fn write_set(f: &mut fmt::Formatter<'_>, name: &str, set: &Set) -> fmt::Result {
    let key = match set.key {
        Key::Address(Family::V4) => "ipv4_addr",
        Key::Address(Family::V6) => "ipv6_addr",
        Key::Interface => "ifname",
        Key::Port => "inet_service",
    };
    let (word, to) = if set.kind == SetKind::Chains { ("map", " : verdict") } else { ("set", "") };
    writeln!(f, "\t{word} {name} {{\n\t\ttype {key}{to}")?;
    match set.kind {
        SetKind::Plain => {}
        SetKind::Ranges | SetKind::Chains => writeln!(f, "\t\tflags interval")?,
        SetKind::Timed => writeln!(f, "\t\tflags timeout")?,
        SetKind::Logged { timeout_s, size } => {
            writeln!(f, "\t\tsize {size}\n\t\tflags dynamic,timeout\n\t\ttimeout {timeout_s}s")?;
        }
    }
    if !set.elements.is_empty() {
        writeln!(f, "\t\telements = {{")?;
        for (element, chain) in &set.elements {
            match chain {
                Some(chain) => writeln!(f, "\t\t\t{element} : goto {chain},")?,
                None => writeln!(f, "\t\t\t{element},")?,
            }
        }
        writeln!(f, "\t\t}}")?;
    }
    writeln!(f, "\t}}\n")
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(range) => write!(f, "{range}"),
            Self::Interface(name) => write!(f, "{name:?}"),
            Self::Port(port) => write!(f, "{port}"),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

const fn ip(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |net: &ipnet::IpNet| ip(Family::of(net.addr()));
        match self {
            Self::CameOver(set) => write!(f, "iifname @{set}"),
            Self::NotOver(set) => write!(f, "iifname != @{set}"),
            Self::From(family, set) => write!(f, "{} saddr @{set}", ip(*family)),
            Self::NotFrom(family, set) => write!(f, "{} saddr != @{set}", ip(*family)),
            Self::FromNet(net) => write!(f, "{} saddr {net}", of(net)),
            Self::To(family, set) => write!(f, "{} daddr @{set}", ip(*family)),
            Self::ToBlock(Family::V4, set) => write!(f, "ip daddr & 255.255.0.0 @{set}"),
            Self::ToBlock(Family::V6, set) => write!(f, "ip6 daddr & ffff:ffff:: @{set}"),
            Self::ToNet(net) => write!(f, "{} daddr {net}", of(net)),
            Self::Established => f.write_str("ct state established,related"),
            Self::Is(Protocol::Tcp) => f.write_str("meta l4proto tcp"),
            Self::Is(Protocol::Udp) => f.write_str("meta l4proto udp"),
            Self::ToPortOf(set) => write!(f, "th dport @{set}"),
            Self::ToPort(port) => write!(f, "th dport {port}"),
            Self::ConnMark(mask, value) => write!(f, "ct mark & {mask:#010x} == {value:#010x}"),
            Self::Mark(mask, value) => write!(f, "meta mark & {mask:#010x} == {value:#010x}"),
            Self::Bare(Family::V4, words) => write!(f, "ip length {} tcp doff {words}", (5 + words) * 4),
            Self::Bare(Family::V6, words) => write!(f, "ip6 length {} tcp doff {words}", words * 4),
            Self::IsReset => f.write_str("tcp flags & rst == rst"),
            Self::SetConnMark(mask, value) => write!(f, "ct mark set ct mark & {:#010x} ^ {value:#010x}", !mask),
            Self::ClearMark(mask) => write!(f, "meta mark set meta mark & {:#010x}", !mask),
            Self::Count(counter) => write!(f, "counter name {counter:?}"),
            Self::Share(family, set) => {
                let (rate, burst) = LOGGED_SHARE;
                write!(f, "update @{set} {{ {} saddr limit rate {rate}/second burst {burst} packets }}", ip(*family))
            }
            Self::Log(word, group) => write!(f, "log prefix {word:?} group {group}"),
            Self::Then(then) => write!(f, "{then}"),
        }
    }
}

impl fmt::Display for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChainOf(family, map) => write!(f, "{} daddr vmap @{map}", ip(*family)),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Return => f.write_str("return"),
            Self::Drop => f.write_str("drop"),
            Self::Reset => f.write_str("reject with tcp reset"),
            Self::Prohibited => f.write_str("reject with icmpx admin-prohibited"),
            Self::Redirect(port) => write!(f, "redirect to :{port}"),
            Self::Queue(first, 1) => write!(f, "queue flags bypass to {first}"),
            Self::Queue(first, count) => write!(f, "queue flags bypass to {first}-{}", first + count - 1),
        }
    }
}
