//! The running daemon: engines and drivers wired together, started in order and stopped in order.
//!
//! | thread | what it does |
//! |---|---|
//! | `main` | control runtime: signals, control socket, the ticker that restages and ends pauses |
//! | `udp-…` | one a worker: queries, blocked answers, cache hits |
//! | `data` | data runtime: TCP clients, misses, upstream exchanges |
//! | `sync` | lists from git: remotes asked when they are due, one at a time |
//! | `gateway` | keeps the kernel as the policy wants it |
//! | `gateway-log` | packets that the kernel logs; renews what lapses without us |
//! | `gateway-learn` | answers, and the sets of addresses that come of them |
//! | `gateway-ask` | asks our upstream where blocked names lead, if that is wanted |
//! | `inspect-N` | one an interface of `[inspect]`: frames, attempts |
//! | `queue-…` | one a queue: first packets of connections through the gateway |
//! | `ledger` | the only writer of the database |
//!
//! | module | what |
//! |---|---|
//! | `activate` | which policy is in force: start, reload, restage, pause |
//! | `answer` | what the control socket answers |
//! | `follow` | lists from git, on a thread of their own |
//! | `gateway` | the kernel follows the policy, on threads of their own |
//! | `sinkhole` | what blocked names lead to, and what it hears |
//! | `inspect` | interfaces watched, on threads of their own |
//! | `inspection` | the inspector's engine with its way to the ledger, for one thread |
//! | `learning` | addresses that listed names lead to |
//! | `names` | names in the first packets of connections through the gateway |
//! | `servers` | who is asked, followed where the system says it |
//! | `status` | how it goes, as JSON |
//! | `sighted` | endpoints that tried what is blocked, whose encrypted DNS the kernel refuses where that is wanted |
//! | `summary` | the few lines at the start |
//! | `ways` | ways around a block, as the resolver and the kernel's log see them together |
//! | `wire` | sockets, runtimes and threads of the data plane |

mod activate;
mod answer;
mod follow;
pub(super) mod gateway;
mod inspect;
mod inspection;
mod learning;
mod names;
mod servers;
mod sighted;
mod sinkhole;
mod status;
mod summary;
mod ways;
mod wire;

use super::config::Config;
use super::gate::judge_all;
use super::gateway::GatewayError;
use super::lists::{self, ListsError};
use super::time::believed;
use crate::engine::resolver::core::Counters;
use crate::io::control::Server;
use crate::io::sinkhole::SinkholeError;
use crate::io::store::{self, Store, StoreError, StoreSettings, Writer};
use crate::io::sys::clock;
use crate::io::sys::memory;
use crate::io::sys::socket::ListenError;
use activate::Activator;
use follow::Follower;
use gateway::Gateway;
use inspect::Inspect;
use inspection::Shared;
use servers::Watch;
pub(super) use servers::{asked, upstreams};
use sinkhole::Sinkhole;
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
    /// A list is refused by the gate.
    #[error("{0}; mend the list, or take its entry out of the config")]
    Gate(String),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// An address of the sinkhole cannot be listened on.
    #[error(transparent)]
    Sinkhole(#[from] SinkholeError),
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
    memory::map_large_blocks();
    let now = clock::now().wall;
    let store = Store::open(&config.store, StoreSettings { retention_days: config.keep_days }, now)?;
    let last = store.last_activation()?;
    let mut lists = lists::load_lacking(&config, None, &|_| true)?;
    judge_all(&config, &mut lists, None).map_err(StartError::Gate)?;
    memory::give_back();
    let (mut watch, upstreams) = Watch::new(&config);
    let opened = wire::open(&config)?;
    let sockets = sinkhole::open(&config)?;
    let addresses: Vec<SocketAddr> =
        opened.iter().take(config.listen.len()).map(|listeners| listeners.address).collect();

    let (sender, receiver) = store::channel(store::QUEUE_BATCHES);
    let writer = Writer::spawn(store, receiver, sender.counters(), Box::new(|| clock::now().wall))?;
    let gateway_config = config.clone();
    let activator = Arc::new(Activator::new(config, named, lists, sender.clone(), believed(last)));
    let gateway = Gateway::open(&activator, &gateway_config)?;
    watch.say(&activator);
    let follower = Arc::new(Follower::new(Arc::clone(&activator), upstreams.clone()));

    let counters = Arc::new(Counters::default());
    let (tap, asked) = ways::channel();
    let (sighted, endpoints) = sighted::channel(gateway_config.gateway.sighted_for);
    let taps = gateway.is_some().then_some((tap, sighted)).unzip();
    let (resolving, plane) = wire::planes(&activator, &counters, &sender, taps);
    let clients = gateway.as_ref().map(|gateway| gateway.clients()).unwrap_or_default();
    let sinkhole = Sinkhole::new(&activator, &sockets, Arc::clone(&clients));
    let running = wire::start(&activator, (resolving, Arc::clone(&plane)), opened, upstreams.clone(), clients)?;
    running.sink(&sinkhole, sockets);
    let enforcing = gateway.as_ref().map(|gateway| gateway.start(&plane, (asked, endpoints))).transpose()?;
    let tap = gateway.as_ref().map(|gateway| gateway.wire_tap());
    let shared = Shared::new(&plane, sender, &addresses, sinkhole.listen(), tap);
    let inspect = Inspect::new(&activator, gateway.as_ref(), shared);
    let inspecting = inspect.as_ref().map(|inspect| inspect.start()).transpose()?;
    let (listen, store) = (addresses, writer.counters());
    let about = Arc::new(status::About {
        listen,
        upstreams,
        counters,
        store,
        started: now,
        follower,
        gateway: gateway.clone(),
        sinkhole,
        inspect: inspect.clone(),
    });

    let control = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = control.block_on(serve(&activator, &about, &mut watch, ready));
    // A sync that somebody asked for may wait for its remote: nobody waits for it.
    control.shutdown_background();
    if let (Some(gateway), Some(threads)) = (gateway, enforcing) {
        gateway.stop(threads);
    }
    if let (Some(inspect), Some(threads)) = (inspect, inspecting) {
        inspect.stop(threads);
    }
    running.stop();
    writer.close()?;
    result
}

/// The control plane, until a signal ends it.
async fn serve(
    activator: &Arc<Activator>,
    about: &Arc<status::About>,
    watch: &mut Watch,
    ready: impl FnOnce(&str),
) -> Result<(), StartError> {
    let store = activator.store_path();
    let server = Server::bind(&store).map_err(|error| StartError::Control { path: store.clone(), error })?;
    let serving = tokio::spawn(server.serve(answer::handler(Arc::clone(activator), Arc::clone(about))));
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look = interval(servers::LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ready(&summary::text(activator, about));
    about.follower.start()?;
    loop {
        tokio::select! {
            _ = tick.tick() => activator.tick(),
            _ = look.tick() => {
                watch.look(activator);
                if let Some(inspect) = about.inspect.clone() {
                    // It may wait for the gateway, which the dates do not.
                    tokio::task::spawn_blocking(move || inspect.look());
                }
            }
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
