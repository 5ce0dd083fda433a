//! Connections over an in-memory stream, with a service that does as its frames say.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;
use crate::net::{ByteBudget, ShutdownHandle, shutdown};
use crate::wire::frame::{FrameError, FrameLimits};

#[path = "connection_room_tests.rs"]
mod room;

const LARGE_ANSWER: usize = 100_000;
const MEDIUM_ANSWER: usize = 20 * 1024;

/// Answers each frame with its last byte. Frames of API key 0 overlap; a frame whose second last byte is 1 waits until
/// [`Echo::gate`] opens, and one of API key 1 only as long as the peer is there. The answer to API key 5 is large, and
/// that to API key 6 takes a turn of work.
#[derive(Default)]
struct Echo {
    started: AtomicUsize,
    settled: AtomicUsize,
    gate: Arc<Notify>,
    /// Set while there is no room for frames of API key 0.
    full: AtomicBool,
    /// How often there is no room yet when somebody asks.
    full_for: AtomicUsize,
    waiting: Mutex<Vec<Waker>>,
}

impl Echo {
    fn make_room(&self) {
        self.full.store(false, Ordering::SeqCst);
        self.waiting.lock().drain(..).for_each(Waker::wake);
    }
}

impl Service for Echo {
    type Session = ();
    type Slice = LogSlice;

    fn open(&self, _peer: &Peer) {}

    fn has_room(&self) -> bool {
        if let Ok(left) = self.full_for.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
        {
            if left == 1 {
                // There is from here on: whoever waits is told.
                self.waiting.lock().drain(..).for_each(Waker::wake);
            }
            return false;
        }
        !self.full.load(Ordering::SeqCst)
    }

