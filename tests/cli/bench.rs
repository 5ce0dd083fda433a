//! `streamd bench`: what it counts is there, what it says follows from what it counted, and it leaves nothing behind.
//! How fast anything is stands in no test.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use streamd::client::load_txn::{Protocol, Transactor};
use streamd::client::{Address, Client, Options, topics};
use streamd::record::{BatchBuilder, NewRecord};

use crate::scene::{Running, Scene};

/// Runs a mode for a second and returns its JSON.
fn bench(scene: &Scene, mode: &str, flags: &[&str]) -> Value {
    let args = [&["bench", mode, "--seconds", "1", "--warm-up", "0", "-o", "json"], flags].concat();
    serde_json::from_str(&scene.ok(&args)).expect("one JSON object")
}

fn number(result: &Value, path: &str) -> u64 {
    result.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path} is a number\n{result:#}"))
}

/// What every result says, whatever the mode. `things` are those whose time is measured.
fn is_consistent(result: &Value, things: &str) {
    let seconds = result["seconds"].as_f64().expect("seconds");
    assert!((0.9..=1.1).contains(&seconds), "{result:#}");
    for counted in ["records", "bytes", things] {
        let count = number(result, &format!("/{counted}"));
        assert!(count > 0, "{counted}\n{result:#}");
        let rate = count as f64 / seconds;
        let told = number(result, &format!("/{counted}_per_second")) as f64;
        assert!((rate - told).abs() <= 1.0, "{counted}: {rate} and {told}");
    }
    let latency =
        |name: &str| result["latency_us"][name].as_f64().unwrap_or_else(|| panic!("{name}\n{result:#}"));
    let quantiles = ["min", "p50", "p90", "p99", "p999", "max"].map(latency);
    assert!(quantiles.is_sorted() && quantiles[0] > 0.0, "{quantiles:?}");
    assert!((quantiles[0]..=quantiles[5]).contains(&latency("mean")), "{result:#}");
    let rows = result["latency_us"]["histogram"].as_array().expect("rows");
    let drawn: u64 = rows.iter().map(|row| number(row, "/count")).sum();
    assert_eq!(drawn, number(result, "/latency_us/count"), "{result:#}");
    assert!(result["broker"]["produce_version"].is_u64() && result["client"]["version"].is_string());
}

/// What is in the histogram where no schedule says what is due, and without a warm-up.
fn timed_are_those_that_ended_and_the_late(result: &Value, things: &str) {
    let (timed, late) = (number(result, "/latency_us/count"), number(result, "/latency_us/late"));
    assert_eq!(timed, number(result, &format!("/{things}")) + late, "{result:#}");
}

/// The JSON of a run that goes on, which has been told to end.
fn result_of(run: Running) -> Value {
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line| line != "}") {
        lines.push(run.line());
    }
    assert_eq!(run.close(), 0);
    serde_json::from_str(&lines.join("\n")).expect("one JSON object")
}

/// Whether the topic that a run has made is still there.
fn is_left_over(scene: &Scene, result: &Value) -> bool {
    assert_eq!(result["settings"]["topic_made_for_this"], true);
    let name = result["settings"]["topic"].as_str().expect("a name");
    assert!(name.starts_with("streamd-bench-"), "{name}");
    topics(scene).iter().any(|topic| topic == name)
}

fn topics(scene: &Scene) -> Vec<String> {
    scene.ok(&["topic", "list", "-q"]).lines().map(ToOwned::to_owned).collect()
}

#[test]
fn what_was_produced_is_in_the_log_and_the_topic_goes() {
    let scene = Scene::new();
    let result =
        bench(&scene, "produce", &["--connections", "2", "--record-bytes", "100", "--batch-bytes", "4KiB"]);
    is_consistent(&result, "requests");
    assert_eq!(number(&result, "/checked/acknowledged"), number(&result, "/checked/in_the_log"));
    timed_are_those_that_ended_and_the_late(&result, "requests");
    assert!(number(&result, "/latency_us/late") <= 2 * 4, "those that were under way\n{result:#}");
    let per_batch = number(&result, "/settings/records_per_batch");
    assert_eq!(number(&result, "/records"), number(&result, "/requests") * per_batch);
    assert!((37..=40).contains(&per_batch), "{per_batch} of 100 bytes in 4 KiB");
    assert_eq!((number(&result, "/settings/connections"), number(&result, "/settings/partitions")), (2, 4));
    assert!(!is_left_over(&scene, &result));
}

