//! `interdict verify`: is what should be enforced enforced? Each path is tried with a harmless probe.

use super::args::{StatusFormat, VerifyArgs};
use super::check::moment;
use super::table::Table;
use super::{FAILED, Failure, Out};
use crate::app::config::{Config, load, running_store};
use crate::app::gateway::prepare;
use crate::app::lists;
use crate::app::verify::{Path, client_paths, counters, kernel_differences, name_ports, resolver_paths};
use crate::base::model::{TESTER_V4, TESTER_V6};
use crate::engine::gateway::Facts;
use crate::io::control::{Command, ask};
use crate::io::gateway::{Kernel, System};
use crate::io::probe::{Came, Probe, serve};
use crate::policy::Policy;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path as FilePath;
use std::process::{Child, Command as Program, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the daemon may take to know the new interface and to renew its redirect.
const SETTLE: Duration = Duration::from_millis(2_500);

/// The server of names, on a network of the tester's own.
const SERVER: Ipv4Addr = Ipv4Addr::new(169, 254, 173, 6);

/// What a path came to.
struct Row {
    path: &'static str,
    is_enforced: bool,
    evidence: String,
}

pub(super) fn run(args: &VerifyArgs, named: Option<&FilePath>, out: &mut Out) -> Result<u8, Failure> {
    if let Some(probe) = &args.probe {
        let ports = probe.strip_prefix("serve,").and_then(|ports| ports.split_once(','));
        if let Some((Ok(tcp), Ok(udp))) = ports.map(|(tcp, udp)| (tcp.parse(), udp.parse())) {
            return serve(tcp, udp).map(|()| 0).map_err(Failure::failed);
        }
        let probe: Probe = probe.parse().map_err(Failure::wrong)?;
        return out.line(&probe.run().to_string()).map(|()| 0).map_err(Failure::from);
    }
    let config = load(named)?;
    let policy = Policy::new(1, lists::load(&config)?.rules, Arc::new(config.settings.clone()), moment(None)?);
    let mut rows = resolver(&policy, named, &config)?;
    let is_applied = config.gateway.enabled || args.namespace;
    if is_applied {
        rows.extend(gateway(&policy, &config, args.namespace)?);
    }
    print(&rows, args.format, out)?;
    Ok(if rows.iter().all(|row| row.is_enforced) { 0 } else { FAILED })
}

/// Our own resolver, at the addresses that the daemon says.
fn resolver(policy: &Policy, named: Option<&FilePath>, config: &Config) -> Result<Vec<Row>, Failure> {
    let status = ask(&running_store(named)?, Command::Status).ok();
    let said = status.as_ref().and_then(|status| status.get("listen")).and_then(Value::as_array);
    let listen: Vec<SocketAddr> = match said {
        Some(all) => all.iter().filter_map(|address| address.as_str()?.parse().ok()).collect(),
        None => config.listen.clone(),
    };
    let row = |path: Path| {
        let came = path.probe.run();
        Row { path: path.name, is_enforced: came == path.expected, evidence: format!("{}: {came}", path.probe) }
    };
    Ok(resolver_paths(policy, &listen).into_iter().map(row).collect())
}

/// The kernel as it is, and with `--namespace` as a client meets it.
fn gateway(policy: &Policy, config: &Config, as_client: bool) -> Result<Vec<Row>, Failure> {
    let mut kernel = Kernel::open().map_err(Failure::failed)?;
    // What the kernel has is compared before there is an interface more.
    let prepared = prepare(policy, &config.gateway, &System::look(), &Facts::default())?;
    let differences = kernel_differences(&mut kernel, &prepared).map_err(Failure::failed)?;
    let evidence =
        if differences.is_empty() { "as planned".to_owned() } else { format!("differs: {}", differences.join(", ")) };
    let mut rows = vec![Row { path: "kernel", is_enforced: differences.is_empty(), evidence }];
    if as_client {
        let namespace = Namespace::new("interdict-v", TESTER_V4, Some(TESTER_V6))?;
        // Names are said to a server behind another interface, so that nothing leaves this machine.
        let server = Namespace::new("interdict-w", SERVER, None)?;
        let _serving = name_ports(&config.gateway).map(|ports| server.serve(ports)).transpose()?;
        let begun = Instant::now();
        while begun.elapsed() < SETTLE {
            std::thread::sleep(SETTLE / 10);
        }
        for path in client_paths(policy, &config.gateway, &prepared, SERVER.into()) {
            rows.push(try_path(&mut kernel, &namespace, &path)?);
        }
    }
    Ok(rows)
}

fn try_path(kernel: &mut Kernel, namespace: &Namespace, path: &Path) -> Result<Row, Failure> {
    let mut count = |name: &Option<String>| {
        let all = counters(kernel).map_err(Failure::failed)?;
        Ok::<_, Failure>(name.as_ref().and_then(|name| all.get(name)).map_or(0, |counted| counted.packets))
    };
    let before = count(&path.counter)?;
    let came = namespace.run(&path.probe)?;
    let counted = count(&path.counter)?.saturating_sub(before);
    let is_counted = path.counter.is_none() || counted > 0;
    let counter = path.counter.as_ref().map_or_else(String::new, |name| format!("; {name} counted {counted}"));
    let is_enforced = came == path.expected && is_counted;
    Ok(Row { path: path.name, is_enforced, evidence: format!("{}: {came}{counter}", path.probe) })
}

fn print(rows: &[Row], format: StatusFormat, out: &mut Out) -> Result<(), Failure> {
    let word = |row: &Row| if row.is_enforced { "enforced" } else { "NOT enforced" };
    match format {
        StatusFormat::Json => {
            let rows =
                rows.iter().map(|row| json!({"path": row.path, "enforced": row.is_enforced, "evidence": row.evidence}));
            out.json(&Value::Array(rows.collect()))?;
        }
        StatusFormat::Text => {
            let mut table = Table::new(&["path", "result", "evidence"]);
            for row in rows {
                table.row(vec![row.path.to_owned(), word(row).to_owned(), row.evidence.clone()]);
            }
            out.line(&table.text())?;
        }
    }
    Ok(())
}

//----------- The client -----------------------------------------------------

/// A host behind the gateway in a network namespace of its own, which goes when this is dropped.
struct Namespace {
    name: String,
    interface: &'static str,
}

/// A server that ends when this is dropped.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Namespace {
    fn new(interface: &'static str, v4: Ipv4Addr, v6: Option<Ipv6Addr>) -> Result<Self, Failure> {
        let made = Self { name: format!("{interface}-{}", std::process::id()), interface };
        let name = made.name.as_str();
        ip(&["netns", "add", name])?;
        ip(&["link", "add", interface, "type", "veth", "peer", "name", "eth0", "netns", name])?;
        let router = neighbour(v4.into());
        ip(&["addr", "add", &format!("{router}/30"), "dev", interface])?;
        ip(&["link", "set", interface, "up"])?;
        ip(&["-n", name, "link", "set", "eth0", "up"])?;
        ip(&["-n", name, "addr", "add", &format!("{v4}/30"), "dev", "eth0"])?;
        ip(&["-n", name, "route", "add", "default", "via", &router])?;
        if let Some(v6) = v6 {
            let router = neighbour(v6.into());
            // A machine without IPv6 is tried without it.
            if ip(&["addr", "add", &format!("{router}/64"), "dev", interface, "nodad"]).is_ok() {
                ip(&["-n", name, "addr", "add", &format!("{v6}/64"), "dev", "eth0", "nodad"])?;
                ip(&["-n", name, "-6", "route", "add", "default", "via", &router])?;
            }
        }
        Ok(made)
    }

    /// Lets a server of names run there.
    fn serve(&self, (tcp, udp): (u16, u16)) -> Result<Serving, Failure> {
        let mut program = self.program(&format!("serve,{tcp},{udp}"))?;
        program.stdout(Stdio::null()).spawn().map(Serving).map_err(Failure::failed)
    }

    /// Ourselves with a probe, there.
    fn program(&self, probe: &str) -> Result<Program, Failure> {
        let ourselves = std::env::current_exe().map_err(Failure::failed)?;
        let mut program = Program::new("ip");
        program.args(["netns", "exec", &self.name]).arg(ourselves).args(["verify", "--probe", probe]);
        program.stdin(Stdio::null());
        Ok(program)
    }

    /// Tries a probe from there.
    fn run(&self, probe: &Probe) -> Result<Came, Failure> {
        let output = self.program(&probe.to_string())?.output().map_err(Failure::failed)?;
        let said = String::from_utf8_lossy(&output.stdout);
        Ok(said.trim().parse().unwrap_or_else(|never: std::convert::Infallible| match never {}))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Both ends of the pair go with either.
        let _ = ip(&["link", "del", self.interface]);
        let _ = ip(&["netns", "del", &self.name]);
    }
}

/// Our end of the pair: the address before the tester's.
fn neighbour(tester: IpAddr) -> String {
    match tester {
        IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) - 1).into()).to_string(),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) - 1).into()).to_string(),
    }
}

fn ip(arguments: &[&str]) -> Result<(), Failure> {
    let failed = |why: String| {
        Failure::failed(format!("`ip {}`: {why}; --namespace needs root and iproute2", arguments.join(" ")))
    };
    let output = Program::new("ip").args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ")))
}