    async fn room(&self) {
        poll_fn(|context| {
            if self.has_room() {
                return Poll::Ready(());
            }
            self.waiting.lock().push(context.waker().clone());
            // Looked at again, as whoever makes room between the two would tell nobody.
            let is_full = self.full.load(Ordering::SeqCst) || self.full_for.load(Ordering::SeqCst) > 0;
            if is_full { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    fn needs_room(&self, frame: &[u8]) -> bool {
        frame.starts_with(&[0, 0])
    }

    fn overlaps(&self, frame: &[u8]) -> bool {
        frame[..2] == [0, 0]
    }

    fn start(&self, _session: &mut (), frame: Bytes) -> Started<LogSlice> {
        self.started.fetch_add(1, Ordering::SeqCst);
        if frame[1] == 6 {
            std::thread::sleep(TURN_MAX);
        }
        let answer = match frame[1] {
            5 => Bytes::from(vec![0; LARGE_ANSWER]),
            14 => Bytes::from(vec![0; MEDIUM_ANSWER]),
            _ => frame.slice(frame.len() - 1..),
        };
        let answer = Outcome::Reply(answer.into());
        if frame[frame.len() - 2] == 0 {
            return Started::Done(answer);
        }
        let gate = Arc::clone(&self.gate);
        let while_open = frame[1] == 1;
        let pending = Box::pin(async move {
            gate.notified().await;
            answer
        });
        if while_open { Started::WaitsWhileOpen(pending) } else { Started::Waits(pending) }
    }

    fn settle(&self, _session: &mut ()) {
        self.settled.fetch_add(1, Ordering::SeqCst);
    }

    fn bad_frame(&self, _session: &mut (), error: &FrameError) -> Option<Bytes> {
        error.parting_words()
    }

    fn close(&self, _session: ()) {}
}

struct Rig {
    echo: Arc<Echo>,
    budget: Arc<ByteBudget>,
    shutdown: ShutdownHandle,
    drain: Drain,
}

impl Rig {
    fn new(budget_bytes: u64) -> Self {
        let (shutdown, drain) = shutdown();
        Self { echo: Arc::default(), budget: ByteBudget::new(budget_bytes), shutdown, drain }
    }

    fn connect(&self) -> (DuplexStream, JoinHandle<io::Result<()>>) {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        (ours, self.serve(theirs))
    }

    /// The same over a socket.
    async fn connect_socket(&self) -> (TcpStream, JoinHandle<io::Result<()>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (ours, self.serve(listener.accept().await.unwrap().0))
    }

    fn serve(&self, theirs: impl Transport) -> JoinHandle<io::Result<()>> {
        let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let peer = Peer { address, listener: 0, local: address };
        let limits = ConnectionLimits {
            frame: FrameLimits { frame_bytes_max: 1 << 20, other_bytes_max: 1 << 20 },
            inflight_bytes_max: 1 << 20,
            inflight_requests_max: 100,
            idle_max: Some(Duration::from_secs(600)),
            budget: Arc::clone(&self.budget),
        };
        tokio::spawn(serve_connection(theirs, Arc::clone(&self.echo), peer, limits, self.drain.clone()))
    }
}

/// A frame of this API key that waits or not and is answered with `answer`.
fn frame(key: u16, waits: bool, answer: u8) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_u32(10);
    frame.put_u16(key);
    frame.put_bytes(0, 6);
    frame.put_slice(&[u8::from(waits), answer]);
    frame
}

async fn read(stream: &mut DuplexStream, count: usize) -> Vec<u8> {
    let mut answers = vec![0; count];
    stream.read_exact(&mut answers).await.unwrap();
    answers
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn s7_answers_leave_in_the_order_of_the_requests() {
    let rig = Rig::new(1 << 20);
    let (mut client, _served) = rig.connect();
    let burst = [frame(0, true, b'a'), frame(0, false, b'b'), frame(3, false, b'c'), frame(0, false, b'd')];
    client.write_all(&burst.concat()).await.unwrap();
    until(|| rig.echo.started.load(Ordering::SeqCst) == 2).await;
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        rig.echo.started.load(Ordering::SeqCst),
        2,
        "what does not overlap waits for what is before it"
    );
    assert_eq!(rig.echo.settled.load(Ordering::SeqCst), 1, "what came together is settled together");
    rig.echo.gate.notify_one();
    assert_eq!(read(&mut client, 4).await, *b"abcd");
}

#[tokio::test(start_paused = true)]
async fn s100_who_is_not_done_when_a_drain_ends_is_closed_without_an_answer() {
    let rig = Rig::new(1 << 20);
    let (mut client, served) = rig.connect();
    client.write_all(&[frame(0, false, b'a'), frame(0, true, b'b')].concat()).await.unwrap();
    assert_eq!(read(&mut client, 1).await, *b"a");
    until(|| rig.echo.started.load(Ordering::SeqCst) == 2).await;
    rig.shutdown.begin();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!served.is_finished(), "it is owed an acknowledgement");
    rig.shutdown.cut();
    served.await.unwrap().unwrap();
    // What it waited for may come to pass now; nobody is told.
    rig.echo.gate.notify_one();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"");
    let Rig { shutdown, drain, .. } = rig;
    drop(drain);
    tokio::time::timeout(Duration::from_secs(60), shutdown.finished()).await.expect("nobody is left");
}

#[tokio::test(start_paused = true)]
async fn halves_of_frames_count_and_who_stops_there_makes_room() {
    let rig = Rig::new(1000);
    let (mut slow, slow_served) = rig.connect();
    let half = [&200_000_u32.to_be_bytes()[..], &[0; 100_000]].concat();
    slow.write_all(&half).await.unwrap();
    until(|| rig.budget.used() >= 100_004).await;
    let (mut other, _served) = rig.connect();
    other.write_all(&frame(3, false, b'x')).await.unwrap();
    assert_eq!(read(&mut other, 1).await, *b"x", "who needs little goes on over the limit");
    assert!(slow_served.await.unwrap().is_ok(), "the one that stopped is closed");
    assert_eq!(rig.budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_waits_for_room_is_not_taken_for_one_that_stands_still() {
    let rig = Rig::new(1000);
    let half = [&200_000_u32.to_be_bytes()[..], &[0; 100_000]].concat();
    let large = [&1_000_000_u32.to_be_bytes()[..], &[0; 100_000]].concat();
    let (mut first, first_served) = rig.connect();
    first.write_all(&large).await.unwrap();
    until(|| rig.budget.used() >= 100_004).await;
    // The second cannot go on before the first is out of the way; the first keeps moving for a while.
    let (mut second, second_served) = rig.connect();
    second.write_all(&half).await.unwrap();
    for _ in 0..10 {
        tokio::time::sleep(STALL_MAX / 2).await;
        first.write_all(&[0; 50_000]).await.unwrap();
    }
    assert!(!first_served.is_finished() && !second_served.is_finished());
    assert!(first_served.await.unwrap().is_ok(), "then it stops and is closed");
    second.write_all(&[0; 99_999]).await.unwrap();
    second.write_all(b"s").await.unwrap();
    assert_eq!(read(&mut second, 1).await, *b"s");
    assert!(!second_served.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_closed_but_not_one_that_is_owed_an_answer() {
    let rig = Rig::new(1 << 20);
    let (_silent, silent_served) = rig.connect();
    let (mut waiting, waiting_served) = rig.connect();
    waiting.write_all(&frame(3, true, b'w')).await.unwrap();
    until(|| rig.echo.started.load(Ordering::SeqCst) == 1).await;
    assert!(silent_served.await.unwrap().is_ok());
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!waiting_served.is_finished());
    rig.echo.gate.notify_one();
    assert_eq!(read(&mut waiting, 1).await, *b"w");
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(!waiting_served.is_finished(), "its silence began with the answer");
    assert!(waiting_served.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_drain_answers_what_overlaps_and_closes() {
    let rig = Rig::new(1 << 20);
    let (mut client, served) = rig.connect();
    client.write_all(&frame(0, true, b'a')).await.unwrap();
    until(|| rig.echo.started.load(Ordering::SeqCst) == 1).await;
    rig.shutdown.begin();
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert!(!served.is_finished(), "an acknowledgement is owed");
    rig.echo.gate.notify_one();
    assert_eq!(read(&mut client, 1).await, *b"a");
    assert!(served.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_stands_between_a_long_poll_and_a_bad_length_is_answered() {
    let rig = Rig::new(1 << 20);
    let (mut client, served) = rig.connect();
    let sent = [&frame(1, true, b'a')[..], &frame(0, false, b'b'), &(-5_i32).to_be_bytes()].concat();
    client.write_all(&sent).await.unwrap();
    until(|| rig.echo.started.load(Ordering::SeqCst) == 1).await;
    rig.echo.gate.notify_one();
    assert_eq!(read(&mut client, 2).await, *b"ab");
    let _ended = served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn s1_a_bad_length_closes_the_connection() {
    let rig = Rig::new(1 << 20);
    let (mut client, served) = rig.connect();
    client.write_all(&(-5_i32).to_be_bytes()).await.unwrap();
    assert!(served.await.unwrap().is_ok());
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
}

/// A frame of 300 kB, of this API key, that waits or not and is answered with `answer`.
fn large_frame(key: u8, waits: bool, answer: u8) -> Vec<u8> {
    let mut frame = 300_000_u32.to_be_bytes().to_vec();
    frame.extend([0, key]);
    frame.resize(4 + 300_000 - 2, 0);
    frame.extend([u8::from(waits), answer]);
    frame
}

#[tokio::test(start_paused = true)]
async fn memory_counts_while_it_is_held_and_a_silent_connection_holds_none() {
    let rig = Rig::new(4 << 20);
    let (mut client, _served) = rig.connect();
    for _ in 0..2 {
        client.write_all(&large_frame(0, false, b'a')).await.unwrap();
        assert_eq!(read(&mut client, 1).await, *b"a");
    }
    assert!(rig.budget.used() >= 300_000, "room for the next one is kept for a while");
    tokio::time::sleep(2 * QUIET_AFTER).await;
    assert_eq!(rig.budget.used(), 0);
    // Room that is kept while an answer is owed goes, too; the request itself stays.
    client.write_all(&large_frame(0, false, b'b')).await.unwrap();
    client.write_all(&large_frame(3, true, b'c')).await.unwrap();
    assert_eq!(read(&mut client, 1).await, *b"b");
    tokio::time::sleep(2 * QUIET_AFTER).await;
    assert!((300_000..400_000).contains(&rig.budget.used()), "{} for one request", rig.budget.used());
    rig.echo.gate.notify_one();
    assert_eq!(read(&mut client, 1).await, *b"c");
    tokio::time::sleep(2 * QUIET_AFTER).await;
    assert_eq!(rig.budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn room_is_not_kept_when_others_need_it() {
    let rig = Rig::new(500_000);
    let (mut client, _served) = rig.connect();
    for _ in 0..2 {
        client.write_all(&large_frame(0, false, b'a')).await.unwrap();
        assert_eq!(read(&mut client, 1).await, *b"a");
    }
    until(|| rig.budget.used() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_not_taken_are_not_piled_up_and_count() {
    let rig = Rig::new(4 << 20);
    let (mut client, _served) = rig.connect();
    const FRAMES: usize = 99;
    client.write_all(&frame(5, false, 0).repeat(FRAMES)).await.unwrap();
    until(|| rig.echo.started.load(Ordering::SeqCst) > 0).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let built = rig.echo.started.load(Ordering::SeqCst) * LARGE_ANSWER;
    assert!(built <= (1 << 20) + ANSWERS_BYTES_MAX + LARGE_ANSWER, "{built} bytes for one who takes none");
    assert!(rig.budget.used() > LITTLE_BYTES as u64, "{} counted", rig.budget.used());
    assert_eq!(read(&mut client, FRAMES * LARGE_ANSWER).await.len(), FRAMES * LARGE_ANSWER);
    until(|| rig.budget.used() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn answers_of_some_kilobytes_count_as_well_once_they_are_not_taken() {
    let rig = Rig::new(10_000);
    let (mut client, served) = rig.connect();
    // As many as the way to the peer holds, and a part of one more.
    const FRAMES: usize = (1 << 20) / MEDIUM_ANSWER + 1;
    for nth in 1..=FRAMES {
        // One by one, so that no more than one is ever owed.
        client.write_all(&frame(14, false, 0)).await.unwrap();
        until(|| rig.echo.started.load(Ordering::SeqCst) == nth).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    let held = (FRAMES * MEDIUM_ANSWER - (1 << 20)) as u64;
    assert!(rig.budget.used() >= held, "{} counted", rig.budget.used());
    // It is more than all together may hold, so whoever leaves it there is cut.
    tokio::time::sleep(2 * STALL_MAX).await;
    assert!(served.await.unwrap().is_err());
    assert_eq!(rig.budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_are_held_than_may_be_even_if_they_come_at_once() {
    let rig = Rig::new(4 << 20);
    let (mut client, _served) = rig.connect();
    client.write_all(&frame(0, true, b'a').repeat(300)).await.unwrap();
    until(|| rig.echo.started.load(Ordering::SeqCst) >= 100).await;
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.echo.started.load(Ordering::SeqCst), 100);
    for _ in 0..300 {
        rig.echo.gate.notify_one();
        assert_eq!(read(&mut client, 1).await, *b"a");
    }
}

#[tokio::test]
async fn a_connection_with_much_to_do_lets_the_others_have_their_turn() {
    let rig = Rig::new(4 << 20);
    let (mut client, _served) = rig.connect();
    client.write_all(&frame(6, false, b'a').repeat(90)).await.unwrap();
    until(|| rig.echo.started.load(Ordering::SeqCst) > 0).await;
    let started = rig.echo.started.load(Ordering::SeqCst);
    assert!(started < 10, "{started} requests in one turn");
    assert_eq!(read(&mut client, 90).await, [b'a'; 90]);
}

#[tokio::test(start_paused = true)]
async fn what_came_before_the_peer_closed_is_carried_out() {
    let rig = Rig::new(1 << 20);
    // A commit that waits for the disk, what is behind it, more than may be held at once, and half a frame.
    let mut sent = [frame(8, true, b'a'), frame(13, false, b'b'), frame(0, false, b'c')].concat();
    sent.extend(frame(0, false, b'd').repeat(200));
    sent.extend(&frame(0, false, b'e')[..5]);
    for half in [true, false] {
        rig.echo.started.store(0, Ordering::SeqCst);
        let (mut client, served) = rig.connect();
        client.write_all(&sent).await.unwrap();
        client.shutdown().await.unwrap();
        let client = half.then_some(client);
        until(|| rig.echo.started.load(Ordering::SeqCst) == 1).await;
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        assert!(!served.is_finished());
        rig.echo.gate.notify_one();
        assert!(served.await.unwrap().is_ok());
        assert_eq!(rig.echo.started.load(Ordering::SeqCst), 203);
        if let Some(mut client) = client {
            let mut answers = Vec::new();
            client.read_to_end(&mut answers).await.unwrap();
            assert_eq!(answers, [&b"abc"[..], &[b'd'; 200]].concat(), "who only sends no more is answered");
        }
        assert_eq!(rig.budget.used(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_ends_when_the_peer_closes_and_what_is_behind_it_is_carried_out() {
    let rig = Rig::new(1 << 20);
    let (mut client, served) = rig.connect();
    client.write_all(&[frame(1, true, b'a'), frame(8, false, b'b')].concat()).await.unwrap();
    until(|| rig.echo.started.load(Ordering::SeqCst) == 1).await;
    client.shutdown().await.unwrap();
    assert!(served.await.unwrap().is_ok());
    assert_eq!(rig.echo.started.load(Ordering::SeqCst), 2);
    let mut answers = Vec::new();
    client.read_to_end(&mut answers).await.unwrap();
    assert_eq!(answers, b"", "an answer out of order would be taken for another");
}

#[tokio::test(start_paused = true)]
async fn who_drips_makes_room_for_others_and_only_then() {
    for is_full in [true, false] {
        let rig = Rig::new(if is_full { 1000 } else { 1 << 20 });
        let (mut slow, served) = rig.connect();
        slow.write_all(&[&200_000_u32.to_be_bytes()[..], &[0; 100_000]].concat()).await.unwrap();
        for _ in 0..30 {
            tokio::time::sleep(STALL_MAX / 4).await;
            if slow.write_all(&[0]).await.is_err() {
                break;
            }
        }
        assert_eq!(served.is_finished(), is_full);
        assert_eq!(rig.budget.used() == 0, is_full);
    }
}

/// A frame of API key 0 with `bytes` more in it.
fn long_frame(bytes: usize, answer: u8) -> Vec<u8> {
    let mut frame = vec![0; 4 + 8 + bytes + 2];
    let len = u32::try_from(frame.len() - 4).unwrap();
    frame[..4].copy_from_slice(&len.to_be_bytes());
    *frame.last_mut().unwrap() = answer;
    frame
}
