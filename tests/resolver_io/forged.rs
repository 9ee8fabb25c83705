//! Forgers: floods of guesses during a query that is held, probes for its port, fragments, and what is sent before the answer.

use super::*;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Mutex;

/// Where forged answers lead.
const POISON: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 66);
/// How long the server holds back what it says of a victim.
const HELD: Duration = Duration::from_millis(1_500);

/// A port for datagrams and streams.
pub(super) fn both() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
}

/// Where the question of a message ends.
fn question_end(message: &[u8]) -> usize {
    let mut at = 12;
    while message[at] != 0 {
        at += 1 + usize::from(message[at]);
    }
    at + 5
}

/// The response to a query that has one address.
pub(super) fn response(query: &[u8], address: Ipv4Addr) -> Vec<u8> {
    let mut out = query[..question_end(query)].to_vec();
    (out[2], out[3]) = (0x81, 0x80);
    out[4..12].copy_from_slice(&[0, 1, 0, 1, 0, 0, 0, 0]);
    out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4]);
    out.extend(address.octets());
    out
}

/// Answers every query of a stream with the truth, after a while.
fn tell_the_truth(listener: TcpListener, after: Duration) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut len = [0; 2];
                while stream.read_exact(&mut len).is_ok() {
                    let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
                    if stream.read_exact(&mut query).is_err() {
                        return;
                    }
                    let mut stream = stream.try_clone().unwrap();
                    std::thread::spawn(move || {
                        sleep(after);
                        let answer = response(&query, HOME);
                        let len = u16::try_from(answer.len()).unwrap().to_be_bytes();
                        // The question may be over.
                        let _ = stream.write_all(&[&len[..], &answer].concat());
                    });
                }
            });
        }
    });
}

//----------- A flood of guesses ---------------------------------------------

/// A server that holds back what it says of victims, and what a forger knows of it: everything but ids and the case of names.
struct Held {
    address: SocketAddr,
    socket: UdpSocket,
    /// Queries about victims, by name: from where, and how many over UDP.
    victims: Arc<Mutex<BTreeMap<String, (SocketAddr, usize)>>>,
    /// Other queries.
    others: Arc<AtomicU64>,
}

impl Held {
    fn start() -> Self {
        let (udp, tcp) = both();
        let (address, socket) = (udp.local_addr().unwrap(), udp.try_clone().unwrap());
        let (victims, others) = (Arc::<Mutex<BTreeMap<_, _>>>::default(), Arc::<AtomicU64>::default());
        let (seen, counted) = (Arc::clone(&victims), Arc::clone(&others));
        std::thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok((len, from)) = udp.recv_from(&mut buffer) {
                let name = upstream::question_name(&buffer[..len]).to_ascii_lowercase();
                if name.ends_with("victim.example") {
                    seen.lock().unwrap().entry(name).or_insert((from, 0)).1 += 1;
                } else {
                    counted.fetch_add(1, Ordering::Relaxed);
                    udp.send_to(&response(&buffer[..len], HOME), from).unwrap();
                }
            }
        });
        tell_the_truth(tcp, HELD);
        Self { address, socket, victims, others }
    }

    /// Guesses at a rate until so many went out; the port of a query is known at once.
    fn forge(&self, count: usize, each: Duration, victim: &Mutex<String>) {
        let mut random = StdRng::seed_from_u64(tier::seed());
        let begun = Instant::now();
        for number in 0..u32::try_from(count).unwrap() {
            sleep((begun + each * number).saturating_duration_since(Instant::now()));
            let name = victim.lock().unwrap().clone();
            let Some((to, _)) = self.victims.lock().unwrap().get(&name).copied() else { continue };
            let asked: String =
                name.chars().map(|c| if random.random() { c.to_ascii_uppercase() } else { c }).collect();
            let forged = response(&query(random.next_u32() as u16, &asked), POISON);
            // Where nobody listens any more, the next send says so.
            let _ = self.socket.send_to(&forged, to);
        }
    }
}

/// Asks for names that are cached, again and again; gives how long each answer took, in microseconds.
pub(super) fn watch(daemon: &Daemon, names: &[String], until: impl Fn(usize) -> bool) -> Vec<f64> {
    let client = daemon.client();
    let mut times = Vec::new();
    while !until(times.len()) {
        let begun = Instant::now();
        let answer = exchange(&client, &query(times.len() as u16, &names[times.len() % names.len()]));
        times.push(begun.elapsed().as_secs_f64() * 1e6);
        assert_eq!(addresses(&answer), [HOME]);
        sleep(Duration::from_micros(500));
    }
    times
}

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt())
}

