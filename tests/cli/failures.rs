//! Brokers that are not there, and command lines that are wrong: texts and exit codes.

use std::io::Write as _;
use std::net::TcpListener;
use std::thread;

use crate::support::streamd;

/// Runs a command that fails, against this address.
fn fails(address: &str, args: &[&str]) -> (i32, String) {
    let (code, out, err) = streamd(&[args, &["-b", address]].concat(), None);
    assert_eq!(out, "");
    (code, err)
}

/// A port where nobody listens.
fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// A port where whoever connects gets these bytes, and then the end.
fn answering(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            // As a server does that reads before it answers: unread bytes would turn the end into a reset.
            let _ = std::io::Read::read(&mut socket, &mut [0; 1024]);
            let _ = socket.write_all(bytes);
        }
    });
    address
}

#[test]
fn nobody_there_is_exit_code_3_for_every_verb() {
    let address = free_port();
    let expected =
        format!("cannot reach {address}: connection refused. Is the broker running? streamd starts one.\n");
    for args in [
        &["topic", "list"][..],
        &["topic", "create", "t"],
        &["topic", "describe", "t"],
        &["topic", "delete", "t"],
        &["group", "list"],
        &["group", "describe", "g"],
        &["produce", "t"],
        &["consume", "t"],
        &["consume", "t", "-g", "g"],
    ] {
        assert_eq!(fails(&address, args), (3, expected.clone()), "{args:?}");
    }
}

#[test]
fn every_address_that_was_tried_is_told() {
    let (first, second) = (free_port(), free_port());
    let (code, text) = fails(&format!("{first},{second}"), &["topic", "list"]);
    assert_eq!(code, 3);
    assert!(
        text.starts_with(&format!(
            "cannot reach {first}: connection refused, nor {second}: connection refused."
        )),
        "{text}"
    );
}

#[test]
fn a_name_without_a_host_is_told_as_such() {
    let (code, text) = fails("no-such-host.invalid:9092", &["topic", "list"]);
    assert_eq!(code, 3);
    assert!(
        text.starts_with("cannot reach no-such-host.invalid:9092: no such host. Check the name"),
        "{text}"
    );
}

#[test]
fn a_broker_that_does_not_answer_is_exit_code_4() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (code, text) = fails(&address, &["topic", "list", "--timeout", "200ms"]);
    assert_eq!(code, 4);
    assert_eq!(
        text,
        format!("{address} has not answered ApiVersions within 200 ms. Wait longer with --timeout 2m.\n")
    );
}

#[test]
fn what_is_no_kafka_broker_is_told_by_what_it_does() {
    for (bytes, words) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "answers HTTP: that is no Kafka port."),
        (&[0x15, 3, 3, 0, 2, 2, 70][..], "answers TLS, and this client speaks PLAINTEXT only."),
        (&b""[..], "closed the connection without an answer. Does that port want TLS"),
    ] {
        let address = answering(bytes);
        let (code, text) = fails(&address, &["topic", "list"]);
        assert_eq!(code, 3, "{text}");
        assert!(text.starts_with(&format!("{address} {words}")), "{text}");
    }
}

#[test]
fn an_address_that_only_the_broker_knows_is_told_with_who_gave_it() {
    let broker = crate::support::Broker::with("[listen]\nadvertise = \"no-such-host.invalid:9092\"\n");
    let (code, text) = fails(broker.address(), &["topic", "create", "t"]);
    assert_eq!(code, 3, "{text}");
    assert!(text.starts_with("cannot reach no-such-host.invalid:9092: no such host"), "{text}");
    assert!(text.contains(&format!("({} gave this address)", broker.address())), "{text}");
    assert!(text.contains("advertised.listeners"), "{text}");
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    for (args, words) in [
        (&["topic"][..], "Usage: streamd topic"),
        (&["topic", "create"], "<TOPIC>"),
        (&["topic", "create", "t", "-p", "0"], "is not in 1.."),
        (&["topic", "list", "-o", "xml"], "table, wide, json"),
        (&["produce"], "Usage: streamd produce"),
        (&["produce", "t", "-z", "brotli"], "gzip, snappy, lz4, zstd"),
        (&["produce", "t", "-K", ""], "-K: must not be empty."),
        (&["produce", "t", "-f", "%k%v"], "where would the first one end?"),
        (&["produce", "t", "-k", "k", "-f", "%k %v"], "both say what the key is"),
        (&["produce", "t", "a", "-t", "b"], "name one topic and at most one file."),
        (&["consume", "t", "-o", "middle"], "must be start, end, an offset"),
        (&["consume", "t", "-o", "@soon"], "2026-11-21T09:00"),
        (&["consume", "t", "-f", "%q"], "%q stands for nothing"),
        (&["consume", "t", "--grep", "a["], "--grep: "),
        (&["consume", "t", "-b", "a:b"], "is no broker address"),
        (&["consume", "t", "-X", "sasl.mechanism=PLAIN"], "\"sasl.mechanism\" is not known"),
    ] {
        let (code, out, err) = streamd(args, None);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}\n{err}");
        assert!(err.contains(words), "{args:?}\n{err}");
    }
}

#[test]
fn every_verb_explains_itself() {
    for args in [
        &["--help"][..],
        &["topic", "--help"],
        &["topic", "create", "--help"],
        &["produce", "--help"],
        &["consume", "--help"],
        &["group", "describe", "--help"],
    ] {
        let (code, out, _) = streamd(args, None);
        assert_eq!(code, 0, "{args:?}");
        assert!(out.contains("Usage: streamd"), "{args:?}\n{out}");
    }
    let (_, out, _) = streamd(&["consume", "--help"], None);
    assert!(out.contains("%t topic, %p partition") && out.contains("STREAMD_BROKERS"), "{out}");
}
