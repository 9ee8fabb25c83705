//! Much of everything: every type of record, and pipelines side by side.

use super::*;
use std::collections::BTreeSet;

/// Queries in flight of the client that asks for every type.
const WINDOW: usize = 32;

/// Data of a type: of the form that it has where it has one that is looked at, else any octets, none among them.
fn data_of(rtype: u16) -> Vec<u8> {
    let name = |label: &str| [&[label.len() as u8][..], label.as_bytes(), &[4], b"tEsT", &[0]].concat();
    // Names that share no ending, so that nothing is there to be compressed.
    let other = |label: &str| [&[label.len() as u8][..], label.as_bytes(), &[3], b"OtH", &[0]].concat();
    match rtype {
        1 => vec![203, 0, 113, 9],
        28 => vec![0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
        2..=5 | 7..=9 | 12 | 39 => name("a"),
        6 => [name("a"), other("b"), vec![7; 20]].concat(),
        14 | 17 => [name("a"), other("b")].concat(),
        15 | 18 | 21 | 36 => [vec![0, 9], name("a")].concat(),
        24 => [vec![1; 18], name("a"), vec![9; 30]].concat(),
        26 => [vec![0, 9], name("a"), other("b")].concat(),
        30 => [name("a"), vec![1, 2, 3]].concat(),
        33 => [vec![0, 1, 0, 2, 0, 3], name("a")].concat(),
        35 => [vec![0, 1, 0, 2, 1, b'u', 3, b'E', b'2', b'U', 0], name("a")].concat(),
        46 => [vec![0, 1, 8, 2, 0, 0, 0, 60], vec![1; 10], name("a"), vec![9; 60]].concat(),
        64 | 65 => [vec![0, 1, 0], vec![0, 1, 0, 3, 2, b'h', b'2']].concat(),
        _ => (0..usize::from(rtype) * 7 % 113).map(|at| (usize::from(rtype) * 31 + at * 17) as u8).collect(),
    }
}

/// A server that has one record of each type.
fn server_of_every_type() -> SocketAddr {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4_096];
        while let Ok((len, from)) = udp.recv_from(&mut buffer) {
            let mut answer = answered(&buffer[..len], false);
            let end = answer.len();
            let data = data_of(u16::from_be_bytes([answer[end - 4], answer[end - 3]]));
            answer[7] = 1;
            answer.extend([0xc0, 12]);
            answer.extend_from_within(end - 4..end);
            answer.extend([0, 0, 0, 60]);
            answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            answer.extend(data);
            udp.send_to(&answer, from).unwrap();
        }
    });
    address
}

/// Whether a type is asked for with any hope of an answer of that type: not one of messages, transfers, or everything.
const fn is_data(rtype: u16) -> bool {
    !matches!(rtype, 41 | 128 | 249..=255)
}

/// Every type that can be, 1 to 65279, known or not (RFC 3597): its data come through octet by octet, from upstream and from the
/// cache.
#[test]
fn every_type_passes_unchanged() {
    let all: Vec<u16> = (1..=65_279).filter(|&rtype| is_data(rtype)).collect();
    // The small run has all that have names of their own, and some of the others.
    let asked: Vec<u16> = match tier::count(97, 1, 1) {
        1 => all,
        each => all.into_iter().filter(|&rtype| rtype < 300 || usize::from(rtype).is_multiple_of(each)).collect(),
    };
    let daemon = Daemon::start("127.0.0.1:0", vec![server_of_every_type()], Acl::default());
    let client = daemon.client();
    let name = "one.types.example";
    let end = 12 + wire(name).len() + 4;
    for _ in 0..2 {
        for window in asked.chunks(WINDOW) {
            for &rtype in window {
                let mut message = query(rtype, name);
                message[end - 4..end - 2].copy_from_slice(&rtype.to_be_bytes());
                client.send(&message).unwrap();
            }
            let mut open: BTreeSet<u16> = window.iter().copied().collect();
            while !open.is_empty() {
                let mut buffer = [0; 1_232];
                let len = client.recv(&mut buffer).unwrap();
                let rtype = u16::from_be_bytes([buffer[0], buffer[1]]);
                assert!(open.remove(&rtype), "{rtype} twice");
                let data = data_of(rtype);
                assert_eq!((buffer[3] & 15, buffer[7]), (0, 1), "type {rtype}");
                let [high, low] = rtype.to_be_bytes();
                assert_eq!(buffer[end..end + 6], [0xc0, 12, high, low, 0, 1], "type {rtype}");
                assert_eq!(
                    buffer[end + 10..end + 12],
                    u16::try_from(data.len()).unwrap().to_be_bytes(),
                    "type {rtype}"
                );
                assert_eq!(buffer[end + 12..len], data, "type {rtype}");
            }
        }
    }
    println!("{} types of record came through octet by octet, from upstream and from the cache", asked.len());
}

//----------- Pipelines ------------------------------------------------------

/// Queries of one connection.
const QUERIES: u16 = 100;
/// How long the server thinks.
const THINKS: Duration = Duration::from_millis(200);

/// A server that answers after a while, and the most queries that it had at once for each connection, whose number is in the name.
fn thinking_server(connections: usize) -> (SocketAddr, Arc<Vec<AtomicU64>>) {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp.local_addr().unwrap();
    let most: Arc<Vec<AtomicU64>> = Arc::new((0..connections).map(|_| AtomicU64::new(0)).collect());
    let seen = Arc::clone(&most);
    std::thread::spawn(move || {
        udp.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let mut open = vec![0_u64; seen.len()];
        let mut waiting = std::collections::VecDeque::new();
        let mut buffer = [0; 4_096];
        loop {
            while let Some((_, connection, answer, from)) =
                waiting.pop_front_if(|(due, ..): &mut (Instant, usize, Vec<u8>, SocketAddr)| *due <= Instant::now())
            {
                open[connection] -= 1;
                let _ = udp.send_to(&answer, from);
            }
            let Ok((len, from)) = udp.recv_from(&mut buffer) else { continue };
            let asked = upstream::question_name(&buffer[..len]).to_ascii_lowercase();
            let connection: usize = asked.split('.').nth(1).unwrap()[1..].parse().unwrap();
            open[connection] += 1;
            seen[connection].fetch_max(open[connection], Ordering::Relaxed);
            waiting.push_back((Instant::now() + THINKS, connection, answered(&buffer[..len], true), from));
        }
    });
    (address, most)
}

