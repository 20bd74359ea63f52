//! `framewright bench`: loads a WebSocket echo server and measures it, on raw non-blocking sockets
//! and one thread.
//!
//! | file | topic |
//! |---|---|
//! | `args` | the command line |
//! | `target`, `mix`, `payload` | the address, size and content of messages |
//! | `compress`, `inflated` | permessage-deflate: negotiation, compressed messages, inflated replies |
//! | `script` | the requests as bytes, built beforehand |
//! | `link`, `tls` | the stream of a connection |
//! | `handshake`, `replies`, `peer` | one connection |
//! | `engine` | all connections in an event loop |
//! | `load`, `schedule`, `idle`, `connect`, `fan_out` | the modes |
//! | `volume`, `process`, `usage`, `latency`, `report`, `progress` | resources used, times measured, the report |

mod args;
mod compress;
mod connect;
mod engine;
mod fan_out;
mod handshake;
mod idle;
mod inflated;
mod latency;
mod link;
mod load;
mod mix;
mod payload;
mod peer;
mod process;
mod progress;
mod replies;
mod report;
mod schedule;
mod script;
mod target;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "without_tls.rs"]
mod tls;
mod usage;
mod volume;

pub(crate) use args::Args;

use anyhow::Context;
use args::Mode;
use clap::error::ErrorKind;
use engine::{Engine, Lane};
use framewright::deflate::WindowBits;
use framewright_cli::Compress;
use handshake::Handshake;
use mix::Mix;
use peer::{Endpoint, Part};
use process::Process;
use progress::Progress;
use report::{Findings, Report};
use script::{Recipe, Script};
use std::io::Write as _;
use target::Target;

/// Runs the load that the arguments describe, and prints what it found.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if let Err(wrong) = args.check() {
        clap::Error::raw(ErrorKind::ValueValidation, wrong + "\n").exit();
    }
    let server = if args.pid.is_empty() { None } else { Some(Process::new(&args.pid)?) };
    // A connection is a descriptor.
    let descriptors = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(0);
    let connections = args.connections.get() * (1 + args.also.len());
    let wanted = (connections + args.flooders + args.deaf) as u64 + 16;
    anyhow::ensure!(
        descriptors == 0 || wanted <= descriptors,
        "{wanted} descriptors are needed, and the system allows {descriptors}"
    );
    let report = measure(args, server.as_ref())?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", report.to_json())?;
    } else {
        write!(out, "{}", report.to_text())?;
    }
    out.flush()?;
    Ok(())
}

/// What was found, and what was agreed on.
fn measure<'a>(args: &'a Args, server: Option<&Process>) -> anyhow::Result<Report<'a>> {
    let progress = Progress::new();
    progress.say("connecting");
    let mode = args.mode();
    let endpoint = endpoint(args, &args.url)?;
    let agreed = match args.compress {
        Compress::Off => None,
        offered => {
            Some(Handshake::probe(&args.url, endpoint.addr, endpoint.tls.as_ref(), offered, args.timeout)?)
        }
    };
    let window = agreed.as_ref().and_then(|agreed| agreed.agreed).unwrap_or_default().client_max_window_bits;
    let mut engine = Engine::new(lanes(args, &endpoint, window)?, args.timeout)?;
    let connections = args.connections.get();
    let findings = match mode {
        Mode::Echo | Mode::Rate => {
            engine.open(load::COUNTED, connections)?;
            if args.flooders > 0 {
                engine.open(load::COUNTED + 1, args.flooders)?;
            }
            Findings::Counted(Box::new(load::run(&mut engine, args.plan(), server, &progress)?))
        }
        Mode::ConnectRate => {
            let resumes = args.tls.resumes();
            let counted = connect::run(&mut engine, connections, args.plan(), resumes, server, &progress)?;
            Findings::Counted(Box::new(counted))
        }
        Mode::FanOut => {
            let crowd = fan_out::Crowd { listeners: connections, others: args.also.len(), deaf: args.deaf };
            let in_flight = args.in_flight.get();
            let plan = args.plan();
            let counted = fan_out::run(&mut engine, crowd, in_flight, plan, server, &progress)?;
            Findings::Counted(Box::new(counted))
        }
        Mode::Idle => {
            let server = server.context("--idle needs --pid")?;
            Findings::Idle(idle::run(&mut engine, connections, args.idle_messages, server, &progress)?)
        }
    };
    progress.say("closing");
    engine.close_all();
    Ok(Report { args, findings, agreed: agreed.map(|agreed| agreed.extensions), sessions: engine.sessions })
}

/// Where connections to a target go, and how they begin.
fn endpoint(args: &Args, target: &Target) -> anyhow::Result<Endpoint> {
    Ok(Endpoint {
        target: target.clone(),
        addr: target.resolve()?,
        tls: tls::Client::new(&args.tls, target)?,
        cycles: args.mode() == Mode::ConnectRate,
        introduces: args.mode() == Mode::FanOut,
    })
}

/// What the connections send: those that are counted, and those that flood; or those that listen,
/// the one that publishes, and those that never read.
fn lanes(args: &Args, endpoint: &Endpoint, window: WindowBits) -> anyhow::Result<Vec<Lane>> {
    let lane = |part: Part, mix: &Mix, in_flight: u32, scheduled: bool, verify: bool| {
        let recipe = Recipe {
            mix,
            kind: args.kind,
            seed: args.seed,
            in_flight: if scheduled { 1 } else { in_flight as usize },
            verify,
            compress: args.compress,
            window,
            protocol: args.url.protocol,
            in_step: part != Part::Ask,
        };
        let in_flight = (!scheduled).then_some(in_flight);
        Lane { endpoint: endpoint.clone(), part, script: Script::new(recipe), in_flight }
    };
    let scheduled = args.rate.is_some();
    let counted = |part| lane(part, &args.size, args.in_flight.get(), scheduled, args.verify);
    if let Some(publisher) = &args.fan_out {
        let publishes = Lane { endpoint: self::endpoint(args, publisher)?, ..counted(Part::Publish) };
        let mut lanes = vec![counted(Part::Listen), publishes, counted(Part::Deaf)];
        for other in &args.also {
            lanes.push(Lane { endpoint: self::endpoint(args, other)?, ..counted(Part::Listen) });
        }
        return Ok(lanes);
    }
    let mut lanes = vec![counted(Part::Ask)];
    if args.flooders > 0 {
        let (mix, in_flight) = (Mix::of(args.flood_size), args.flood_in_flight.get());
        lanes.push(lane(Part::Ask, &mix, in_flight, false, args.verify));
    }
    Ok(lanes)
}
