//! Listeners, state machine and upstream driver together, over loopback sockets against a scripted upstream.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "resolver_io/chance.rs"]
mod chance;
#[path = "resolver_io/forged.rs"]
mod forged;
#[path = "resolver_io/many.rs"]
mod many;
#[path = "common/tier.rs"]
mod tier;
#[path = "common/upstream.rs"]
mod upstream;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RData;
use interdict::engine::resolver::Cache;
use interdict::engine::resolver::core::{CoreSettings, Counters};
use interdict::io::listen::{
    Acl, CONNECTIONS_MAX, Clients, LimitSettings, Listening, PIPELINE_MAX, serve_tcp, spawn_udp,
};
use interdict::io::sys::plane::{MISS_QUEUE_MAX, Plane};
use interdict::io::sys::socket;
use interdict::policy::list::{bundled, vendor};
use interdict::policy::{Policy, RuleSet, RuleSetBuilder, Settings};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use upstream::{Act, Upstream, wire};

const HOME: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
const BLOCKED: &str = "s00.upd.kaspersky.com";

fn rules() -> Arc<RuleSet> {
    static RULES: OnceLock<Arc<RuleSet>> = OnceLock::new();
    let build = || {
        let mut builder = RuleSetBuilder::new();
        for (file, text) in bundled::files() {
            builder.add_vendor_file(Arc::new(vendor::read(file, text).unwrap()), "test").unwrap();
        }
        Arc::new(builder.finish())
    };
    Arc::clone(RULES.get_or_init(build))
}