/// A hundred connections with a hundred queries each, all sent at once: each is answered in full, and no more of its queries are
/// under way at a time than a pipeline is long; the others wait in the client's own connection.
#[test]
fn a_hundred_pipelines_are_answered_in_full_and_held_back() {
    let connections = tier::count(4, 30, 100);
    let (server, most) = thinking_server(connections);
    let daemon = Daemon::start("127.0.0.1:0", vec![server], Acl::default());
    let address = daemon.address;
    let failed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..connections).map(|connection| scope.spawn(move || pipeline(address, connection))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let most = most.iter().map(|most| most.load(Ordering::Relaxed)).max().unwrap();
    assert!(most <= PIPELINE_MAX as u64, "{most} queries of one connection under way");
    // With room for the questions of all, none is refused.
    let room = connections * PIPELINE_MAX <= interdict::engine::resolver::core::QUESTIONS_MAX;
    assert!(!room || failed == 0, "{failed} failed");
    println!(
        "{connections} connections with {QUERIES} queries each: all answered, {failed} of them with a failure for want of room; at most \
         {most} of one connection under way"
    );
}

/// Sends all queries of a connection, then reads; gives how many answers are failures.
fn pipeline(server: SocketAddr, connection: usize) -> usize {
    let mut stream = stream(server);
    let begun = Instant::now();
    for id in 0..QUERIES {
        send_framed(&mut stream, &query(id, &format!("q{id}.c{connection}.example")));
    }
    let mut open: BTreeSet<u16> = (0..QUERIES).collect();
    let mut failed = 0;
    while !open.is_empty() {
        let answer = receive_framed(&mut stream);
        assert!(open.remove(&answer.metadata.id), "{} of connection {connection} twice", answer.metadata.id);
        failed += usize::from(rcode(&answer) != ResponseCode::NoError);
    }
    assert!(failed > 0 || begun.elapsed() >= 2 * THINKS, "a hundred at once, where a pipeline has {PIPELINE_MAX}");
    failed
}

//----------- Huge sets ------------------------------------------------------

/// Records of one answer.
const RECORDS: u16 = 1_000;

/// A server that has a thousand addresses for every name but those below `cached.example`, which have one.
fn server_of_huge_sets() -> SocketAddr {
    let (udp, tcp) = forged::both();
    let address = udp.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4_096];
        while let Ok((len, from)) = udp.recv_from(&mut buffer) {
            let is_small = upstream::question_name(&buffer[..len]).to_ascii_lowercase().ends_with("cached.example");
            let mut answer = answered(&buffer[..len], false);
            // Cut short.
            answer[2] |= 2;
            let answer = if is_small { forged::response(&buffer[..len], HOME) } else { answer };
            udp.send_to(&answer, from).unwrap();
        }
    });
    std::thread::spawn(move || {
        for stream in tcp.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut len = [0; 2];
                while stream.read_exact(&mut len).is_ok() {
                    let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
                    stream.read_exact(&mut query).unwrap();
                    let mut answer = answered(&query, false);
                    answer[6..8].copy_from_slice(&RECORDS.to_be_bytes());
                    for number in 0..RECORDS {
                        let [high, low] = number.to_be_bytes();
                        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, high, low]);
                    }
                    send_framed(&mut stream, &answer);
                }
            });
        }
    });
    address
}

/// A hundred clients that ask for sets of a thousand records without end (CVE-2024-1737): each of them is refused, and whoever asks for
/// what is cached is answered as before.
#[test]
fn sets_of_a_thousand_records_hold_nobody_up() {
    let (clients, rounds) = (tier::count(20, 100, 100), tier::count(2, 5, 50));
    let daemon = Daemon::start("127.0.0.1:0", vec![server_of_huge_sets()], Acl::default());
    let names: Vec<String> = (0..100).map(|n| format!("n{n}.cached.example")).collect();
    names.iter().for_each(|name| assert_eq!(addresses(&daemon.ask(name)).len(), 1));
    let before = forged::watch(&daemon, &names, |count| count >= 500);
    let done = AtomicBool::new(false);
    let during = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| forged::watch(&daemon, &names, |_| done.load(Ordering::Relaxed)));
        let ask = |client: usize| {
            for round in 0..rounds {
                let answer = daemon.ask(&format!("r{round}.c{client}.huge.example"));
                assert_eq!((rcode(&answer), addresses(&answer).len()), (ResponseCode::ServFail, 0));
            }
        };
        let asking: Vec<_> = (0..clients).map(|client| scope.spawn(move || ask(client))).collect();
        asking.into_iter().for_each(|thread| thread.join().unwrap());
        done.store(true, Ordering::Relaxed);
        watcher.join().unwrap()
    });
    let late = |times: &[f64]| {
        let mut sorted = times.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted[sorted.len() * 99 / 100]
    };
    println!(
        "{} sets of {RECORDS} records, {clients} at a time, all refused; {} answers from the cache meanwhile, all right, 99 % within \
         {:.0} us; before within {:.0} us",
        clients * rounds,
        during.len(),
        late(&during),
        late(&before),
    );
}
