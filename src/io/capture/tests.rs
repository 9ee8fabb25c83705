//! Files of every shape, read back.

use super::*;
use crate::base::wire::packet::{Direction, LinkType};
use captures::*;
use std::fs::OpenOptions;
use std::io::{Cursor, Write};

#[path = "../../../tests/common/captures.rs"]
mod captures;

/// What is compared of a frame.
type Seen = (u64, u16, Vec<u8>, u32, u32);

fn source(octets: &[u8]) -> FileSource {
    FileSource::new("test.pcap".into(), Box::new(Cursor::new(octets.to_vec())), false)
}

fn read(source: &mut FileSource) -> (Vec<Seen>, Result<(), String>) {
    let mut seen = Vec::new();
    loop {
        match source.next() {
            Ok(Next::Frame(f)) => seen.push((f.time_ns, f.link.0, f.bytes.to_vec(), f.original_len, f.interface)),
            Ok(Next::Idle) => panic!("a file that is not followed never idles"),
            Ok(Next::End) => return (seen, Ok(())),
            Err(error) => return (seen, Err(error.to_string())),
        }
    }
}

fn all(octets: &[u8]) -> Vec<Seen> {
    let (seen, end) = read(&mut source(octets));
    end.unwrap();
    seen
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn pcap_of_either_order_and_resolution_is_read() {
    for order in [Order::Little, Order::Big] {
        for (magic, step) in [(0xa1b2_c3d4, 1_000), (0xa1b2_3c4d, 1)] {
            let octets = [
                pcap_head(order, magic, 0x3000_0001),
                pcap_record(order, 5, 7, b"one"),
                pcap_record(order, 6, 8, b""),
                order.four(7),
                order.four(9),
                order.four(3),
                order.four(1500),
                b"cut".to_vec(),
            ]
            .concat();
            let expected = vec![
                (5 * SECOND + 7 * step, 1, b"one".to_vec(), 3, 0),
                (6 * SECOND + 8 * step, 1, vec![], 0, 0),
                (7 * SECOND + 9 * step, 1, b"cut".to_vec(), 1500, 0),
            ];
            assert_eq!(all(&octets), expected, "{order:?} {magic:x}");
        }
        let extra = [order.four(2), order.two(8), vec![4, 0]].concat();
        let head = [order.four(1), order.four(2), order.four(1), order.four(1)].concat();
        let octets = [pcap_head(order, 0xa1b2_cd34, 113), head, extra, b"x".to_vec()].concat();
        let mut source = source(&octets);
        let Next::Frame(frame) = source.next().unwrap() else { panic!("no frame") };
        assert_eq!((frame.direction, frame.link, frame.bytes), (Some(Direction::Out), LinkType::SLL, &b"x"[..]));
        let versions = [order.four(0xa1b2_c3d4), order.two(2), order.two(2), vec![0; 12], order.four(1)].concat();
        let swapped = [order.four(1), order.four(0), order.four(9), order.four(1), b"x".to_vec()].concat();
        assert_eq!(all(&[versions, swapped].concat()), vec![(SECOND, 1, b"x".to_vec(), 9, 0)], "before version 2.3");
    }
}

#[test]
fn pcapng_of_either_order_is_read_block_by_block() {
    for (order, other) in [(Order::Little, Order::Big), (Order::Big, Order::Little)] {
        let direction =
            [option(order, 1, b"a comment"), option(order, 2, &order.four(2)), option(order, 0, b"")].concat();
        let octets = [
            section(order),
            block(order, 4, &[0; 40]),
            interface(order, 1, 0, &[]),
            interface(order, 101, 4, &[option(order, 2, b"eth0"), option(order, 9, &[9])].concat()),
            interface(order, 113, 0, &option(order, 9, &[0x8a])),
            block(order, 0x0000_0bad, b"custom"),
            enhanced(order, 0, 3_000_005, b"first", &[]),
            enhanced(order, 1, 3_000_000_006, b"second!", &direction),
            enhanced(order, 2, 3 * 1024 + 512, b"third", &[]),
            enhanced(order, 7, 1, b"of no interface", &[]),
            old(order, 1, 7, b"fourth"),
            simple(order, 900, b"fifth"),
            block(order, 10, &[0xaa; 3000]),
            statistics(order, 0, 4),
            statistics(order, 1, 5),
            statistics(order, 0, 6),
            section(other),
            interface(other, 228, 0, &option(other, 14, &other.eight(1))),
            enhanced(other, 0, 1, b"sixth", &[]),
            simple(other, 2, b"seventh"),
            statistics(other, 0, 1),
        ]
        .concat();
        let expected = vec![
            (3 * SECOND + 5_000, 1, b"first".to_vec(), 5, 0),
            (3 * SECOND + 6, 101, b"second!".to_vec(), 7, 1),
            (3 * SECOND + SECOND / 2, 113, b"third".to_vec(), 5, 2),
            (7, 101, b"fourth".to_vec(), 6, 1),
            (0, 1, b"fifth\0\0\0".to_vec(), 900, 0),
            (SECOND + 1_000, 228, b"sixth".to_vec(), 5, 0),
            (SECOND, 228, b"se".to_vec(), 2, 0),
        ];
        let mut source = source(&octets);
        let (seen, end) = read(&mut source);
        end.unwrap();
        assert_eq!(seen, expected);
        let stats = source.stats();
        assert_eq!((stats.frames, stats.skipped, stats.dropped, stats.torn), (7, 1, 12, 0));
        assert_eq!(stats.octets, octets.len() as u64);
    }
}

#[test]
fn directions_and_limits_of_interfaces_are_kept() {
    let order = Order::Little;
    let flags = |direction: u32| option(order, 2, &order.four(direction));
    let octets = [
        section(order),
        interface(order, 1, 4, &[]),
        enhanced(order, 0, 0, b"odd", &flags(1)),
        enhanced(order, 0, 0, b"four", &flags(2)),
        enhanced(order, 0, 0, b"none", &flags(0)),
        simple(order, 900, b"cut!padding."),
    ]
    .concat();
    let mut source = source(&octets);
    let expected: [(&[u8], _); 4] =
        [(b"odd", Some(Direction::In)), (b"four", Some(Direction::Out)), (b"none", None), (b"cut!", None)];
    for expected in expected {
        let Next::Frame(frame) = source.next().unwrap() else { panic!("no frame") };
        assert_eq!((frame.bytes, frame.direction), expected);
    }
}

#[test]
fn a_torn_end_is_no_error_and_is_counted() {
    let classic = [pcap_head(Order::Little, 0xa1b2_c3d4, 1), pcap_record(Order::Little, 1, 0, b"whole")].concat();
    let newer = [section(Order::Big), interface(Order::Big, 1, 0, &[])].concat();
    let newer = [newer, enhanced(Order::Big, 0, 0, b"whole", &[])].concat();
    for (octets, last) in
        [(classic, pcap_record(Order::Little, 1, 0, b"torn")), (newer, enhanced(Order::Big, 0, 0, b"torn", &[]))]
    {
        for len in 1..last.len() {
            let mut source = source(&[&octets[..], &last[..len]].concat());
            let (seen, end) = read(&mut source);
            assert_eq!((seen.len(), end), (1, Ok(())), "{len}");
            assert_eq!(source.stats().torn, len as u64);
        }
    }
    for len in 0..24 {
        let head = pcap_head(Order::Little, 0xa1b2_c3d4, 1);
        assert_eq!(read(&mut source(&head[..len])), (vec![], Ok(())), "{len}");
    }
}

#[test]
fn what_cannot_be_is_said_with_its_place() {
    let order = Order::Little;
    let long = [pcap_head(order, 0xa1b2_c3d4, 1), pcap_record(order, 1, 0, b"whole"), vec![0xff; 16]].concat();
    let ng = [section(order), interface(order, 1, 0, &[])].concat();
    let at = ng.len();
    let mut differs = [ng.clone(), enhanced(order, 0, 0, b"x", &[])].concat();
    *differs.last_mut().unwrap() = 9;
    let mut beyond = [ng.clone(), enhanced(order, 0, 0, b"x", &[])].concat();
    beyond[at + 20] = 200;
    let mut into_the_length = [ng.clone(), enhanced(order, 0, 0, b"x", &[])].concat();
    into_the_length[at + 20] = 6;
    let odd = [ng.clone(), order.four(6), order.four(33)].concat();
    let huge = [ng, order.four(6), order.four(0x7fff_fffc)].concat();
    let mut orderless = section(order);
    orderless[8] = 1;
    for (octets, place, what) in [
        (long, "test.pcap: offset 45: ", "4294967295 octets"),
        (differs, &format!("test.pcap: offset {at}: ")[..], "two lengths differ"),
        (beyond, &format!("test.pcap: offset {at}: "), "its frame has 200"),
        (into_the_length, &format!("test.pcap: offset {at}: "), "its frame has 6"),
        (odd, &format!("test.pcap: offset {at}: "), "33 octets"),
        (huge, &format!("test.pcap: offset {at}: "), "2147483644 octets"),
        (orderless, "test.pcap: offset 0: ", "byte order"),
        (b"<!DOCTYPE html><html></html>".to_vec(), "test.pcap: is neither", "3c, 21, 44, 4f"),
    ] {
        let sentence = read(&mut source(&octets)).1.unwrap_err();
        assert!(sentence.starts_with(place) && sentence.contains(what), "{sentence}");
    }
    let gone = FileSource::open("/nowhere/a.pcap".as_ref(), false).err().unwrap().to_string();
    assert!(gone.starts_with("/nowhere/a.pcap: cannot be opened"), "{gone}");
}

#[test]
fn a_file_that_grows_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("growing.pcap");
    std::fs::write(&path, b"").unwrap();
    let mut source = FileSource::open(&path, true).unwrap();
    assert_eq!(source.next().unwrap(), Next::Idle);
    let octets = pcap(1, &[b"one".to_vec(), b"two".to_vec()]);
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    let mut seen = 0;
    for piece in octets.chunks(25) {
        file.write_all(piece).unwrap();
        while matches!(source.next().unwrap(), Next::Frame(_)) {
            seen += 1;
        }
    }
    assert_eq!((seen, source.stats().torn), (2, 0));
}