/// A resolver without its app: listeners, driver, and a sink that counts attempts.
struct Daemon {
    address: SocketAddr,
    counters: Arc<Counters>,
    attempts: Arc<AtomicU64>,
    /// Makes the next worker that hands something over panic.
    panic: Arc<AtomicBool>,
    servers: watch::Sender<Vec<SocketAddr>>,
    stop: CancellationToken,
    workers: Vec<JoinHandle<()>>,
    runtime: Option<Runtime>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Daemon {
    fn start(listen: &str, servers: Vec<SocketAddr>, acl: Acl) -> Self {
        let policy = Policy::new(1, rules(), Arc::new(Settings::default()), "2026-11-23T12:00:00Z".parse().unwrap());
        let counters = Arc::new(Counters::default());
        let attempts = Arc::new(AtomicU64::new(0));
        let sink = Arc::clone(&attempts);
        let panic = Arc::new(AtomicBool::new(false));
        let panic_once = Arc::clone(&panic);
        let plane = Arc::new(Plane {
            policy: Arc::new(ArcSwap::from_pointee(policy)),
            cache: Arc::new(Cache::new(1 << 20, 7)),
            counters: Arc::clone(&counters),
            cookies: interdict::engine::resolver::Cookies::new([1, 2]),
            hits: Arc::new(move |batch| {
                let of_a_worker = std::thread::current().name().is_some_and(|name| name.starts_with("udp"));
                assert!(!(of_a_worker && panic_once.swap(false, Ordering::Relaxed)), "as the test wants it");
                sink.fetch_add(batch.attempts(), Ordering::Relaxed);
                true
            }),
        });
        let stop = CancellationToken::new();
        let (misses, missed) = mpsc::channel(MISS_QUEUE_MAX);
        let clients = Arc::new(Clients::new(acl, LimitSettings::default(), [], 1));
        let listening = Listening { plane: Arc::clone(&plane), clients, misses, stop: stop.clone() };
        let opened = socket::listen(listen.parse().unwrap(), 2).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let settings = CoreSettings::new(servers.clone());
        let (sender, servers) = watch::channel(servers);
        let driver = interdict::io::upstream::run(settings, plane, missed, servers, stop.clone());
        let driver = runtime.spawn(async move { driver.await.unwrap() });
        let streams = serve_tcp(opened.tcp, CONNECTIONS_MAX, listening.clone());
        let streams = runtime.spawn(async move { streams.await.unwrap() });
        let workers = opened
            .udp
            .into_iter()
            .enumerate()
            .map(|(number, udp)| spawn_udp(format!("udp-{number}"), udp, listening.clone()).unwrap())
            .collect();
        let tasks = vec![driver, streams];
        Self {
            address: opened.address,
            counters,
            attempts,
            panic,
            servers: sender,
            stop,
            workers,
            runtime: Some(runtime),
            tasks,
        }
    }

    fn new(servers: &[&Upstream]) -> Self {
        let servers = servers.iter().map(|upstream| upstream.address).collect();
        Self::start("127.0.0.1:0", servers, Acl::default())
    }

    fn client(&self) -> UdpSocket {
        client(self.address)
    }

    /// Asks over UDP.
    fn ask(&self, name: &str) -> Message {
        exchange(&self.client(), &query(1, name))
    }

    /// Stops everything and waits for it.
    fn shut_down(&mut self) {
        self.stop.cancel();
        for worker in self.workers.drain(..) {
            worker.join().unwrap();
        }
        if let Some(runtime) = self.runtime.take() {
            for task in self.tasks.drain(..) {
                runtime.block_on(task).unwrap();
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn client(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    socket
}

fn query(id: u16, name: &str) -> Vec<u8> {
    let mut out = id.to_be_bytes().to_vec();
    out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&wire(name));
    out.extend_from_slice(&[0, 1, 0, 1]);
    out
}

fn receive(socket: &UdpSocket) -> Message {
    let mut buffer = [0; 4096];
    let len = socket.recv(&mut buffer).unwrap();
    Message::from_vec(&buffer[..len]).unwrap()
}

fn exchange(socket: &UdpSocket, query: &[u8]) -> Message {
    socket.send(query).unwrap();
    receive(socket)
}

fn send_framed(stream: &mut TcpStream, message: &[u8]) {
    let mut framed = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).unwrap();
}

fn receive_framed(stream: &mut TcpStream) -> Message {
    let mut len = [0; 2];
    stream.read_exact(&mut len).unwrap();
    let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut message).unwrap();
    Message::from_vec(&message).unwrap()
}

fn stream(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    stream
}

fn addresses(message: &Message) -> Vec<Ipv4Addr> {
    let address = |data: &RData| if let RData::A(a) = data { Some(a.0) } else { None };
    message.answers.iter().filter_map(|record| address(&record.data)).collect()
}

fn rcode(message: &Message) -> ResponseCode {
    message.metadata.response_code
}

#[test]
fn udp_and_tcp_resolve_and_the_second_answer_is_cached() {
    let up = Upstream::start([("example.org", Act::Address(HOME))]);
    let daemon = Daemon::new(&[&up]);
    let first = daemon.ask("example.org");
    assert_eq!((rcode(&first), addresses(&first)), (ResponseCode::NoError, vec![HOME]));
    assert_eq!(first.metadata.id, 1);
    let mut tcp = stream(daemon.address);
    send_framed(&mut tcp, &query(7, "example.org"));
    let second = receive_framed(&mut tcp);
    assert_eq!((second.metadata.id, addresses(&second)), (7, vec![HOME]));
    assert_eq!(up.count("example.org"), 1);
    assert_eq!(rcode(&daemon.ask("nothing.example")), ResponseCode::NXDomain);
    send_framed(&mut tcp, &query(8, "over.tcp.example"));
    assert_eq!(rcode(&receive_framed(&mut tcp)), ResponseCode::NXDomain);
}

#[test]
fn a_blocked_name_is_answered_without_upstream_and_recorded() {
    let up = Upstream::start([]);
    let mut daemon = Daemon::new(&[&up]);
    for _ in 0..10 {
        assert_eq!(addresses(&daemon.ask(BLOCKED)), [Ipv4Addr::UNSPECIFIED]);
    }
    let mut tcp = stream(daemon.address);
    send_framed(&mut tcp, &query(7, BLOCKED));
    assert_eq!(addresses(&receive_framed(&mut tcp)), [Ipv4Addr::UNSPECIFIED]);
    drop(tcp);
    daemon.shut_down();
    assert!(up.asked().is_empty());
    assert_eq!((daemon.counters.blocked.get(), daemon.attempts.load(Ordering::Relaxed)), (11, 11));
}

#[test]
fn a_harmless_name_that_leads_to_a_blocked_one_is_blocked_and_recorded_once() {
    let up = Upstream::start([("cdn.example.org", Act::Alias(BLOCKED, HOME))]);
    let mut daemon = Daemon::new(&[&up]);
    let answer = daemon.ask("cdn.example.org");
    assert!(!addresses(&answer).contains(&HOME), "{answer:?}");
    daemon.shut_down();
    assert_eq!((daemon.counters.blocked.get(), daemon.attempts.load(Ordering::Relaxed)), (1, 1));
}

#[test]
fn an_observed_name_that_misses_is_recorded_once() {
    let up = Upstream::start([("www.kaspersky.com", Act::Address(HOME))]);
    let mut daemon = Daemon::new(&[&up]);
    assert_eq!(addresses(&daemon.ask("www.kaspersky.com")), [HOME]);
    daemon.shut_down();
    assert_eq!(daemon.attempts.load(Ordering::Relaxed), 1);
}

#[test]
fn five_hundred_identical_questions_are_one_upstream_query() {
    let slow = Act::After(Duration::from_millis(300), Box::new(Act::Address(HOME)));
    let up = Upstream::start([("example.org", slow)]);
    let daemon = Daemon::new(&[&up]);
    let clients: Vec<UdpSocket> = (0..500).map(|_| daemon.client()).collect();
    for (number, client) in clients.iter().enumerate() {
        client.send(&query(u16::try_from(number).unwrap(), "Example.ORG")).unwrap();
    }
    for (number, client) in clients.iter().enumerate() {
        let answer = receive(client);
        assert_eq!((usize::from(answer.metadata.id), addresses(&answer)), (number, vec![HOME]));
        assert_eq!(answer.queries[0].name().to_string(), "Example.ORG.", "the case is echoed as asked");
    }
    assert_eq!(up.asked().len(), 1);
    assert_eq!(up.count("example.org"), 1, "upstream is asked once");
}

#[test]
fn a_silent_server_is_left_for_the_next() {
    let dead = Upstream::start([("example.org", Act::Silence)]);
    let up = Upstream::start([("example.org", Act::Address(HOME))]);
    let daemon = Daemon::new(&[&dead, &up]);
    let begun = Instant::now();
    assert_eq!(addresses(&daemon.ask("example.org")), [HOME]);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(700) && took < Duration::from_secs(3), "{took:?}");
    assert_eq!((dead.count("example.org"), up.count("example.org")), (1, 1));
}

#[test]
fn a_server_that_refuses_connections_is_left_at_once() {
    let up = Upstream::start([("example.org", Act::Address(HOME))]);
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let daemon = Daemon::start("127.0.0.1:0", vec![nobody, up.address], Acl::default());
    let begun = Instant::now();
    assert_eq!(addresses(&daemon.ask("example.org")), [HOME]);
    assert!(begun.elapsed() < Duration::from_millis(700));
    assert!(daemon.counters.upstream_errors.get() >= 1);
}

#[test]
fn servfail_moves_on() {
    let broken = Upstream::start([("example.org", Act::Rcode(2))]);
    let up = Upstream::start([("example.org", Act::Address(HOME))]);
    let daemon = Daemon::new(&[&broken, &up]);
    assert_eq!(addresses(&daemon.ask("example.org")), [HOME]);
}

#[test]
fn servfail_everywhere_is_servfail() {
    let one = Upstream::start([("example.org", Act::Rcode(5))]);
    let two = Upstream::start([("example.org", Act::Rcode(2))]);
    let daemon = Daemon::new(&[&one, &two]);
    assert_eq!(rcode(&daemon.ask("example.org")), ResponseCode::ServFail);
}

#[test]
fn silence_everywhere_is_servfail_within_the_question_time() {
    let dead = Upstream::start([("example.org", Act::Silence)]);
    let daemon = Daemon::new(&[&dead]);
    let begun = Instant::now();
    assert_eq!(rcode(&daemon.ask("example.org")), ResponseCode::ServFail);
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(7), "{took:?}");
    let asked = dead.asked();
    assert_eq!(asked.len(), 3);
    let mut ports: Vec<u16> = asked.iter().map(|asked| asked.from.port()).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 3, "a source port for each query");
}