#[test]
fn a_topic_that_is_named_stays_and_has_the_records() {
    let scene = Scene::new();
    let topic = scene.topic("t", 2);
    scene.feed(&["produce", &topic], b"before\n");
    let result = bench(&scene, "produce", &["--topic", &topic, "--rate", "200/s", "--batch-bytes", "1"]);
    let acknowledged = number(&result, "/checked/acknowledged");
    let there = scene.ok(&["consume", &topic, "-e", "-f", "%V\\n"]);
    let ours = there.lines().filter(|bytes| *bytes == "1024").count() as u64;
    assert_eq!(ours, acknowledged);
    assert_eq!(number(&result, "/checked/in_the_log"), acknowledged);
    assert_eq!(number(&result, "/settings/partitions"), 2);
}

#[test]
fn a_rate_is_a_schedule_with_a_slot_for_each_batch() {
    let scene = Scene::new();
    let result = bench(&scene, "produce", &["--rate", "100/s", "--batch-bytes", "1", "--acks", "1"]);
    is_consistent(&result, "requests");
    assert_eq!(number(&result, "/latency_us/count"), 100, "those that were due in a second, sent or not");
    assert_eq!(result["settings"]["rate"], "100 records/s");
    assert_eq!(result["settings"]["acks"], "1");
}

#[test]
fn a_rate_at_which_nothing_is_due_in_time_is_an_error_that_says_so() {
    let scene = Scene::new();
    // The first batch is due at once, in the warm-up, and the next one after 12.6 s.
    let flags = ["bench", "produce", "--rate", "5", "--seconds", "1", "--warm-up", "1"];
    let outcome = scene.run(&flags, b"");
    assert_eq!((outcome.code, outcome.out.as_str()), (1, ""), "{outcome:?}");
    for words in ["a batch is due every 12.6 s", "in the 1.00 s", "--batch-bytes", "--seconds"] {
        assert!(outcome.err.contains(words), "{words}\n{}", outcome.err);
    }
    let outcome = scene.run(&[&flags[..], &["-o", "json"]].concat(), b"");
    let result: Value = serde_json::from_str(&outcome.out).expect("one JSON object");
    assert_eq!((outcome.code, number(&result, "/latency_us/count")), (1, 0), "{result:#}");
}

#[test]
fn without_acks_it_is_told_how_much_was_sent() {
    let scene = Scene::new();
    let result = bench(&scene, "produce", &["--acks", "0", "--rate", "100/s"]);
    assert!(number(&result, "/requests") > 0 && number(&result, "/checked/sent") > 0, "{result:#}");
    assert!(result["checked"].get("acknowledged").is_none(), "nobody has\n{result:#}");
    let what = result["latency_us"]["what"].as_str().expect("words");
    assert!(what.ends_with("until the system has taken it to send, since acks=0 has no answer"), "{what}");
    assert!(!is_left_over(&scene, &result));
}

#[test]
fn a_topic_is_read_from_its_start_to_its_end_and_every_record_comes() {
    let scene = Scene::new();
    let result =
        bench(&scene, "consume", &["--fill", "2MB", "-p", "3", "-c", "2", "--fetch-bytes", "256KiB"]);
    is_consistent(&result, "fetches");
    timed_are_those_that_ended_and_the_late(&result, "fetches");
    let there = number(&result, "/settings/records_there");
    assert!((1_800..2_100).contains(&there), "{there} records of 1 KiB in 2 MB");
    let whole = number(&result, "/checked/of_partitions_read_to_the_end");
    assert_eq!(whole, number(&result, "/checked/in_those_partitions"));
    assert!(whole > 0 && whole <= number(&result, "/checked/read"), "{result:#}");
    assert!(!is_left_over(&scene, &result));
}

#[test]
fn a_topic_that_is_named_is_read_and_not_written_to() {
    let scene = Scene::new();
    let topic = scene.topic("t", 1);
    scene.feed(&["produce", &topic], b"one\ntwo\nthree\n");
    let result = bench(&scene, "consume", &["--topic", &topic]);
    assert_eq!(number(&result, "/settings/records_there"), 3);
    assert_eq!(number(&result, "/records") % 3, 0, "all three each time\n{result:#}");
    assert_eq!(scene.ok(&["consume", &topic, "-e"]).lines().count(), 3);
    let empty = scene.topic("empty", 1);
    let error = scene.fails(1, &["bench", "consume", "--topic", &empty]);
    assert!(error.contains("has no records to read"), "{error}");
}

