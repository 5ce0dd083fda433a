//! The tokio shell, on a paused clock: lanes, loading, deadlines, faults and the stop.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use streamd::coord::task::{LOAD_WAIT_MAX, spawn};
use streamd::coord::{LoadWhen, Release, ShardHandle, ShardSpec, ShardStatus};
use streamd::types::{Clock, ErrorCode};
use tokio::time::{Instant, sleep, timeout};

use crate::faulty_log::{AppendFault, FaultyLog};
use crate::ledger::{Command, Effect, Ledger, Reply, World};

struct Service {
    log: Arc<FaultyLog>,
    shard: ShardHandle<Ledger>,
    effects: Arc<Mutex<Vec<Effect>>>,
}

impl Service {
    fn with(log: Arc<FaultyLog>, load: LoadWhen, client_lane_max_commands: usize) -> Self {
        let effects = Arc::<Mutex<Vec<Effect>>>::default();
        let sink = Arc::clone(&effects);
        let shard = spawn::<Ledger>(ShardSpec {
            name: "ledger-0".into(),
            log: Arc::clone(&log) as _,
            world: Arc::new(World { images: true }),
            effects: Box::new(move |effect| sink.lock().push(effect)),
            clock: Clock::manual(1_000_000),
            client_lane_max_commands,
            load,
        });
        Self { log, shard, effects }
    }

    fn start() -> Self {
        Self::with(FaultyLog::new(), LoadWhen::AtFirstUse, 100)
    }

    async fn add(&self, key: u8, release: Release) -> Reply {
        self.shard.call(add(key, release)).await
    }

    /// The sum that an answer gives.
    async fn sum(&self, key: u8) -> i64 {
        match self.add(key, Release::Appended).await {
            Reply::Sum { sum, .. } => sum,
            other => panic!("{other:?}"),
        }
    }
}

fn add(key: u8, release: Release) -> Command {
    Command::Add { key, amount: 1, records: 1, release }
}

fn refused(error: ErrorCode) -> Reply {
    Reply::Refused(error)
}

/// Lets every task run until none can go on without time passing.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn commands_are_answered_and_effects_come_before_their_replies() {
    let service = Service::start();
    assert_eq!(service.shard.status(), ShardStatus::Idle);
    assert_eq!(service.sum(1).await, 1);
    assert_eq!(service.shard.status(), ShardStatus::Serving);
    let call = service.add(1, Release::Durable);
    tokio::pin!(call);
    assert!(timeout(Duration::from_millis(5), &mut call).await.is_err(), "not durable yet");
    service.log.sync();
    assert!(matches!(call.await, Reply::Sum { sum: 2, .. }));
    let effects = service.effects.lock();
    assert!(matches!(effects.last(), Some(Effect::Added { release: Release::Durable, .. })), "{effects:?}");
}

#[tokio::test(start_paused = true)]
async fn a_command_that_waits_for_nothing_is_answered_on_the_spot() {
    let service = Service::start();
    service.sum(1).await;
    let call = service.shard.call(add(1, Release::Appended));
    tokio::pin!(call);
    assert!(matches!(poll_once(&mut call).await, Some(Reply::Sum { sum: 2, .. })));
}