#[test]
fn a_truncated_answer_is_asked_again_over_tcp() {
    let up = Upstream::start([("big.example.org", Act::Truncate(200))]);
    let daemon = Daemon::new(&[&up]);
    let mut tcp = stream(daemon.address);
    send_framed(&mut tcp, &query(3, "big.example.org"));
    assert_eq!(addresses(&receive_framed(&mut tcp)).len(), 200);
    assert_eq!(up.asked().iter().map(|asked| asked.tcp).collect::<Vec<_>>(), [false, true]);
    // Over UDP it does not fit: the client is told to come over TCP.
    let cut = daemon.ask("big.example.org");
    assert!(cut.metadata.truncation);
    assert_eq!(up.asked().len(), 2);
}

#[test]
fn an_answer_under_a_wrong_id_is_not_believed() {
    let up = Upstream::start([("example.org", Act::WrongId(HOME))]);
    let daemon = Daemon::new(&[&up]);
    assert_eq!(addresses(&daemon.ask("example.org")), [HOME]);
    assert_eq!(daemon.counters.spoof_near_misses.get(), 1);
}

#[test]
fn who_may_not_ask_hears_nothing() {
    let up = Upstream::start([]);
    let acl = Acl::new(["192.0.2.0/24".parse().unwrap()]);
    let daemon = Daemon::start("127.0.0.1:0", vec![up.address], acl);
    let client = daemon.client();
    client.set_read_timeout(Some(Duration::from_millis(600))).unwrap();
    client.send(&query(1, BLOCKED)).unwrap();
    assert_eq!(client.recv(&mut [0; 512]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let mut tcp = stream(daemon.address);
    let _ = tcp.write_all(&[0; 2]);
    assert!(matches!(tcp.read(&mut [0; 512]), Ok(0) | Err(_)), "closed without a word");
    assert_eq!(daemon.counters.dropped_acl.get(), 2);
    assert!(up.asked().is_empty());
}

#[test]
fn a_wildcard_listener_answers_from_the_address_asked() {
    let up = Upstream::start([("example.org", Act::Address(HOME))]);
    let daemon = Daemon::start("0.0.0.0:0", vec![up.address], Acl::default());
    for host in [2, 3] {
        let asked = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)), daemon.address.port());
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
        // A miss, a hit of the cache, and a block: from the driver, and from the worker.
        for name in ["example.org", "example.org", BLOCKED] {
            client.send_to(&query(1, name), asked).unwrap();
            let (_, from) = client.recv_from(&mut [0; 512]).unwrap();
            assert_eq!(from, asked);
        }
    }
}

