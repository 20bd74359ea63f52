//! The default limit on what a server's connections may hold: a part of the memory of the system or
//! of the container.

use std::fs;
use std::path::{Path, PathBuf};

/// The bytes that the connections of a server may hold together: see
/// [`ServerLimits::memory`](crate::ServerLimits::memory).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a bound is there, or not, or by the rule")]
pub enum MemoryLimit {
    /// A quarter of the system's memory, or of the process's control group limit if that is lower.
    ///
    /// | case | limit |
    /// |---|---|
    /// | neither can be read (on systems other than Linux) | 1 GiB in place of the quarter |
    /// | the least in any case | 256 MiB, and four times the largest [`Config::max_message`](crate::Config::max_message) of the routes that deliver whole messages (chunks are not held) |
    ///
    /// Determined when the server is built. In a container of 256 MiB or less this exceeds all of
    /// its memory: use [`Bytes`](MemoryLimit::Bytes) there.
    /// [`Bytes`](MemoryLimit::Bytes).
    #[default]
    Auto,
    /// This number of bytes, in whole KiB. With less than a few times `max_message`, peers that
    /// send long messages are ended all the time.
    Bytes(usize),
    /// No limit on all connections together: only the limits of each connection.
    None,
}

/// Values from here on mean no limit: a control group of version 1 without a limit reports 2^63
/// less a page.
const NONE_FROM: u64 = 1 << 62;

/// The lower bound of the default.
const LEAST: u64 = 256 << 20;

/// The default if the system does not report its memory.
const UNKNOWN: u64 = 1 << 30;

impl MemoryLimit {
    /// The limit in bytes. `max_message`: the largest message that is held whole.
    pub(crate) fn resolve(self, max_message: u64) -> Option<usize> {
        match self {
            MemoryLimit::Auto => Some(by_rule(available(Path::new("/")), max_message)),
            MemoryLimit::Bytes(bytes) => Some(bytes),
            MemoryLimit::None => None,
        }
    }
}

/// The default for a system with `available` bytes, and routes with messages of up to
/// `max_message`.
fn by_rule(available: Option<u64>, max_message: u64) -> usize {
    let part = available.map_or(UNKNOWN, |bytes| bytes / 4);
    usize::try_from(part.max(LEAST).max(max_message.saturating_mul(4))).unwrap_or(usize::MAX)
}

/// Bytes of memory available to the process: the least of the system's and of its control groups'
/// limits. `root`: the directory that contains the system's files.
fn available(root: &Path) -> Option<u64> {
    let system = fs::read_to_string(root.join("proc/meminfo")).ok().and_then(|text| mem_total(&text));
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits =
        limit_files(root, &groups).filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    limits.filter(|limit| *limit < NONE_FROM).chain(system).min()
}

/// `MemTotal:       16265268 kB`
fn mem_total(meminfo: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The files that may contain a limit, given the text of `/proc/self/cgroup`: those of each control
/// group of the process, of its parent groups, and of the root, which in a container is its own
/// group. `max` in place of a number means no limit.
fn limit_files(root: &Path, groups: &str) -> impl Iterator<Item = PathBuf> {
    groups.lines().flat_map(move |line| {
        // hierarchy:controllers:path (cgroups(7)); version 2 has no controllers.
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or(""), parts.next().unwrap_or("/"));
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            list if list.split(',').any(|name| name == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return Vec::new(),
        };
        let ancestors = Path::new(path.trim_start_matches('/')).ancestors();
        ancestors.map(|group| root.join(mount).join(group).join(file)).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_default_is_a_quarter_and_has_a_floor() {
        assert_eq!(by_rule(Some(16 * GIB), 16 << 20) as u64, 4 * GIB);
        assert_eq!(by_rule(Some(512 << 20), 16 << 20) as u64, 256 << 20);
        assert_eq!(by_rule(Some(512 << 20), 100 << 20) as u64, 400 << 20);
        assert_eq!(by_rule(None, 16 << 20) as u64, GIB);
        assert_eq!(by_rule(Some(u64::MAX), u64::MAX), usize::MAX);
    }

    #[test]
    fn only_auto_looks_at_the_system() {
        assert_eq!(MemoryLimit::None.resolve(1), None);
        assert_eq!(MemoryLimit::Bytes(5000).resolve(1 << 30), Some(5000));
        let auto = MemoryLimit::Auto.resolve(1 << 20).expect("a bound");
        assert!(auto as u64 >= LEAST, "{auto}");
    }

    /// A system's files for the duration of a test.
    struct Files(PathBuf);

    impl Files {
        fn new(name: &str, files: &[(&str, &str)]) -> Files {
            let root = std::env::temp_dir().join(format!("framewright-{}-{name}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().expect("a folder")).expect("made");
                fs::write(path, text).expect("written");
            }
            Files(root)
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       16265268 kB\nMemFree:         1000 kB\n");

    #[test]
    fn the_least_limit_of_all_groups_counts() {
        let files = Files::new(
            "v2",
            &[
                MEMINFO,
                ("proc/self/cgroup", "0::/outer/inner\n"),
                ("sys/fs/cgroup/outer/inner/memory.max", "max\n"),
                ("sys/fs/cgroup/outer/memory.max", "1073741824\n"),
            ],
        );
        assert_eq!(available(&files.0), Some(GIB));
    }

    #[test]
    fn groups_of_the_first_version_have_limits_too() {
        let files = Files::new(
            "v1",
            &[
                MEMINFO,
                ("proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/docker/abc\n1:name=systemd:/a\n0::/\n"),
                // The path is valid outside of the container; inside, the root is its group.
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n"),
            ],
        );
        assert_eq!(available(&files.0), Some(512 << 20));
    }

    /// Without a limit, version 1 reports the largest multiple of a page.
    #[test]
    fn what_nobody_has_is_no_limit() {
        let files = Files::new(
            "v1-none",
            &[
                ("proc/self/cgroup", "4:memory:/\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ],
        );
        assert_eq!(available(&files.0), None);
    }

    #[test]
    fn without_a_group_it_is_the_systems_and_without_that_unknown() {
        let files = Files::new("plain", &[MEMINFO, ("proc/self/cgroup", "0::/\n")]);
        assert_eq!(available(&files.0), Some(16_265_268 * 1024));
        assert_eq!(available(Path::new("/nowhere/at/all")), None);
        assert_eq!(mem_total("MemFree: 5 kB"), None);
    }
}
