//! Writes a capture of made-up traffic, for `benches/inspect_speed.py`:
//!
//! ```text
//! cargo run --release --example traffic -- handshakes|bulk FILE [MEGABYTES [SEED]]
//! ```
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "a program for the desk")]
#![allow(dead_code, reason = "the benches use other parts of the generator")]

#[path = "common/traffic.rs"]
mod traffic;

use std::io::{BufWriter, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| arguments.get(at).map_or(Some(default), |text| text.parse().ok());
    let (Some([kind, path]), Some(megabytes), Some(seed)) = (arguments.first_chunk(), number(2, 0), number(3, 1))
    else {
        eprintln!("usage: traffic handshakes|bulk FILE [MEGABYTES [SEED]]");
        return ExitCode::from(2);
    };
    let (write, default): (fn(u64, u64, &mut dyn Write) -> _, _) = match kind.as_str() {
        "handshakes" => (traffic::handshakes, 260),
        "bulk" => (traffic::bulk, 1_500),
        _ => {
            eprintln!("{kind}: there are handshakes and bulk");
            return ExitCode::from(2);
        }
    };
    let megabytes = if megabytes == 0 { default } else { megabytes };
    let written = std::fs::File::create(path).and_then(|file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let packets = write(seed, megabytes * 1_000_000, &mut out)?;
        out.flush().map(|()| packets)
    });
    match written {
        Ok(packets) => {
            eprintln!("{path}: {packets} packets");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{path}: {error}");
            ExitCode::FAILURE
        }
    }
}
