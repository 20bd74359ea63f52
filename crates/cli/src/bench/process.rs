//! What a process, or several, have used: processor time and memory, from Linux's `/proc` (see proc(5)).
//!
//! Processor time is the sum over threads of `/proc/PID/task/*/schedstat`, which counts
//! nanoseconds, and also those in which a thread was ready to run and had no processor;
//! `/proc/PID/stat` counts ticks of a hundredth of a second, but knows user and system time, and
//! the threads that have ended.

use anyhow::{Context, bail, ensure};
use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A process, several whose figures are added up, or this one.
#[derive(Debug)]
pub(super) struct Process {
    directories: Vec<PathBuf>,
}

/// Processor time used so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// Of each thread that lives.
    threads: HashMap<u32, ThreadTime>,
    user_ticks: u64,
    system_ticks: u64,
}

/// Nanoseconds of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ThreadTime {
    /// On a processor.
    running: u64,
    /// Ready to run, without a processor.
    waiting: u64,
}

/// Processor time used between two samples, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cpu {
    pub(super) all: f64,
    pub(super) user: f64,
    pub(super) system: f64,
    /// Time in which a thread was ready to run and had no processor.
    pub(super) waited: f64,
    /// Time in which the busiest thread ran, or was ready to.
    pub(super) busiest: f64,
}

/// Octets of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) resident: u64,
    pub(super) peak: u64,
}

impl Process {
    pub(super) fn new(pids: &[u32]) -> anyhow::Result<Process> {
        ensure!(cfg!(target_os = "linux"), "--pid needs Linux: the figures come from /proc");
        let mut directories = Vec::new();
        for pid in pids {
            let one = Process { directories: vec![format!("/proc/{pid}").into()] };
            one.sample().with_context(|| format!("cannot read the figures of process {pid}"))?;
            directories.extend(one.directories);
        }
        Ok(Process { directories })
    }

    /// This process, where the system has `/proc`.
    pub(super) fn this() -> Option<Process> {
        cfg!(target_os = "linux").then(|| Process { directories: vec!["/proc/self".into()] })
    }

    pub(super) fn sample(&self) -> anyhow::Result<Sample> {
        let mut sample = Sample::default();
        for directory in &self.directories {
            let (user_ticks, system_ticks) = parse_stat(&read(directory, "stat")?)?;
            sample.user_ticks += user_ticks;
            sample.system_ticks += system_ticks;
            for entry in fs::read_dir(directory.join("task"))? {
                let entry = entry?;
                let thread = entry.file_name().to_string_lossy().parse()?;
                match fs::read_to_string(entry.path().join("schedstat")) {
                    Ok(text) => drop(sample.threads.insert(thread, parse_schedstat(&text)?)),
                    // It has ended meanwhile.
                    Err(error)
                        if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(sample)
    }

    pub(super) fn memory(&self) -> anyhow::Result<Memory> {
        Ok(Memory { resident: self.sum("status", "VmRSS")?, peak: self.sum("status", "VmHWM")? })
    }

    /// Octets of memory that this process alone has, and has written to, exact to the page:
    /// `smaps_rollup` walks the page tables, where the counters behind `VmRSS` lag by up to 64
    /// pages a processor. Pages that were swapped out count.
    pub(super) fn private(&self) -> anyhow::Result<u64> {
        Ok(self.sum("smaps_rollup", "Private_Dirty")? + self.sum("smaps_rollup", "Swap")?)
    }

    /// How many processors it may run on, or all of them together.
    pub(super) fn processors(&self) -> anyhow::Result<u32> {
        let mut all = Vec::new();
        for directory in &self.directories {
            let words = parse_processors(&read(directory, "status")?)?;
            all.resize(all.len().max(words.len()), 0);
            all.iter_mut().zip(words).for_each(|(all, word)| *all |= word);
        }
        Ok(all.into_iter().map(u32::count_ones).sum())
    }

    /// The sum of a value in octets in such a file of each process.
    fn sum(&self, file: &str, key: &str) -> anyhow::Result<u64> {
        self.directories.iter().map(|directory| parse_kib(&read(directory, file)?, key)).sum()
    }
}

fn read(directory: &Path, file: &str) -> anyhow::Result<String> {
    let path = directory.join(file);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

impl Sample {
    /// What was used since `earlier`.
    pub(super) fn since(&self, earlier: &Sample) -> Cpu {
        let used = |(thread, now): (&u32, &ThreadTime)| {
            let then = earlier.threads.get(thread).copied().unwrap_or_default();
            ThreadTime {
                running: now.running.saturating_sub(then.running),
                waiting: now.waiting.saturating_sub(then.waiting),
            }
        };
        let used: Vec<ThreadTime> = self.threads.iter().map(used).collect();
        let seconds = |nanos: u64| nanos as f64 / 1e9;
        let exact = seconds(used.iter().map(|time| time.running).sum());
        let waited = seconds(used.iter().map(|time| time.waiting).sum());
        let busiest = seconds(used.iter().map(|time| time.running + time.waiting).max().unwrap_or(0));
        let ticks = |now: u64, then: u64| now.saturating_sub(then) as f64 / TICKS;
        let user = ticks(self.user_ticks, earlier.user_ticks);
        let system = ticks(self.system_ticks, earlier.system_ticks);
        // The time of threads that have ended is in the ticks alone. Those are rounded, each of the
        // two sums on its own.
        let all = if user + system > exact + 3.0 / TICKS { user + system } else { exact };
        let user_share = if user + system > 0.0 { user / (user + system) } else { 0.0 };
        Cpu { all, user: all * user_share, system: all * (1.0 - user_share), waited, busiest }
    }
}

/// User and system time in ticks: fields 14 and 15, behind a name that may hold anything.
fn parse_stat(text: &str) -> anyhow::Result<(u64, u64)> {
    let (_, fields) = text.rsplit_once(')').context("a stat line has a name")?;
    let mut fields = fields.split_ascii_whitespace().skip(11).map(str::parse);
    let (Some(Ok(user)), Some(Ok(system))) = (fields.next(), fields.next()) else {
        bail!("a stat line has no times: {text:?}");
    };
    Ok((user, system))
}

/// The first two of three numbers.
fn parse_schedstat(text: &str) -> anyhow::Result<ThreadTime> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    let (Some(Ok(running)), Some(Ok(waiting))) = (numbers.next(), numbers.next()) else {
        bail!("no times in {text:?}");
    };
    Ok(ThreadTime { running, waiting })
}

/// The value of `Key:   123 kB`, in octets.
fn parse_kib(text: &str, key: &str) -> anyhow::Result<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let value = lines.next().with_context(|| format!("{key} is missing"))?;
    let kib: u64 = value.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}

/// The words of `Cpus_allowed: f,ffffffff`, with a bit for each processor: the last has the first
/// ones, and comes first here.
fn parse_processors(text: &str) -> anyhow::Result<Vec<u32>> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Cpus_allowed:"));
    let mask = lines.next().context("Cpus_allowed is missing")?;
    let word = |word: &str| u32::from_str_radix(word, 16).with_context(|| format!("no mask in {mask:?}"));
    mask.trim().rsplit(',').map(word).collect()
}

/// What reading tells of a thread that ends just then.
const ESRCH: i32 = 3;
/// Ticks a second in what the kernel tells programs (`USER_HZ`), whatever its own clock does.
const TICKS: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// With threads that have run for so many milliseconds, and waited for half of that.
    fn sample(threads: &[(u32, u64)], user_ticks: u64, system_ticks: u64) -> Sample {
        let time = |ms: u64| ThreadTime { running: ms * 1_000_000, waiting: ms * 500_000 };
        let threads = threads.iter().map(|&(thread, ms)| (thread, time(ms))).collect();
        Sample { threads, user_ticks, system_ticks }
    }

