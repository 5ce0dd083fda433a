//! Runs scripts against one broker, several at a time.

use std::any::Any;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::profile::Profile;
use crate::session::{Exchange, Session};

/// Scripts at a time: most of their time is waiting.
const WORKERS: usize = 6;

/// One script: what it is called, what it needs, what it does.
pub(crate) struct Script {
    /// `family/name`, also the path of the recording.
    pub(crate) name: &'static str,
    pub(crate) profile: Profile,
    pub(crate) run: fn(&Session),
}

/// A script for a broker with default settings.
pub(crate) const fn plain(name: &'static str, run: fn(&Session)) -> Script {
    Script { name, profile: Profile::Plain, run }
}

/// A script for a broker with strict settings.
pub(crate) const fn strict(name: &'static str, run: fn(&Session)) -> Script {
    Script { name, profile: Profile::Strict, run }
}

/// A script for a broker that ends transactions soon.
pub(crate) const fn hasty(name: &'static str, run: fn(&Session)) -> Script {
    Script { name, profile: Profile::Hasty, run }
}

/// What a script saw, and why it ended early if it did.
pub(crate) struct Outcome {
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) failure: Option<String>,
}

/// Runs `scripts`, several at a time, and returns what each saw, by its name.
pub(crate) fn run(address: SocketAddr, scripts: &[&Script]) -> BTreeMap<&'static str, Outcome> {
    run_with(address, scripts, WORKERS)
}

/// As [`run`], with the scripts alone whose answers by Kafka depend on what others do at that moment: it asks its
/// coordinator about the records of several producers at once, and answers all as the first one's version has it.
pub(crate) fn run_to_record(address: SocketAddr, scripts: &[&Script]) -> BTreeMap<&'static str, Outcome> {
    let (alone, together): (Vec<&Script>, Vec<&Script>) =
        scripts.iter().partition(|script| script.name.starts_with("txn_produce/"));
    let mut outcomes = run_with(address, &together, WORKERS);
    outcomes.extend(run_with(address, &alone, 1));
    outcomes
}

fn run_with(address: SocketAddr, scripts: &[&Script], workers: usize) -> BTreeMap<&'static str, Outcome> {
    // Panics end a script and are reported with it.
    std::panic::set_hook(Box::new(|_| {}));
    warm_up(address);
    if scripts.iter().any(|script| script.name.starts_with("txn_")) {
        warm_up_transactions(address);
    }
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(script) = scripts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run_one(address, script);
                    outcomes.lock().insert(script.name, outcome);
                }
            });
        }
    });
    let _ = std::panic::take_hook();
    outcomes.into_inner()
}

fn run_one(address: SocketAddr, script: &Script) -> Outcome {
    let session = Session::new(address, script.name);
    let ended = catch_unwind(AssertUnwindSafe(|| (script.run)(&session)));
    let exchanges = session.into_exchanges();
    let failure = ended.err().map(|panic| {
        let last = exchanges
            .last()
            .map(|e| format!("{} ({} v{}): {}", e.label, e.api, e.version, e.answer.inline()));
        format!("{}\n  after {}", reason(panic), last.unwrap_or_default())
    });
    Outcome { exchanges, failure }
}

fn reason(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
}

/// Waits until every transaction coordinator answers.
fn warm_up_transactions(address: SocketAddr) {
    let session = Session::new(address, "warm/up");
    let c = session.connect();
    // Asking for one makes their topic.
    c.quiet("FindCoordinator", 4, json!({"coordinator_keys": ["warm"], "key_type": 1}));
    // Enough ids to meet every partition of it.
    let ids: Vec<String> = (0..500).map(|i| format!("warm-{i}")).collect();
    session.until("the transaction coordinators are up", || {
        let answer = c.quiet("DescribeTransactions", 0, json!({"transactional_ids": ids}));
        let Some(crate::tree::Tree::List(all)) = answer.tree.at("transaction_states") else { return false };
        // 105: there is no such transactional id.
        all.iter().all(|one| one.field("error_code") == Some(&crate::tree::Tree::Int(105)))
    });
}

/// Waits until every group coordinator answers and producers get ids, so that no script meets a broker that is still starting.
fn warm_up(address: SocketAddr) {
    let session = Session::new(address, "warm/up");
    let ready = |api: &str, version: i16, request: Value, groups: &str| {
        // A broker that is starting may close connections.
        let answer = catch_unwind(AssertUnwindSafe(|| session.connect().quiet(api, version, request)));
        let Some(crate::tree::Tree::List(all)) = answer.ok().and_then(|a| a.tree.at(groups).cloned()) else {
            return false;
        };
        all.iter().all(|group| group.field("error_code") == Some(&crate::tree::Tree::Int(0)))
    };
    // Enough groups to meet every partition of the offsets topic.
    let groups: Vec<Value> =
        (0..500).map(|i| json!({"group_id": format!("warm-{i}"), "topics": null})).collect();
    let id = json!({"transactional_id": null, "transaction_timeout_ms": 1000});
    for _ in 0..600 {
        if ready("FindCoordinator", 4, json!({"coordinator_keys": ["warm"]}), "coordinators")
            && ready("OffsetFetch", 8, json!({"groups": groups}), "groups")
            && session.connect().quiet("InitProducerId", 4, id.clone()).int("error_code") == 0
        {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the group coordinators of {address} do not come up");
}
