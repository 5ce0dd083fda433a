//! System calls, counted by strace.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::allocations::apart;
use crate::support::Broker;
use crate::table::{self, median};
use crate::{ROUNDS, WARM_UP, requests};

/// How long the broker goes on after an answer.
const AFTER: Duration = Duration::from_millis(4);

/// What a system call is for, in the order of the table's columns.
const KINDS: [(&str, &[&str]); 6] = [
    ("receive", &["recvfrom", "recvmsg", "read"]),
    ("append", &["pwrite64", "pwritev", "pwritev2"]),
    ("read the log", &["pread64", "preadv", "preadv2"]),
    ("send", &["sendmsg", "sendto", "writev", "sendfile"]),
    ("wait", &["epoll_wait", "epoll_pwait", "epoll_pwait2"]),
    ("wake", &["futex", "write"]),
];

/// Calls by kind; the last is for all that are of no kind.
type Calls = [usize; KINDS.len() + 1];

struct Traced {
    broker: Broker,
    trace: PathBuf,
}

impl Traced {
    /// A broker under strace; none where that cannot be.
    fn start() -> Option<Self> {
        let probe = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
        if !probe.is_ok_and(|probe| probe.status.success()) {
            eprintln!("SKIPPED: strace is not there or may not trace");
            return None;
        }
        let dir = TempDir::new().unwrap();
        let trace = dir.path().join("trace");
        // As a grandchild: the broker itself is the process that the test started.
        let launcher = ["strace", "-D", "-f", "-qq", "-s", "0", "-o"].map(str::to_owned);
        let launcher: Vec<String> = launcher.into_iter().chain([trace.display().to_string()]).collect();
        let config = "[durability]\nfsync = \"never\"\n[listen]\nadmin = \"\"\n";
        Some(Self { broker: Broker::over(dir, config, &launcher), trace })
    }

    /// The median of each kind of calls over many requests.
    fn cost(&self, mut ask: impl FnMut()) -> Calls {
        (0..WARM_UP).for_each(|_| ask());
        let rounds: Vec<Calls> = (0..ROUNDS)
            .map(|_| {
                thread::sleep(AFTER);
                let before = self.calls();
                ask();
                thread::sleep(AFTER);
                let after = self.calls();
                std::array::from_fn(|kind| after[kind] - before[kind])
            })
            .collect();
        std::array::from_fn(|kind| median(rounds.iter().map(|calls| calls[kind])))
    }

    fn calls(&self) -> Calls {
        let trace = fs::read_to_string(&self.trace).unwrap();
        let mut calls = Calls::default();
        // `12345 futex(…`; what was interrupted in the trace goes on as `12345 <... futex resumed>`.
        let names = trace.lines().filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('));
        for (name, _) in names.filter(|(name, _)| !name.contains(' ')) {
            let kind = KINDS.iter().position(|(_, names)| names.contains(&name)).unwrap_or(KINDS.len());
            calls[kind] += 1;
        }
        calls
    }
}

#[test]
fn a_request_costs_the_system_calls_that_the_page_says() {
    // The other test counts in this process.
    apart();
    let Some(traced) = Traced::start() else { return };
    let heads = KINDS.iter().map(|(kind, _)| *kind).chain(["other"]);
    let said = table::columns(&heads.collect::<Vec<_>>());
    let mut found = table::Rows::new();
    requests::each(traced.broker.address(), |what, ask| {
        let mut cost = traced.cost(ask).to_vec();
        // A machine may be so fast, or so slow, that there is nothing to wait for.
        for (kind, (name, _)) in
            KINDS.iter().enumerate().filter(|(_, (name, _))| ["wait", "wake"].contains(name))
        {
            let said = said.get(what).map_or(0, |said| said[kind]);
            assert!(cost[kind] <= said, "{what}: {name}: {} instead of {said}", cost[kind]);
            cost[kind] = said;
        }
        found.insert(what.to_owned(), cost);
    });
    assert_eq!(found, said);
}
