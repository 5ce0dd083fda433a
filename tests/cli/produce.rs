//! `streamd produce`.

use std::time::Duration;

use crate::scene::{PATIENCE, Scene, lines};

/// Everything in a topic, a record a line.
fn content(scene: &Scene, topic: &str, format: &str) -> Vec<String> {
    let out = scene.ok(&["consume", topic, "-e", "-f", &format!("{format}\\n")]);
    lines(&out).into_iter().map(ToOwned::to_owned).collect()
}

#[test]
fn lines_of_standard_input_are_values() {
    let scene = Scene::new();
    let topic = scene.topic("t", 1);
    let outcome = scene.run(&["produce", &topic], b"one\n\nthree");
    assert_eq!((outcome.code, outcome.out.as_str()), (0, ""), "{outcome:?}");
    assert_eq!(outcome.err, format!("3 records written to {topic}\n"));
    assert_eq!(content(&scene, &topic, "%o %K [%v] %V"), ["0 -1 [one] 3", "1 -1 [] 0", "2 -1 [three] 5"]);
}

#[test]
fn a_topic_comes_into_being_with_its_first_record() {
    let scene = Scene::new();
    let topic = scene.name("fresh");
    assert_eq!(scene.run(&["produce", "-q", &topic], b"hello\n").err, "");
    assert_eq!(content(&scene, &topic, "%v"), ["hello"]);
}

#[test]
fn a_topic_that_comes_into_being_by_a_mistyped_name_is_told() {
    let scene = Scene::with("[defaults.topic]\npartitions = 3\n");
    let outcome = scene.run(&["produce", "ordrs"], b"hello\n");
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert_eq!(
        outcome.err,
        "topic \"ordrs\" did not exist: the broker has created it, with 3 partitions\n1 record written to ordrs\n"
    );
    assert_eq!(scene.run(&["produce", "ordrs"], b"hello\n").err, "1 record written to ordrs\n");
}

#[test]
fn keys_come_from_the_line_or_from_the_flag() {
    let scene = Scene::new();
    let topic = scene.topic("t", 1);
    scene.feed(&["produce", &topic, "-K", ":"], b"k1:a:b\nk2:\n");
    scene.feed(&["produce", "-t", &topic, "-K", "\\t"], b"k3\tc\n");
    scene.feed(&["produce", &topic, "-k", "all"], b"d\ne\n");
    assert_eq!(content(&scene, &topic, "%k=%v"), ["k1=a:b", "k2=", "k3=c", "all=d", "all=e"]);
}

#[test]
fn records_of_one_key_meet_where_javas_producer_puts_them() {
    let scene = Scene::new();
    let topic = scene.topic("t", 7);
    scene.feed(&["produce", &topic, "-K", ":"], b"21:a\nfoobar:b\nabc:c\n21:d\n");
    // toPositive(murmur2(key)) % 7, with the hashes of Kafka's UtilsTest.
    let mut expected = vec![
        format!("{} 21=a", (-973_932_308_i32 & i32::MAX) % 7),
        format!("{} foobar=b", (-790_332_482_i32 & i32::MAX) % 7),
        format!("{} abc=c", (479_470_107_i32 & i32::MAX) % 7),
        format!("{} 21=d", (-973_932_308_i32 & i32::MAX) % 7),
    ];
    expected.sort();
    let mut found = content(&scene, &topic, "%p %k=%v");
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn headers_partition_and_tombstones_are_as_asked() {
    let scene = Scene::new();
    let topic = scene.topic("t", 3);
    scene.feed(&["produce", &topic, "-p", "2", "-H", "a=1", "-H", "b", "-K", ":", "-Z"], b"k:v\ngone:\n");
    assert_eq!(content(&scene, &topic, "%p %k %V [%h]"), ["2 k 1 [a=1,b]", "2 gone -1 [a=1,b]"]);
}

#[test]
fn every_codec_and_every_acks_brings_records_home() {
    let scene = Scene::new();
    let topic = scene.topic("t", 1);
    let mut expected = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        scene.feed(&["produce", &topic, "-z", codec], format!("{codec}\n").repeat(100).as_bytes());
        expected.extend(vec![codec.to_owned(); 100]);
    }
    for acks in ["all", "1", "0"] {
        scene.feed(&["produce", &topic, "--acks", acks], format!("acks {acks}\n").as_bytes());
        expected.push(format!("acks {acks}"));
        // Without acks nobody says when a record is there.
        let count = expected.len().to_string();
        let read = scene.ok(&["consume", &topic, "-n", &count]);
        assert_eq!(lines(&read), expected);
    }
}

