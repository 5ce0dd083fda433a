//! Connections while the disk has no room for what they want to write, and those that hang up meanwhile.

use super::*;

#[tokio::test(start_paused = true)]
async fn without_room_only_those_wait_who_need_it() {
    let rig = Rig::new(1 << 20);
    rig.echo.full.store(true, Ordering::SeqCst);
    let (mut writes, _served) = rig.connect();
    let (mut reads, _served) = rig.connect();
    // It has written before: what else it asks is answered all the same.
    writes
        .write_all(&[frame(3, false, b'a'), frame(0, false, b'b'), frame(3, false, b'c')].concat())
        .await
        .unwrap();
    assert_eq!(read(&mut writes, 1).await, *b"a");
    for _ in 0..3 {
        reads.write_all(&frame(3, false, b'r')).await.unwrap();
        assert_eq!(read(&mut reads, 1).await, *b"r");
    }
    assert_eq!(rig.echo.started.load(Ordering::SeqCst), 4, "what is behind waits, for answers have an order");
    rig.echo.make_room();
    assert_eq!(read(&mut writes, 2).await, *b"bc");
    rig.echo.full.store(true, Ordering::SeqCst);
    writes.write_all(&frame(3, false, b'd')).await.unwrap();
    assert_eq!(read(&mut writes, 1).await, *b"d");
}

#[tokio::test(start_paused = true)]
async fn room_that_is_made_while_a_connection_looks_for_it_is_found() {
    let mut found = 0;
    for looks in 1..40 {
        let rig = Rig::new(1 << 20);
        let (mut client, _served) = rig.connect();
        rig.echo.full_for.store(looks, Ordering::SeqCst);
        client.write_all(&frame(0, false, b'a')).await.unwrap();
        let answered = tokio::time::timeout(Duration::from_secs(5), read(&mut client, 1)).await.is_ok();
        let came = rig.echo.full_for.load(Ordering::SeqCst) == 0;
        assert_eq!(answered, came, "room came behind look {looks}");
        found += usize::from(answered);
    }
    assert!((4..39).contains(&found), "it came while somebody looked {found} times, and not in every case");
}

