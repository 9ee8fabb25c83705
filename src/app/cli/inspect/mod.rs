//! `interdict inspect`: what packets say about who talks to listed vendors.

mod devices;
mod findings;
mod listed;
mod names;

use super::args::InspectArgs;
use super::check::moment;
use super::progress::during_with;
use super::{Failure, Out};
use crate::app::config::load;
use crate::app::lists;
use crate::base::model::Mono;
use crate::base::wire::packet::Frame;
use crate::engine::inspector::endpoint::Endpoints;
use crate::engine::inspector::{Judge, Observation, Reader};
use crate::io::capture::{CaptureError, FileSource, Next, Source, live};
use crate::io::sys::signal;
use crate::policy::Policy;
use listed::Listed;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Lines of names that wait to be printed.
const LINES_MAX: usize = 4_096;
/// Letters of the bar that shows how far a file is read.
const BAR_LETTERS: usize = 30;
/// Devices that are told apart.
const ENDPOINTS_MAX: usize = 65_536;

impl From<CaptureError> for Failure {
    fn from(error: CaptureError) -> Self {
        Self::failed(error)
    }
}

type Live = Box<dyn Source + Send>;
type Tell<'t> = &'t mut dyn FnMut(Observation<'_>);

pub(super) fn run(args: &InspectArgs, config: Option<&Path>, out: &mut Out) -> Result<u8, Failure> {
    signal::stop_on_interrupt();
    if args.names {
        print_names(args, out)?
    } else {
        judge(args, config, out)?
    }
    out.flush()?;
    Ok(0)
}

fn print_names(args: &InspectArgs, out: &mut Out) -> Result<(), Failure> {
    let interfaces = open(args)?;
    for file in &args.read {
        let mut written: io::Result<()> = Ok(());
        let mut tell = |observation: Observation<'_>| {
            if let Observation::Name(seen) = observation
                && written.is_ok()
            {
                written = out.line(&names::name(&seen));
            }
        };
        let read = read(&mut FileSource::open(file, args.follow)?, &mut Reader::new(), &mut |_| {}, &mut tell);
        written?;
        read?;
    }
    thread::scope(|scope| {
        let (sender, lines) = sync_channel(LINES_MAX);
        let mut threads = Vec::new();
        for mut source in interfaces {
            let sender = sender.clone();
            threads.push(scope.spawn(move || {
                let mut tell = |observation: Observation<'_>| {
                    if let Observation::Name(seen) = observation {
                        // Nobody waits for it any more once the output is gone.
                        let _ = sender.send(names::name(&seen));
                    }
                };
                let ended = read(&mut *source, &mut Reader::new(), &mut |_| {}, &mut tell);
                signal::stop();
                ended
            }));
        }
        drop(sender);
        let mut written = Ok(());
        for line in &lines {
            match out.line_unless_gone(&line) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => written = Err(error),
            }
            signal::stop();
            break;
        }
        drop(lines);
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        written.map_err(Failure::from)
    })
}

/// What all sources are judged with: what clients resolved is one memory, wherever it was seen, and so is who is who.
struct Judging {
    judge: Mutex<Judge>,
    endpoints: Mutex<Endpoints>,
    listed: Option<Mutex<Listed>>,
    args: InspectArgs,
}

