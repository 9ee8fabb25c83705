//! What was understood, told as observations.

use super::datagram;
use super::dialogue::Said;
use super::names::{Ends, NameKind, Seen};
use super::reader::{At, Observation};
use super::stream::Told;
use crate::base::name::NameBuf;
use crate::base::wire::host::Host;
use crate::base::wire::tls::ClientHello;

/// Who hears it.
pub(super) type Tell<'t> = &'t mut dyn FnMut(Observation<'_>);

/// What a stream said, unless another reading of it said it already.
pub(super) fn told(at: At, ends: Ends, heard: &mut Told, said: &Said<'_>, tell: Tell<'_>) {
    match said {
        Said::Hello(view) => {
            if heard.is_news(view.server_name().unwrap_or_default()) {
                said_hello(at, ends, NameKind::TlsSni, *view, tell);
            }
        }
        Said::Request(request) => {
            if heard.is_ambiguous && !heard.is_news(request.headers().first("host").unwrap_or_default()) {
                return;
            }
            let mut hosts = request.headers().all("host").filter(|written| !written.is_empty()).peekable();
            match request.target_authority() {
                Some(authority) if hosts.peek().is_none() => host(at, ends, NameKind::HttpHost, authority, tell),
                _ => hosts.for_each(|written| host(at, ends, NameKind::HttpHost, written, tell)),
            }
            tell(Observation::Request(at, ends, *request));
        }
        Said::Reply(reply) => tell(Observation::Reply(at, ends, *reply)),
        Said::Body(first) => tell(Observation::Body(at, ends, first)),
        Said::Authority(authority) => host(at, ends, NameKind::H2cAuthority, authority, tell),
        Said::Dns(message) => datagram::Service::Dns.read(at, ends, message, tell),
    }
}

pub(super) fn hello(at: At, ends: Ends, kind: NameKind, body: &[u8], tell: Tell<'_>) {
    if let Ok(view) = ClientHello::parse(body) {
        said_hello(at, ends, kind, view, tell);
    }
}

pub(super) fn said_hello(at: At, ends: Ends, kind: NameKind, view: ClientHello<'_>, tell: Tell<'_>) {
    if let Some(name) = view.server_name() {
        host(at, ends, kind, name, tell);
    }
    tell(Observation::Hello(at, ends, kind, view));
}

/// Tells a host by name.
pub(super) fn host(at: At, ends: Ends, kind: NameKind, written: &[u8], tell: Tell<'_>) {
    let host = Host::new(written);
    if host.is_empty() {
        return;
    }
    let name = host.name();
    let name = name.as_ref().map(NameBuf::as_ref);
    tell(Observation::Name(Seen { frame: at.frame, time_ns: at.time_ns, ends, kind, octets: host.octets(), name }));
}