#[tokio::test(start_paused = true)]
async fn without_room_a_long_frame_is_left_where_it_is_and_its_sender_is_not_called_silent() {
    let rig = Rig::new(1 << 20);
    let (mut client, served) = rig.connect();
    client.write_all(&frame(0, false, b'a')).await.unwrap();
    assert_eq!(read(&mut client, 1).await, *b"a");
    rig.echo.full.store(true, Ordering::SeqCst);
    let sends = tokio::spawn(async move {
        client.write_all(&long_frame(1_000_000, b'b')).await.unwrap();
        client.write_all(&long_frame(1_000_000, b'c')).await.unwrap();
        client
    });
    // Longer than a silent connection may last.
    tokio::time::sleep(Duration::from_secs(1200)).await;
    assert!(!served.is_finished() && !sends.is_finished());
    assert!(rig.budget.used() < 64 * 1024, "{} bytes are held", rig.budget.used());
    rig.echo.make_room();
    let mut client = sends.await.unwrap();
    assert_eq!(read(&mut client, 2).await, *b"bc");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_is_given_up_when_the_broker_stops() {
    let rig = Rig::new(1 << 20);
    rig.echo.full.store(true, Ordering::SeqCst);
    let (mut client, served) = rig.connect();
    client.write_all(&frame(0, false, b'a')).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.shutdown.begin();
    served.await.unwrap().unwrap();
    assert_eq!(rig.echo.started.load(Ordering::SeqCst), 0);
}

/// How somebody hangs up.
#[derive(Debug, Clone, Copy, PartialEq)]
enum HangsUp {
    /// It sends no more and waits for answers.
    Half,
    Whole,
    /// It closes at once, with a reset.
    Resets,
}

impl HangsUp {
    /// Returns what is left to read from, if anything.
    async fn from(self, mut client: TcpStream) -> Option<TcpStream> {
        match self {
            Self::Half => {
                client.shutdown().await.unwrap();
                return Some(client);
            }
            Self::Whole => {}
            Self::Resets => client.set_zero_linger().unwrap(),
        }
        None
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it takes too long")
}

#[tokio::test]
async fn who_hangs_up_in_a_frame_that_waits_for_room_is_let_go_at_once() {
    for how in [HangsUp::Half, HangsUp::Whole, HangsUp::Resets] {
        let rig = Rig::new(1 << 20);
        rig.echo.full.store(true, Ordering::SeqCst);
        let (mut client, served) = rig.connect_socket().await;
        // What comes first is answered, so what is behind it was looked at as well.
        client.write_all(&frame(3, false, b'a')).await.unwrap();
        client.write_all(&long_frame(500_000, b'b')[..30_000]).await.unwrap();
        let mut answer = [0];
        soon(client.read_exact(&mut answer)).await.unwrap();
        let rest = how.from(client).await;
        soon(served).await.unwrap().unwrap();
        if let Some(mut rest) = rest {
            let mut more = Vec::new();
            soon(rest.read_to_end(&mut more)).await.unwrap();
            assert_eq!(more, b"");
        }
        assert_eq!(rig.echo.started.load(Ordering::SeqCst), 1, "{how:?}");
        assert_eq!(rig.budget.used(), 0, "{how:?}");
    }
}

#[tokio::test]
async fn a_whole_request_that_waits_for_room_outlasts_the_end_of_its_peers_side_but_not_a_reset() {
    // In memory, and mostly in the socket.
    for request in [frame(0, false, b'b').to_vec(), long_frame(40_000, b'b')] {
        for how in [HangsUp::Half, HangsUp::Whole, HangsUp::Resets] {
            let rig = Rig::new(1 << 20);
            rig.echo.full.store(true, Ordering::SeqCst);
            let (mut client, served) = rig.connect_socket().await;
            client.write_all(&frame(3, false, b'a')).await.unwrap();
            client.write_all(&request).await.unwrap();
            let mut answer = [0];
            soon(client.read_exact(&mut answer)).await.unwrap();
            let rest = how.from(client).await;
            if how == HangsUp::Resets {
                soon(served).await.unwrap().unwrap();
                assert_eq!((rig.echo.started.load(Ordering::SeqCst), rig.budget.used()), (1, 0));
                continue;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(!served.is_finished(), "{how:?}: it is owed an answer, if it takes one");
            rig.echo.make_room();
            soon(served).await.unwrap().unwrap();
            assert_eq!(rig.echo.started.load(Ordering::SeqCst), 2, "{how:?}");
            if let Some(mut rest) = rest {
                let mut more = Vec::new();
                soon(rest.read_to_end(&mut more)).await.unwrap();
                assert_eq!(more, b"b");
            }
        }
    }
}

#[tokio::test]
async fn what_follows_a_whole_request_that_waits_and_can_never_be_one_is_dropped_when_the_peer_ends() {
    let rig = Rig::new(4 << 20);
    let (mut client, served) = rig.connect_socket().await;
    // Half of a long frame is received while there is room; it is freed though a request before it still waits.
    client.write_all(&frame(0, true, b'a')).await.unwrap();
    until(|| rig.echo.started.load(Ordering::SeqCst) == 1).await;
    let half = long_frame(500_000, b'b')[..250_000].to_vec();
    client.write_all(&half).await.unwrap();
    until(|| rig.budget.used() >= 250_000).await;
    rig.echo.full.store(true, Ordering::SeqCst);
    // Seen with the next bytes.
    client.write_all(&[0; 10]).await.unwrap();
    client.shutdown().await.unwrap();
    soon(until(|| rig.budget.used() < LITTLE_BYTES as u64)).await;
    assert!(!served.is_finished());
    rig.echo.gate.notify_one();
    let mut answers = Vec::new();
    soon(client.read_to_end(&mut answers)).await.unwrap();
    assert_eq!(answers, b"a");
    soon(served).await.unwrap().unwrap();
}