#[test]
fn every_record_that_is_sent_at_a_rate_comes_and_is_timed() {
    let scene = Scene::new();
    let flags = ["--rate", "400/s", "--batch-bytes", "400", "--record-bytes", "100", "-p", "3", "-c", "2"];
    let result = bench(&scene, "e2e", &flags);
    is_consistent(&result, "deliveries");
    let [sent, logged, came] =
        ["acknowledged", "in_the_log", "received"].map(|name| number(&result, &format!("/checked/{name}")));
    assert_eq!((logged, came), (sent, sent), "{result:#}");
    assert_eq!(number(&result, "/settings/records_per_batch"), 3);
    // Every batch of the second is in the histogram: its records, or its waiting if it was never sent.
    let (timed, unsent) = (number(&result, "/latency_us/count"), number(&result, "/schedule/unsent"));
    assert_eq!((timed - unsent) % 3, 0, "{result:#}");
    assert_eq!((timed - unsent) / 3 + unsent, 134, "400 records a second, 3 in a batch\n{result:#}");
    assert!(!is_left_over(&scene, &result));
}

#[test]
fn records_of_others_in_a_topic_are_not_counted() {
    let scene = Scene::new();
    let topic = scene.topic("t", 1);
    let flags = ["bench", "e2e", "--topic", &topic, "--seconds", "2", "--rate", "50/s", "-o", "json"];
    let run = scene.start(&flags);
    for _ in 0..10 {
        scene.feed(&["produce", &topic], b"somebody else's\n");
    }
    let result = result_of(run);
    assert_eq!(number(&result, "/checked/received"), number(&result, "/checked/acknowledged"));
    assert!(number(&result, "/checked/in_the_log") > number(&result, "/checked/acknowledged"), "{result:#}");
}

#[test]
fn transactions_are_committed_and_each_has_its_marker() {
    let scene = Scene::new();
    let result = bench(&scene, "txn", &["--ids", "5", "-c", "2", "-p", "2", "--batch-bytes", "4KiB"]);
    is_consistent(&result, "commits");
    let checked = |name: &str| number(&result, &format!("/checked/{name}"));
    let per_batch = number(&result, "/settings/records_per_transaction");
    assert_eq!(per_batch, 3);
    assert_eq!(checked("acknowledged"), checked("committed_transactions") * per_batch);
    assert_eq!(checked("offsets_in_the_log"), checked("acknowledged") + checked("committed_transactions"));
    assert_eq!(number(&result, "/records"), number(&result, "/commits") * per_batch);
    timed_are_those_that_ended_and_the_late(&result, "commits");
    assert!(!is_left_over(&scene, &result));
}

#[test]
fn the_first_protocol_of_transactions_is_spoken_where_a_cluster_has_no_other() {
    let scene = Scene::new();
    let topic = scene.topic("t", 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let options = Options {
            brokers: Address::parse_list(scene.address()).expect("an address"),
            client_id: "test".to_owned(),
            timeout: Duration::from_secs(30),
            ceilings: &[],
        };
        let client = Client::connect(Protocol::First.options(&options)).await.expect("a broker");
        let found = topics::find(&client, &topic, false).await.expect("the topic");
        let id = scene.name("id");
        let mut id = Transactor::start(client, Protocol::First, id, found, 0).await.expect("a producer id");
        for value in ["one", "two", "three"] {
            let before = id.identity();
            let batch =
                BatchBuilder::new().producer(before.id, before.epoch, before.sequence).transactional(true);
            let batch = with_value(batch, value).build().expect("a batch");
            id.commit(batch, 1).await.expect("it is committed");
            let after = id.identity();
            assert_eq!(
                (after.epoch, after.sequence),
                (before.epoch, before.sequence + 1),
                "one epoch for all"
            );
        }
    });
    assert_eq!(scene.ok(&["consume", &topic, "--read-committed", "-e"]), "one\ntwo\nthree\n");
}

