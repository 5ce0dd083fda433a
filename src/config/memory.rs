//! What the process may use: the cgroup's limit, or what the machine has.

use std::fs;
use std::path::{Path, PathBuf};

/// Assumed where neither the cgroup nor the machine says.
const UNKNOWN_MACHINE_BYTES: u64 = 1 << 30;

/// The memory that this process may use, in bytes.
pub fn detect() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| meminfo_total(&text));
    let cgroup = fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| cgroup_limit(&text));
    match (machine, cgroup) {
        (Some(machine), Some(cgroup)) => machine.min(cgroup),
        (Some(bytes), None) | (None, Some(bytes)) => bytes,
        (None, None) => UNKNOWN_MACHINE_BYTES,
    }
}

/// `MemTotal` of `/proc/meminfo`.
fn meminfo_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The lowest limit of this process's cgroups and those above them.
fn cgroup_limit(membership: &str) -> Option<u64> {
    limit_files(membership).iter().filter_map(|file| limit_of(file)).min()
}

/// The files that hold limits: version 2 (`0::/path`) at every level, and version 1's memory controller. Of version 2
/// also the limit above which the kernel makes a process wait for memory instead of ending it (`MemoryHigh=` of a unit).
/// Inside a container the path is often not visible, so the root of the mount is asked as well.
fn limit_files(membership: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in membership.lines() {
        let mut parts = line.splitn(3, ':');
        let (_, Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (root, names) = match controllers {
            "" => ("/sys/fs/cgroup", ["memory.max", "memory.high"].as_slice()),
            list if list.split(',').any(|one| one == "memory") => {
                ("/sys/fs/cgroup/memory", ["memory.limit_in_bytes"].as_slice())
            }
            _ => continue,
        };
        let path = Path::new(path.trim_start_matches('/'));
        let of_level = |level| names.iter().map(move |name| Path::new(root).join(level).join(name));
        files.extend(path.ancestors().flat_map(of_level));
    }
    files
}

/// The number in a limit file; "max", and version 1's number for it, are no limit.
fn limit_of(file: &Path) -> Option<u64> {
    let bytes: u64 = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    (bytes < 1 << 60).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_memory_is_read_in_kibibytes() {
        let text = "MemTotal:       16310512 kB\nMemFree:         1 kB\n";
        assert_eq!(meminfo_total(text), Some(16_310_512 * 1024));
        assert_eq!(meminfo_total("nothing"), None);
    }

    #[test]
    fn every_level_of_the_cgroup_is_asked() {
        let files = limit_files("0::/system.slice/streamd.service\n");
        let expected = [
            "/sys/fs/cgroup/system.slice/streamd.service/memory.max",
            "/sys/fs/cgroup/system.slice/streamd.service/memory.high",
            "/sys/fs/cgroup/system.slice/memory.max",
            "/sys/fs/cgroup/system.slice/memory.high",
            "/sys/fs/cgroup/memory.max",
            "/sys/fs/cgroup/memory.high",
        ];
        assert_eq!(files, expected.map(PathBuf::from));
        let files = limit_files("5:cpu,memory:/docker/abc\n4:pids:/x\n");
        assert_eq!(files[0], PathBuf::from("/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes"));
        assert_eq!(files.len(), 3);
    }

    #[test]
    fn max_is_no_limit() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("memory.max");
        for (text, limit) in
            [("max\n", None), ("67108864\n", Some(67_108_864)), ("9223372036854771712\n", None)]
        {
            fs::write(&file, text).unwrap();
            assert_eq!(limit_of(&file), limit, "{text}");
        }
    }
}