/// Five thousand guesses a second at queries whose server and ports are known: none is believed, each query goes over TCP after the
/// first, and a client that watches the cache sees the same hits as before.
#[test]
fn forgeries_by_the_thousand_are_believed_by_nobody() {
    let forgeries = tier::count(5_000, 50_000, 1_000_000);
    let held = Held::start();
    let daemon = Daemon::start("127.0.0.1:0", vec![held.address], Acl::default());
    let names: Vec<String> = (0..100).map(|n| format!("n{n}.cached.example")).collect();
    names.iter().for_each(|name| assert_eq!(addresses(&daemon.ask(name)), [HOME]));
    let before = watch(&daemon, &names, |count| count >= 1_000);
    let victim = Mutex::new(String::new());
    let done = AtomicBool::new(false);
    let (asked, during) = std::thread::scope(|scope| {
        let forger = scope.spawn(|| held.forge(forgeries, Duration::from_micros(200), &victim));
        let watcher = scope.spawn(|| watch(&daemon, &names, |_| done.load(Ordering::Relaxed)));
        let mut asked = 0;
        while asked == 0 || !forger.is_finished() {
            let name = format!("n{asked}.www.victim.example");
            victim.lock().unwrap().clone_from(&name);
            assert_eq!(addresses(&daemon.ask(&name)), [HOME], "{name}");
            assert_eq!(addresses(&daemon.ask(&name)), [HOME], "{name} from the cache");
            asked += 1;
        }
        done.store(true, Ordering::Relaxed);
        (asked, watcher.join().unwrap())
    });
    let counters = &daemon.counters;
    assert_eq!(held.others.load(Ordering::Relaxed), 100, "what was cached was not asked for again");
    assert!(held.victims.lock().unwrap().values().all(|&(_, queries)| queries == 1), "once over UDP, then over TCP");
    // The ports that are closed a moment after the first guess may hear a second and a third.
    assert!((1..=10 * asked).contains(&counters.spoof_near_misses.get()), "{}", counters.spoof_near_misses.get());
    let ((mean, deviation), (mean_during, _)) = (mean_and_deviation(&before), mean_and_deviation(&during));
    println!(
        "{forgeries} forgeries at {asked} held queries, {} of them heard, 0 believed; {} answers from the cache meanwhile, all right, \
         in {mean_during:.0} µs; before in {mean:.0} ± {deviation:.0} µs",
        counters.spoof_near_misses.get(),
        during.len(),
    );
}

//----------- Probes and fragments -------------------------------------------

/// A stranger that looks for the port of a query hears the same from the open one as from closed ones (CVE-2020-25705).
#[test]
fn a_probe_hears_the_same_from_every_port() {
    let up = Upstream::start([("held.example", Act::Silence)]);
    let daemon = Daemon::new(&[&up]);
    daemon.client().send(&query(1, "held.example")).unwrap();
    let begun = Instant::now();
    while up.asked().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(5));
        sleep(Duration::from_millis(1));
    }
    let open = up.asked()[0].from;
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let heard = [open, closed].map(|probed| {
        let probe = UdpSocket::bind("127.0.0.9:0").unwrap();
        probe.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        probe.connect(probed).unwrap();
        probe.send(&response(&query(1, "held.example"), POISON)).unwrap();
        probe.recv(&mut [0; 512]).unwrap_err().kind()
    });
    assert_eq!(heard, [ErrorKind::ConnectionRefused; 2]);
    assert_eq!((daemon.counters.spoof_near_misses.get(), daemon.counters.spoof_ignored.get()), (0, 0));
}

/// Neither what we ask for nor what we send is long enough to be cut into fragments, whatever the client offers.
#[test]
fn no_datagram_is_long_enough_to_be_cut() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let daemon = Daemon::start("127.0.0.1:0", vec![server.local_addr().unwrap()], Acl::default());
    let client = daemon.client();
    // Octets of the one text in the answer: as many as fit, one more, and as many as the server may send to a mistaken offer.
    for (number, text) in [1_176_usize, 1_177, 3_000].into_iter().enumerate() {
        let name = format!("n{number}.example");
        let mut asks = query(7, &name);
        let end = asks.len();
        asks[end - 3] = 16;
        asks[11] = 1;
        asks.extend([0, 0, 41, 0xff, 0xff, 0, 0, 0, 0, 0, 0]);
        client.send(&asks).unwrap();
        let mut buffer = [0; 4_096];
        let (len, from) = server.recv_from(&mut buffer).unwrap();
        let opt = buffer[..len].windows(5).find(|window| window[..3] == [0, 0, 41]).unwrap();
        assert_eq!(opt[3..], 1_232_u16.to_be_bytes(), "what upstream may send");
        let mut answer = response(&buffer[..len], HOME);
        let mut data: Vec<u8> =
            vec![b'x'; text].chunks(255).flat_map(|part| [&[part.len() as u8], part].concat()).collect();
        answer.truncate(answer.len() - 6);
        let at = answer.len() - 8;
        answer[at + 1] = 16;
        answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        answer.append(&mut data);
        server.send_to(&answer, from).unwrap();
        let len = client.recv(&mut buffer).unwrap();
        assert!(len <= 1_232, "{len} octets");
        assert_eq!(buffer[2] & 2 != 0, number > 0, "told to ask over TCP where it does not fit: {text}, {len}");
    }
}

