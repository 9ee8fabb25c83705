//! Sockets, runtimes and threads of the data plane.

use super::StartError;
use super::activate::Activator;
use super::servers;
use super::sighted;
use super::sinkhole::Sinkhole;
use super::ways::Tap;
use crate::app::config::Config;
use crate::engine::resolver::Cache;
use crate::engine::resolver::Cookies;
use crate::engine::resolver::core::{Bounds, CoreSettings, Counters};
use crate::io::listen::{Acl, CONNECTIONS_MAX, Clients, Listening, Networks, serve_tcp, spawn_udp};
use crate::io::sinkhole::Sockets;
use crate::io::store::{Sender, StoreMessage};
use crate::io::sys::limits::raise_open_files;
use crate::io::sys::plane::{MISS_QUEUE_MAX, Plane};
use crate::io::sys::socket::{self, Listeners};
use crate::io::upstream;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Descriptors that exchanges and streams may need at once, with room for files and listeners.
const OPEN_FILES: u64 = 16_384;
/// What POSIX promises, for a system that does not say.
const OPEN_FILES_LEAST: usize = 256;
/// How long streams and misses may take to end; the driver's own drain is shorter.
const STOP_TIME: Duration = Duration::from_secs(4);

/// Binds every address before anything is started, so that an address in use starts nothing.
pub(super) fn open(config: &Config) -> Result<Vec<Listeners>, StartError> {
    let mut opened =
        config.listen.iter().map(|address| socket::listen(*address, config.workers)).collect::<Result<Vec<_>, _>>()?;
    for address in config.gateway.listen() {
        match socket::listen(address, config.workers) {
            Ok(listeners) => opened.push(listeners),
            // A machine without IPv6 redirects none.
            Err(error) if address.is_ipv6() => tracing::debug!(%error, "no redirect over IPv6"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(opened)
}

/// What the threads of the data plane share:
/// first the resolver's, whose blocked names are told to the first tap, then that of everybody else: of what is led to us, the kernel's log
/// knows whom it was meant for.
pub(super) fn planes(
    activator: &Activator,
    counters: &Arc<Counters>,
    ledger: &Sender,
    (tap, sighted): (Option<Tap>, Option<sighted::Tap>),
) -> (Arc<Plane>, Arc<Plane>) {
    let (octets, stale_max) = activator.with_config(|config| (config.cache_octets, config.resolving.stale_max));
    let cache = Cache::with_stale(octets, rand::random(), stale_max);
    // Only a gateway learns from answers.
    let cache = Arc::new(if tap.is_some() { cache.telling() } else { cache });
    let plane = |tap: Option<Tap>| {
        let (ledger, sighted) = (ledger.clone(), sighted.clone());
        Arc::new(Plane {
            policy: activator.swap(),
            cache: Arc::clone(&cache),
            counters: Arc::clone(counters),
            cookies: Cookies::new(rand::random()),
            hits: Arc::new(move |batch| {
                tap.iter().for_each(|tap| tap.see(&batch));
                sighted.iter().for_each(|sighted| sighted.see(&batch));
                ledger.try_send(StoreMessage::Batch(batch))
            }),
        })
    };
    (plane(tap), plane(None))
}

/// The data plane as it runs.
pub(super) struct Running {
    workers: Vec<JoinHandle<()>>,
    runtime: Runtime,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Starts workers, streams and the upstream driver.
pub(super) fn start(
    activator: &Activator,
    (plane, others): (Arc<Plane>, Arc<Plane>),
    opened: Vec<Listeners>,
    servers: watch::Receiver<Vec<SocketAddr>>,
    networks: Networks,
) -> Result<Running, StartError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("data").enable_all().build()?;
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let (misses, missed) = mpsc::channel(MISS_QUEUE_MAX);
    let open_files = open_files();
    let settings = activator.with_config(|config| CoreSettings {
        servers: servers.borrow().clone(),
        zones: servers::zones(config).0,
        mode: config.resolving.mode,
        bounds: bounds(open_files),
        answers: config.resolving.answers,
        conduct: config.resolving.conduct,
    });
    let streams_max = CONNECTIONS_MAX.min(open_files / 4 / opened.len().max(1));
    let driver = upstream::run(settings, Arc::clone(&plane), missed, servers, stop.clone());
    let driver = async move {
        if let Err(error) = driver.await {
            tracing::error!(%error, "no upstream server is asked");
        }
    };
    tasks.spawn_on(driver, runtime.handle());
    let clients = activator.with_config(|config| clients(config, None));
    let clients = Arc::new(clients.telling(activator.forwarder_sink()));
    // Where redirected queries arrive, the clients of the gateway may ask besides those who may ask anyway.
    let redirected = activator.with_config(|config| self::clients(config, Some(networks)));
    let redirected = Arc::new(redirected.telling(activator.forwarder_sink()));
    let own = activator.with_config(|config| config.listen.len());
    let mut running = Running { workers: Vec::new(), runtime, tasks, stop };
    for (at, listeners) in opened.into_iter().enumerate() {
        let listening = Listening {
            plane: Arc::clone(if at < own { &plane } else { &others }),
            clients: Arc::clone(if at < own { &clients } else { &redirected }),
            misses: misses.clone(),
            stop: running.stop.clone(),
        };
        for (i, udp) in listeners.udp.into_iter().enumerate() {
            running.workers.push(spawn_udp(format!("udp-{i}"), udp, listening.clone())?);
        }
        running.tasks.spawn_on(
            async move {
                if let Err(error) = serve_tcp(listeners.tcp, streams_max, listening).await {
                    tracing::error!(%error, "TCP is not served");
                }
            },
            running.runtime.handle(),
        );
    }
    running.tasks.close();
    Ok(running)
}

/// Who may ask, how much, and for whom.
fn clients(config: &Config, besides: Option<Networks>) -> Clients {
    let acl = Acl::new(config.allow.iter().copied());
    let acl = match besides {
        Some(networks) => acl.and(networks),
        None => acl,
    };
    Clients::new(acl, config.limits, config.forwarders.iter().cloned(), rand::random())
}

/// How many files may be open, once the limit is raised as far as it goes.
fn open_files() -> usize {
    let limit = raise_open_files(OPEN_FILES).or_else(|error| {
        tracing::debug!(%error, "the limit of open files stays as it is");
        raise_open_files(0)
    });
    limit.map_or(OPEN_FILES_LEAST, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Bounds that leave descriptors for others: exchanges take half of them at most, streams a quarter; ledger, lists, listeners and
/// control socket have the rest.
fn bounds(open_files: usize) -> Bounds {
    let default = Bounds::default();
    Bounds {
        questions: default.questions.min(open_files / 4),
        exchanges: default.exchanges.min(open_files / 2),
        ..default
    }
}

impl Running {
    /// Lets the sinkhole take connections beside it.
    pub(super) fn sink(&self, sinkhole: &Arc<Sinkhole>, sockets: Vec<Sockets>) {
        if sockets.is_empty() {
            return;
        }
        for sockets in sockets {
            let serving = sinkhole.serve(sockets, self.stop.clone());
            self.tasks.spawn_on(
                async move {
                    if let Err(error) = serving.await {
                        tracing::error!(%error, "the sinkhole is not served");
                    }
                },
                self.runtime.handle(),
            );
        }
        self.tasks.spawn_on(Arc::clone(sinkhole).flush(self.stop.clone()), self.runtime.handle());
    }

    /// Stops receiving, answers what is in flight, hands over what was recorded.
    pub(super) fn stop(self) {
        self.stop.cancel();
        for worker in self.workers {
            // A worker restarts itself after a panic; one that died for good has said so.
            let _ = worker.join();
        }
        let waited = self.runtime.block_on(async { tokio::time::timeout(STOP_TIME, self.tasks.wait()).await });
        if waited.is_err() {
            tracing::warn!("some streams did not end in time and were cut off");
        }
        self.runtime.shutdown_timeout(Duration::from_millis(200));
    }
}
