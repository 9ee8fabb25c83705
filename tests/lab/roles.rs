//! Parts that other hosts of a scenario play.

use crate::dns::{A, query};
use interdict::base::wire::quic::initials;
use interdict::base::wire::tls::{client_hello, record};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

/// How long a probe waits for its answer.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Plays a part until it is done or ended.
pub(crate) fn play(role: &str) {
    let words: Vec<&str> = role.split_whitespace().collect();
    match words.as_slice() {
        ["internet"] => internet(),
        ["probe", probes @ ..] => {
            for (at, probe) in probes.iter().enumerate() {
                println!("\nprobe {at} {}", outcome(&probe.split(',').collect::<Vec<_>>()));
            }
        }
        ["flood", source, destination, rate, seconds] => flood(source, destination, rate, seconds),
        ["first", destination, count] => first(destination, count.parse().unwrap()),
        ["through", resolver, name] => through(resolver, name),
        ["each", first, count, destination] => each(first, count, destination),
        ["talk", destination, seconds] => talk("", destination, seconds),
        ["talk-as", name, destination, seconds] => talk(name, destination, seconds),
        ["say", kind, to, name, padding, segment] => {
            let (padding, segment) = (padding.parse().unwrap(), segment.parse().unwrap());
            println!("\nsaid {}", word(say(kind, to.parse().unwrap(), name, padding, segment)));
        }
        ["dhcp", through, server, clients @ ..] => crate::devices::play(through, server, clients),
        _ => panic!("there is no part {role}"),
    }
}

/// Answers at every address of this host: TCP and UDP with an echo, DNS with an address of its own.
fn internet() {
    for port in [25, 80, 443, 853] {
        // Of both families.
        let listener = TcpListener::bind(("::", port)).unwrap();
        spawn(move || {
            for stream in listener.incoming().flatten() {
                spawn(move || echo(stream));
            }
        });
    }
    // An answer must come from the address that was asked, so each that is tried over UDP has a socket of its own.
    let resolvers = ["198.51.100.53", "8.8.8.8", "1.1.1.1", "9.9.9.9", "2001:4860:4860::8888"];
    let others = ["203.0.113.7", "203.0.113.96", "192.0.2.7", "192.0.2.33", "2001:db8:bad::7", "2001:db8:900d::7"];
    for address in resolvers.iter().chain(&others) {
        let ports: &[u16] = if resolvers.contains(address) { &[53, 853] } else { &[443] };
        for port in ports {
            let at = SocketAddr::new(address.parse().unwrap(), *port);
            let socket = UdpSocket::bind(at).unwrap_or_else(|error| panic!("{at}: {error}"));
            spawn(move || answer(&socket));
        }
    }
    println!("\ninternet is up");
    loop {
        sleep(Duration::from_secs(3_600));
    }
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 2_048];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}

/// To DNS queries 192.0.2.80, or, where the name begins with `to-` and a number, that address there; to everything else, the same again.
fn answer(socket: &UdpSocket) {
    let is_dns = socket.local_addr().unwrap().port() == 53;
    let mut buffer = [0; 2_048];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let mut reply = buffer[..length].to_vec();
        if is_dns && length > 12 {
            // The header and the question, without whatever else; then an A that points to the name asked for.
            let question = 12 + reply[12..].iter().position(|octet| *octet == 0).unwrap_or(0) + 5;
            reply.truncate(question);
            let is_a = reply[question - 4..question - 2] == [0, 1];
            reply[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
            if is_a {
                let label = String::from_utf8_lossy(&reply[13..13 + usize::from(reply[12])]).to_lowercase();
                let last = label.strip_prefix("to-").and_then(|number| number.parse().ok()).unwrap_or(80);
                reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, last]);
            }
        }
        let _ = socket.send_to(&reply, from);
    }
}

fn outcome(probe: &[&str]) -> String {
    let [protocol, source, destination, port] = probe else { panic!("{probe:?} is no probe") };
    let from = SocketAddr::new(source.parse().unwrap(), 0);
    let to = SocketAddr::new(destination.parse::<IpAddr>().unwrap(), port.parse().unwrap());
    let tried = if *protocol == "udp" { over_udp(from, to) } else { over_tcp(from, to) };
    word(tried)
}

fn word(tried: std::io::Result<()>) -> String {
    match tried {
        Ok(()) => "open".to_owned(),
        Err(error) => match error.raw_os_error() {
            Some(104 | 111) => "reset".to_owned(),
            // EACCES, EPERM, EHOSTUNREACH: an ICMP error that says that it is prohibited.
            Some(1 | 13 | 113) => "prohibited".to_owned(),
            // Resets that came while something was being sent.
            Some(32) => "reset".to_owned(),
            Some(11 | 110 | 115) | None => "silence".to_owned(),
            _ => error.to_string(),
        },
    }
}

fn over_udp(from: SocketAddr, to: SocketAddr) -> std::io::Result<()> {
    let socket = UdpSocket::bind(from)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(b"hello")?;
    socket.recv(&mut [0; 16]).map(|_| ())
}

fn over_tcp(from: SocketAddr, to: SocketAddr) -> std::io::Result<()> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(to), socket2::Type::STREAM, None)?;
    socket.bind(&from.into())?;
    socket.connect_timeout(&to.into(), PATIENCE)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"hello")?;
    stream.read_exact(&mut [0; 5])
}

