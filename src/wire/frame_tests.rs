//! Tests of framing.

use super::*;

const LIMITS: FrameLimits = FrameLimits { frame_bytes_max: 100 << 20, other_bytes_max: 16 << 20 };

fn feed(buffer: &mut FrameBuffer, bytes: &[u8]) {
    buffer.space().extend_from_slice(bytes);
    buffer.received(bytes.len());
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(body);
    frame
}

#[test]
fn many_frames_come_out_of_one_receive() {
    let mut buffer = FrameBuffer::new(LIMITS);
    feed(&mut buffer, &[framed(b"one"), framed(b""), framed(b"three"), vec![0, 0]].concat());
    assert_eq!(buffer.next_frame(), Ok(Some(Bytes::from_static(b"one"))));
    assert_eq!(buffer.next_frame(), Ok(Some(Bytes::new())));
    assert_eq!(buffer.next_frame(), Ok(Some(Bytes::from_static(b"three"))));
    assert_eq!(buffer.next_frame(), Ok(None));
    assert_eq!(buffer.pending(), 2);
}

#[test]
fn frames_come_out_whole_however_they_were_cut() {
    let stream = [framed(b"hello"), framed(&[7; 300]), framed(b"!")].concat();
    for step in 1..stream.len() {
        let mut buffer = FrameBuffer::new(LIMITS);
        let mut frames = Vec::new();
        for part in stream.chunks(step) {
            feed(&mut buffer, part);
            while let Some(frame) = buffer.next_frame().unwrap() {
                frames.push(frame);
            }
        }
        assert_eq!(frames, [&b"hello"[..], &[7; 300], b"!"], "cut every {step} bytes");
    }
}

#[test]
fn s1_lengths_outside_the_limit_are_errors() {
    let mut buffer = FrameBuffer::new(LIMITS);
    feed(&mut buffer, &(-1_i32).to_be_bytes());
    assert_eq!(buffer.next_frame(), Err(FrameError::Negative(-1)));
    let mut buffer = FrameBuffer::new(LIMITS);
    feed(&mut buffer, &((100_i32 << 20) + 1).to_be_bytes());
    assert_eq!(buffer.next_frame(), Err(FrameError::TooLarge { len: (100 << 20) + 1, max: 100 << 20 }));
    let mut buffer = FrameBuffer::new(LIMITS);
    feed(&mut buffer, &(100_i32 << 20).to_be_bytes());
    assert_eq!(buffer.next_frame(), Ok(None));
}

#[test]
fn only_produce_may_pass_the_smaller_limit() {
    let start = |api_key: i16| {
        let mut bytes = (17_i32 << 20).to_be_bytes().to_vec();
        bytes.extend(api_key.to_be_bytes());
        bytes.extend([0; 6]);
        bytes
    };
    let mut buffer = FrameBuffer::new(LIMITS);
    feed(&mut buffer, &start(0));
    assert_eq!(buffer.next_frame(), Ok(None));
    let mut buffer = FrameBuffer::new(LIMITS);
    let metadata = start(3);
    feed(&mut buffer, &metadata[..11]);
    assert_eq!(buffer.next_frame(), Ok(None), "the header's start is not complete");
    feed(&mut buffer, &metadata[11..]);
    let refused = FrameError::TooLargeForApi { api_key: 3, len: 17 << 20, max: 16 << 20 };
    assert_eq!(buffer.next_frame(), Err(refused));
}

#[test]
fn other_protocols_are_told_apart() {
    let first = |bytes: &[u8]| {
        let mut buffer = FrameBuffer::new(LIMITS);
        feed(&mut buffer, bytes);
        buffer.next_frame().unwrap_err()
    };
    assert_eq!(first(b"\x16\x03\x01\x02\x00\x01"), FrameError::Tls);
    assert_eq!(first(b"GET / HTTP/1.1\r\n"), FrameError::Http("GET"));
    assert_eq!(first(b"PRI * HTTP/2.0\r\n"), FrameError::Http("HTTP/2"));
    assert!(matches!(first(b"SSH-2.0-x"), FrameError::TooLarge { .. }));
    let mut later = FrameBuffer::new(LIMITS);
    feed(&mut later, &[framed(b"x"), b"GET /".to_vec()].concat());
    assert!(later.next_frame().is_ok());
    assert!(
        matches!(later.next_frame(), Err(FrameError::TooLarge { .. })),
        "only the first bytes are judged"
    );
}

#[test]
fn an_http_client_is_told_in_http() {
    let words = FrameError::Http("GET").parting_words().unwrap();
    let text = std::str::from_utf8(&words).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head} but {}", body.len());
    assert!(FrameError::Negative(-1).parting_words().is_none());
}

#[test]
fn memory_follows_the_bytes_received_and_not_the_length_announced() {
    let mut buffer = FrameBuffer::new(LIMITS);
    feed(&mut buffer, &(100_i32 << 20).to_be_bytes());
    for sent in (0..200).map(|turn| 4 + turn * 1000) {
        assert_eq!(buffer.next_frame(), Ok(None));
        let room = buffer.space().capacity();
        assert!(room <= 4 * sent + 2 * RECEIVE_BYTES_MIN, "{room} bytes held for {sent} sent");
        feed(&mut buffer, &[0; 1000]);
    }
}

#[test]
fn room_for_a_large_frame_is_made_at_once_for_a_client_that_sent_one() {
    let mut buffer = FrameBuffer::new(LIMITS);
    for part in framed(&vec![0; 1 << 20]).chunks(5000) {
        feed(&mut buffer, part);
    }
    assert!(buffer.next_frame().unwrap().is_some());
    assert!(buffer.space().capacity() >= (1 << 20) + 4);
    for _ in 0..10 {
        feed(&mut buffer, &framed(b"small"));
        drop(buffer.next_frame());
    }
    assert!(buffer.trusted_bytes < 1 << 12, "small frames undo it");
}

#[test]
fn an_idle_connection_gives_its_memory_back() {
    let mut buffer = FrameBuffer::new(LIMITS);
    feed(&mut buffer, &framed(b"x"));
    drop(buffer.next_frame());
    buffer.trusted_bytes = 1 << 20;
    buffer.shrink();
    assert_eq!(buffer.received.capacity(), 0);
    assert!(buffer.space().capacity() < 1 << 14, "and takes little when it wakes");
}