//----------- Before the answer ----------------------------------------------

/// What a forger that knows everything sends before the answer: none of it is a whole response to the query.
fn too_early(query: &[u8]) -> Vec<(String, Vec<u8>)> {
    let good = response(query, POISON);
    let mut all: Vec<(String, Vec<u8>)> =
        (0..good.len()).map(|len| (format!("{len} octets of it"), good[..len].to_vec())).collect();
    let mut bend = |what: String, bend: &dyn Fn(&mut Vec<u8>)| {
        let mut message = good.clone();
        bend(&mut message);
        all.push((what, message));
    };
    bend("a query".into(), &|m| m[2] &= 0x7f);
    for opcode in 1..16 {
        bend(format!("opcode {opcode}"), &|m| m[2] = m[2] & 0x87 | opcode << 3);
    }
    for (at, what) in [(4, "questions"), (6, "answers"), (8, "authorities"), (10, "additionals")] {
        for count in [2_u16, 255, 65_535] {
            bend(format!("{count} {what}"), &|m| m[at..at + 2].copy_from_slice(&count.to_be_bytes()));
        }
    }
    bend("no question".into(), &|m| m[5] = 0);
    bend("another id".into(), &|m| m[1] ^= 1);
    bend("another name".into(), &|m| m[13] ^= 1);
    bend("another case".into(), &|m| m[13] ^= 0x20);
    let end = question_end(query);
    bend("another type".into(), &|m| m[end - 3] = 28);
    bend("another class".into(), &|m| m[end - 1] = 3);
    bend("truncated".into(), &|m| m[2] |= 2);
    // The owner of the record: pointers to itself, forwards, out of the message; labels of types that nobody uses.
    for (high, low) in [(0xc0, end as u8), (0xc0, end as u8 + 4), (0xff, 0xff), (0x40, 0), (0x80, 0)] {
        bend(format!("an owner of {high:x} {low:x}"), &|m| (m[end], m[end + 1]) = (high, low));
    }
    for (what, length) in [("three", 3), ("five", 5), ("65,535", 255)] {
        bend(format!("an address of {what} octets"), &|m| {
            m[end + 11] = length;
            if length == 255 {
                m[end + 10] = 255;
            }
            m.resize(end + 12 + usize::from(length.min(5)), 9);
        });
    }
    for (what, rtype, data) in [
        ("an alias to a loop", 5_u8, &[0xc0, end as u8 + 12][..]),
        ("an alias with more behind it", 5, &[1, b'a', 0, 9]),
        ("an alias to nowhere", 5, &[9, b'a']),
        ("half an alias of a zone", 39, &[0x80]),
    ] {
        bend(what.into(), &|m| {
            (m[end + 3], m[end + 11]) = (rtype, data.len() as u8);
            m.truncate(end + 12);
            m.extend(data);
        });
    }
    all
}

/// Each of those comes first, under the right id from the right address, and the answer 50 ms later: it is the answer that counts.
#[test]
fn whatever_comes_before_the_answer_the_answer_counts() {
    let (udp, tcp) = both();
    let address = udp.local_addr().unwrap();
    tell_the_truth(tcp, Duration::ZERO);
    std::thread::spawn(move || {
        let mut buffer = [0; 4_096];
        while let Ok((len, from)) = udp.recv_from(&mut buffer) {
            let asked = buffer[..len].to_vec();
            let number: usize = upstream::question_name(&asked).split('.').next().unwrap()[1..].parse().unwrap();
            let (_, early) = &too_early(&asked)[number];
            udp.send_to(early, from).unwrap();
            let udp = udp.try_clone().unwrap();
            std::thread::spawn(move || {
                sleep(Duration::from_millis(50));
                // The question may have gone over TCP.
                let _ = udp.send_to(&response(&asked, HOME), from);
            });
        }
    });
    let daemon = Daemon::start("127.0.0.1:0", vec![address], Acl::default());
    // As many letters in each name, so that as much is before each answer.
    let name = |number: usize| format!("n{number:03}.before.example");
    let kinds: Vec<String> = too_early(&query(1, &name(0))).into_iter().map(|(what, _)| what).collect();
    assert!(kinds.len() >= 79, "{}", kinds.len());
    let client = daemon.client();
    for (number, what) in kinds.iter().enumerate() {
        let answer = exchange(&client, &query(number as u16, &name(number)));
        assert_eq!((answer.metadata.id, addresses(&answer)), (number as u16, vec![HOME]), "after {what}");
    }
    println!("{} kinds of messages before the answer, and the answer counted each time", kinds.len());
}