#[test]
fn a_compressed_file_is_read_as_far_as_it_goes() {
    let frames: Vec<Vec<u8>> = (0..400_u32).map(|number| number.to_be_bytes().repeat(50)).collect();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&pcap(1, &frames)).unwrap();
    let octets = encoder.finish().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("compressed");
    std::fs::write(&path, &octets).unwrap();
    let mut source = FileSource::open(&path, false).unwrap();
    assert_eq!((read(&mut source).0.len(), source.stats().torn), (400, 0));
    std::fs::write(&path, &octets[..octets.len() / 2]).unwrap();
    let mut source = FileSource::open(&path, false).unwrap();
    let (seen, end) = read(&mut source);
    assert!((1..400).contains(&seen.len()) && end.is_ok() && source.stats().torn > 0, "{} {end:?}", seen.len());
}

#[test]
fn what_is_written_is_read_back() {
    let mut writer = PcapWriter::new(Vec::new(), LinkType::ETHERNET).unwrap();
    let plain = Frame { time_ns: 5 * SECOND + 7, original_len: 99, ..Frame::new(LinkType::ETHERNET, &[7; 30]) };
    writer.write(&plain).unwrap();
    writer.write(&Frame { vlan_tag: Some(0x6005), ..plain }).unwrap();
    writer.write(&Frame { link: LinkType::RAW, ..plain }).unwrap();
    assert_eq!(writer.refused(), 1);
    let octets = writer.finish().unwrap();
    let tagged = [&[7; 12][..], &[0x81, 0, 0x60, 5], &[7; 18]].concat();
    let expected = vec![(5 * SECOND + 7, 1, vec![7; 30], 99, 0), (5 * SECOND + 7, 1, tagged, 103, 0)];
    assert_eq!(all(&octets), expected);
}