fn judge(args: &InspectArgs, config: Option<&Path>, out: &mut Out) -> Result<(), Failure> {
    let config = load(config)?;
    let at = moment(args.at.as_deref())?;
    let lists = lists::load(&config)?;
    for vendor in &args.vendor {
        if lists.rules.vendor(vendor).is_none() && lists.rules.lists().iter().all(|list| *list.id != **vendor) {
            return Err(Failure::wrong(format!(
                "--vendor {vendor:?}: no vendor or list has this id; see `interdict vendors`"
            )));
        }
    }
    let interfaces = open(args)?;
    let listed = args.write.as_deref().map(Listed::create).transpose()?.map(Mutex::new);
    let policy = Arc::new(Policy::new(1, lists.rules, Arc::new(config.settings), at));
    let mut judge = Judge::new(policy);
    if listed.is_some() {
        judge.tell_flows();
    }
    let endpoints = Mutex::new(Endpoints::new(ENDPOINTS_MAX));
    let judging = Judging { judge: Mutex::new(judge), endpoints, listed, args: args.clone() };
    // Each source has flows of its own, and frames numbered of its own.
    let mut sources = Vec::new();
    let mut failed = None;
    for file in &args.read {
        let mut source = FileSource::open(file, args.follow)?;
        let name = file.display().to_string();
        let (consumed, size) = (source.consumed(), std::fs::metadata(file).map_or(0, |meta| meta.len()));
        let mut reader = Reader::new();
        let ended = during_with(|| bar(&name, &consumed, size), || judging.read(&mut source, &mut reader));
        sources.push(findings::Read { name, stats: source.stats(), reader });
        if let Err(error) = ended {
            failed = Some(error);
            break;
        }
    }
    let watched = thread::scope(|scope| {
        let watch = |(mut source, name): (Live, &String)| {
            let (judging, name) = (&judging, name.clone());
            scope.spawn(move || {
                let mut reader = Reader::new();
                let ended = judging.read(&mut *source, &mut reader);
                // One that fails ends all: a report must not look as if it had been there.
                signal::stop();
                (findings::Read { name, stats: source.stats(), reader }, ended)
            })
        };
        let threads: Vec<_> = interfaces.into_iter().zip(&args.interface).map(watch).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect::<Vec<_>>()
    });
    for (read, ended) in watched {
        sources.push(read);
        failed = failed.or_else(|| ended.err());
    }
    let Judging { judge, endpoints, listed, .. } = judging;
    let missing = listed.map(|listed| unlocked(listed).finish()).transpose()?.unwrap_or_default();
    // What was found before a source broke off is printed; the failure is said after it.
    let found = (&unlocked(judge).finish(), &unlocked(endpoints));
    findings::print(found, &sources, (args, &missing), out)?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

impl Judging {
    fn read(&self, source: &mut dyn Source, reader: &mut Reader) -> Result<(), CaptureError> {
        let mut look = |frame: &Frame<'_>| {
            if let Some(listed) = &self.listed {
                locked(listed).frame(frame);
            }
        };
        read(source, reader, &mut look, &mut |observation| {
            if let Observation::Sender(at, packet) = observation {
                return locked(&self.endpoints).handle_packet(Mono::from_nanos(at.time_ns), packet);
            }
            let mut judge = locked(&self.judge);
            judge.observe(&observation);
            if let Some(listed) = &self.listed {
                let mut listed = locked(listed);
                while let Some((ends, vendor)) = judge.poll_flow() {
                    if self.args.wants(&vendor) {
                        listed.list(&ends);
                    }
                }
            }
        })
    }
}

/// Opens the interfaces, before anything is read, so that nothing is done for nothing.
fn open(args: &InspectArgs) -> Result<Vec<Live>, Failure> {
    let opened = args.interface.iter().map(|name| live::open(name)).collect::<Result<Vec<_>, _>>()?;
    if !opened.is_empty() {
        // Who has no standard error needs no hint.
        let _ = writeln!(io::stderr(), "reading {} until SIGINT or SIGTERM", args.interface.join(", "));
    }
    Ok(opened)
}

/// Reads a source to its end, also one that breaks off, or until somebody interrupts it. Frames are shown to `look` first.
fn read(
    source: &mut dyn Source,
    reader: &mut Reader,
    look: &mut dyn FnMut(&Frame<'_>),
    tell: Tell<'_>,
) -> Result<(), CaptureError> {
    let ended = loop {
        if signal::is_stopped() {
            break Ok(());
        }
        match source.next() {
            Ok(Next::Frame(frame)) => {
                look(&frame);
                reader.handle_frame(Mono::from_nanos(frame.time_ns), &frame, tell);
            }
            Ok(Next::Idle) => {}
            Ok(Next::End) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    reader.finish(tell);
    ended
}

/// How far a file is read.
fn bar(name: &str, consumed: &AtomicU64, size: u64) -> String {
    let consumed = consumed.load(Ordering::Relaxed);
    let mut line = format!("reading {name}: {} MiB", consumed >> 20);
    if let Some(percent) = (consumed.min(size) * 100).checked_div(size) {
        let full = usize::try_from(percent).unwrap_or(0) * BAR_LETTERS / 100;
        let _ = write!(line, " [{}{}] {percent} %", "#".repeat(full), " ".repeat(BAR_LETTERS - full));
    }
    line
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unlocked<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}