#[test]
fn garbage_gets_no_answer_and_does_no_harm() {
    let up = Upstream::start([("example.org", Act::Address(HOME))]);
    let daemon = Daemon::new(&[&up]);
    let client = daemon.client();
    for len in 0..12 {
        client.send(&vec![0xff; len]).unwrap();
    }
    client.send(&[0x80; 600]).unwrap();
    client.send(&[0; 5_000]).unwrap();
    assert_eq!(addresses(&exchange(&client, &query(9, "example.org"))), [HOME]);
    assert_eq!(daemon.counters.dropped_malformed.get(), 14);
}

#[test]
fn a_pipeline_is_answered_out_of_order() {
    let slow = Act::After(Duration::from_millis(500), Box::new(Act::Address(HOME)));
    let up = Upstream::start([("slow.example", slow), ("fast.example", Act::Address(HOME))]);
    let daemon = Daemon::new(&[&up]);
    let mut tcp = stream(daemon.address);
    send_framed(&mut tcp, &query(1, "slow.example"));
    send_framed(&mut tcp, &query(2, "fast.example"));
    send_framed(&mut tcp, &query(3, BLOCKED));
    let order: Vec<u16> = (0..3).map(|_| receive_framed(&mut tcp).metadata.id).collect();
    assert_eq!(order.last(), Some(&1), "{order:?}");
}

