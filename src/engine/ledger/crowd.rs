//! Who asks for many: a client that asks for more names than one endpoint does is a forwarder, and what it asks says nothing about
//! itself.
//!
//! Names are counted without keeping them: each sets one of a fixed number of bits, and how many are set tells how many there
//! were (linear counting). The caller may give every so-many-th query only; then so much less is counted.

use crate::base::model::Mono;
use crate::base::name::NameRef;
use foldhash::quality::RandomState;
use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::time::Duration;

/// Clients that are counted at once.
pub const CROWD_CLIENTS_MAX: usize = 4_096;
/// How long names are counted before it begins anew.
const WINDOW: Duration = Duration::from_secs(3_600);
/// Bits of a client's count.
const BITS: usize = 1_024;
/// Bits that are set where somebody asks for many: some 300 names. An endpoint asks for hundreds in an hour; of those, every
/// eighth query shows some dozens.
const MANY: u32 = 256;

/// Names that one client asked for since the window began.
#[derive(Clone, Debug)]
struct Count {
    since: Mono,
    bits: [u64; BITS / 64],
    is_told: bool,
}

/// The counts of all clients.
#[derive(Debug, Default)]
pub struct Crowd {
    counts: HashMap<IpAddr, Count, RandomState>,
    hasher: RandomState,
}

impl Crowd {
    /// Counts a name that a client asked for; whether the client has just shown itself to be a forwarder: once a window.
    pub fn add(&mut self, now: Mono, client: IpAddr, name: NameRef<'_>) -> bool {
        let client = client.to_canonical();
        if self.counts.len() >= CROWD_CLIENTS_MAX && !self.counts.contains_key(&client) {
            self.counts.retain(|_, count| now.since(count.since) < WINDOW);
            if self.counts.len() >= CROWD_CLIENTS_MAX {
                // With so many clients at once nobody is told apart until the window ends.
                return false;
            }
        }
        let fresh = Count { since: now, bits: [0; BITS / 64], is_told: false };
        let count = self.counts.entry(client).or_insert_with(|| fresh.clone());
        if now.since(count.since) >= WINDOW {
            *count = fresh;
        }
        let bit = usize::try_from(self.hasher.hash_one(name.as_wire()) % BITS as u64).unwrap_or_default();
        if let Some(word) = count.bits.get_mut(bit / 64) {
            *word |= 1 << (bit % 64);
        }
        let set: u32 = count.bits.iter().map(|word| word.count_ones()).sum();
        set >= MANY && !std::mem::replace(&mut count.is_told, set >= MANY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::name::Name;

    fn at(seconds: u64) -> Mono {
        Mono::from_nanos(seconds * 1_000_000_000)
    }

    /// How often a client is told after so many names, each asked for so often.
    fn told(crowd: &mut Crowd, from: u64, client: &str, names: usize, times: usize) -> usize {
        let ask = |n: usize| format!("host{}.example", n % names).parse::<Name>().unwrap();
        let client = client.parse().unwrap();
        (0..names * times).filter(|&n| crowd.add(at(from), client, ask(n).as_ref())).count()
    }

    #[test]
    fn many_names_make_a_forwarder_and_many_queries_do_not() {
        let mut crowd = Crowd::default();
        assert_eq!(told(&mut crowd, 0, "10.0.0.1", 150, 100), 0, "one endpoint that asks a lot");
        assert_eq!(told(&mut crowd, 0, "10.0.0.2", 1_000, 3), 1, "once");
        assert_eq!(told(&mut crowd, 3_599, "10.0.0.2", 1_000, 1), 0, "once a window");
        assert_eq!(told(&mut crowd, 3_600, "::ffff:10.0.0.2", 1_000, 1), 1, "and in the next one again");
        let slow = (0..20).map(|hour| told(&mut crowd, hour * 3_600, "10.0.0.3", 100, 1)).sum::<usize>();
        assert_eq!(slow, 0, "many names in many hours");
    }

    #[test]
    fn a_full_table_forgets_who_has_gone() {
        let mut crowd = Crowd::default();
        let name: Name = "a.example".parse().unwrap();
        for n in 0..10_000_u32 {
            crowd.add(at(0), IpAddr::V4(n.into()), name.as_ref());
        }
        assert_eq!(crowd.counts.len(), CROWD_CLIENTS_MAX);
        assert_eq!(told(&mut crowd, 10, "192.0.2.1", 1_000, 1), 0);
        assert_eq!(told(&mut crowd, 4_000, "192.0.2.1", 1_000, 1), 1);
        assert_eq!(crowd.counts.len(), 1);
    }
}
