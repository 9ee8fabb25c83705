//! The running daemon: engines and drivers wired together, started in order and stopped in order.
//!
//! | thread | what it does |
//! |---|---|
//! | `main` | control runtime: signals, control socket, the ticker that restages and ends pauses |
//! | `udp-…` | one a worker: queries, blocked answers, cache hits |
//! | `data` | data runtime: TCP clients, misses, upstream exchanges |
//! | `sync` | lists from git: remotes asked when they are due, one at a time |
//! | `gateway` | keeps the kernel as the policy wants it |
//! | `gateway-log` | packets that the kernel logs; renews the redirect of DNS |
//! | `ledger` | the only writer of the database |
//!
//! | module | what |
//! |---|---|
//! | `activate` | which policy is in force: start, reload, restage, pause |
//! | `answer` | what the control socket answers |
//! | `follow` | lists from git, on a thread of their own |
//! | `gateway` | the kernel follows the policy, on threads of their own |
//! | `status` | how it goes, as JSON |
//! | `summary` | the few lines at the start |
//! | `wire` | sockets, runtimes and threads of the data plane |

mod activate;
mod answer;
mod follow;
pub(super) mod gateway;
mod status;
mod summary;
mod wire;

use super::config::{Config, Upstreams};
use super::gateway::GatewayError;
use super::lists::{self, ListsError};
use super::sync::feeds;
use super::time::believed;
use crate::engine::resolver::core::Counters;
use crate::io::control::Server;
use crate::io::store::{self, Store, StoreError, StoreSettings, Writer};
use crate::io::sys::clock;
use crate::io::sys::socket::ListenError;
use crate::io::upstream::resolv;
use activate::Activator;
use follow::Follower;
use gateway::Gateway;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

/// How often dates, pauses and retired policies are looked at: a clause's date passes within this time.
const TICK: Duration = Duration::from_millis(200);

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A list is wrong.
    #[error(transparent)]
    Lists(#[from] ListsError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The control socket cannot be made.
    #[error("{path}: the control socket cannot be made: {error}; check the folder of [store] path")]
    Control {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The kernel cannot be told to enforce.
    #[error("[gateway] enabled: {0}")]
    Gateway(#[from] GatewayError),
    /// No thread, no runtime, no signal handler.
    #[error("the system gives no more threads or descriptors: {0}")]
    System(#[from] io::Error),
}

/// Runs until SIGTERM or SIGINT. `named` is the config file that a reload reads again; `ready` gets the few lines that say
/// what is in force, once everything answers.
///
/// # Errors
/// What kept it from starting, or from writing the last of the ledger.
pub fn run(config: Config, named: Option<&Path>, ready: impl FnOnce(&str)) -> Result<(), StartError> {
    let now = clock::now().wall;
    let store = Store::open(&config.store, StoreSettings { retention_days: config.keep_days }, now)?;
    let last = store.last_activation()?;
    let (snapshots, unusable) = lists::Snapshots::held_or_none(&feeds(&config));
    let lists = lists::load_with(&config, &snapshots)?;
    drop(snapshots);
    let (upstreams, upstream_alarm) = upstreams(&config);
    let opened = wire::open(&config)?;
    let addresses: Vec<SocketAddr> =
        opened.iter().take(config.listen.len()).map(|listeners| listeners.address).collect();

    let (sender, receiver) = store::channel(store::QUEUE_BATCHES);
    let writer = Writer::spawn(store, receiver, sender.counters(), Box::new(|| clock::now().wall))?;
    let gateway_config = config.clone();
    let activator = Arc::new(Activator::new(config, named, lists, sender.clone(), believed(last)));
    let gateway = Gateway::open(&activator, &gateway_config)?;
    activator.set_alarm(activate::Alarm::Upstream, upstream_alarm);
    for (feed, why) in unusable {
        activator.set_alarm(activate::Alarm::List(feed), Some(why));
    }
    let follower = Arc::new(Follower::new(Arc::clone(&activator), upstreams.clone()));

    let counters = Arc::new(Counters::default());
    let plane = wire::plane(&activator, Arc::clone(&counters), sender);
    let clients = gateway.as_ref().map(|gateway| gateway.clients()).unwrap_or_default();
    let running = wire::start(&activator, Arc::clone(&plane), opened, upstreams.clone(), clients)?;
    let enforcing = gateway.as_ref().map(|gateway| gateway.start(&plane)).transpose()?;
    let (listen, store) = (addresses, writer.counters());
    let about = Arc::new(status::About {
        listen,
        upstreams,
        counters,
        store,
        started: now,
        follower,
        gateway: gateway.clone(),
    });

    let control = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = control.block_on(serve(&activator, &about, ready));
    // A sync that somebody asked for may wait for its remote: nobody waits for it.
    control.shutdown_background();
    if let (Some(gateway), Some(threads)) = (gateway, enforcing) {
        gateway.stop(threads);
    }
    running.stop();
    writer.close()?;
    result
}

/// The servers to ask. Having none is no reason not to block: the alarm shows, and questions that need one fail.
pub(super) fn upstreams(config: &Config) -> (Vec<SocketAddr>, Option<String>) {
    match &config.upstreams {
        Upstreams::Servers(named) => {
            let servers = resolv::without_ourselves(named.clone(), &config.listen, &resolv::own_addresses());
            let ours: Vec<String> =
                named.iter().filter(|server| !servers.contains(server)).map(ToString::to_string).collect();
            let alarm = (!ours.is_empty()).then(|| {
                format!(
                    "[upstream] servers names ourselves ({}), which is left out: we would ask us forever",
                    ours.join(", ")
                )
            });
            (servers, alarm)
        }
        Upstreams::System => match resolv::servers(Path::new(resolv::RESOLV_CONF), &config.listen) {
            Ok(servers) => (servers, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        },
    }
}

/// The control plane, until a signal ends it.
async fn serve(
    activator: &Arc<Activator>,
    about: &Arc<status::About>,
    ready: impl FnOnce(&str),
) -> Result<(), StartError> {
    let store = activator.store_path();
    let server = Server::bind(&store).map_err(|error| StartError::Control { path: store.clone(), error })?;
    let serving = tokio::spawn(server.serve(answer::handler(Arc::clone(activator), Arc::clone(about))));
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ready(&summary::text(activator, about));
    about.follower.start()?;
    loop {
        tokio::select! {
            _ = tick.tick() => activator.tick(),
            _ = hangup.recv() => {
                let activator = Arc::clone(activator);
                // A reload may read for seconds; dates go on being looked at meanwhile.
                tokio::task::spawn_blocking(move || activator.reload_and_log());
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    serving.abort();
    let _ = serving.await;
    tracing::info!("stopping");
    Ok(())
}