#[tokio::test(start_paused = true)]
async fn commands_that_come_together_are_appended_together() {
    let service = Service::start();
    settle().await;
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let shard = service.shard.clone();
            tokio::spawn(async move { shard.call(add(1, Release::Appended)).await })
        })
        .collect();
    for call in calls {
        assert!(matches!(call.await.expect("no panic"), Reply::Sum { .. }));
    }
    assert_eq!(service.log.appends(), 1, "all came before it was loaded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_on_many_threads_are_each_answered_once_and_none_is_left_waiting() {
    let service = Service::start();
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let shard = service.shard.clone();
            tokio::spawn(async move {
                let mut sums = Vec::new();
                for _ in 0..2_000 {
                    match shard.call(add(1, Release::Appended)).await {
                        Reply::Sum { sum, .. } => sums.push(sum),
                        other => panic!("{other:?}"),
                    }
                }
                sums
            })
        })
        .collect();
    let mut all = Vec::new();
    for call in calls {
        let sums = call.await.expect("no panic");
        assert!(sums.is_sorted(), "a caller sees its own commands in order");
        all.extend(sums);
    }
    all.sort_unstable();
    assert_eq!(all, (1..=16_000).collect::<Vec<i64>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callers_panic_costs_that_caller_only() {
    let service = Service::start();
    service.log.sync();
    assert_eq!(service.sum(1).await, 1);
    let shard = service.shard.clone();
    let waits = tokio::spawn({
        let shard = shard.clone();
        async move { shard.call(Command::Await(9)).await }
    });
    sleep(Duration::from_millis(20)).await;
    let panicked = tokio::spawn(async move { shard.call(Command::Panic).await }).await;
    assert!(panicked.is_err(), "its connection's task ends");
    assert_eq!(service.sum(1).await, 2, "loaded again, from what is in the log");
    assert_eq!(waits.await.expect("no panic"), refused(ErrorCode::NotCoordinator));
}

#[tokio::test(start_paused = true)]
async fn deadlines_fire_without_a_command_and_on_time() {
    let service = Service::start();
    let began = Instant::now();
    assert_eq!(service.shard.call(Command::Sleep(250)).await, Reply::Woken);
    assert_eq!(began.elapsed().as_millis() / 10, 25);
    assert_eq!(service.shard.call(Command::AddLater { key: 7, after: 100 }).await, Reply::Woken);
    sleep(Duration::from_millis(110)).await;
    assert_eq!(service.sum(7).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_jump_of_the_wall_clock_fires_nothing_early() {
    let log = FaultyLog::new();
    let clock = Clock::manual(1_000_000);
    let shard = spawn::<Ledger>(ShardSpec {
        name: "ledger-0".into(),
        log: log as _,
        world: Arc::new(World::default()),
        effects: Box::new(|_| {}),
        clock: clock.clone(),
        client_lane_max_commands: 10,
        load: LoadWhen::AtStart,
    });
    let sleeper = tokio::spawn({
        let shard = shard.clone();
        async move { shard.call(Command::Sleep(60_000)).await }
    });
    settle().await;
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(shard.call(Command::AddLater { key: 1, after: 0 }).await, Reply::Woken);
    settle().await;
    assert!(!sleeper.is_finished());
    sleep(Duration::from_millis(60_001)).await;
    assert!(sleeper.is_finished());
}

#[tokio::test(start_paused = true)]
async fn internal_commands_go_before_those_of_clients() {
    let service = Service::start();
    service.sum(1).await;
    service.shard.post_internal(add(1, Release::Appended)).expect("it serves");
    assert_eq!(service.sum(1).await, 3);
}

#[tokio::test(start_paused = true)]
async fn what_a_task_tells_is_taken_on_the_spot() {
    let service = Service::start();
    service.sum(1).await;
    let before = service.log.appends();
    service.shard.tell(add(1, Release::Appended)).expect("it serves");
    assert_eq!(service.log.appends(), before + 1);
    service.log.sync();
    service.shard.stop().await;
    assert!(service.shard.tell(add(1, Release::Appended)).is_err());
}

/// On a paused clock time goes on only when no task has anything to do.
#[tokio::test(start_paused = true)]
async fn a_log_without_room_leaves_the_shard_asleep_until_it_tries_again() {
    let service = Service::start();
    service.sum(1).await;
    service.log.limit_room(Some(0));
    service.shard.post_internal(add(1, Release::Appended)).expect("it serves");
    settle().await;
    service.shard.post_internal(add(1, Release::Appended)).expect("it serves");
    sleep(Duration::from_millis(500)).await;
    service.log.limit_room(None);
    assert_eq!(service.sum(1).await, 2, "internal commands wait for their time");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(service.sum(1).await, 5);
}

/// The future's result if it has one already.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_full_lane_holds_callers_back_and_loses_none() {
    let service = Service::with(FaultyLog::new(), LoadWhen::AtFirstUse, 2);
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let shard = service.shard.clone();
            tokio::spawn(async move { shard.call(add(1, Release::Appended)).await })
        })
        .collect();
    for call in calls {
        assert!(matches!(call.await.expect("no panic"), Reply::Sum { .. }));
    }
    assert_eq!(service.sum(1).await, 51);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_leaves_its_command_behind() {
    let service = Service::start();
    let call = service.add(1, Release::Durable);
    assert!(timeout(Duration::from_millis(5), call).await.is_err());
    service.log.sync();
    settle().await;
    assert_eq!(service.sum(1).await, 2);
}

/// A log with one record whose replay waits until it is let go.
async fn slow_log() -> Arc<FaultyLog> {
    let service = Service::start();
    service.sum(1).await;
    service.log.sync();
    service.shard.stop().await;
    service.log.hold_replay(true);
    service.log
}

#[tokio::test(start_paused = true)]
async fn commands_wait_for_the_load_and_are_refused_after_a_second() {
    let log = slow_log().await;
    let service = Service::with(Arc::clone(&log), LoadWhen::AtStart, 100);
    let first = tokio::spawn({
        let shard = service.shard.clone();
        async move { shard.call(add(1, Release::Appended)).await }
    });
    settle().await;
    assert_eq!(service.shard.status(), ShardStatus::Loading);
    tokio::time::advance(LOAD_WAIT_MAX / 2).await;
    let second = tokio::spawn({
        let shard = service.shard.clone();
        async move { shard.call(add(1, Release::Appended)).await }
    });
    settle().await;
    tokio::time::advance(LOAD_WAIT_MAX / 2).await;
    settle().await;
    assert!(first.is_finished() && !second.is_finished());
    assert_eq!(first.await.expect("no panic"), refused(ErrorCode::CoordinatorLoadInProgress));
    log.hold_replay(false);
    assert!(matches!(second.await.expect("no panic"), Reply::Sum { sum: 2, .. }));
}

#[tokio::test(start_paused = true)]
async fn a_failed_append_refuses_all_who_wait_and_the_shard_loads_again() {
    let service = Service::start();
    service.sum(1).await;
    service.log.sync();
    let parked = tokio::spawn({
        let shard = service.shard.clone();
        async move { shard.call(Command::Await(9)).await }
    });
    settle().await;
    service.log.fail_append(AppendFault::Before);
    assert_eq!(service.add(1, Release::Appended).await, refused(ErrorCode::NotCoordinator));
    assert_eq!(parked.await.expect("no panic"), refused(ErrorCode::NotCoordinator));
    assert_eq!(service.sum(1).await, 2, "what was refused did not happen, what was answered did");
}

#[tokio::test(start_paused = true)]
async fn a_failed_sync_refuses_what_waited_for_it() {
    let service = Service::start();
    let call = service.add(1, Release::Durable);
    tokio::pin!(call);
    assert!(timeout(Duration::from_millis(5), &mut call).await.is_err());
    service.log.fail_sync();
    assert_eq!(call.await, refused(ErrorCode::NotCoordinator));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_read_is_tried_again_with_back_off() {
    let log = slow_log().await;
    log.hold_replay(false);
    log.set_unreadable(true);
    let service = Service::with(Arc::clone(&log), LoadWhen::AtFirstUse, 100);
    assert_eq!(service.add(1, Release::Appended).await, refused(ErrorCode::CoordinatorLoadInProgress));
    log.set_unreadable(false);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(service.sum(1).await, 2);
}

#[tokio::test(start_paused = true)]
async fn damage_in_its_own_log_stops_the_shard_with_a_clear_fault() {
    let log = slow_log().await;
    log.hold_replay(false);
    log.damage();
    let service = Service::with(log, LoadWhen::AtFirstUse, 100);
    assert_eq!(service.add(1, Release::Appended).await, refused(ErrorCode::NotCoordinator));
    let ShardStatus::Faulted(why) = service.shard.status() else { panic!("{:?}", service.shard.status()) };
    assert_eq!(why, "the log is damaged at offset 0: the checksum does not match");
    assert_eq!(service.add(1, Release::Appended).await, refused(ErrorCode::NotCoordinator));
    service.shard.stop().await;
    assert_eq!(service.shard.status(), ShardStatus::Stopped);
}

#[tokio::test(start_paused = true)]
async fn stopping_finishes_what_the_log_allows_and_refuses_the_rest() {
    let service = Service::start();
    service.sum(1).await;
    let parked = tokio::spawn({
        let shard = service.shard.clone();
        async move { shard.call(Command::Await(9)).await }
    });
    let durable = tokio::spawn({
        let shard = service.shard.clone();
        async move { shard.call(add(1, Release::Durable)).await }
    });
    settle().await;
    let stopping = tokio::spawn({
        let shard = service.shard.clone();
        async move { shard.stop().await }
    });
    settle().await;
    assert!(!stopping.is_finished(), "an answer waits for the disk");
    service.log.sync();
    stopping.await.expect("no panic");
    assert!(matches!(durable.await.expect("no panic"), Reply::Sum { sum: 2, .. }));
    assert_eq!(parked.await.expect("no panic"), refused(ErrorCode::CoordinatorNotAvailable));
    assert_eq!(service.add(1, Release::Appended).await, refused(ErrorCode::CoordinatorNotAvailable));
    assert!(service.shard.post_internal(add(1, Release::Appended)).is_err());
    service.shard.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_world_is_what_the_next_decisions_see() {
    let service = Service::start();
    service.shard.set_world(Arc::new(World { images: false }));
    service.log.sync();
    service.sum(1).await;
    service.log.sync();
    settle().await;
    let images =
        |effects: &[Effect]| effects.iter().filter(|effect| matches!(effect, Effect::Image(_))).count();
    assert_eq!(images(&service.effects.lock()), 0);
    service.shard.set_world(Arc::new(World { images: true }));
    settle().await;
    assert_eq!(images(&service.effects.lock()), 1, "a new world is published without a command");
}
