//! Sets, their elements, and where the kernel enters chains, as the kernel's attributes.

use super::encode::{CODE_GOTO, INTERFACE_OCTETS, LIST_ELEMENT, octets, verdict};
use crate::engine::gateway::{Element, Elements, Family, Hook, Key, Range, Set, SetKind};
use crate::io::sys::netlink::Writer;

/// Octets of elements in one message: the length of an attribute has 16 bits.
const ELEMENTS_OCTETS_MAX: usize = 48 << 10;
/// Octets of one element with its end and the longest name of a chain, at most.
const ELEMENT_OCTETS_MAX: usize = 512;
const DATA_VERDICT: u32 = 0xffff_ff00;

/// Writes where the kernel enters a chain.
pub(super) fn hook(writer: &mut Writer, hook: Hook, priority: i32) {
    let (kind, number) = match hook {
        Hook::Redirect => ("nat", 0),
        Hook::Forward => ("filter", 2),
        Hook::Output => ("filter", 3),
    };
    writer.nested(4, |inner| {
        inner.number(1, number);
        inner.attribute(2, &priority.to_be_bytes());
    });
    // Accept: what no rule stops, passes.
    writer.number(5, 1);
    writer.text(7, kind);
}

/// Writes what a set is.
pub(super) fn set(writer: &mut Writer, set: &Set, id: u32) {
    for (attribute, number) in (3..).zip(nature(set)) {
        writer.number(attribute, number);
    }
    if set.kind == SetKind::Chains {
        writer.number(6, DATA_VERDICT);
    }
    if let SetKind::Logged { timeout_s, size } = set.kind {
        writer.nested(9, |inner| inner.number(1, size));
        writer.attribute(11, &(u64::from(timeout_s) * 1_000).to_be_bytes());
    }
    writer.number(10, id);
    if set.key == Key::Interface {
        // To the nft program: the key is in the order of the processor, as names of interfaces are to it.
        writer.attribute(13, &[0, 4, 1, 0, 0, 0]);
    }
}

/// Flags, type and length of the key of a set.
pub(super) const fn nature(set: &Set) -> [u32; 3] {
    const INTERVAL: u32 = 0x4;
    const MAP: u32 = 0x8;
    const TIMEOUT: u32 = 0x10;
    const EVAL: u32 = 0x20;
    let flags = match set.kind {
        SetKind::Plain => 0,
        SetKind::Ranges => INTERVAL,
        SetKind::Chains => INTERVAL | MAP,
        SetKind::Timed => TIMEOUT,
        SetKind::Logged { .. } => TIMEOUT | EVAL,
    };
    // Types are those of the nft program: it lists what it can name.
    let (kind, length) = match set.key {
        Key::Address(Family::V4) => (7, 4),
        Key::Address(Family::V6) => (8, 16),
        Key::Port => (13, 2),
        Key::Interface => (41, INTERFACE_OCTETS as u32),
    };
    [flags, kind, length]
}

/// Writes elements, as many as fit a message; returns how many those are.
pub(super) fn elements<'e>(
    writer: &mut Writer,
    elements: &mut std::iter::Peekable<impl Iterator<Item = (&'e Element, &'e Option<std::sync::Arc<str>>)>>,
    timeout_ms: Option<u64>,
) {
    let begin = writer.octets().len();
    writer.nested(3, |list| {
        while list.octets().len() - begin < ELEMENTS_OCTETS_MAX - ELEMENT_OCTETS_MAX {
            let Some((element, chain)) = elements.next() else { return };
            list.nested(LIST_ELEMENT, |inner| {
                inner.nested(1, |key| key.attribute(1, &key_of(element)));
                if let Some(chain) = chain {
                    inner.nested(2, |data| verdict(data, CODE_GOTO, Some(chain)));
                }
                if let Some(timeout) = timeout_ms {
                    inner.attribute(4, &timeout.to_be_bytes());
                }
            });
            // The end of a range is an element by itself; at the end of the line there is none.
            if let Element::Range(range) = element
                && let Some(end) = range.next()
            {
                list.nested(LIST_ELEMENT, |inner| {
                    inner.nested(1, |key| key.attribute(1, &octets(end)));
                    inner.number(3, 1);
                });
            }
        }
    });
}

/// How many elements the kernel counts for ours.
pub(super) fn count(elements: &Elements) -> usize {
    let ends = |element: &Element| usize::from(matches!(element, Element::Range(range) if range.next().is_some()));
    elements.keys().map(|element| 1 + ends(element)).sum()
}

fn key_of(element: &Element) -> Vec<u8> {
    match element {
        Element::Range(Range { first, .. }) | Element::Address(first) => octets(*first),
        Element::Port(port) => port.to_be_bytes().to_vec(),
        Element::Interface(name) => {
            let mut octets = name.as_bytes().to_vec();
            octets.resize(INTERFACE_OCTETS, 0);
            octets
        }
    }
}
