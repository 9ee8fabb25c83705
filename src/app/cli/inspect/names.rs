//! `--names`: every name, one JSON object a line.

use crate::base::wire::host::{escaped, shown};
use crate::engine::inspector::Seen;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// One line of JSON, in ASCII: no terminal is steered by a name.
pub(super) fn name(seen: &Seen<'_>) -> String {
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
