//! The inspector while the daemon runs: one thread an interface, each with an engine of its own.
//!
//! An interface that is not there, goes away or cannot be opened is tried again until the daemon stops; meanwhile the alarm shows, and
//! the time is a gap in the ledger. So is time in which the kernel dropped frames. A thread that panics begins anew and is counted.

use super::activate::{Activator, Alarm};
use super::gateway::Gateway;
use super::inspection::{Inspection, Shared, TURN};
use crate::base::model::Wall;
use crate::io::capture::live;
use crate::io::capture::{CaptureError, Next, Stats};
use crate::io::store::{Gap, GapReason, Note, Sender, StoreMessage};
use crate::io::sys::clock;
use serde_json::{Value, json};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long after an interface failed it is opened again.
const RETRY: Duration = Duration::from_secs(2);
/// How long the alarm about dropped frames stays up after the last of them.
const DROPS_SHOWN: Duration = Duration::from_secs(60);

/// The inspector's part of the daemon.
pub(super) struct Inspect {
    activator: Arc<Activator>,
    gateway: Option<Arc<Gateway>>,
    shared: Shared,
    interfaces: Vec<Interface>,
    stop: AtomicBool,
}

/// An interface, and how it goes with it.
struct Interface {
    name: String,
    figures: Figures,
    /// Whether its packets are read now.
    is_reading: AtomicBool,
    /// Why nothing is read from it, and since when.
    failed: Mutex<Option<(Wall, String)>>,
    drops: Mutex<Drops>,
}

/// What its thread has read and lost, since the daemon started.
#[derive(Default)]
struct Figures {
    frames: AtomicU64,
    octets: AtomicU64,
    dropped: AtomicU64,
    unreadable: AtomicU64,
    unread_flows: AtomicU64,
    encrypted_hellos: AtomicU64,
    encrypted_dns: AtomicU64,
    attempts: AtomicU64,
    lost: AtomicU64,
    crowded_devices: AtomicU64,
    device_facts: AtomicU64,
    restarts: AtomicU64,
    /// Flows that are held now.
    flows: AtomicU64,
}

/// Frames that the kernel dropped, as they were looked at last.
#[derive(Default)]
struct Drops {
    counted: u64,
    last: Option<Instant>,
    /// Since when, as long as they go on, and how many.
    stretch: Option<(Wall, u64)>,
}

impl Inspect {
    /// The inspector of the config's interfaces, if it names any. Nothing is read yet.
    pub(super) fn new(activator: &Arc<Activator>, gateway: Option<&Arc<Gateway>>, shared: Shared) -> Option<Arc<Self>> {
        let names = activator.with_config(|config| config.inspect.clone());
        let made = Self {
            activator: Arc::clone(activator),
            gateway: gateway.map(Arc::clone),
            shared,
            interfaces: names.into_iter().map(Interface::new).collect(),
            stop: AtomicBool::new(false),
        };
        (!made.interfaces.is_empty()).then(|| Arc::new(made))
    }

    /// Starts a thread an interface.
    pub(super) fn start(self: &Arc<Self>) -> io::Result<Vec<JoinHandle<()>>> {
        self.look();
        let threads = (0..self.interfaces.len()).map(|at| {
            let inspect = Arc::clone(self);
            thread::Builder::new().name(format!("inspect-{at}")).spawn(move || inspect.keep(at))
        });
        threads.collect()
    }

    /// Watches an interface until the daemon stops.
    fn keep(&self, at: usize) {
        if let Some(interface) = self.interfaces.get(at) {
            interface.keep(&self.stop, &|| self.watch(interface));
        }
    }

    fn watch(&self, interface: &Interface) -> Result<(), CaptureError> {
        let mut source = live::open(&interface.name)?;
        interface.works(&self.shared.ledger);
        tracing::info!("inspecting an interface");
        let mut inspection = Inspection::new(&self.shared);
        let (mut told, mut turned) = (Told::default(), 0);
        let period = u64::try_from(TURN.as_nanos()).unwrap_or(u64::MAX);
        while !self.stop.load(Ordering::Relaxed) {
            let is_due = match source.next()? {
                Next::Frame(frame) => {
                    inspection.frame(&frame, &mut |_| {});
                    let is_due = frame.time_ns.abs_diff(turned) >= period;
                    turned = if is_due { frame.time_ns } else { turned };
                    is_due
                }
                Next::Idle => true,
                Next::End => break,
            };
            if is_due {
                inspection.turn(&mut |_| {});
                told.tell(&interface.figures, source.stats(), &inspection);
            }
        }
        inspection.turn(&mut |_| {});
        Ok(())
    }