#[test]
fn a_long_pipeline_is_answered_in_full() {
    let up = Upstream::start([]);
    let daemon = Daemon::new(&[&up]);
    let mut tcp = stream(daemon.address);
    let count = u16::try_from(PIPELINE_MAX * 4).unwrap();
    for id in 0..count {
        send_framed(&mut tcp, &query(id, &format!("q{id}.example")));
    }
    let mut ids: Vec<u16> = (0..count).map(|_| receive_framed(&mut tcp).metadata.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..count).collect::<Vec<_>>());
}

#[test]
fn a_client_that_closes_its_side_still_gets_its_answer() {
    let slow = Act::After(Duration::from_millis(300), Box::new(Act::Address(HOME)));
    let up = Upstream::start([("slow.example", slow)]);
    let daemon = Daemon::new(&[&up]);
    let mut tcp = stream(daemon.address);
    send_framed(&mut tcp, &query(1, "slow.example"));
    tcp.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(addresses(&receive_framed(&mut tcp)), [HOME]);
    assert_eq!(tcp.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn half_a_message_is_not_waited_for_long() {
    let up = Upstream::start([]);
    let daemon = Daemon::new(&[&up]);
    let mut tcp = stream(daemon.address);
    tcp.write_all(&[0, 40, 1, 2, 3]).unwrap();
    let begun = Instant::now();
    assert_eq!(tcp.read(&mut [0; 1]).unwrap(), 0);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn connections_of_one_client_are_bounded() {
    let up = Upstream::start([]);
    let daemon = Daemon::new(&[&up]);
    let max = interdict::io::listen::CONNECTIONS_PER_CLIENT_MAX;
    let streams: Vec<TcpStream> = (0..max + 5).map(|_| stream(daemon.address)).collect();
    let mut last = stream(daemon.address);
    assert!(matches!(last.read(&mut [0; 1]), Ok(0) | Err(_)));
    assert_eq!(daemon.counters.dropped_connections.get(), 6);
    drop(streams);
    sleep(Duration::from_millis(300));
    let mut again = stream(daemon.address);
    send_framed(&mut again, &query(1, BLOCKED));
    assert_eq!(receive_framed(&mut again).metadata.id, 1);
}

#[test]
fn shutting_down_answers_what_is_in_flight() {
    let slow = Act::After(Duration::from_millis(600), Box::new(Act::Address(HOME)));
    let up = Upstream::start([("slow.example", slow), ("dead.example", Act::Silence)]);
    let mut daemon = Daemon::new(&[&up]);
    let (slow, dead) = (daemon.client(), daemon.client());
    slow.send(&query(1, "slow.example")).unwrap();
    dead.send(&query(2, "dead.example")).unwrap();
    sleep(Duration::from_millis(200));
    let begun = Instant::now();
    daemon.shut_down();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(addresses(&receive(&slow)), [HOME]);
    assert_eq!(rcode(&receive(&dead)), ResponseCode::ServFail);
}

#[test]
fn a_worker_that_panics_goes_on_and_is_counted() {
    let up = Upstream::start([]);
    let daemon = Daemon::new(&[&up]);
    daemon.panic.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    while daemon.counters.worker_restarts.get() == 0 && begun.elapsed() < Duration::from_secs(5) {
        daemon.ask(BLOCKED);
        sleep(Duration::from_millis(20));
    }
    assert_eq!(daemon.counters.worker_restarts.get(), 1);
    // More source ports than workers: each of them is asked.
    for _ in 0..20 {
        assert_eq!(addresses(&daemon.ask(BLOCKED)), [Ipv4Addr::UNSPECIFIED]);
    }
}

/// A listener with room for few connections, held by clients that say nothing.
#[test]
fn who_holds_connections_without_asking_keeps_nobody_out() {
    let plane = Arc::new(Plane {
        policy: Arc::new(ArcSwap::from_pointee(Policy::new(
            1,
            rules(),
            Arc::new(Settings::default()),
            "2026-11-23T12:00:00Z".parse().unwrap(),
        ))),
        cache: Arc::new(Cache::new(1 << 20, 7)),
        counters: Arc::default(),
        cookies: interdict::engine::resolver::Cookies::new([1, 2]),
        hits: Arc::new(|_| true),
    });
    let (misses, _missed) = mpsc::channel(MISS_QUEUE_MAX);
    let stop = CancellationToken::new();
    let listening =
        Listening { plane: Arc::clone(&plane), clients: Arc::new(Clients::default()), misses, stop: stop.clone() };
    let opened = socket::listen("127.0.0.1:0".parse().unwrap(), 1).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let serving = runtime.spawn(serve_tcp(opened.tcp, 8, listening));
    let mut busy = TcpStream::connect(opened.address).unwrap();
    let message = query(1, BLOCKED);
    let framed = [&u16::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat();
    let ask = |stream: &mut TcpStream| {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(&framed).unwrap();
        let mut len = [0; 2];
        stream.read_exact(&mut len).unwrap();
        stream.read_exact(&mut vec![0; usize::from(u16::from_be_bytes(len))]).unwrap();
    };
    let mut held = Vec::new();
    for _ in 0..200 {
        held.push(TcpStream::connect(opened.address).unwrap());
        // Whoever asks now and then stays, and whoever comes is served.
        ask(&mut busy);
        ask(&mut TcpStream::connect(opened.address).unwrap());
    }
    assert!(plane.counters.dropped_connections.get() >= 100, "{:?}", plane.counters.dropped_connections);
    held[0].set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(held[0].read(&mut [0]).unwrap_or(0), 0, "the one that asked nothing for longest left");
    stop.cancel();
    runtime.block_on(serving).unwrap().unwrap();
}

/// What a server does with each connection: takes so many queries, answers them in reverse order, and closes or not.
fn pipelining_server(answers_per_connection: usize, at_once: usize) -> (SocketAddr, Arc<AtomicU64>) {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(tcp) = std::net::TcpListener::bind(udp.local_addr().unwrap()) {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    let connections = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&connections);
    std::thread::spawn(move || {
        let mut buffer = [0; 4_096];
        while let Ok((len, from)) = udp.recv_from(&mut buffer) {
            let mut cut = answered(&buffer[..len], false);
            cut[2] |= 0x02;
            let _ = udp.send_to(&cut, from);
        }
    });
    std::thread::spawn(move || {
        for stream in tcp.incoming() {
            count.fetch_add(1, Ordering::Relaxed);
            let mut stream = stream.unwrap();
            std::thread::spawn(move || converse(&mut stream, answers_per_connection, at_once));
        }
    });
    (address, connections)
}

/// Answers so many queries, as many at once in reverse order; takes one more and closes.
fn converse(stream: &mut TcpStream, mut left: usize, at_once: usize) {
    while left > 0 {
        let mut queries = Vec::new();
        for _ in 0..at_once.min(left) {
            let mut len = [0; 2];
            if stream.read_exact(&mut len).is_err() {
                return;
            }
            let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
            stream.read_exact(&mut query).unwrap();
            queries.push(query);
        }
        left -= queries.len();
        for query in queries.iter().rev() {
            let answer = answered(query, true);
            let framed = [&u16::try_from(answer.len()).unwrap().to_be_bytes()[..], &answer].concat();
            // In pieces, as networks do.
            framed.chunks(7).for_each(|piece| stream.write_all(piece).unwrap());
        }
    }
    let _ = stream.read_exact(&mut [0; 12]);
}

/// A response with an A record, or without.
fn answered(query: &[u8], with: bool) -> Vec<u8> {
    let mut end = 12;
    while query[end] != 0 {
        end += 1 + usize::from(query[end]);
    }
    let mut out = query[..end + 5].to_vec();
    out[2] |= 0x80;
    out[3] = 0x80;
    out[7] = u8::from(with);
    out[11] = 0;
    if with {
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 80]);
    }
    out
}

fn all_resolve(daemon: &Daemon, names: std::ops::Range<usize>) {
    std::thread::scope(|scope| {
        for number in names {
            scope.spawn(move || {
                let answer = daemon.ask(&format!("n{number}.example"));
                assert_eq!(answer.answers.len(), 1, "n{number}: {answer:?}");
            });
        }
    });
}

#[test]
fn many_queries_share_a_connection_and_responses_come_in_any_order() {
    let (server, connections) = pipelining_server(usize::MAX, 4);
    let daemon = Daemon::start("127.0.0.1:0", vec![server], Acl::default());
    for round in 0..5 {
        all_resolve(&daemon, round * 4..round * 4 + 4);
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    assert_eq!(daemon.counters.upstream_connections.get(), 1);
}

#[test]
fn what_is_under_way_on_a_connection_that_closes_is_asked_on_a_new_one() {
    let (server, connections) = pipelining_server(3, 1);
    let daemon = Daemon::start("127.0.0.1:0", vec![server], Acl::default());
    for number in 0..12 {
        all_resolve(&daemon, number..number + 1);
    }
    assert_eq!(connections.load(Ordering::Relaxed), 4);
    assert_eq!(daemon.counters.upstream_errors.get(), 0, "nobody noticed");
}

#[test]
fn a_server_that_closes_at_once_is_a_failure() {
    let (server, _) = pipelining_server(0, 1);
    let daemon = Daemon::start("127.0.0.1:0", vec![server], Acl::default());
    let answer = daemon.ask("n1.example");
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

#[test]
fn servers_that_change_are_asked_from_then_on() {
    let (old, new) =
        (Upstream::start([("a.example", Act::Address(HOME))]), Upstream::start([("b.example", Act::Address(HOME))]));
    let daemon = Daemon::new(&[&old]);
    assert_eq!(daemon.ask("a.example").answers.len(), 1);
    daemon.servers.send_replace(vec![new.address]);
    sleep(Duration::from_millis(300));
    assert_eq!(daemon.ask("b.example").answers.len(), 1);
    assert_eq!((old.count("b.example"), new.count("b.example")), (0, 1));
}

#[test]
fn an_answer_in_use_is_renewed_before_it_expires() {
    let up = Upstream::start([("a.example", Act::Records(vec![short_lived("a.example")]))]);
    let daemon = Daemon::new(&[&up]);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(3_750) {
        assert_eq!(daemon.ask("a.example").answers.len(), 1);
        sleep(Duration::from_millis(20));
    }
    sleep(Duration::from_millis(200));
    assert_eq!((daemon.counters.prefetched.get(), up.count("a.example")), (1, 2));
}

/// An A record that lives four seconds.
fn short_lived(owner: &str) -> Vec<u8> {
    [&wire(owner)[..], &[0, 1, 0, 1, 0, 0, 0, 4, 0, 4, 203, 0, 113, 7]].concat()
}

/// What a forger has to guess, over real sockets and all workers: source ports, ids and the case of names (RFC 5452 §9, 0x20).
#[test]
fn ports_ids_and_case_are_anybodys_guess() {
    let misses = tier::count(2_000, 10_000, 10_000);
    let up = Upstream::start([]);
    let daemon = Daemon::new(&[&up]);
    // Which client asked for a name is in the name: workers share the clients by their ports.
    let clients: Vec<UdpSocket> = (0..40).map(|_| daemon.client()).collect();
    let begun = Instant::now();
    for number in 0..misses {
        let at = number % clients.len();
        let id = u16::try_from(number).unwrap();
        clients[at].send(&query(id, &format!("somelonglabel{at}.n{number}.example"))).unwrap();
        if at == clients.len() - 1 {
            clients.iter().for_each(|client| drop(receive(client)));
            // Two thousand a second: what comes faster shares ports, of which `io/upstream/sockets` has a test of its own.
            let due = begun + Duration::from_micros(500 * number as u64);
            sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    let asked = up.asked();
    assert_eq!(asked.len(), misses);
    let ports: Vec<u16> = asked.iter().map(|asked| asked.from.port()).collect();
    let ids: Vec<u16> = asked.iter().map(|asked| asked.id).collect();
    let [distinct_ports, distinct_ids] = [&ports, &ids].map(|values| chance::distinct(values));
    // Of 10,000 drawn anew each time 9,264 and 9,272 are expected.
    let share = |distinct: usize, of: f64| distinct as f64 / (of * -f64::exp_m1(-(misses as f64) / of));
    assert!(share(distinct_ports, 64_512.0) > 0.972, "{distinct_ports} ports of {misses} queries");
    assert!(share(distinct_ids, 65_536.0) > 0.981, "{distinct_ids} ids of {misses} queries");
    let ports_from_zero: Vec<u16> = ports.iter().map(|port| port - 1_024).collect();
    let mut figures = format!("{misses} misses: {distinct_ports} ports, {distinct_ids} ids");
    for (what, values, range) in [("ports", &ports_from_zero, 64_512), ("ids", &ids, 65_536)] {
        let evenness = chance::evenness(values, range);
        let lag = chance::correlation_with_the_next(values);
        figures += &format!("; {what} uneven by {evenness:.2} deviations, next follows by {lag:.3}");
        assert!(evenness.abs() < chance::most(), "{what}: {evenness}");
        assert!(lag.abs() < chance::most() / (misses as f64).sqrt(), "{what}: {lag}");
    }
    // No client, and so no worker, has ports of its own (CVE-2026-50252).
    let of_client = |asked: &upstream::Asked| -> usize {
        asked.name.to_ascii_lowercase()[13..].split('.').next().unwrap().parse().unwrap()
    };
    let pairs: Vec<(usize, usize)> = asked
        .iter()
        .map(|asked| {
            let port: u16 = clients[of_client(asked)].local_addr().unwrap().port();
            (usize::from(port) % 8, (usize::from(asked.from.port()) - 1_024) / 8_064)
        })
        .collect();
    let dependence = chance::dependence(&pairs, 8);
    assert!(dependence < chance::most(), "ports depend on clients by {dependence} deviations");
    let letters: String = asked.iter().map(|asked| asked.name.as_str()).collect();
    let (upper, all) = letters
        .bytes()
        .filter(u8::is_ascii_alphabetic)
        .fold((0, 0), |(upper, all), letter| (upper + usize::from(letter.is_ascii_uppercase()), all + 1));
    let half = upper as f64 / all as f64;
    assert!((half - 0.5).abs() < 0.02, "{upper} of {all} letters are capital");
    println!("{figures}; clients and ports by {dependence:.2}; {half:.3} of the letters are capital");
}

/// Strays by the thousand on the socket of a query in flight, then the answer: it is found among them, and no worker noticed.
#[test]
fn an_answer_is_found_behind_a_storm_of_strays() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let daemon = Daemon::start("127.0.0.1:0", vec![server.local_addr().unwrap()], Acl::default());
    let client = daemon.client();
    client.send(&query(1, "www.example")).unwrap();
    let mut buffer = [0; 512];
    let (_, from) = server.recv_from(&mut buffer).unwrap();
    for number in 0..3_000_u16 {
        // No header, no response, another opcode: what ends nothing.
        let junk = [&number.to_be_bytes()[..], &[u8::try_from(number % 7).unwrap(); 30]].concat();
        server.send_to(&junk[..usize::from(number % 32)], from).unwrap();
        if number % 100 == 0 {
            // As the kernel's buffer has room.
            sleep(Duration::from_millis(1));
        }
    }
    sleep(Duration::from_millis(50));
    // The question alone: an OPT of theirs would have to have a cookie of theirs.
    let mut answer = buffer[..12 + wire("www.example").len() + 4].to_vec();
    (answer[2], answer[3], answer[11]) = (0x81, 0x83, 0);
    server.send_to(&answer, from).unwrap();
    assert_eq!(rcode(&receive(&client)), ResponseCode::NXDomain);
    assert_eq!(addresses(&daemon.ask(BLOCKED)), [Ipv4Addr::UNSPECIFIED]);
    assert!(daemon.counters.spoof_ignored.get() > 1_000, "{}", daemon.counters.spoof_ignored.get());
    assert_eq!(daemon.counters.spoof_near_misses.get(), 0);
}
