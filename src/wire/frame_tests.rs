//! Tests of framing.

use super::*;

const LIMITS: FrameLimits = FrameLimits { frame_bytes_max: 100 << 20, other_bytes_max: 16 << 20 };

fn feed(buffer: &mut FrameBuffer, bytes: &[u8]) {
    buffer.space(usize::MAX).extend_from_slice(bytes);
    buffer.received(bytes.len());
}

/// Receives what there is room for, as a socket does, until all has come.
fn pour(buffer: &mut FrameBuffer, mut bytes: &[u8], at_once_max: usize) {
    while !bytes.is_empty() {
        let space = buffer.space(at_once_max);
        let count = bytes.len().min(space.capacity() - space.len());
        assert!(count > 0, "there is always room for something");
        space.extend_from_slice(&bytes[..count]);
        buffer.received(count);
        bytes = &bytes[count..];
    }
}

fn next(buffer: &mut FrameBuffer) -> Result<Option<Bytes>, FrameError> {
    buffer.next_frame().map(|frame| frame.map(|frame| frame.bytes))
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
    assert_eq!(next(&mut buffer), Ok(Some(Bytes::from_static(b"one"))));
    assert_eq!(next(&mut buffer), Ok(Some(Bytes::new())));
    assert_eq!(next(&mut buffer), Ok(Some(Bytes::from_static(b"three"))));
    assert_eq!(next(&mut buffer), Ok(None));
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
            while let Some(frame) = next(&mut buffer).unwrap() {
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
    assert_eq!(next(&mut buffer), Err(FrameError::Negative(-1)));
    let mut buffer = FrameBuffer::new(LIMITS);
    feed(&mut buffer, &((100_i32 << 20) + 1).to_be_bytes());
    assert_eq!(next(&mut buffer), Err(FrameError::TooLarge { len: (100 << 20) + 1, max: 100 << 20 }));
    let mut buffer = FrameBuffer::new(LIMITS);
    feed(&mut buffer, &(100_i32 << 20).to_be_bytes());
    assert_eq!(next(&mut buffer), Ok(None));
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
    assert_eq!(next(&mut buffer), Ok(None));
    let mut buffer = FrameBuffer::new(LIMITS);
    let metadata = start(3);
    feed(&mut buffer, &metadata[..11]);
    assert_eq!(next(&mut buffer), Ok(None), "the header's start is not complete");
    feed(&mut buffer, &metadata[11..]);
    let refused = FrameError::TooLargeForApi { api_key: 3, len: 17 << 20, max: 16 << 20 };
    assert_eq!(next(&mut buffer), Err(refused));
}

#[test]
fn other_protocols_are_told_apart() {
    let first = |bytes: &[u8]| {
        let mut buffer = FrameBuffer::new(LIMITS);
        feed(&mut buffer, bytes);
        next(&mut buffer).unwrap_err()
    };
    assert_eq!(first(b"\x16\x03\x01\x02\x00\x01"), FrameError::Tls);
    assert_eq!(first(b"GET / HTTP/1.1\r\n"), FrameError::Http("GET"));
    assert_eq!(first(b"PRI * HTTP/2.0\r\n"), FrameError::Http("HTTP/2"));
    assert!(matches!(first(b"SSH-2.0-x"), FrameError::TooLarge { .. }));
    let mut later = FrameBuffer::new(LIMITS);
    feed(&mut later, &[framed(b"x"), b"GET /".to_vec()].concat());
    assert!(next(&mut later).is_ok());
    assert!(matches!(next(&mut later), Err(FrameError::TooLarge { .. })), "only the first bytes are judged");
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
    pour(&mut buffer, &(100_i32 << 20).to_be_bytes(), usize::MAX);
    let mut sent = 4;
    for step in (0..400).map(|turn| turn * 100) {
        assert!(next(&mut buffer).unwrap().is_none());
        assert!(buffer.allocated() <= sent + RECEIVE_BYTES_MAX, "{} for {sent} sent", buffer.allocated());
        pour(&mut buffer, &vec![0; step], usize::MAX);
        sent += step;
    }
    assert!(sent > 7 << 20);
}

#[test]
fn frames_of_any_size_come_out_whole_in_whatever_pieces_they_came_and_nothing_is_left_counted() {
    let mut state = 7_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut buffer = FrameBuffer::new(LIMITS);
    let mut held = std::collections::VecDeque::new();
    let noise: Vec<u8> =
        (0..700_000_u32).flat_map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    for n in 0..300 {
        let len = match random(4) {
            0 => random(2_700_000),
            1 => random(300_000),
            _ => random(3_000),
        };
        let body = &noise[n..n + len];
        let mut rest = &[framed(body), framed(b"behind")].concat()[..];
        let mut frames = Vec::new();
        while !rest.is_empty() {
            let space = match random(3) {
                0 => buffer.little_space(),
                1 => buffer.space(0),
                _ => buffer.space(usize::MAX),
            };
            let room = space.capacity() - space.len();
            let count = rest.len().min(room).min(1 + random(100_000));
            space.extend_from_slice(&rest[..count]);
            assert_eq!(space.capacity() - space.len(), room - count, "never grown by itself");
            buffer.received(count);
            rest = &rest[count..];
            while let Some(frame) = buffer.next_frame().unwrap() {
                frames.push(frame);
            }
            match random(20) {
                0 => buffer.shrink(),
                1 => buffer.rest(false),
                _ => buffer.rest(true),
            }
            let at_least = buffer.pending() + frames.iter().map(|frame| frame.bytes.len()).sum::<usize>();
            assert!(buffer.allocated() >= at_least, "all that is held counts");
        }
        assert_eq!(frames.len(), 2);
        assert!(frames[0].bytes == body && frames[1].bytes == b"behind"[..], "frame {n} of {len} bytes");
        // Answers come later, in order.
        held.push_back(frames);
        if held.len() > random(5) {
            held.pop_front();
        }
    }
    assert_eq!(buffer.pending(), 0);
    drop(held);
    buffer.rest(false);
    assert_eq!(buffer.allocated(), 0);
}

#[test]
fn a_frame_counts_with_all_the_memory_that_it_keeps_alive() {
    let mut buffer = FrameBuffer::new(LIMITS);
    feed(&mut buffer, &[framed(b"small"), framed(b"other")].concat());
    let first = buffer.next_frame().unwrap().unwrap();
    drop(buffer.next_frame());
    buffer.rest(false);
    assert_eq!(buffer.allocated(), RECEIVE_BYTES_MIN);
    drop(first);
    assert_eq!(buffer.allocated(), 0);
}

#[test]
fn room_for_a_large_frame_is_made_at_once_for_a_client_that_sent_one() {
    let large = framed(&vec![0; 1 << 20]);
    let mut buffer = FrameBuffer::new(LIMITS);
    pour(&mut buffer, &large, usize::MAX);
    assert!(next(&mut buffer).unwrap().is_some());
    assert!(buffer.space(usize::MAX).capacity() >= large.len());
    // It comes in several receives and is never moved.
    let at = buffer.space(usize::MAX).as_ptr();
    pour(&mut buffer, &large[..300_000], usize::MAX);
    pour(&mut buffer, &large[300_000..], usize::MAX);
    assert_eq!(next(&mut buffer).unwrap().unwrap().as_ptr(), at.wrapping_add(LENGTH_BYTES));
    // There must be memory to spare for it.
    buffer.rest(false);
    assert!(buffer.space(100_000).capacity() <= RECEIVE_BYTES_MAX);
    for _ in 0..10 {
        feed(&mut buffer, &framed(b"small"));
        drop(buffer.next_frame());
    }
    assert!(buffer.trusted_bytes < 1 << 12, "small frames undo it");
}

#[test]
fn a_connection_that_waits_holds_nothing_but_a_large_block_if_it_may() {
    let mut buffer = FrameBuffer::new(LIMITS);
    feed(&mut buffer, &framed(b"x"));
    drop(buffer.next_frame());
    buffer.rest(true);
    assert_eq!(buffer.allocated(), 0);
    for _ in 0..2 {
        pour(&mut buffer, &framed(&vec![0; 1 << 20]), usize::MAX);
        drop(buffer.next_frame());
    }
    buffer.rest(true);
    assert!(buffer.allocated() >= 1 << 20);
    buffer.rest(false);
    assert_eq!(buffer.allocated(), 0);
}

#[test]
fn a_silent_connection_holds_what_it_sent_and_not_what_it_was_trusted_with() {
    let mut buffer = FrameBuffer::new(LIMITS);
    pour(&mut buffer, &framed(&vec![0; 1 << 20]), usize::MAX);
    drop(buffer.next_frame());
    feed(&mut buffer, &[0, 1, 0, 0, 0]);
    assert!(buffer.allocated() >= 1 << 20);
    buffer.shrink();
    assert!(buffer.allocated() <= 5 + RECEIVE_BYTES_MIN);
    pour(&mut buffer, &vec![0; 65_535], usize::MAX);
    assert_eq!(next(&mut buffer).unwrap().unwrap().len(), 1 << 16);
}
