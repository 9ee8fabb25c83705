//! The file as TOML has it: keys and types, nothing judged yet. Field names are the schema's keys.

use serde::Deserialize;
use toml::Spanned;

/// A text that knows where it stands.
pub(super) type Text = Spanned<String>;
/// A list of source ids.
pub(super) type Cited = Spanned<Vec<Text>>;

/// An entry and the line of its header.
#[derive(Debug)]
pub(super) struct At<T> {
    pub(super) line: u32,
    pub(super) entry: T,
}

#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) head: Vec<(super::Subject, At<Head>)>,
    pub(super) source: Vec<At<Source>>,
    pub(super) authority: Vec<At<Authority>>,
    pub(super) domain: Vec<At<Domain>>,
    pub(super) range: Vec<At<Range>>,
    pub(super) port: Vec<At<Port>>,
    pub(super) fallback: Vec<At<Fallback>>,
    pub(super) signature: Vec<At<Signature>>,
    pub(super) exclude: Vec<At<Exclude>>,
    pub(super) resolver: Vec<At<Resolver>>,
    pub(super) canary: Vec<At<Canary>>,
}

/// Declares the tables of the schema: each refuses keys that it does not know.
macro_rules! tables {
    ($($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident: $type:ty,)+ })+) => {$(
        $(#[$meta])*
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name { $($(#[$fmeta])* pub(super) $field: $type,)+ }
    )+};
}

tables! {
    Head {
        id: Text,
        name: Text,
        country: Option<Text>,
        #[serde(default)]
        aliases: Vec<Text>,
        answer: Option<Text>,
        #[serde(default)]
        notes: Vec<Text>,
    }
    Source {
        id: Text,
        title: Text,
        #[serde(rename = "where")]
        location: Text,
        licence: Option<Text>,
        version: Option<Text>,
        note: Option<Text>,
        public: Option<bool>,
    }
    Authority {
        id: Text,
        authority: Text,
        instrument: Text,
        citation: Text,
        jurisdiction: Text,
        kind: Text,
        binds: Option<Text>,
        issued: Option<Text>,
        effective: Option<Text>,
        url: Option<Text>,
        covers: Option<Text>,
        source: Cited,
        confidence: Text,
        verified: Option<bool>,
        #[serde(default)]
        clause: Vec<Spanned<Clause>>,
    }
    Clause {
        from: Text,
        until: Option<Text>,
        forbids: Spanned<Vec<Text>>,
    }
    Domain {
        name: Text,
        #[serde(rename = "match")]
        kind: Text,
        purpose: Text,
        source: Cited,
        confidence: Text,
        verified: Option<bool>,
        #[serde(default)]
        shared: bool,
        owner: Option<Text>,
        service: Option<Text>,
        #[serde(default)]
        protocols: Vec<Text>,
        #[serde(default)]
        examples: Vec<Text>,
        note: Option<Text>,
    }
    Range {
        cidr: Text,
        asn: Option<Spanned<u32>>,
        purpose: Text,
        source: Cited,
        confidence: Text,
        evidence: Text,
        #[serde(default)]
        shared: bool,
        carrier: Option<Text>,
        wide: Option<Spanned<bool>>,
        reason: Option<Text>,
        resolver: Option<Text>,
        note: Option<Text>,
    }
    Port {
        port: Spanned<Vec<Text>>,
        proto: Text,
        #[serde(rename = "use")]
        usage: Text,
        #[serde(default)]
        relay: bool,
        source: Cited,
        confidence: Text,
        verified: Option<bool>,
        direction: Option<Text>,
        note: Option<Text>,
    }
    Fallback {
        order: Spanned<u16>,
        address: Text,
        operator: Text,
        source: Cited,
        confidence: Text,
    }
    Signature {
        kind: Text,
        value: Spanned<Vec<Text>>,
        offset: Option<Spanned<u32>>,
        hex: Option<Text>,
        meaning: Option<Text>,
        source: Cited,
        confidence: Text,
        note: Option<Text>,
    }
    Exclude {
        name: Option<Text>,
        #[serde(default)]
        names: Vec<Text>,
        reason: Text,
        #[serde(default)]
        addresses: Vec<Text>,
        source: Cited,
    }
    Resolver {
        name: Text,
        group: Text,
        protocols: Vec<Text>,
        #[serde(default)]
        hosts: Vec<Text>,
        #[serde(default)]
        ipv4: Vec<Text>,
        #[serde(default)]
        ipv6: Vec<Text>,
        #[serde(default)]
        dnscrypt_ports: Vec<u16>,
        source: Cited,
    }
    Canary {
        name: Text,
        #[serde(rename = "match")]
        kind: Text,
        answer: Text,
        types: Vec<Text>,
        effect: Text,
        source: Cited,
        confidence: Text,
    }
}
