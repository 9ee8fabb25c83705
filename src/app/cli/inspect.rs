//! `interdict inspect`: what captured packets say about who talks to listed vendors.

use super::args::InspectArgs;
use super::{Failure, Out};
use crate::base::model::Mono;
use crate::base::wire::host::{escaped, shown};
use crate::engine::inspector::{Observation, Reader, Seen};
use crate::io::capture::{CaptureError, FileSource, Next, Source};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io;

impl From<CaptureError> for Failure {
    fn from(error: CaptureError) -> Self {
        Self::failed(error)
    }
}

pub(super) fn run(args: &InspectArgs, out: &mut Out) -> Result<u8, Failure> {
    for file in &args.read {
        let mut source = FileSource::open(file, false)?;
        names(&mut source, out)?;
    }
    out.flush()?;
    Ok(0)
}

/// Prints every name of a source, also of one that breaks off.
fn names(source: &mut dyn Source, out: &mut Out) -> Result<(), Failure> {
    let mut reader = Reader::new();
    let mut written: io::Result<()> = Ok(());
    let mut tell = |observation: Observation<'_>| {
        if let Observation::Name(seen) = observation
            && written.is_ok()
        {
            written = out.line(&name(&seen));
        }
    };
    let ended = loop {
        match source.next() {
            Ok(Next::Frame(frame)) => reader.handle_frame(Mono::from_nanos(frame.time_ns), &frame, &mut tell),
            Ok(Next::Idle) => {}
            Ok(Next::End) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    reader.finish(&mut tell);
    written?;
    Ok(ended?)
}

/// One line of JSON, in ASCII: no terminal is steered by a name.
fn name(seen: &Seen<'_>) -> String {
    let (seconds, nanos) = (seen.time_ns / 1_000_000_000, seen.time_ns % 1_000_000_000);
    let mut line = json!({
        "frame": seen.frame,
        "time": format!("{seconds}.{nanos:09}"),
        "src": seen.ends.src,
        "sport": seen.ends.sport,
        "dst": seen.ends.dst,
        "dport": seen.ends.dport,
        "proto": seen.kind.as_str(),
        "name": shown(seen.octets),
    });
    // Not every octet has a character; this says them all.
    let exact = escaped(seen.octets);
    if line.get("name").and_then(Value::as_str) != Some(&exact)
        && let Some(object) = line.as_object_mut()
    {
        object.insert("escaped".into(), exact.into());
    }
    ascii(&line.to_string())
}

fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            text.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text
}
