//! Every capture of the reference material: as many frames as tcpdump reads, and no panic or hang over bent copies.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

#[path = "common/tier.rs"]
mod tier;

use interdict::base::wire::packet::{Content, Transport};
use interdict::io::capture::{FileSource, Next, Source};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fs;
use std::io::Cursor;
use std::path::PathBuf;
use std::process::Command;

fn captures() -> Vec<PathBuf> {
    let Some(folder) = tier::shared("captures") else { return Vec::new() };
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "pcap" || extension == "pcapng"));
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

/// Frames read, and packets that were understood down to a transport's ports.
fn read(mut source: FileSource) -> (u64, u64, Option<String>) {
    let (mut understood, mut error) = (0, None);
    loop {
        match source.next() {
            Ok(Next::Frame(frame)) => {
                let Ok(packet) = frame.decode() else { continue };
                let _ = packet.neighbour();
                let Content::Ip(ip) = packet.content else { continue };
                let _ = (ip.checksum(), ip.header_checksum_is_good(), packet.resume(ip.protocol, ip.payload));
                if let Transport::Icmp(icmp) = ip.transport {
                    let _ = icmp.quoted();
                }
                understood += u64::from(matches!(ip.transport, Transport::Tcp(_) | Transport::Udp(_)));
            }
            Ok(Next::Idle) => panic!("a file that is not followed never idles"),
            Ok(Next::End) => break,
            Err(stopped) => {
                error = Some(stopped.to_string());
                break;
            }
        }
    }
    (source.stats().frames, understood, error)
}

#[test]
fn every_capture_has_as_many_frames_as_tcpdump_says() {
    let paths = captures();
    let Some(tcpdump) = tier::program("tcpdump") else { return };
    let (mut frames, mut understood) = (0, 0);
    for path in paths {
        let ours = read(FileSource::open(&path, false).unwrap());
        let run = Command::new(&tcpdump).arg("-r").arg(&path).args(["-w", "-"]).output().unwrap();
        let theirs = read(FileSource::new("tcpdump".into(), Box::new(Cursor::new(run.stdout)), false));
        if run.status.success() {
            assert_eq!((ours.0, ours.1), (theirs.0, theirs.1), "{}: {:?}", path.display(), ours.2);
            assert_eq!(ours.2, None, "{}", path.display());
        } else {
            // Files of several link types, or damaged: tcpdump stops earlier, or where we do.
            assert!(ours.0 >= theirs.0, "{}: {} of {}, {:?}", path.display(), ours.0, theirs.0, ours.2);
        }
        frames += ours.0;
        understood += ours.1;
    }
    assert!(frames == 0 || understood * 20 > frames * 17, "{understood} of {frames}");
}

#[test]
fn bent_captures_end_without_a_panic() {
    let mut random = StdRng::seed_from_u64(tier::seed());
    let flips = tier::count(3, 30, 1_000);
    for path in captures() {
        let whole = fs::read(&path).unwrap();
        for _ in 0..flips {
            let mut bent = whole.clone();
            for _ in 0..random.random_range(1..8) {
                let at = random.random_range(0..bent.len());
                bent[at] = random.random();
            }
            read(FileSource::new(path.display().to_string(), Box::new(Cursor::new(bent)), false));
        }
    }
}