    /// To be called now and then: what others record, alarms, and what was missed.
    pub(super) fn look(&self) {
        self.shared.look(self.gateway.as_deref());
        for interface in &self.interfaces {
            let failed =
                interface.failed().as_ref().map(|(_, why)| format!("{why}; what passes there is not inspected"));
            self.activator.set_alarm(Alarm::Inspect(interface.name.clone()), failed);
            let drops = interface.mind_drops(&self.shared.ledger);
            self.activator.set_alarm(Alarm::Dropped(interface.name.clone()), drops);
        }
    }

    /// How it goes.
    pub(super) fn status(&self) -> Value {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let object = |interface: &Interface| {
            let figures = &interface.figures;
            json!({
                "interface": interface.name,
                "reading": interface.is_reading.load(Ordering::Relaxed),
                "failed": interface.failed().as_ref().map(|(_, why)| why.clone()),
                "frames": count(&figures.frames),
                "octets": count(&figures.octets),
                "dropped": count(&figures.dropped),
                "unreadable": count(&figures.unreadable),
                "unread_flows": count(&figures.unread_flows),
                "encrypted_hellos": count(&figures.encrypted_hellos),
                "encrypted_dns": count(&figures.encrypted_dns),
                "attempts": count(&figures.attempts),
                "lost": count(&figures.lost),
                "flows": count(&figures.flows),
                "devices_without_room": count(&figures.crowded_devices),
                "device_facts_forgotten": count(&figures.device_facts),
                "restarts": count(&figures.restarts),
            })
        };
        self.interfaces.iter().map(object).collect()
    }

    /// Ends the threads. What was being missed is in the ledger.
    pub(super) fn stop(&self, threads: Vec<JoinHandle<()>>) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in threads {
            let _ = thread.join();
        }
        for interface in &self.interfaces {
            interface.end_gaps(&self.shared.ledger);
        }
    }
}

impl Interface {
    fn new(name: String) -> Self {
        let (figures, is_reading) = (Figures::default(), AtomicBool::new(false));
        Self { name, figures, is_reading, failed: Mutex::default(), drops: Mutex::default() }
    }

    /// Watches until that is to stop; begins again after a failure and after a panic.
    fn keep(&self, stop: &AtomicBool, watch: &dyn Fn() -> Result<(), CaptureError>) {
        while !stop.load(Ordering::Relaxed) {
            // What a panic leaves behind is thrown away with the engine; figures are whole numbers.
            match catch_unwind(AssertUnwindSafe(watch)) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => self.fails(error.to_string()),
                Err(_) => {
                    self.figures.restarts.fetch_add(1, Ordering::Relaxed);
                    tracing::error!("an inspecting thread panicked and begins anew");
                    self.fails(format!("{}: the thread that reads it panicked", self.name));
                }
            }
            let tried = Instant::now();
            while tried.elapsed() < RETRY && !stop.load(Ordering::Relaxed) {
                thread::sleep(TURN);
            }
        }
    }

    fn failed(&self) -> MutexGuard<'_, Option<(Wall, String)>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fails(&self, why: String) {
        self.is_reading.store(false, Ordering::Relaxed);
        let mut failed = self.failed();
        let since = failed.as_ref().map_or_else(|| clock::now().wall, |(since, _)| *since);
        *failed = Some((since, why));
    }

    /// It is read again; until now it was not.
    fn works(&self, ledger: &Sender) {
        self.is_reading.store(true, Ordering::Relaxed);
        self.end_failure(ledger);
    }

    fn end_failure(&self, ledger: &Sender) {
        if let Some((since, why)) = self.failed().take() {
            gap(ledger, since, format!("not inspected: {why}"));
        }
    }

    /// Whatever is missed now, nobody notices its end any more.
    fn end_gaps(&self, ledger: &Sender) {
        self.end_failure(ledger);
        self.mind_drops(ledger);
        self.drops().end(ledger, &self.name);
    }

    fn drops(&self) -> MutexGuard<'_, Drops> {
        self.drops.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notices frames that the kernel dropped: a stretch of them is one gap in the ledger, and the alarm until a while after.
    fn mind_drops(&self, ledger: &Sender) -> Option<String> {
        let dropped = self.figures.dropped.load(Ordering::Relaxed);
        let mut drops = self.drops();
        let new = dropped.saturating_sub(drops.counted);
        drops.counted = dropped;
        if new > 0 {
            drops.last = Some(Instant::now());
            let (_, sum) = drops.stretch.get_or_insert_with(|| (clock::now().wall, 0));
            *sum += new;
        } else if drops.last.is_none_or(|last| last.elapsed() >= DROPS_SHOWN) {
            drops.end(ledger, &self.name);
        }
        let (_, sum) = drops.stretch?;
        Some(format!(
            "{}: the kernel dropped {sum} frames before they were inspected; endpoints may be missing in the report",
            self.name
        ))
    }
}

