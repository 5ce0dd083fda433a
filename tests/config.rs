//! The settings as people meet them: the `streamd` binary's words and exit codes, and the generated references.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A `streamd` with nothing but these variables in its environment, in an empty directory.
struct Shell {
    dir: tempfile::TempDir,
}

impl Shell {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn run(&self, line: &str, env: &[(&str, &str)]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_streamd"))
            .args(line.split(' ').filter(|argument| !argument.is_empty()))
            .env_clear()
            .envs(env.iter().copied())
            .current_dir(self.dir.path())
            .output()
            .unwrap()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What `config check` says about this broker.toml, which must be wrong.
fn mistake(text: &str) -> String {
    let shell = Shell::new();
    shell.file("broker.toml", text);
    let output = shell.run("config check --config broker.toml", &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(stdout(&output), "");
    stderr(&output)
}

#[test]
fn an_unknown_key_is_told_with_its_place_and_the_nearest_name() {
    let text = format!("{}[kafka]\n\"log.retention.hour\" = 24\n", "\n".repeat(12));
    assert_eq!(
        mistake(&text),
        "broker.toml:14:1: unknown key \"log.retention.hour\". Did you mean \"log.retention.hours\"?\n"
    );
}

#[test]
fn a_reserve_that_no_disk_could_ever_keep_free_is_refused() {
    let text = mistake("[disk]\nreserve = \"1000000 TiB\"\n");
    let begins = "broker.toml:2:1: disk.reserve = 1000000 TiB: the file system of ./streamd-data has ";
    assert!(text.starts_with(begins) && text.ends_with("so nothing could ever be written.\n"), "{text}");
}

#[test]
fn every_mistake_has_a_line_of_its_own() {
    assert_eq!(
        mistake("node_id = -4\nprofile = \"test\"\n[durability]\nfsync = \"maybe\"\n"),
        "broker.toml:1:1: node_id = -4: must be at least 0.\n\
         broker.toml:2:1: profile = \"test\": must be one of: dev, prod.\n\
         broker.toml:4:1: durability.fsync = \"maybe\": must be always, batch, never, or interval(1s) with a time of 1ms to 1h.\n"
    );
}

#[test]
fn an_address_in_the_wrong_place_or_with_an_impossible_port_is_told_where_and_which() {
    assert_eq!(
        mistake("kafka = \"0.0.0.0:9092\"\n"),
        "broker.toml:1:1: unknown key \"kafka\". It belongs into the table [listen].\n"
    );
    let must =
        "must be host:port, or plain://host:port for each of several, with a port between 0 and 65535.\n";
    assert_eq!(
        mistake("[listen]\nkafka = \"0.0.0.0:70000\"\n"),
        format!("broker.toml:2:1: listen.kafka = \"0.0.0.0:70000\": {must}")
    );
    assert!(
        mistake("[listen]\nadvertise = \"kafka:70000\"\n").ends_with("with a port between 0 and 65535.\n")
    );
    assert_eq!(
        mistake("[[topic]]\nname = \"t\"\n"),
        "broker.toml:1:3: unknown key \"topic\". Write [[topics]] above each topic.\n"
    );
    let shell = Shell::new();
    for (line, env, from) in [
        ("config check --set listen.kafka=:70000", None, "--set listen.kafka=:70000: listen.kafka"),
        ("config check", Some(("STREAMD_LISTEN_KAFKA", ":70000")), "STREAMD_LISTEN_KAFKA: listen.kafka"),
        ("config check", Some(("KAFKA_LISTENERS", "PLAINTEXT://:70000")), "KAFKA_LISTENERS: listeners"),
    ] {
        let output = shell.run(line, env.as_slice());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let text = stderr(&output);
        assert!(text.starts_with(from) && text.ends_with(must), "{text}");
    }
    let output = shell.run("--port 70000", &[]);
    assert!(stderr(&output).contains("70000 is not in 0..=65535"), "{output:?}");
}

#[test]
fn what_newcomers_write_first_is_told_what_to_write_instead() {
    let shell = Shell::new();
    shell.file("server.conf", "broker.id=1\nlog.dirs=/tmp/x\n");
    let output = shell.run("config check --config server.conf", &[]);
    assert!(stderr(&output).contains("a name that ends in .properties"), "{output:?}");
    let output = shell.run("config check", &[("STREAMD_PORT", "9093")]);
    assert_eq!(
        stderr(&output),
        "STREAMD_PORT: unknown variable. Write STREAMD_LISTEN_KAFKA=0.0.0.0:9092 with another port.\n"
    );
    let text = mistake("[[topics]]\nname = \"t\"\n\"retention.ms\" = \"1d\"\n");
    assert_eq!(
        text,
        "broker.toml:3:1: unknown key \"retention.ms\". A topic's settings stand in config = { \"retention.ms\" = … }.\n"
    );
    let output = shell.run("config check broker.toml", &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("tip: name the file with a flag"), "{output:?}");
}

#[test]
fn a_flag_does_not_hide_what_is_wrong_with_the_same_setting_in_the_file() {
    let shell = Shell::new();
    shell.file("broker.toml", "[listen]\nkafka = \"0.0.0.0:70000\"\n");
    shell.file("tls.toml", "[listen]\nkafka = \"tls://0.0.0.0:9093\"\n");
    for line in ["--port 0", "--set listen.kafka=:0"] {
        let output = shell.run(&format!("config check --config broker.toml {line}"), &[]);
        assert_eq!(output.status.code(), Some(1), "{line}: {output:?}");
        assert!(
            stderr(&output).starts_with("broker.toml:2:1: listen.kafka = \"0.0.0.0:70000\""),
            "{output:?}"
        );
        assert_eq!(stderr(&output).lines().count(), 1, "{output:?}");
    }
    let output = shell.run("config check --config tls.toml --port 0", &[]);
    assert!(stderr(&output).starts_with("tls.toml:2:1: "), "{output:?}");
}

#[test]
fn broken_toml_is_told_with_its_place() {
    let text = mistake("data_dir = \"/d\nnode_id = 1\n");
    assert!(text.starts_with("broker.toml:1:"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn a_file_that_is_not_there_is_told_with_the_reason() {
    let output = Shell::new().run("--config nowhere.toml", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "cannot read the config file nowhere.toml\n  No such file or directory (os error 2)\n"
    );
}

#[test]
fn serve_stops_at_a_mistake_before_it_touches_anything() {
    let shell = Shell::new();
    let output = shell.run("--set num.partitions=0 --data-dir data", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "--set num.partitions=0: num.partitions = 0: must be between 1 and 10000.\n");
    assert!(!shell.dir.path().join("data").exists());
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    for line in ["--colour", "config", "config check --set novalue", "--port 70000", "bogus"] {
        let output = Shell::new().run(line, &[]);
        assert_eq!(output.status.code(), Some(2), "{line}: {output:?}");
    }
    let output = Shell::new().run("--ephemeral --data-dir x", &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(stderr(&output), "--ephemeral and --data-dir contradict each other.\n");
}

#[test]
fn warnings_leave_the_exit_code_at_0() {
    let shell = Shell::new();
    shell.file("server.properties", "num.io.threads=16\nzookeeper.connect=localhost:2181\n");
    let output = shell.run("config check --config server.properties", &[("KAFKA_BROKERS", "kafka:9092")]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        stdout(&output),
        "warning: accepted without effect: num.io.threads, zookeeper.connect\n\
         warning: variables that mean nothing to streamd: KAFKA_BROKERS\n\
         server.properties: settings are valid (prod profile)\n"
    );
}

#[test]
fn settings_may_be_named_before_the_verb_and_behind_it() {
    let shell = Shell::new();
    shell.file("good.toml", "node_id = 7\n");
    shell.file("bad.toml", "node_id = -4\n");
    for line in
        ["config check --config F", "--config F config check", "--config F serve --port 0 --set node_id=-5"]
    {
        let output = shell.run(&line.replace('F', "bad.toml"), &[]);
        assert_eq!(output.status.code(), Some(1), "{line}: {output:?}");
        assert!(
            stderr(&output).contains("bad.toml:1:1: node_id = -4: must be at least 0."),
            "{line}: {output:?}"
        );
    }
    for line in ["config check --config good.toml", "--config good.toml config check"] {
        assert_eq!(stdout(&shell.run(line, &[])), "good.toml: settings are valid (prod profile)\n", "{line}");
    }
    let shown = stdout(&shell.run("--config good.toml --set node_id=8 config show --set node_id=9", &[]));
    assert!(shown.contains("--set node_id=9"), "the flag nearest to the verb counts\n{shown}");
    let output = shell.run("--config good.toml config check --config bad.toml", &[]);
    assert_eq!((output.status.code(), stderr(&output).contains("--config is given twice")), (Some(2), true));
    for line in ["--ephemeral config check", "--config good.toml topic list"] {
        assert_eq!(shell.run(line, &[]).status.code(), Some(2), "{line}");
    }
}

#[test]
fn a_check_without_a_file_says_that_it_read_none() {
    let output = Shell::new().run("config check", &[]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        stdout(&output),
        "settings are valid (dev profile), but no file was read: these are defaults, variables and flags. \
         Name a file with --config FILE\n"
    );
}

#[test]
fn an_unknown_variable_of_ours_is_a_mistake() {
    let output = Shell::new().run("config check", &[("STREAMD_LOG_RETENTON_MS", "1")]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "STREAMD_LOG_RETENTON_MS: unknown variable. Did you mean STREAMD_LOG_RETENTION_MS?\n"
    );
}

#[test]
fn show_prints_each_value_with_its_source() {
    let shell = Shell::new();
    shell.file(
        "broker.toml",
        "[listen]\nkafka = \"127.0.0.1:9092\"\n[kafka]\n\"num.partitions\" = 3\n\"ssl.key.password\" = \"hunter2\"\n",
    );
    let env = [("KAFKA_LOG_RETENTION_HOURS", "2"), ("STREAMD_NODE_ID", "7")];
    let output = shell.run("config show --config broker.toml --set durability.fsync=never", &env);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = stdout(&output);
    let line = |key: &str| {
        let found = text.lines().find(|line| line.split_whitespace().next() == Some(key));
        found.unwrap_or_else(|| panic!("{key} in\n{text}")).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("listen.kafka"), "listen.kafka 127.0.0.1:9092 broker.toml:2:1");
    assert_eq!(line("num.partitions"), "num.partitions 3 broker.toml:4:1");
    assert_eq!(line("log.retention.hours"), "log.retention.hours 2 env KAFKA_LOG_RETENTION_HOURS");
    assert_eq!(line("node_id"), "node_id 7 env STREAMD_NODE_ID");
    assert_eq!(line("durability.fsync"), "durability.fsync never --set durability.fsync=never");
    assert_eq!(line("profile"), "profile prod default with a config file");
    assert_eq!(line("data_dir"), "data_dir ./streamd-data default");
    assert_eq!(line("ssl.key.password"), "ssl.key.password (hidden) broker.toml:5:1");
    assert!(!text.contains("hunter2"));
    assert!(!text.contains("num.io.threads"), "what does nothing is left out");
    let all = stdout(&shell.run("config show --all --dev", &[]));
    assert!(all.contains("num.io.threads"));
    assert!(all.contains("dev profile"), "the profile's own defaults are named");
    let alone = stdout(&shell.run("config show", &[]));
    let profile = alone.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(profile.join(" "), "profile dev default without a config file");
}

#[test]
fn show_speaks_json() {
    let output = Shell::new().run("config show -o json --port 0", &[]);
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| row["key"] == "memory.limit").unwrap();
    assert_eq!((&row["value"], &row["source"]), (&"auto".into(), &"default".into()));
}

#[test]
fn the_generated_references_are_in_step_with_the_table() {
    for (format, file) in [("toml", "config/broker.toml"), ("markdown", "docs/CONFIG.md")] {
        let output = Shell::new().run(&format!("config reference --format {format}"), &[]);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        if std::env::var_os("UPDATE_REFERENCES").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &output.stdout).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == stdout(&output),
            "{file} is out of step: UPDATE_REFERENCES=1 cargo test --test config writes it"
        );
    }
}