fn with_value(mut batch: BatchBuilder, value: &str) -> BatchBuilder {
    batch.push(&NewRecord { timestamp: 1, key: None, value: Some(value.as_bytes()), headers: &[] });
    batch
}

#[test]
fn an_interrupted_run_says_what_it_has_measured_and_leaves_nothing() {
    let scene = Scene::new();
    let run = scene.start(&[
        "bench",
        "produce",
        "--seconds",
        "600",
        "--warm-up",
        "0",
        "-o",
        "json",
        "--rate",
        "500/s",
    ]);
    // The topic is there while the run goes on.
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !topics(&scene).iter().any(|name| name.starts_with("streamd-bench-")) {
        assert!(std::time::Instant::now() < deadline, "the run begins");
    }
    std::thread::sleep(Duration::from_millis(500));
    let (code, lines) = run.interrupt();
    let result: Value = serde_json::from_str(&lines.join("\n")).expect("one JSON object");
    assert_eq!((code, &result["interrupted"]), (0, &Value::from(true)), "{result:#}");
    assert!(result["seconds"].as_f64().expect("seconds") < 60.0);
    assert_eq!(number(&result, "/checked/acknowledged"), number(&result, "/checked/in_the_log"));
    assert!(!is_left_over(&scene, &result));
}

#[test]
fn a_broker_that_stands_still_when_the_time_is_over_is_charged_for_it() {
    /// How long it stands still before the end of the time, and after it.
    const HALTS: [Duration; 2] = [Duration::from_millis(300), Duration::from_millis(700)];
    let mut scene = Scene::new();
    if scene.broker().is_none() {
        return;
    }
    let topic = scene.topic("t", 1);
    scene.feed(&["produce", &topic], b"to be read\n");
    for (mode, things) in [("produce", "requests"), ("consume", "fetches"), ("txn", "commits")] {
        let flags = ["bench", mode, "--topic", &topic, "--seconds", "600", "--warm-up", "0", "-o", "json"];
        // On a busy machine the halt may come before the run has begun, and nothing is done in its time.
        let result = (1..=5).find_map(|try_number| {
            let run = scene.start(&flags);
            std::thread::sleep(Duration::from_millis(500 * try_number));
            let broker = scene.broker().expect("our own");
            broker.freeze();
            std::thread::sleep(HALTS[0]);
            run.signal("INT");
            std::thread::sleep(HALTS[1]);
            broker.signal("CONT");
            let result = result_of(run);
            (number(&result, &format!("/{things}")) > 0).then_some(result)
        });
        let result = result.unwrap_or_else(|| panic!("{mode} never begins"));
        timed_are_those_that_ended_and_the_late(&result, things);
        let max = result["latency_us"]["max"].as_f64().expect("a time");
        assert!(max >= HALTS[1].as_secs_f64() * 1e6, "{mode}: {max} us\n{result:#}");
    }
}

#[test]
fn people_see_the_figures_a_histogram_and_the_settings() {
    let scene = Scene::new();
    let outcome = scene.run(&["bench", "produce", "--seconds", "1"], b"");
    assert_eq!((outcome.code, outcome.err.as_str()), (0, ""), "no progress where nobody looks");
    for words in [
        "produce: ",
        " records/s",
        "p99.9 ",
        "max ",
        "█",
        "client    ",
        "broker    ",
        "settings  seconds 1, warm up 1",
    ] {
        assert!(outcome.out.contains(words), "{words}\n{}", outcome.out);
    }
}

#[test]
fn errors_are_those_of_the_other_commands() {
    let scene = Scene::new();
    let error = scene.fails(3, &["bench", "produce", "-b", "127.0.0.1:1"]);
    assert!(error.contains("cannot reach 127.0.0.1:1"), "{error}");
    let error = scene.fails(1, &["bench", "produce", "--topic", &scene.name("missing")]);
    assert!(error.contains("does not exist"), "{error}");
    for wrong in [&["--rate", "fast"][..], &["--seconds", "0"], &["--topic", "t", "--partitions", "3"]] {
        scene.fails(2, &[&["bench", "produce"], wrong].concat());
    }
}