#[test]
fn a_file_of_several_link_types_is_read_back() {
    let mut writer = PcapNgWriter::new(Vec::new()).unwrap();
    let plain =
        Frame { time_ns: 1_700_000_000 * SECOND + 7, original_len: 99, ..Frame::new(LinkType::ETHERNET, &[7; 30]) };
    let raw = Frame { time_ns: 5, ..Frame::new(LinkType::RAW, &[1, 2, 3, 4, 5]) };
    for frame in [plain, raw, Frame { vlan_tag: Some(0x6005), ..plain }, raw] {
        writer.write(&frame).unwrap();
    }
    let tagged = [&[7; 12][..], &[0x81, 0, 0x60, 5], &[7; 18]].concat();
    let of_raw = (5, 101, vec![1, 2, 3, 4, 5], 5, 1);
    let expected = [(plain.time_ns, 1, vec![7; 30], 99, 0), of_raw.clone(), (plain.time_ns, 1, tagged, 103, 0), of_raw];
    for link in 1_000..1_100 {
        writer.write(&Frame { link: LinkType(link), ..raw }).unwrap();
    }
    assert_eq!(writer.refused(), 100 - 62);
    let (seen, end) = read(&mut source(&writer.finish().unwrap()));
    assert_eq!((&seen[..4], seen.len(), end), (&expected[..], 4 + 62, Ok(())));
}
