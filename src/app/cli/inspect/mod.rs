//! `interdict inspect`: what captured packets say about who talks to listed vendors.

mod findings;
mod names;

use super::args::InspectArgs;
use super::check::moment;
use super::{Failure, Out};
use crate::app::config::load;
use crate::app::lists;
use crate::base::model::Mono;
use crate::engine::inspector::{Judge, Observation, Reader};
use crate::io::capture::{CaptureError, FileSource, Next, Source, Stats};
use crate::policy::Policy;
use std::io;
use std::path::Path;
use std::sync::Arc;

impl From<CaptureError> for Failure {
    fn from(error: CaptureError) -> Self {
        Self::failed(error)
    }
}

pub(super) fn run(args: &InspectArgs, config: Option<&Path>, out: &mut Out) -> Result<u8, Failure> {
    if args.names {
        print_names(args, out)?
    } else {
        judge(args, config, out)?
    }
    out.flush()?;
    Ok(0)
}

fn print_names(args: &InspectArgs, out: &mut Out) -> Result<(), Failure> {
    for file in &args.read {
        let mut written: io::Result<()> = Ok(());
        let mut tell = |observation: Observation<'_>| {
            if let Observation::Name(seen) = observation
                && written.is_ok()
            {
                written = out.line(&names::name(&seen));
            }
        };
        let mut reader = Reader::new();
        let read = read(&mut FileSource::open(file, false)?, &mut reader, &mut tell);
        written?;
        read?;
    }
    Ok(())
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
    let policy = Arc::new(Policy::new(1, lists.rules, Arc::new(config.settings), at));
    let mut judge = Judge::new(policy);
    // Each file has flows of its own, and frames numbered of its own; what clients resolved is one memory.
    let mut sources = Vec::new();
    let mut failed = None;
    for file in &args.read {
        let mut reader = Reader::new();
        let mut source = FileSource::open(file, false)?;
        let ended = read(&mut source, &mut reader, &mut |observation| judge.observe(&observation));
        sources.push(findings::Read { name: file.display().to_string(), stats: source.stats(), reader });
        if let Err(error) = ended {
            failed = Some(error);
            break;
        }
    }
    // What was found before a file broke off is printed; the failure is said after it.
    findings::print(&judge.finish(), &sources, args, out)?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// Reads a source to its end, also one that breaks off.
fn read(
    source: &mut dyn Source,
    reader: &mut Reader,
    tell: &mut dyn FnMut(Observation<'_>),
) -> Result<Stats, CaptureError> {
    let ended = loop {
        match source.next() {
            Ok(Next::Frame(frame)) => reader.handle_frame(Mono::from_nanos(frame.time_ns), &frame, tell),
            Ok(Next::Idle) => {}
            Ok(Next::End) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    reader.finish(tell);
    ended.map(|()| source.stats())
}