#[test]
fn a_broker_that_goes_away_ends_the_run_and_is_told() {
    let mut scene = Scene::new();
    if scene.broker().is_none() {
        return;
    }
    for (mode, things) in
        [("produce", "requests"), ("e2e", "deliveries"), ("consume", "fetches"), ("txn", "commits")]
    {
        // On a busy machine the broker may go before anything is measured, and there is nothing to tell but that.
        let told = (1..=5).find_map(|try_number| {
            let flags = ["--seconds", "600", "--warm-up", "0", "--timeout", "5s", "-o", "json"];
            let fill = if mode == "consume" { &["--fill", "1MB"][..] } else { &[] };
            let run = scene.start_telling(&[&["bench", mode], &flags[..], fill].concat());
            let deadline = std::time::Instant::now() + Duration::from_secs(30);
            while !topics(&scene).iter().any(|name| name.starts_with("streamd-bench-")) {
                assert!(std::time::Instant::now() < deadline, "the run begins");
            }
            std::thread::sleep(Duration::from_millis(500 * try_number));
            scene.broker().expect("our own").kill();
            let (code, mut lines) = run.rest();
            scene = Scene::new();
            let error = lines.pop().expect("an error");
            assert!(error.contains("127.0.0.1") || error.contains("localhost"), "{mode}: {error}");
            assert!([3, 4].contains(&code), "{mode}: {code}: {error}");
            (!lines.is_empty()).then(|| (lines.join("\n"), error))
        });
        let (result, error) = told.unwrap_or_else(|| panic!("{mode} never begins"));
        let result: Value = serde_json::from_str(&result).expect("one JSON object before the error");
        assert_eq!((&result["failed"], &result["interrupted"]), (&error.into(), &false.into()), "{result:#}");
        assert!(number(&result, "/latency_us/count") > 0 && number(&result, &format!("/{things}")) > 0);
        let seconds = result["seconds"].as_f64().expect("seconds");
        assert!(seconds > 0.0 && seconds < 60.0, "{mode}: {seconds}");
        let compared = result["checked"].as_object().expect("counts").values().all(Value::is_u64);
        assert_eq!(compared, mode == "consume", "{result:#}");
    }
}

#[test]
fn batches_that_a_topic_does_not_take_are_told_with_the_setting() {
    let scene = Scene::new();
    let error = scene.fails(1, &["bench", "produce", "--seconds", "1", "--batch-bytes", "2MiB"]);
    assert!(error.contains("MESSAGE_TOO_LARGE") && error.contains("--batch-bytes"), "{error}");
    let topic = scene.topic("small", 1);
    let error =
        scene.fails(1, &["bench", "txn", "--seconds", "1", "--batch-bytes", "2MiB", "--topic", &topic]);
    assert!(error.contains("max.message.bytes") && error.contains(&format!("describe {topic}")), "{error}");
}

/// The commands of docs/benchmark.md.
fn commands() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/benchmark.md");
    let page = fs::read_to_string(path).expect("the page is there");
    let blocks = page.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap_or_default());
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

#[test]
fn every_command_of_the_page_on_benchmarks_works() {
    let scene = Scene::new();
    let folder = Path::new(env!("CARGO_BIN_EXE_streamd")).parent().expect("a folder");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let home = tempfile::TempDir::new().unwrap();
    let lines = commands();
    assert!(lines.len() >= 3, "{lines:?}");
    for line in lines {
        // Both brokers of the page are this one, and a second is enough to see that it works.
        let line = line.replace("kafka:9092", scene.address()).replace("streamd:9092", scene.address());
        let line = line.replace(" --warm-up 30", " --warm-up 0");
        let line = match line.split_once(" > ") {
            _ if !line.starts_with("streamd bench") => checking(&line),
            Some((command, file)) => format!("{command} --seconds 1 > {file}"),
            None => line + " --seconds 1",
        };
        let done = Command::new("sh")
            .args(["-c", &line])
            .current_dir(home.path())
            .env("PATH", &path)
            .env("STREAMD_BROKERS", scene.address())
            .output()
            .expect("a shell");
        assert!(done.status.success(), "{line}\n{}", String::from_utf8_lossy(&done.stderr));
    }
}

/// A command that would start a broker on a port that may be taken, as one that says whether it would start so.
fn checking(line: &str) -> String {
    let flags = line.strip_prefix("streamd --").unwrap_or_else(|| panic!("starts no broker: {line}"));
    format!("streamd config check --{flags}")
}
