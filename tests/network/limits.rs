//! How many connections there may be, and for how long they may be silent.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::FetchRequest;

use crate::support::Broker;
use crate::support::raw::{self, Connection};

/// Whether a new connection is served; one over a limit is closed at once.
fn may_enter(address: &str) -> Option<Connection> {
    let mut connection = Connection::try_to(address).ok()?;
    raw::is_served(&mut connection).then_some(connection)
}

/// A socket that comes from another address of this machine.
fn from(ip: Ipv4Addr, address: &str) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((ip, 0)).into()).unwrap();
    socket.connect(&address.parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.into()
}

/// Whether the broker answers on this socket.
fn is_served(mut stream: &TcpStream) -> bool {
    use std::io::{Read as _, Write as _};
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let frame = raw::frame(0, 1, "x", &kafka_protocol::messages::ApiVersionsRequest::default());
    stream.write_all(&frame).is_ok() && stream.read_exact(&mut [0; 8]).is_ok()
}

#[test]
fn max_connections_is_kept_and_a_place_that_gets_free_is_given_again() {
    let broker = Broker::with("[kafka]\n\"max.connections\" = 5\n");
    let mut held: Vec<_> = (0..5).map(|_| may_enter(broker.address()).expect("there is room")).collect();
    for _ in 0..3 {
        assert!(may_enter(broker.address()).is_none(), "the sixth");
    }
    broker.wait_for_log("connection refused: max.connections is reached");
    assert!(held.iter_mut().all(raw::is_served), "those that are in stay in");
    held.pop();
    let began = Instant::now();
    while may_enter(broker.address()).is_none() {
        assert!(began.elapsed() < Duration::from_secs(10), "the free place is not given");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn limits_per_address_hold_for_each_address_by_itself() {
    let config =
        "[kafka]\n\"max.connections.per.ip\" = 2\n\"max.connections.per.ip.overrides\" = \"127.0.0.2:1\"\n";
    let broker = Broker::with(config);
    let in_turn = |ip: [u8; 4]| from(ip.into(), broker.address());
    let first = [in_turn([127, 0, 0, 1]), in_turn([127, 0, 0, 1])];
    assert!(first.iter().all(is_served));
    assert!(!is_served(&in_turn([127, 0, 0, 1])), "the third of 127.0.0.1");
    let second = in_turn([127, 0, 0, 2]);
    assert!(is_served(&second));
    assert!(!is_served(&in_turn([127, 0, 0, 2])), "the second of 127.0.0.2");
    assert!(is_served(&in_turn([127, 0, 0, 3])), "others have their own");
    broker.wait_for_log("max.connections.per.ip is reached");
}

#[test]
fn silent_connections_are_closed_and_those_that_wait_for_an_answer_are_not() {
    let broker = Broker::with("[kafka]\n\"connections.max.idle.ms\" = 700\n");
    let mut connection = Connection::to(broker.address());
    raw::create(&mut connection, "t", 1, &[]);
    let mut waiting = Connection::to(broker.address());
    waiting.send(11, &raw::fetch("t", 0, 0, 2500)).unwrap();
    let mut never_spoke = Connection::to(broker.address());
    let mut half = Connection::to(broker.address());
    half.write(&[0, 0]).unwrap();
    let began = Instant::now();
    let busy = thread::spawn({
        let mut busy = Connection::to(broker.address());
        move || {
            (0..8).all(|_| {
                thread::sleep(Duration::from_millis(250));
                raw::is_served(&mut busy)
            })
        }
    });
    assert_eq!(connection.read_to_close(), b"");
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    never_spoke.read_to_close();
    half.read_to_close();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(busy.join().unwrap(), "a connection that is used was closed");
    let (_, response) = waiting.answer::<FetchRequest>(11).expect("a connection that waits was closed");
    assert_eq!(raw::fetched(&response, 0).0, 0);
    assert!(raw::is_served(&mut waiting), "its silence began with the answer");
}
