//! `[sinkhole]`: where connections to blocked names are taken, and who is led there.

use super::check::{Problems, network};
use crate::base::model::is_private;
use crate::policy::Sinkhole as Addresses;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use toml::Spanned;

/// Addresses that are listened on at most; each has sockets and a task.
const LISTEN_MAX: usize = 64;

/// The table as it is written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sinkhole {
    /// `addr:port`, TCP and UDP.
    pub listen: Vec<Spanned<String>>,
    /// At most one IPv4 and one IPv6 address; none means those of `listen`.
    pub address: Vec<Spanned<String>>,
    /// Networks of clients that may be led to a private address.
    pub private_for: Vec<Spanned<String>>,
}

/// Checks the table: where blocked names lead, and where we listen.
pub(super) fn check(p: &mut Problems<'_>, file: &Sinkhole) -> (Addresses, Vec<SocketAddr>) {
    let mut sinkhole = Addresses {
        private_for: file.private_for.iter().filter_map(|text| network(p, text, "private_for")).collect(),
        ..Addresses::default()
    };
    for text in &file.address {
        if let Some(address) = p.parse(text, "address", "write an IP address")
            && !add(p, text, &mut sinkhole, address)
        {
            p.push(text, "[sinkhole] address takes one IPv4 and one IPv6 address at most");
        }
    }
    let mut listen: Vec<SocketAddr> = Vec::new();
    for text in &file.listen {
        let Some(at) = p.parse::<SocketAddr>(text, "listen", "write \"address:port\", as \"192.0.2.7:443\"") else {
            continue;
        };
        if file.address.is_empty() {
            let address = at.ip();
            if address.is_unspecified() {
                p.push(
                    text,
                    &format!("listen = \"{at}\" does not say where blocked names lead; say it with [sinkhole] address"),
                );
            } else if !add(p, text, &mut sinkhole, address) {
                p.push(
                    text,
                    "blocked names can lead to one IPv4 and one IPv6 address only; say which with [sinkhole] address",
                );
            }
        }
        if !listen.contains(&at) {
            listen.push(at);
        }
    }
    if let Some(text) = file.listen.get(LISTEN_MAX) {
        p.push(text, &format!("[sinkhole] listen takes {LISTEN_MAX} addresses at most"));
    }
    (sinkhole, listen)
}

/// Adds an address that blocked names lead to; `false` where there is another one of its family.
fn add(p: &mut Problems<'_>, text: &Spanned<String>, sinkhole: &mut Addresses, address: IpAddr) -> bool {
    let before: Option<IpAddr> = match address {
        IpAddr::V4(v4) => sinkhole.v4.replace(v4).map(IpAddr::V4),
        IpAddr::V6(v6) => sinkhole.v6.replace(v6).map(IpAddr::V6),
    };
    if before.is_none() && is_private(address) && sinkhole.private_for.is_empty() {
        p.push(
            text,
            &format!(
                "the sinkhole's address {address} is private: clients and forwarders that filter against DNS rebinding take it for an \
                 attack; give an address that is not private, or name the clients that may have it with [sinkhole] private_for"
            ),
        );
    }
    before.is_none_or(|before| before == address)
}

#[cfg(test)]
mod tests {
    use crate::app::config::{Source, parse};

    fn said(table: &str) -> String {
        let text = format!("version = 1\n[sinkhole]\n{table}\n");
        match parse(&text, &Source::File("c.toml".into())) {
            Ok(config) => {
                let sinkhole = config.settings.sinkhole;
                format!("{:?} {:?} {}", sinkhole.v4, sinkhole.v6, config.sinkhole_listen.len())
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn where_names_lead_is_said_or_follows_from_where_we_listen() {
        for (table, expected) in [
            ("", "None None 0"),
            ("address = [\"198.18.0.1\", \"2001:db8::1\"]", "Some(198.18.0.1) Some(2001:db8::1) 0"),
            ("listen = [\"198.18.0.1:80\", \"198.18.0.1:443\"]", "Some(198.18.0.1) None 2"),
            ("listen = [\"0.0.0.0:80\"]\naddress = [\"198.18.0.1\"]", "Some(198.18.0.1) None 1"),
            ("listen = [\"10.0.0.1:80\"]\nprivate_for = [\"10.0.0.0/8\"]", "Some(10.0.0.1) None 1"),
            ("listen = [\"10.0.0.1:80\"]\naddress = [\"198.18.0.1\"]", "Some(198.18.0.1) None 1"),
        ] {
            assert_eq!(said(table), expected, "{table}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_one_sentence() {
        for (table, begin) in [
            ("listen = [\"0.0.0.0:80\"]", "c.toml:3: listen = \"0.0.0.0:80\" does not say where blocked names lead"),
            ("listen = [\"198.18.0.1:80\", \"198.18.0.2:80\"]", "c.toml:3: blocked names can lead to one IPv4"),
            ("address = [\"198.18.0.1\", \"198.18.0.2\"]", "c.toml:3: [sinkhole] address takes one IPv4"),
            ("address = [\"192.168.1.2\"]", "c.toml:3: the sinkhole's address 192.168.1.2 is private"),
            ("address = [\"127.0.0.1\"]", "c.toml:3: the sinkhole's address 127.0.0.1 is private"),
            ("listen = [\"x\"]", "c.toml:3: listen = \"x\""),
        ] {
            let said = said(table);
            assert!(said.starts_with(begin) && said.lines().count() == 1, "{table}: {said}");
        }
    }
}