/// Sends datagrams at a rate, whatever comes back; then says how many.
fn flood(source: &str, destination: &str, rate: &str, seconds: &str) {
    let socket = UdpSocket::bind(format!("{source}:0")).unwrap();
    let (rate, seconds): (u64, u64) = (rate.parse().unwrap(), seconds.parse().unwrap());
    let (begun, mut sent) = (Instant::now(), 0_u64);
    while begun.elapsed() < Duration::from_secs(seconds) {
        while sent < rate * begun.elapsed().as_millis() as u64 / 1_000 {
            // A refusal of an earlier one may come back as an error of this one, which is then not sent.
            if socket.send_to(b"flood", destination).is_ok() {
                sent += 1;
            }
        }
        sleep(Duration::from_millis(1));
    }
    println!("\nsent {sent}");
}

/// Begins connections and says how long the first answer took: microseconds over TCP, then over UDP, one a line.
fn first(destination: &str, count: usize) {
    let to: SocketAddr = destination.parse().unwrap();
    for _ in 0..count {
        let begun = Instant::now();
        let stream = TcpStream::connect(to).unwrap();
        println!("\ntcp {}", begun.elapsed().as_nanos() / 1_000);
        drop(stream);
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let begun = Instant::now();
        socket.send(b"hello").unwrap();
        socket.recv(&mut [0; 16]).unwrap();
        println!("\nudp {}", begun.elapsed().as_nanos() / 1_000);
    }
}

/// Asks every 20 ms from a port of its own until an answer is the resolver's own; says when the first that got through was sent.
fn through(resolver: &str, name: &str) {
    let (begun, message) = (Instant::now(), query(7, name, A));
    let mut asked: Vec<(Duration, UdpSocket)> = Vec::new();
    while begun.elapsed() < Duration::from_secs(12) {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect((resolver, 53)).unwrap();
        socket.set_nonblocking(true).unwrap();
        asked.push((begun.elapsed(), socket));
        // Where nobody listens, the kernel says so.
        let _ = asked.last().unwrap().1.send(&message);
        sleep(Duration::from_millis(20));
        let mut buffer = [0; 512];
        let is_own = |socket: &UdpSocket, buffer: &mut [u8; 512]| {
            socket.recv(buffer).is_ok_and(|length| buffer[..length].ends_with(&[192, 0, 2, 80]))
        };
        if let Some((sent, _)) = asked.iter().find(|(_, socket)| is_own(socket, &mut buffer)) {
            println!("\ndone {:.2}", sent.as_secs_f64());
            return;
        }
    }
    panic!("nothing got through to {resolver}");
}

/// One datagram from each of many addresses in a row.
fn each(first: &str, count: &str, destination: &str) {
    let first = u32::from(first.parse::<std::net::Ipv4Addr>().unwrap());
    for i in 0..count.parse().unwrap() {
        let socket = UdpSocket::bind((std::net::Ipv4Addr::from(first + i), 0)).unwrap();
        socket.send_to(b"one", destination).unwrap();
    }
    println!("\ndone");
}

/// Says a name to a server that says the same again, in segments of so many octets.
fn say(kind: &str, to: IpAddr, name: &str, padding: u16, segment: usize) -> std::io::Result<()> {
    let hello = client_hello(name, padding).unwrap();
    let (port, octets) = match kind {
        "quic1" | "quic2" => {
            let version = if kind == "quic1" { 1 } else { 0x6b33_43cf };
            let id = u64::from(std::process::id()).to_be_bytes();
            return datagrams((to, 443).into(), &initials(version, &id, &hello).unwrap());
        }
        "http" => (80, format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n").into_bytes()),
        _ => (443, record(&hello).unwrap()),
    };
    let mut stream = TcpStream::connect_timeout(&(to, port).into(), PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    for part in octets.chunks(if segment == 0 { octets.len() } else { segment }) {
        stream.write_all(part)?;
        if segment > 0 {
            sleep(Duration::from_millis(1));
        }
    }
    let mut back = vec![0; octets.len()];
    stream.read_exact(&mut back)
}

/// Sends datagrams, each of which comes back.
fn datagrams(to: SocketAddr, all: &[Vec<u8>]) -> std::io::Result<()> {
    let any: SocketAddr = if to.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    for datagram in all {
        socket.send(datagram)?;
    }
    for _ in all {
        socket.recv(&mut [0; 2_048])?;
    }
    Ok(())
}

/// Keeps one connection busy, which begins with a name if there is one; says how often an answer came, and whether it broke.
fn talk(name: &str, destination: &str, seconds: &str) {
    let mut stream = TcpStream::connect(destination).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let (begun, mut answers) = (Instant::now(), 0);
    if !name.is_empty() {
        let hello = if destination.ends_with(":80") {
            format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n").into_bytes()
        } else {
            record(&client_hello(name, 0).unwrap()).unwrap()
        };
        stream.write_all(&hello).unwrap();
        stream.read_exact(&mut vec![0; hello.len()]).unwrap();
    }
    while begun.elapsed() < Duration::from_secs(seconds.parse().unwrap()) {
        let said = stream.write_all(b"hello").and_then(|()| stream.read_exact(&mut [0; 5]));
        if let Err(error) = said {
            println!("\nbroken after {:.2} s and {answers}: {error}", begun.elapsed().as_secs_f64());
            return;
        }
        answers += 1;
        sleep(Duration::from_millis(5));
    }
    println!("\nunbroken {answers}");
}
