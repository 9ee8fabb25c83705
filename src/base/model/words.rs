//! The small vocabularies of decisions and sightings.

use super::{Family, Purpose, vocabulary};

vocabulary! {
    /// What is wanted for a vendor × purpose.
    pub enum Stage {
        /// Nothing: the rule is not looked at.
        Off => "off",
        /// Let it pass and record it.
        Observe => "observe",
        /// Stop it and record it.
        Block => "block",
    }
}

vocabulary! {
    /// A verdict in one word.
    pub enum Decision {
        /// No rule is against it, or an exception is for it.
        Allow => "allow",
        /// It passes and is recorded.
        Observe => "observe",
        /// It is stopped and recorded.
        Block => "block",
    }
}

vocabulary! {
    /// How a blocked name is answered.
    pub enum BlockAnswer {
        /// The name does not exist, with an SOA (RFC 2308).
        Nxdomain => "nxdomain",
        /// The name has no data of that type, with an SOA.
        Nodata => "nodata",
        /// An address that leads nowhere: `0.0.0.0` and `::`; NODATA for other types.
        Null => "null",
        /// RCODE 5.
        Refused => "refused",
        /// The configured sinkhole's address; NODATA for other types.
        Sinkhole => "sinkhole",
        /// No answer at all.
        Drop => "drop",
        /// Truncated over UDP, so that the client asks again over TCP; there it passes.
        TcpOnly => "tcp-only",
    }
}

vocabulary! {
    /// How an attempt was seen.
    pub enum Channel {
        /// A query for a listed name.
        Dns => "dns",
        /// An upstream answer that led to a listed name or address.
        DnsAnswer => "dns-answer",
        /// A packet to a listed address.
        Address => "address",
        /// The server name of a TLS handshake.
        TlsSni => "tls-sni",
        /// The server name of a QUIC handshake.
        QuicSni => "quic-sni",
        /// The Host of an HTTP request.
        HttpHost => "http-host",
        /// A payload that only this vendor's products send.
        Signature => "signature",
        /// A connection to the sinkhole.
        Sinkhole => "sinkhole",
        /// Traffic handed on for other endpoints.
        Relay => "relay",
    }
}

vocabulary! {
    /// What became of an attempt.
    pub enum Outcome {
        /// It was stopped.
        Blocked => "blocked",
        /// It passed, as wanted.
        Observed => "observed",
        /// It passed because of an operator's exception.
        Excepted => "excepted",
        /// It passed although it should have been stopped.
        Leaked => "leaked",
        /// Not known.
        Unknown => "unknown",
    }
}

vocabulary! {
    /// What a row proves.
    pub enum Grade {
        /// The endpoint was in touch with the vendor: a name in a web page, a mail server, a scanner may be why.
        Contact => "contact",
        /// Software of the vendor is at work: update or telemetry more than once, forms that its products send, or what it said first
        /// to a sinkhole.
        Software => "software",
        /// A product of the vendor: it did what only the vendor's documentation says of it.
        Product => "product",
    }
}

impl Grade {
    /// What attempts for a purpose prove, by how many there were and how they were seen.
    #[must_use]
    pub fn of(purpose: Purpose, count: u64, channels: impl IntoIterator<Item = Channel>) -> Self {
        let is_telling = matches!(purpose.family(), Family::Update | Family::Telemetry) && count > 1;
        let mut channels = channels.into_iter();
        if is_telling || channels.any(|channel| matches!(channel, Channel::Signature | Channel::Sinkhole)) {
            Self::Software
        } else {
            Self::Contact
        }
    }
}

vocabulary! {
    /// Who caused a sighting.
    pub enum Origin {
        /// An endpoint.
        Client => "client",
        /// Our own test of the enforcement.
        SelfTest => "self-test",
        /// Our own resolution of a listed name.
        SelfResolve => "self-resolve",
        /// Somebody else's log.
        Import => "import",
    }
}