#[test]
fn a_file_is_read_as_standard_input_is() {
    let scene = Scene::new();
    let topic = scene.topic("t", 1);
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("records");
    std::fs::write(&path, "a\nb\n").unwrap();
    let path = path.to_str().unwrap();
    scene.ok(&["produce", &topic, path]);
    scene.ok(&["produce", "-t", &topic, path]);
    assert_eq!(content(&scene, &topic, "%v"), ["a", "b", "a", "b"]);
    let error = scene.fails(1, &["produce", &topic, "/no/such/file"]);
    assert_eq!(error, "cannot read /no/such/file: there is no such file.\n");
}

#[test]
fn a_record_in_the_place_of_the_file_is_told_how_to_be_sent() {
    let scene = Scene::new();
    let topic = scene.topic("t", 1);
    assert_eq!(
        scene.fails(1, &["produce", &topic, "hello"]),
        format!(
            "cannot read hello: there is no such file. The word behind the topic names a file; to send it as a record: \
             echo 'hello' | streamd produce {topic}\n"
        )
    );
}

#[test]
fn what_consume_prints_produce_takes_back() {
    let scene = Scene::new();
    let (from, to) = (scene.topic("from", 1), scene.topic("to", 1));
    scene.feed(&["produce", &from, "-K", ":", "-H", "h=\u{1F980}"], b"k:v\n\xff\xfe:\x00\n");
    scene.feed(&["produce", &from, "-Z"], b"\n");
    let json = scene.ok(&["consume", &from, "-e", "-f", "json"]);
    assert_eq!(lines(&json).len(), 3);
    scene.feed(&["produce", &to, "-f", "json"], json.as_bytes());
    assert_eq!(scene.ok(&["consume", &to, "-e", "-f", "json"]), json.replace(&from, &to), "times and all");

    let format = "%T|%k|%v|%h;;\\n";
    let text = scene.ok(&["consume", &from, "-e", "-n", "1", "-f", format]);
    scene.feed(&["produce", &to, "-f", format], text.as_bytes());
    assert_eq!(scene.ok(&["consume", &to, "-o", "-1", "-e", "-f", format]), text);
}

#[test]
fn large_and_many_records_arrive_in_order() {
    let scene = Scene::new();
    let topic = scene.topic("t", 1);
    let large = "x".repeat(900_000);
    scene.feed(&["produce", &topic], format!("{large}\nsmall\n{large}\n").as_bytes());
    assert_eq!(content(&scene, &topic, "%V"), ["900000", "5", "900000"]);
    let many: String = (0..100_000).map(|n| format!("{n}\n")).collect();
    scene.feed(&["produce", &topic, "-z", "zstd"], many.as_bytes());
    assert_eq!(scene.ok(&["consume", &topic, "-o", "3", "-e"]), many);
}

#[test]
fn batches_fit_themselves_to_a_topic_that_takes_small_ones_only() {
    let scene = Scene::new();
    let topic = scene.name("small");
    scene.ok(&["topic", "create", &topic, "-p", "1", "-c", "max.message.bytes=1000"]);
    let values: String = (0..500).map(|n| format!("value {n:04}\n")).collect();
    scene.feed(&["produce", &topic], values.as_bytes());
    assert_eq!(scene.ok(&["consume", &topic, "-e"]), values);

    let outcome = scene.run(&["produce", &topic], format!("fits\n{}\n", "x".repeat(2_000)).as_bytes());
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.err.contains("MESSAGE_TOO_LARGE") && outcome.err.contains("max.message.bytes"),
        "{outcome:?}"
    );
    assert!(outcome.err.contains("1 records were written before that"), "{outcome:?}");
}