    #[test]
    fn the_lines_of_proc_are_read() {
        let stat = "42 (a (strange) name) S 1 2 3 4 5 6 7 8 9 10 111 222 0 0 20 0 3 0 99 1000 10";
        assert_eq!(parse_stat(stat).unwrap(), (111, 222));
        assert!(parse_stat("42 (short) S 1 2").is_err());
        let time = ThreadTime { running: 123_456_789, waiting: 42 };
        assert_eq!(parse_schedstat("123456789 42 7\n").unwrap(), time);
        assert!(parse_schedstat("").is_err() && parse_schedstat("1").is_err());
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nCpus_allowed:\tf,00000003\n";
        assert_eq!(parse_kib(status, "VmRSS").unwrap(), 1 << 20);
        assert_eq!(parse_kib(status, "VmHWM").unwrap(), 2 << 20);
        assert!(parse_kib(status, "Vm").is_err());
        assert_eq!(parse_processors(status).unwrap(), [3, 15]);
        assert!(parse_processors("Cpus_allowed:\tfast\n").is_err());
    }

    #[test]
    fn time_is_exact_and_split_as_the_ticks_are() {
        let before = sample(&[(1, 1000), (2, 5)], 50, 50);
        let after = sample(&[(1, 1300), (2, 5), (3, 100)], 60, 80);
        let cpu = after.since(&before);
        assert_eq!((cpu.all, cpu.waited, cpu.busiest), (0.4, 0.2, 0.45));
        assert!((cpu.user - 0.1).abs() < 1e-9 && (cpu.system - 0.3).abs() < 1e-9);
        assert_eq!(before.since(&before), Cpu::default());
    }

    #[test]
    fn the_time_of_threads_that_ended_is_not_lost() {
        let before = sample(&[(1, 0), (2, 0)], 0, 0);
        let after = sample(&[(1, 100)], 40, 20);
        assert!((after.since(&before).all - 0.6).abs() < 1e-9);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_figures_of_several_processes_are_added_up() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("a process");
        let pids = [std::process::id(), child.id()];
        let [both, this, that] = [&pids[..], &pids[..1], &pids[1..]].map(|pids| Process::new(pids).unwrap());
        let threads = |process: &Process| process.sample().unwrap().threads.len();
        assert!(threads(&both) > threads(&that) && threads(&that) == 1);
        assert!(both.private().unwrap() > that.private().unwrap());
        assert_eq!(both.processors().unwrap(), this.processors().unwrap());
        child.kill().and_then(|()| child.wait()).expect("it is gone");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_used_time_and_memory() {
        let this = std::process::id();
        let process = Process::new(&[this]).unwrap();
        assert!(process.sample().unwrap().threads.values().any(|time| time.running > 0));
        let memory = process.memory().unwrap();
        assert!(memory.resident > 0 && memory.peak >= memory.resident);
        assert!(process.private().unwrap() > 0 && process.processors().unwrap() > 0);
        assert!(Process::new(&[this, 0]).is_err());
    }
}
