//! A server's process, as the system sees it.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, ensure};

/// How many descriptors it has open.
pub(crate) fn descriptors(pid: u32) -> anyhow::Result<usize> {
    let folder = format!("/proc/{pid}/fd");
    Ok(fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))?.count())
}

/// The memory that it holds itself, in KiB: not what it shares with others, such as its program.
pub(crate) fn private_kib(pid: u32) -> anyhow::Result<u64> {
    let file = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    let field = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    field
        .and_then(|field| field.trim().strip_suffix(" kB")?.trim().parse().ok())
        .with_context(|| format!("{file} has no RssAnon"))
}

/// Sends it a signal, such as `STOP`.
pub(crate) fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let status =
        Command::new("kill").args(["-s", name, &pid.to_string()]).status().context("cannot run kill")?;
    ensure!(status.success(), "cannot send {name} to process {pid}");
    Ok(())
}
