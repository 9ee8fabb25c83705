//! The way to a remote: addresses that our own upstreams gave, keys and certificates, told to git without a shell ever reading
//! anything that a config or a remote wrote.

use std::net::IpAddr;
use std::path::Path;

use super::remote::{Protocol, Remote};

/// Addresses of one host that are tried.
const ADDRESSES_MAX: usize = 8;
/// The system's host keys.
const SYSTEM_HOSTS: &str = "/etc/ssh/ssh_known_hosts";
/// Options of every ssh: no config file, no question, no unknown host, nothing forwarded.
const SSH: &str = "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes -o GlobalKnownHostsFile=/dev/null \
    -o UpdateHostKeys=no -o CheckHostIP=no -o IdentitiesOnly=yes -o ClearAllForwardings=yes -o ForwardAgent=no \
    -o PermitLocalCommand=no -o ControlMaster=no -o ControlPath=none -o ConnectTimeout=10 -o ServerAliveInterval=15";

/// What git is told for one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Route {
    /// `-c` settings.
    pub(super) settings: Vec<String>,
    /// Environment.
    pub(super) env: Vec<(&'static str, String)>,
}

/// The attempts to make, in order. curl is given all addresses at once; ssh one at a time.
///
/// # Errors
/// A name without an address, or a path that could be read as more than a path.
pub(super) fn routes(remote: &Remote, resolve: &dyn Fn(&str) -> Vec<IpAddr>) -> Result<Vec<Route>, String> {
    let addresses = match remote.host_name() {
        Some(name) => {
            let mut addresses = resolve(name);
            addresses.truncate(ADDRESSES_MAX);
            if addresses.is_empty() {
                return Err(format!("our upstreams have no address for {name}"));
            }
            addresses
        }
        None => Vec::new(),
    };
    match remote.protocol() {
        Protocol::File => Ok(vec![Route::default()]),
        Protocol::Http | Protocol::Https => Ok(vec![http(remote, &addresses)?]),
        Protocol::Ssh if addresses.is_empty() => Ok(vec![ssh(remote, None)?]),
        Protocol::Ssh => addresses.iter().map(|address| ssh(remote, Some(*address))).collect(),
    }
}

/// Whether ssh says that it reached nobody, so that the next address is worth a try.
pub(super) fn is_no_connection(said: &str) -> bool {
    said.starts_with("ssh: connect to host ")
}

fn http(remote: &Remote, addresses: &[IpAddr]) -> Result<Route, String> {
    let mut route = Route::default();
    if let (Some(name), false) = (remote.host_name(), addresses.is_empty()) {
        let list: Vec<String> = addresses.iter().map(bracketed).collect();
        route.settings.push(format!("http.curloptResolve={name}:{}:{}", remote.port(), list.join(",")));
    }
    if let Some(ca) = &remote.transport.ca {
        route.settings.push(format!("http.sslCAInfo={}", plain(ca)?));
    }
    Ok(route)
}

fn ssh(remote: &Remote, address: Option<IpAddr>) -> Result<Route, String> {
    let transport = &remote.transport;
    let hosts = match &transport.known_hosts {
        Some(file) => plain(file)?,
        None => SYSTEM_HOSTS,
    };
    let mut command = format!("{SSH} -o UserKnownHostsFile={hosts}");
    if let Some(key) = &transport.ssh_key {
        command.push_str(&format!(" -i {}", plain(key)?));
    }
    if let Some(address) = address {
        let name = remote.host();
        // What known_hosts files call a host depends on its port.
        let alias = if remote.port() == 22 { name.to_owned() } else { format!("'[{name}]:{}'", remote.port()) };
        command.push_str(&format!(" -o HostName={address} -o HostKeyAlias={alias}"));
    }
    Ok(Route { settings: Vec::new(), env: vec![("GIT_SSH_COMMAND", command), ("GIT_SSH_VARIANT", "ssh".to_owned())] })
}

/// A path as neither a shell, ssh's `%` nor a list of files can misread it.
fn plain(path: &Path) -> Result<&str, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | '@' | ',');
    match path.to_str() {
        Some(text) if text.starts_with('/') && text.chars().all(good) => Ok(text),
        _ => Err(format!(
            "{}: give keys and certificates an absolute path of letters, digits and /._-+@,",
            path.display()
        )),
    }
}

fn bracketed(address: &IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two(_: &str) -> Vec<IpAddr> {
        vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()]
    }

    fn remote(url: &str) -> Remote {
        Remote::parse(url, false).unwrap()
    }

    #[test]
    fn curl_is_told_every_address_of_the_name() {
        let routes = routes(&remote("https://lists.example:8443/x"), &two).unwrap();
        assert_eq!(routes.len(), 1);
        assert_eq!(routes[0].settings, ["http.curloptResolve=lists.example:8443:192.0.2.1,[2001:db8::1]"]);
    }

    #[test]
    fn ssh_is_told_one_address_a_time_and_checks_the_name_s_key() {
        let mut to = remote("ssh://git@lists.example:2222/x");
        to.transport.known_hosts = Some("/etc/interdict/known_hosts".into());
        to.transport.ssh_key = Some("/etc/interdict/key".into());
        let routes = routes(&to, &two).unwrap();
        assert_eq!(routes.len(), 2);
        let (name, command) = &routes[1].env[0];
        assert_eq!(*name, "GIT_SSH_COMMAND");
        let end = "-o UserKnownHostsFile=/etc/interdict/known_hosts -i /etc/interdict/key -o HostName=2001:db8::1 \
            -o HostKeyAlias='[lists.example]:2222'";
        assert!(command.ends_with(end) && command.contains("StrictHostKeyChecking=yes"), "{command}");
    }

    #[test]
    fn addresses_and_files_need_no_resolver() {
        let never = |name: &str| -> Vec<IpAddr> { panic!("asked for {name}") };
        assert_eq!(routes(&remote("https://192.0.2.1/x"), &never), Ok(vec![Route::default()]));
        assert_eq!(routes(&remote("file:///srv/x"), &never), Ok(vec![Route::default()]));
        assert!(!routes(&remote("git@192.0.2.1:x"), &never).unwrap()[0].env[0].1.contains("HostName"));
    }

    #[test]
    fn a_name_without_address_is_refused_before_git_could_ask_elsewhere() {
        let refused = routes(&remote("https://lists.example/x"), &|_| Vec::new()).unwrap_err();
        assert_eq!(refused, "our upstreams have no address for lists.example");
    }

    #[test]
    fn a_path_that_a_shell_could_read_is_refused() {
        for bad in ["/a b", "/a;id", "relative", "/a'", "/$(id)", "/%h", "/a\"b"] {
            let mut to = remote("ssh://git@lists.example/x");
            to.transport.ssh_key = Some(bad.into());
            assert!(routes(&to, &two).unwrap_err().contains("absolute path"), "{bad}");
        }
    }
}
