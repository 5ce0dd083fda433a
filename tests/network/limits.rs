//! How many connections there may be, and for how long they may be silent.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::{ApiVersionsRequest, FetchRequest};

use crate::support::Broker;
use crate::support::raw::{self, Connection};

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
    let frame = raw::frame(0, 1, "x", &ApiVersionsRequest::default());
    stream.write_all(&frame).is_ok() && stream.read_exact(&mut [0; 8]).is_ok()
}

#[test]
fn max_connections_is_kept_and_a_place_that_gets_free_is_given_again() {
    let broker = Broker::with("[kafka]\n\"max.connections\" = 5\n");
    let mut held: Vec<_> = (0..5).map(|_| Connection::to(broker.address())).collect();
    assert!(held.iter_mut().all(raw::is_served), "there is room");
    let mut waiting: Vec<_> = (0..3).map(|_| Connection::to(broker.address())).collect();
    for connection in &mut waiting {
        connection.send(0, &ApiVersionsRequest::default()).unwrap();
        connection.patience(Duration::from_millis(200));
        let answer = connection.receive().map_err(|error| error.kind());
        assert_eq!(answer, Err(ErrorKind::WouldBlock), "the sixth waits and is not closed");
        connection.patience(Duration::from_secs(20));
    }
    broker.wait_for_log("max.connections (5) is reached; new connections wait");
    assert!(held.iter_mut().all(raw::is_served), "those that are in stay in");
    for mut connection in waiting {
        held.pop();
        connection.receive().expect("a place that gets free is given");
        held.insert(0, connection);
    }
    assert!(held.iter_mut().all(raw::is_served));
}

/// No host is every interface, in both protocols where there are both.
#[test]
fn a_listener_without_a_host_is_reached_by_both_protocols() {
    let mut broker = Broker::start();
    let reached = |broker: &Broker, host: &str| {
        let port = broker.address().rsplit(':').next().unwrap();
        Connection::try_to(&format!("{host}:{port}"))
            .is_ok_and(|mut connection| raw::is_served(&mut connection))
    };
    let six = std::net::TcpListener::bind("[::1]:0").is_ok();
    broker.stop();
    broker.up_at(":0");
    assert!(reached(&broker, "127.0.0.1"));
    assert_eq!(reached(&broker, "[::1]"), six);
    broker.stop();
    broker.up_at("0.0.0.0:0");
    assert!(reached(&broker, "127.0.0.1") && !reached(&broker, "[::1]"));
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