impl Drops {
    /// The stretch is over.
    fn end(&mut self, ledger: &Sender, interface: &str) {
        if let Some((since, sum)) = self.stretch.take() {
            gap(ledger, since, format!("{interface}: the kernel dropped {sum} frames before they were inspected"));
        }
    }
}

/// What this engine has told of its figures already; those of an engine that panicked stay counted.
#[derive(Default)]
struct Told([u64; 11]);

impl Told {
    fn tell(&mut self, figures: &Figures, stats: Stats, inspection: &Inspection) {
        let (blind, attempts, lost) = inspection.seen();
        let devices = inspection.device_losses();
        figures.flows.store(inspection.reader().flows() as u64, Ordering::Relaxed);
        let now = [
            (&figures.frames, stats.frames),
            (&figures.octets, stats.octets),
            (&figures.dropped, stats.dropped),
            (&figures.unreadable, inspection.reader().counters().unreadable),
            (&figures.unread_flows, inspection.reader().flow_losses().unread),
            (&figures.encrypted_hellos, blind.encrypted_hellos),
            (&figures.encrypted_dns, blind.encrypted_dns),
            (&figures.attempts, attempts),
            (&figures.lost, lost),
            (&figures.crowded_devices, devices.crowded_out),
            (&figures.device_facts, devices.forgotten),
        ];
        for (told, (figure, count)) in self.0.iter_mut().zip(now) {
            figure.fetch_add(count.saturating_sub(*told), Ordering::Relaxed);
            *told = count;
        }
    }
}

/// Records time that was not inspected. There is nobody to wait for room.
fn gap(ledger: &Sender, started: Wall, note: String) {
    let ended = clock::now().wall.max(started);
    ledger.try_send(StoreMessage::Note(Note::Gap(Gap { why: GapReason::Lost, started, ended, attempts: 0, note })));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn a_thread_that_panics_begins_anew_and_is_counted() {
        let interface = Interface::new("lan0".to_owned());
        let (stop, times) = (AtomicBool::new(false), AtomicU32::new(0));
        let watch = || match times.fetch_add(1, Ordering::Relaxed) {
            0 => panic!("a frame that nobody expected"),
            1 => {
                let failed = interface.failed().clone().map(|(_, why)| why);
                assert_eq!(failed.as_deref(), Some("lan0: the thread that reads it panicked"));
                Err(CaptureError::Open { name: "lan0".to_owned(), error: io::ErrorKind::NotFound.into() })
            }
            _ => Ok(()),
        };
        interface.keep(&stop, &watch);
        assert_eq!((times.load(Ordering::Relaxed), interface.figures.restarts.load(Ordering::Relaxed)), (3, 1));
        let failed = interface.failed().clone().map(|(_, why)| why);
        assert_eq!(failed.as_deref(), Some("lan0: cannot be opened: entity not found"));
        assert!(!interface.is_reading.load(Ordering::Relaxed));
    }
}
