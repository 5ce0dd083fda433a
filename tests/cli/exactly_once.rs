//! What docs/exactly-once.md tells operators to do about a transaction that hangs, done.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::scene::Scene;

const WAIT: Duration = Duration::from_secs(30);

/// The commands of the page, in their order.
fn commands() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/exactly-once.md");
    let page = fs::read_to_string(page).expect("the page");
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
    let scene = Scene::with("");
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

    let said: Vec<(String, String)> = commands()
        .into_iter()
        .map(|line| (shell(&scene, &line), line))
        .map(|(out, line)| (line, out))
        .collect();
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

    assert_eq!(shell(&scene, "streamd txn list --topic payments").lines().count(), 1, "nothing is open");
    let late = producer.commit_transaction(WAIT).expect_err("its producer is fenced");
    assert!(late.to_string().to_lowercase().contains("fenced"), "{late}");
}
