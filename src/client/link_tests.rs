//! A link against a peer whose bytes the test writes.

use std::time::Duration;

use tokio::net::TcpListener;

use super::*;

async fn pair() -> (Link, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (peer, _) = listener.accept().await.unwrap();
    (Link::new(socket, "peer:1".into()), peer)
}

/// A frame that begins with this correlation id.
fn frame(id: i32, body: &[u8]) -> Vec<u8> {
    let len = i32::try_from(body.len() + 4).unwrap();
    [&len.to_be_bytes()[..], &id.to_be_bytes()[..], body].concat()
}

fn request() -> Bytes {
    Bytes::from_static(b"question")
}

#[tokio::test]
async fn answers_find_who_asked_in_order() {
    let (link, mut peer) = pair().await;
    let asked = async { tokio::join!(link.exchange(request(), 1), link.exchange(request(), 2)) };
    let answers = async {
        let mut got = [0; 16];
        peer.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"questionquestion");
        peer.write_all(&[frame(1, b"first"), frame(2, b"second")].concat()).await.unwrap();
    };
    let ((first, second), ()) = tokio::join!(asked, answers);
    assert_eq!(&first.unwrap()[4..], b"first");
    assert_eq!(&second.unwrap()[4..], b"second");
}

#[tokio::test]
async fn who_stops_waiting_does_not_disturb_who_comes_after() {
    let (link, mut peer) = pair().await;
    let impatient = tokio::time::timeout(Duration::from_millis(20), link.exchange(request(), 1)).await;
    assert!(impatient.is_err());
    peer.write_all(&[frame(1, b"late"), frame(2, b"in time")].concat()).await.unwrap();
    assert_eq!(&link.exchange(request(), 2).await.unwrap()[4..], b"in time");
}

#[tokio::test]
async fn an_answer_to_another_request_ends_the_link() {
    let (link, mut peer) = pair().await;
    peer.write_all(&frame(9, b"")).await.unwrap();
    let error = link.exchange(request(), 1).await.unwrap_err();
    assert!(
        matches!(&error, Error::Malformed { reason, .. } if reason.contains("another request")),
        "{error}"
    );
    assert_eq!(link.exchange(request(), 2).await.unwrap_err(), error, "and stays ended");
    assert!(link.is_over());
}

async fn answered_with(bytes: &[u8]) -> Error {
    let (link, mut peer) = pair().await;
    peer.write_all(bytes).await.unwrap();
    let _ = peer.shutdown().await;
    link.exchange(request(), 1).await.unwrap_err()
}

#[tokio::test]
async fn other_protocols_are_told_by_their_names() {
    for (bytes, words) in [
        (&b"HTTP/1.1 400 Bad Request\r\n"[..], "HTTP"),
        (&[0x15, 3, 3, 0, 2, 2, 70][..], "TLS"),
        (&b""[..], "without an answer"),
    ] {
        let error = answered_with(bytes).await;
        assert!(matches!(error, Error::Foreign { .. }), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_peer_that_hangs_up_after_its_versions_may_want_sasl() {
    let (link, mut peer) = pair().await;
    peer.write_all(&frame(1, b"versions")).await.unwrap();
    link.exchange(request(), 1).await.unwrap();
    // It reads what was sent, so that it hangs up without a reset.
    let mut got = [0; 8];
    peer.read_exact(&mut got).await.unwrap();
    peer.shutdown().await.unwrap();
    let error = link.exchange(request(), 2).await.unwrap_err();
    assert!(error.to_string().contains("SASL"), "{error}");
}

#[tokio::test]
async fn a_frame_beyond_the_bound_is_refused_before_it_is_read() {
    let error = answered_with(&i32::MAX.to_be_bytes()).await;
    assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
    let error = answered_with(&(-5_i32).to_be_bytes()).await;
    assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
}

#[tokio::test]
async fn a_request_without_an_answer_is_written_even_when_the_link_goes() {
    let (link, mut peer) = pair().await;
    link.post(request()).await.unwrap();
    drop(link);
    let mut got = Vec::new();
    peer.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"question");
}