#[test]
fn a_fault_in_the_input_is_told_with_its_place_and_loses_nothing_before_it() {
    let scene = Scene::new();
    let topic = scene.topic("t", 1);
    let outcome = scene.run(&["produce", &topic, "-K", ":"], b"a:1\nb:2\nplain\nc:3\n");
    assert_eq!(outcome.code, 1);
    assert_eq!(
        outcome.err,
        format!("2 records written to {topic}\nrecord 3 of the input has no \":\" behind its key.\n")
    );
    assert_eq!(content(&scene, &topic, "%k=%v"), ["a=1", "b=2"]);
    let outcome = scene.run(&["produce", &topic, "-f", "json"], b"{\"value\": 1}\n\nnonsense\n");
    assert!(outcome.err.contains("record 2 of the input is not valid JSON"), "{outcome:?}");
}

#[test]
fn a_line_is_sent_when_it_is_typed() {
    let scene = Scene::new();
    let topic = scene.topic("t", 1);
    let consumer = scene.start(&["consume", &topic]);
    let mut producer = scene.start(&["produce", &topic, "-q"]);
    for line in ["first", "second"] {
        producer.feed(&format!("{line}\n"));
        assert_eq!(consumer.line(), line);
    }
    producer.feed("without an end");
    assert_eq!(producer.close(), 0);
    assert_eq!(consumer.line(), "without an end");
    assert_eq!(consumer.interrupt().0, 0);
}

#[test]
fn ctrl_c_writes_what_was_read() {
    let scene = Scene::new();
    let topic = scene.topic("t", 1);
    let consumer = scene.start(&["consume", &topic]);
    let mut producer = scene.start(&["produce", &topic]);
    producer.feed("a\nb\n");
    assert_eq!(consumer.take(2), ["a", "b"]);
    assert_eq!(producer.interrupt().0, 0);
    assert_eq!(consumer.interrupt().0, 0);
}

/// Ctrl-C goes to both ends of `generate | streamd produce …`, so the end of the input may be seen first.
#[test]
fn after_the_end_of_the_input_one_ctrl_c_waits_for_what_was_read_and_a_second_does_not() {
    let pause = Duration::from_millis(500);
    for patient in [true, false] {
        let mut scene = Scene::with("");
        let topic = scene.topic("t", 1);
        let mut producer = scene.start(&["produce", &topic]);
        producer.feed("a\n");
        assert_eq!(scene.start(&["consume", &topic]).line(), "a");
        let broker = scene.broker().expect("our own");
        broker.freeze();
        producer.feed("b\n");
        producer.end_input();
        assert_eq!(producer.ends_within(pause), None, "what was read is not written yet");
        producer.signal("INT");
        assert_eq!(producer.ends_within(pause), None, "what was read is still not written");
        let code = if patient {
            broker.signal("CONT");
            producer.ends_within(PATIENCE)
        } else {
            producer.signal("INT");
            let code = producer.ends_within(PATIENCE);
            broker.signal("CONT");
            code
        };
        assert_eq!(code, Some(if patient { 0 } else { 130 }));
        if patient {
            assert_eq!(content(&scene, &topic, "%v"), ["a", "b"]);
        }
    }
}

#[test]
fn a_broker_that_restarts_costs_neither_records_nor_order() {
    let mut scene = Scene::new();
    let topic = scene.topic("t", 2);
    let address = scene.address().to_owned();
    let Some(broker) = scene.broker() else { return };
    broker.stop();
    broker.up_at(&address);
    let mut producer = scene.start(&["produce", &topic, "-q", "-k", "one"]);
    let consumer = scene.start(&["consume", &topic, "-q"]);
    producer.feed("connected\n");
    assert_eq!(consumer.line(), "connected");
    for round in 0..3 {
        for n in 0..50 {
            producer.feed(&format!("{round}-{n}\n"));
        }
        let broker = scene.broker().expect("our own");
        broker.kill();
        producer.feed("while it is down\n");
        broker.up_at(&address);
        let expected: Vec<_> = (0..50).map(|n| format!("{round}-{n}")).collect();
        assert_eq!(consumer.take(50), expected);
        assert_eq!(consumer.line(), "while it is down");
    }
    assert_eq!(producer.close(), 0);
    assert_eq!(consumer.interrupt().0, 0);
    let all = scene.ok(&["consume", &topic, "-e"]);
    assert_eq!(lines(&all).len(), 154, "none twice");
}
