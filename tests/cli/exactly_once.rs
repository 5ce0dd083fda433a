//! What docs/exactly-once.md tells operators to do about a transaction that hangs, done.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::held_back::{UNVERIFIED, open_unknown};
use crate::scene::Scene;

const WAIT: Duration = Duration::from_secs(30);

/// A file of the tree.
fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

/// The commands of the page, in their order.
fn commands() -> Vec<String> {
    let page = file("docs/exactly-once.md");
    let blocks = page.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap_or_default());
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

/// Runs a line of the page in a shell that finds the binary, and returns what it printed.
fn shell(scene: &Scene, line: &str) -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_streamd")).parent().expect("a folder");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let done = Command::new("sh")
        .args(["-c", line])
        .env("PATH", path)
        .env("STREAMD_BROKERS", scene.address())
        .output()
        .expect("a shell");
    assert!(done.status.success(), "{line}\n{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

#[test]
fn the_page_on_exactly_once_finds_a_hanging_transaction_and_ends_it() {
    // The page names the topic and the id.
    let scene = Scene::with(UNVERIFIED);
    scene.topic("payments", 1);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", scene.address())
        .set("transactional.id", "payments-1")
        .create()
        .expect("a producer");
    producer.init_transactions(WAIT).expect("a producer id");
    producer.begin_transaction().expect("a transaction");
    producer.send(BaseRecord::<(), str>::to("payments").payload("paid")).map_err(|(e, _)| e).expect("room");
    producer.flush(WAIT).expect("it is in the log");

    let mut said: Vec<(String, String)> = Vec::new();
    for line in commands() {
        if line.contains("--hung") {
            open_unknown(&scene, "payments", 4_711);
        }
        let out = shell(&scene, &line);
        said.push((line, out));
    }
    let of = |words: &str| {
        let (_, out) = said.iter().find(|(line, _)| line.contains(words)).expect("the page has it");
        out
    };
    assert!(of("list --open").contains("payments-1"), "{said:?}");
    assert!(!of("--older-than 1m").contains("payments-1"), "it is open for a moment: {said:?}");
    let held = of("list --topic payments");
    assert!(held.contains("payments-1") && held.lines().count() == 2, "{held}");
    assert!(of("describe payments-1").contains("Ongoing"), "{said:?}");
    assert!(of("abort payments-1").contains("aborted"), "{said:?}");
    let hung = of("--hung");
    let command = "streamd txn abort --topic payments --partition 0 --producer 4711";
    assert!(hung.lines().count() == 2 && hung.trim_end().ends_with(command), "{hung}");
    assert!(of("--partition 0").contains("aborted the transaction of producer 4711"), "{said:?}");
    assert_eq!(said.len(), 7, "what else is there is not looked at");

    assert_eq!(shell(&scene, "streamd txn list --topic payments").lines().count(), 1, "nothing is open");
    let late = producer.commit_transaction(WAIT).expect_err("its producer is fenced");
    assert!(late.to_string().to_lowercase().contains("fenced"), "{late}");
}

/// The page's program in Python, against the built binary; its file among the foreign clients runs those in the other
/// languages too. Where confluent-kafka was not installed for those it is left out.
#[test]
fn the_pages_program_turns_each_order_into_one_invoice_whatever_happens_to_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/clients/venv/bin/python");
    let has_client = Command::new(&python).args(["-c", "import confluent_kafka"]).output();
    if !has_client.is_ok_and(|done| done.status.success()) {
        eprintln!("SKIPPED: tests/clients/run has not installed confluent-kafka here");
        return;
    }
    let scene = Scene::with("");
    let program = root.join("tests/clients/python/exactly_once_page.py");
    let mut command = Command::new(&python);
    command.arg(program).args([scene.address(), "python"]).env("PYTHONDONTWRITEBYTECODE", "1");
    let done = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}\n{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.ends_with("note: python\nPASS\n"), "{said}");
}

/// What the page has users of a client write, and the program that does so against the broker.
const SETTINGS: [(&str, &str, &[&str]); 7] = [
    (
        "Java",
        "tests/clients/java/Transactions.java",
        &[
            "transactional.id",
            "isolation.level",
            "sendOffsetsToTransaction(offsets, consumer.groupMetadata())",
        ],
    ),
    (
        "confluent-kafka",
        "tests/clients/python/confluent_transactions.py",
        &["transactional.id", "send_offsets_to_transaction", "consumer_group_metadata"],
    ),
    (
        "franz-go",
        "tests/clients/go/franztxn/main.go",
        &[
            "kgo.TransactionalID",
            "kgo.FetchIsolationLevel(",
            "kgo.ReadCommitted()",
            "kgo.NewGroupTransactSession",
            "kgo.RequireStableFetchOffsets()",
        ],
    ),
    (
        "aiokafka",
        "tests/clients/python/aio_transactions.py",
        &["transactional_id", "isolation_level=", "send_offsets_to_transaction(offsets, group)"],
    ),
    (
        "KafkaJS",
        "tests/clients/node/transactions.js",
        &[
            "transactionalId",
            "idempotent: true",
            "maxInFlightRequests: 1",
            "readUncommitted",
            "transaction.sendOffsets(",
        ],
    ),
    (
        "Rust",
        "tests/librdkafka/transactions.rs",
        &["transactional.id", "send_offsets_to_transaction", "group_metadata()"],
    ),
    (
        "Kafka Connect, sources",
        "tests/clients/java/ConnectKilled.java",
        &["exactly.once.source.support", "exactly.once.support"],
    ),
];

#[test]
fn what_the_page_has_users_of_each_client_set_is_what_their_programs_set() {
    let page = file("docs/exactly-once.md");
    for (client, program, words) in SETTINGS {
        let row = page.lines().find(|line| line.starts_with('|') && line.contains(client)).expect(client);
        let program = file(program);
        for word in words {
            assert!(row.contains(word), "{client}: the page does not say {word}");
            assert!(program.contains(word), "{client}: its program does not say {word}");
        }
    }
    for (setting, program) in [
        ("exactly_once_v2", "tests/clients/java/StreamsKilled.java"),
        ("replication.factor", "tests/clients/java/StreamsKilled.java"),
    ] {
        assert!(page.contains(setting) && file(program).contains(setting), "{setting}");
    }
}
