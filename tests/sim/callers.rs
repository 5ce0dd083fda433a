//! Callers that step a shard on their own threads: what happens to everybody else when a step takes long, or panics.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use streamd::coord::task::spawn;
use streamd::coord::{LoadWhen, Release, ShardHandle, ShardSpec};
use streamd::types::Clock;
use tokio::time::{sleep, timeout};

use crate::faulty_log::FaultyLog;
use crate::ledger::{Command, Effect, Ledger, Reply, World};

/// Longer than anything here takes that does not hang.
const PATIENCE: Duration = Duration::from_secs(600);

/// A shard whose next effect, once it is armed, does `once`.
struct Armed {
    log: Arc<FaultyLog>,
    shard: ShardHandle<Ledger>,
    trigger: Arc<AtomicBool>,
}

impl Armed {
    async fn start(once: impl Fn() + Send + Sync + 'static) -> Self {
        let (log, trigger) = (FaultyLog::new(), Arc::new(AtomicBool::new(false)));
        let pulled = Arc::clone(&trigger);
        let shard = spawn::<Ledger>(ShardSpec {
            name: "ledger-0".into(),
            log: Arc::clone(&log) as _,
            world: Arc::new(World::default()),
            effects: Box::new(move |_: Effect| {
                if pulled.swap(false, Ordering::SeqCst) {
                    once();
                }
            }),
            clock: Clock::manual(1_000_000),
            client_lane_max_commands: 10,
            load: LoadWhen::AtStart,
        });
        let armed = Self { log, shard, trigger };
        assert_eq!(sum(armed.call(Release::Appended).await), 1);
        armed
    }

    fn arm(&self) {
        self.trigger.store(true, Ordering::SeqCst);
    }

    fn call(&self, release: Release) -> impl Future<Output = Reply> + Send + 'static {
        call(self.shard.clone(), release)
    }
}

async fn call(shard: ShardHandle<Ledger>, release: Release) -> Reply {
    shard.call(Command::Add { key: 1, amount: 1, records: 1, release }).await
}

fn sum(reply: Reply) -> i64 {
    match reply {
        Reply::Sum { sum, .. } => sum,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_left_a_command_to_a_step_that_panicked_is_answered() {
    type Call = Pin<Box<dyn Future<Output = Reply> + Send>>;
    let shard = Arc::new(Mutex::new(None::<ShardHandle<Ledger>>));
    let left = Arc::new(Mutex::new(None::<Call>));
    let (own, post) = (Arc::clone(&shard), Arc::clone(&left));
    let armed = Armed::start(move || {
        // As another thread does at this moment: it finds the shard stepped, and leaves.
        let shard = own.lock().clone().expect("it is set");
        let mut late: Call = Box::pin(call(shard, Release::Appended));
        assert!(late.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())).is_pending());
        *post.lock() = Some(late);
        panic!("a bug in an effect");
    })
    .await;
    *shard.lock() = Some(armed.shard.clone());
    // So that the task sleeps.
    sleep(Duration::from_secs(1)).await;
    armed.arm();
    assert!(tokio::spawn(armed.call(Release::Appended)).await.is_err(), "the caller's own step");
    let late = left.lock().take().expect("it was posted");
    timeout(PATIENCE, late).await.expect("somebody looks");
    assert!(sum(armed.call(Release::Appended).await) > 1, "and it serves on");
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_tasks_own_step_costs_no_more_than_a_load() {
    let armed = Armed::start(|| panic!("a bug in an effect")).await;
    let waits = tokio::spawn(armed.call(Release::Durable));
    sleep(Duration::from_secs(1)).await;
    armed.arm();
    // The task lets out what waited for this.
    armed.log.sync();
    assert!(!matches!(waits.await.expect("it is answered"), Reply::Sum { .. }), "its effect did not happen");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(sum(armed.call(Release::Appended).await), 3, "what was appended counts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn while_a_caller_steps_for_long_the_shards_task_holds_nobody_up() {
    let (go_on, held) = mpsc::channel::<()>();
    let (steps, stepping) = mpsc::channel();
    let held = Mutex::new(held);
    let armed = Armed::start(move || {
        steps.send(()).expect("it is waited for");
        // As for want of a file descriptor: on a thread of its own, the shard in its hands.
        tokio::task::block_in_place(|| held.lock().recv_timeout(PATIENCE).expect("it is told"));
    })
    .await;
    armed.arm();
    let long = tokio::spawn(armed.call(Release::Appended));
    tokio::task::block_in_place(|| stepping.recv_timeout(PATIENCE)).expect("it has begun");
    // Any deadline, and whatever becomes durable, wakes the task like this.
    armed.shard.load();
    for _ in 0..100 {
        timeout(Duration::from_secs(20), tokio::spawn(tokio::task::yield_now()))
            .await
            .expect("others run")
            .unwrap();
    }
    go_on.send(()).expect("it waits");
    assert_eq!(sum(long.await.expect("it is answered")), 2);
    assert_eq!(sum(armed.call(Release::Appended).await), 3);
}
