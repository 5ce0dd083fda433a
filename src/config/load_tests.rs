//! Layers, origins and error texts.

use super::*;
use crate::config::{Advertise, Fsync, HostPort};

fn toml_file(text: &str) -> Sources {
    Sources {
        file: Some(SourceFile { name: "broker.toml".to_owned(), text: text.to_owned() }),
        ..Sources::default()
    }
}

fn properties(text: &str) -> Sources {
    Sources {
        file: Some(SourceFile { name: "server.properties".to_owned(), text: text.to_owned() }),
        ..Sources::default()
    }
}

fn env(pairs: &[(&str, &str)]) -> Sources {
    let env = pairs.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
    Sources { env, ..Sources::default() }
}

fn flag(name: &str, text: &str) -> Flag {
    Flag { shown: format!("--set {name}={text}"), name: name.to_owned(), text: text.to_owned() }
}

fn config(sources: &Sources) -> Config {
    load(sources).unwrap().config
}

fn errors(sources: &Sources) -> Vec<String> {
    load(sources).unwrap_err().problems.iter().map(ToString::to_string).collect()
}

fn error(sources: &Sources) -> String {
    let errors = errors(sources);
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.into_iter().next().unwrap()
}

fn origin(config: &Config, name: &str) -> String {
    config.settings.value(settings::find(name).unwrap()).1.to_string()
}

mod layers {
    use super::*;

    #[test]
    fn flags_overrule_the_environment_that_the_file_and_that_the_profile() {
        let name = "durability.fsync";
        let mut sources = Sources::default();
        assert_eq!(config(&sources).fsync, Fsync::Interval(std::time::Duration::from_secs(1)));
        assert_eq!(origin(&config(&sources), name), "dev profile");

        sources = toml_file("[durability]\nfsync = \"never\"\n");
        assert_eq!(config(&sources).fsync, Fsync::Never);
        assert_eq!(origin(&config(&sources), name), "broker.toml:2:1");

        sources.env = vec![("STREAMD_DURABILITY_FSYNC".to_owned(), "batch".to_owned())];
        assert_eq!(config(&sources).fsync, Fsync::Batch);
        assert_eq!(origin(&config(&sources), name), "env STREAMD_DURABILITY_FSYNC");

        sources.flags = vec![flag(name, "always")];
        assert_eq!(config(&sources).fsync, Fsync::Always);
        assert_eq!(origin(&config(&sources), name), "--set durability.fsync=always");
    }

    #[test]
    fn the_profile_is_dev_without_a_file_and_prod_with_one() {
        assert_eq!(config(&Sources::default()).profile, Profile::Dev);
        assert_eq!(config(&Sources::default()).offsets.retention_ms, None, "dev never expires offsets");
        let prod = config(&toml_file(""));
        assert_eq!((prod.profile, prod.fsync), (Profile::Prod, Fsync::Batch));
        assert_eq!(prod.offsets.retention_ms, Some(604_800_000));
        assert_eq!(config(&toml_file("profile = \"dev\"")).profile, Profile::Dev);
        assert_eq!(config(&env(&[("STREAMD_PROFILE", "prod")])).profile, Profile::Prod);
    }

    #[test]
    fn a_profile_changes_defaults_only() {
        let mut sources = toml_file("[durability]\nfsync = \"always\"\n");
        sources.flags = vec![flag("profile", "dev")];
        assert_eq!(config(&sources).fsync, Fsync::Always);
    }

    #[test]
    fn the_three_spellings_of_the_environment_have_an_order() {
        let pairs = [
            ("STREAMD_NUM_PARTITIONS", "3"),
            ("KAFKA_NUM_PARTITIONS", "1"),
            ("KAFKA_CFG_NUM_PARTITIONS", "2"),
        ];
        for (from, expected) in [(0, 3), (1, 2)] {
            assert_eq!(config(&env(&pairs[from..])).topics.default_partitions, expected);
        }
    }

    #[test]
    fn a_synonym_set_higher_up_overrules_a_finer_one_below() {
        let mut sources = toml_file("[kafka]\n\"log.retention.ms\" = 1000\n");
        sources.env = vec![("KAFKA_LOG_RETENTION_HOURS".to_owned(), "1".to_owned())];
        assert_eq!(config(&sources).topic_defaults.settings().retention_ms, 3_600_000);
    }

    #[test]
    fn both_names_of_a_setting_are_one_setting() {
        let mut sources = toml_file("[kafka]\n\"log.dirs\" = \"/from/file\"\n\"broker.id\" = 4\n");
        let from_file = config(&sources);
        assert_eq!((from_file.data_dir.to_str(), from_file.node_id), (Some("/from/file"), 4));
        sources.flags = vec![flag("data_dir", "/from/flag")];
        assert_eq!(config(&sources).data_dir.to_str(), Some("/from/flag"));
    }

    #[test]
    fn an_empty_file_means_the_defaults_of_the_struct() {
        let mut sources = toml_file("");
        sources.machine_memory_bytes = 1 << 30;
        let (loaded, default) = (config(&sources), Config::default());
        assert_eq!(format!("{loaded:?}"), format!("{default:?}"));
        assert_eq!(default.network.request_max_bytes, 16 << 20);
        assert_eq!(default.network.total_in_flight_max_bytes, 256 << 20);
        assert_eq!(default.listeners[0].bind, HostPort { host: "0.0.0.0".to_owned(), port: 9092 });
        assert_eq!(default.data_dir.to_str(), Some("./streamd-data"));
    }
}

mod toml_files {
    use super::*;

    #[test]
    fn every_form_of_a_value_is_read() {
        let config = config(&toml_file(
            "data_dir = '/d'\nnode_id = 3\n\
             [listen]\nkafka = [\"plain://127.0.0.1:9092\", \"plain://[::1]:9093\"]\n\
             advertise = { internal = \"kafka:9092\", external = \"broker.example.com:9092\" }\n\
             [disk]\nlimit = \"50 GiB\"\nreserve = \"2%\"\n\
             [memory]\nlimit = 1_000_000_000\n\
             [defaults.topic]\n\"retention.ms\" = \"1d\"\nsegment.bytes = \"1 MiB\"\npartitions = 6\nauto_create = false\n\
             [kafka]\n\"group.initial.rebalance.delay.ms\" = 0\nfetch.max.bytes = \"1 MiB\"\n\"max.connections.per.ip.overrides\" = \"10.0.0.1:5,host:7\"\n",
        ));
        assert_eq!(config.node_id, 3);
        assert_eq!(config.listeners.len(), 2);
        let Advertise::ByOrigin { internal: Some(internal), .. } = &config.listeners[0].advertise else {
            panic!("{:?}", config.listeners)
        };
        assert_eq!(internal.to_string(), "kafka:9092");
        assert_eq!(config.disk.limit_bytes, Some(50 << 30));
        assert_eq!(config.memory_limit_bytes, 1_000_000_000);
        let topic = config.topic_defaults.settings();
        assert_eq!((topic.retention_ms, topic.segment_bytes), (86_400_000, 1 << 20));
        assert_eq!((config.topics.default_partitions, config.topics.auto_create), (6, false));
        assert_eq!(config.groups.initial_rebalance_delay_ms, Some(0));
        assert_eq!(config.fetch.max_bytes, 1 << 20);
        let overrides = [("10.0.0.1".to_owned(), 5), ("host".to_owned(), 7)];
        assert_eq!(config.network.connections_per_ip_overrides, overrides);
    }

    #[test]
    fn an_unknown_key_says_where_it_is_and_what_was_meant() {
        let text = format!("{}\"log.retention.hour\" = 1\n", "\n".repeat(12) + "[kafka]\n");
        assert_eq!(
            error(&toml_file(&text)),
            "broker.toml:14:1: unknown key \"log.retention.hour\". Did you mean \"log.retention.hours\"?"
        );
        assert_eq!(
            error(&toml_file("[kafka]\n  log.retention.hour = 1\n")),
            "broker.toml:2:3: unknown key \"log.retention.hour\". Did you mean \"log.retention.hours\"?",
            "a dotted key is where it begins"
        );
        assert_eq!(
            error(&toml_file("[listen]\nadvertise = { extern = \"h:1\" }\n")),
            "broker.toml:2:15: unknown key \"listen.advertise.extern\". Did you mean \"listen.advertise.external\"?"
        );
        assert_eq!(error(&toml_file("colour = 1")), "broker.toml:1:1: unknown key \"colour\".");
    }

    #[test]
    fn a_value_out_of_range_says_the_range() {
        assert_eq!(
            error(&toml_file("[kafka]\n\"num.partitions\" = 0\n")),
            "broker.toml:2:1: num.partitions = 0: must be between 1 and 10000."
        );
        assert_eq!(
            error(&toml_file("[defaults.topic]\n\"retention.ms\" = \"soon\"\n")),
            "broker.toml:2:1: retention.ms = \"soon\": must be a number of milliseconds, or a time such as \"7d\" or \"1h 30m\"."
        );
        assert_eq!(error(&toml_file("node_id = -1")), "broker.toml:1:1: node_id = -1: must be at least 0.");
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let found = errors(&toml_file("node_id = -1\n[kafka]\n\"num.partitions\" = 0\n\"nonsense\" = 1\n"));
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn broken_syntax_says_where() {
        let text = error(&toml_file("data_dir = \"/d\"\nnode_id = = 1\n"));
        assert!(text.starts_with("broker.toml:2:11: "), "{text}");
        let text = error(&toml_file("node_id = 1\nnode_id = 2\n"));
        assert!(text.starts_with("broker.toml:2:1: duplicate key"), "{text}");
        assert_eq!(
            error(&toml_file("[kafka]\nnum.partitions = 2026-01-01\n")),
            "broker.toml:2:1: num.partitions must be a string, a number, true, false or a list of them, not a date"
        );
    }

    #[test]
    fn two_names_of_one_setting_in_one_file_are_told_apart() {
        assert_eq!(
            error(&toml_file("data_dir = \"/a\"\n[kafka]\n\"log.dirs\" = \"/b\"\n")),
            "broker.toml:3:1: kafka.log.dirs and data_dir (broker.toml:1:1) are the same setting. Keep one."
        );
        assert!(load(&toml_file("data_dir = \"/a\"\n[kafka]\n\"log.dirs\" = \"/a\"\n")).is_ok());
        assert_eq!(
            error(&toml_file("[defaults.topic]\n\"retention.ms\" = 1\n[kafka]\n\"log.retention.ms\" = 2\n")),
            "broker.toml:4:1: kafka.log.retention.ms and defaults.topic.retention.ms (broker.toml:2:1) \
             are the same setting. Keep one."
        );
    }

    #[test]
    fn what_a_later_version_brings_is_not_ignored() {
        assert_eq!(
            error(&toml_file("[tls]\ncert = \"x\"\n")),
            "broker.toml:2:1: [tls] is not available in this version of streamd. Remove it."
        );
        assert_eq!(
            error(&toml_file("[listen]\nadmin = \"127.0.0.1:9644\"\n")),
            "broker.toml:2:1: listen.admin = \"127.0.0.1:9644\" is not possible. \
             There is none in this version: leave it empty."
        );
        assert!(load(&toml_file("[listen]\nadmin = \"\"\n")).is_ok());
    }

    #[test]
    fn declared_topics_are_read_and_checked() {
        let declared = config(&toml_file(
            "[[topics]]\nname = \"orders\"\npartitions = 6\nconfig = { \"cleanup.policy\" = \"compact\", \"retention.ms\" = \"1d\" }\n\
             [[topics]]\nname = \"logs\"\n",
        ))
        .declared_topics;
        assert_eq!(declared.len(), 2);
        assert_eq!((declared[1].name.as_str(), declared[1].partitions), ("orders", Some(6)));
        assert_eq!(declared[1].config["retention.ms"], "86400000");
        let one = |text: &str| error(&toml_file(&format!("[[topics]]\n{text}\n")));
        assert_eq!(one("partitions = 1"), "broker.toml:1:1: a topic needs a name.");
        assert_eq!(
            one("name = \"a\"\nconfig = { retention.m = 1 }"),
            "broker.toml:3:12: unknown key \"retention.m\". Did you mean \"retention.ms\"?"
        );
        assert_eq!(
            one("name = \"a\"\npartition = 1"),
            "broker.toml:3:1: unknown key \"partition\". Did you mean \"partitions\"?"
        );
        assert_eq!(
            one("name = \"a\"\npartitions = 0"),
            "broker.toml:3:1: partitions = 0: must be between 1 and 10000."
        );
        assert!(one("name = \"a b\"").contains("topic name \"a b\" must be 1 to 249 letters"));
        assert!(one("name = \"a\"\n[[topics]]\nname = \"a\"").ends_with("topic \"a\" is declared twice."));
    }
}

mod property_files {
    use super::*;

    #[test]
    fn kafkas_own_file_is_read_as_it_is() {
        let loaded = load(&properties(
            "# comment\nprocess.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@localhost:9093\n\
             listeners=PLAINTEXT://:9092,CONTROLLER://:9093\ninter.broker.listener.name=PLAINTEXT\n\
             advertised.listeners=PLAINTEXT://localhost:9092\ncontroller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL\n\
             num.network.threads=3\nnum.io.threads=9\nsocket.send.buffer.bytes=102400\nsocket.receive.buffer.bytes=102400\n\
             socket.request.max.bytes=104857600\nlog.dirs=/tmp/kraft-combined-logs\nnum.partitions=1\nnum.recovery.threads.per.data.dir=1\n\
             offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             log.retention.hours=168\nlog.segment.bytes=1073741824\nlog.retention.check.interval.ms=300000\nzookeeper.connect=localhost:2181\n",
        ))
        .unwrap();
        assert_eq!(loaded.config.profile, Profile::Prod);
        assert_eq!(loaded.config.listeners.len(), 1, "the controller's is not opened");
        assert_eq!(loaded.config.network.send_buffer_bytes, Some(102_400));
        assert_eq!(loaded.config.data_dir.to_str(), Some("/tmp/kraft-combined-logs"));
        assert_eq!(loaded.warnings.len(), 1);
        let summary = &loaded.warnings[0];
        assert!(summary.starts_with("accepted without effect: "), "{summary}");
        assert!(summary.contains("num.io.threads") && summary.contains("zookeeper.connect"), "{summary}");
        assert!(!summary.contains("num.network.threads"), "a default is not worth a word: {summary}");
    }

    #[test]
    fn a_clusters_replication_factors_are_accepted_with_a_word() {
        let loaded = load(&properties("default.replication.factor=3\nmin.insync.replicas=2\n")).unwrap();
        let warning = "accepted without effect: default.replication.factor, min.insync.replicas";
        assert_eq!(loaded.warnings, [warning]);
        assert!(error(&properties("default.replication.factor=0\n")).contains("must be at least 1"));
    }

    #[test]
    fn what_a_property_file_says_to_others_warns_and_names_the_key() {
        let loaded = load(&properties("my.company.plugin=1\nport=9093\nlog.retention.hour=2\n")).unwrap();
        assert_eq!(
            loaded.warnings,
            [
                "server.properties:1:1: unknown key \"my.company.plugin\". It is ignored, as Kafka does.",
                "server.properties:2:1: \"port\" is gone since Kafka 3.0 to 4.0. Use listeners. It is ignored, as Kafka does.",
                "server.properties:3:1: unknown key \"log.retention.hour\". Did you mean \"log.retention.hours\"? \
                 It is ignored, as Kafka does.",
            ]
        );
        let loaded = load(&properties("disk.limti=50 GiB\n")).unwrap();
        assert_eq!(
            loaded.warnings,
            [
                "server.properties:1:1: unknown key \"disk.limti\". Did you mean \"disk.limit\"? It is ignored, as Kafka does."
            ]
        );
        let told = error(&toml_file("[kafka]\n\"my.company.plugin\" = 1"));
        assert!(told.contains("unknown key \"my.company.plugin\""), "{told}");
        let told = error(&properties("num.partitions=3 # for tests\n"));
        assert!(told.contains("put comments on their own lines"), "{told}");
    }

    #[test]
    fn streamds_own_keys_may_stand_in_a_property_file() {
        let config = config(&properties("disk.limit=50 GiB\ndurability.fsync=always\nlog.dirs=/d\n"));
        assert_eq!((config.disk.limit_bytes, config.fsync), (Some(50 << 30), Fsync::Always));
        assert_eq!(
            error(&properties("disk.limit=1M\n")),
            "server.properties:1:1: disk.limit = \"1M\": must be a number of bytes, or a size such as \"256 MiB\", at least \
             16 MiB."
        );
        assert!(error(&properties("data_dir=/a\nlog.dirs=/b\n")).contains("are the same setting. Keep one."));
    }

    #[test]
    fn values_that_cannot_be_meant_are_refused() {
        let told = error(&toml_file("data_dir = 5"));
        assert_eq!(told, "broker.toml:1:1: data_dir = 5: must be the path of a directory, in quotes.");
        let told = error(&toml_file("[memory]\nlimit = \"1 KiB\""));
        assert!(told.contains("at least 16 MiB"), "{told}");
        let told = error(&toml_file("[listen]\nkafka = 127.0.0.1:9092"));
        assert_eq!(told, "broker.toml:2:14: text stands in quotes: write kafka = \"127.0.0.1:9092\"");
        assert!(!error(&toml_file("a b = 3")).contains("quotes"));
    }

    #[test]
    fn what_would_be_dangerous_to_ignore_stops_the_start() {
        assert!(
            error(&properties("authorizer.class.name=x.Y\n")).contains("is not possible. There are no ACLs")
        );
        assert!(load(&properties("authorizer.class.name=\n")).is_ok());
        assert!(
            error(&properties("listeners=SASL_SSL://:9093\n")).contains("TLS and SASL are not available")
        );
        assert!(error(&properties("process.roles=controller\n")).contains("always broker and controller"));
        let voters = error(&properties("node.id=1\ncontroller.quorum.voters=1@a:9093,2@b:9093\n"));
        assert_eq!(
            voters,
            "server.properties:2:1: controller.quorum.voters: names other nodes than 1, and this version of streamd runs alone."
        );
        assert!(error(&properties("log.dirs=/a,/b\n")).contains("everything in one directory"));
    }

    #[test]
    fn rules_between_settings_are_checked() {
        assert_eq!(
            error(&properties("log.retention.hours=0\n")),
            "server.properties:1:1: log.retention.hours: must be at least 1, or -1 for ever."
        );
        assert!(
            error(&properties("group.min.session.timeout.ms=9\ngroup.max.session.timeout.ms=8\n"))
                .contains("must not be above group.max.session.timeout.ms (8)")
        );
        assert!(
            error(&properties("max.connections.per.ip.overrides=host\n"))
                .contains("\"host\" must be host:count")
        );
    }
}

#[path = "sense_tests.rs"]
mod sense;

mod environment {
    use super::*;

    #[test]
    fn the_compose_file_of_a_kafka_image_works() {
        let loaded = load(&env(&[
            ("KAFKA_NODE_ID", "1"),
            ("KAFKA_PROCESS_ROLES", "broker,controller"),
            ("KAFKA_LISTENERS", "PLAINTEXT://0.0.0.0:29092,CONTROLLER://:9093,PLAINTEXT_HOST://0.0.0.0:9092"),
            ("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://kafka:29092,PLAINTEXT_HOST://localhost:9092"),
            ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
            (
                "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
                "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT",
            ),
            ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9093"),
            ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
            ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
            ("CLUSTER_ID", "5L6g3nShT-eMCtK--X86sw"),
            ("KAFKA_HEAP_OPTS", "-Xmx256m"),
            ("ALLOW_PLAINTEXT_LISTENER", "yes"),
            ("PATH", "/bin"),
        ]))
        .unwrap();
        let config = &loaded.config;
        assert_eq!(config.listeners.len(), 2);
        assert_eq!(config.cluster_id.as_deref(), Some("5L6g3nShT-eMCtK--X86sw"));
        assert_eq!(config.groups.initial_rebalance_delay_ms, Some(0));
        assert!(loaded.kafka_env);
        assert_eq!(loaded.warnings, ["accepted without effect: offsets.topic.replication.factor"]);
    }

    #[test]
    fn unknown_kafka_variables_warn_and_unknown_streamd_variables_stop() {
        let loaded = load(&env(&[
            ("KAFKA_BROKERS", "kafka:9092"),
            ("KAFKA_LOG_RETENTON_MS", "1"),
            ("KAFKA_SERVICE_HOST", "x"),
        ]))
        .unwrap();
        assert_eq!(
            loaded.warnings,
            ["variables that mean nothing to streamd: KAFKA_BROKERS, \
              KAFKA_LOG_RETENTON_MS (did you mean KAFKA_LOG_RETENTION_MS?)"]
        );
        assert!(!loaded.kafka_env);
        let loaded =
            load(&env(&[("KAFKA_DISK_LIMIT", "50 GiB"), ("KAFKA_CFG_DISK_SCRUB_RATE", "0")])).unwrap();
        assert_eq!(loaded.config.disk.limit_bytes, None);
        assert_eq!(
            loaded.warnings,
            ["variables that mean nothing to streamd: \
              KAFKA_DISK_LIMIT (a setting of streamd's own: write STREAMD_DISK_LIMIT), \
              KAFKA_CFG_DISK_SCRUB_RATE (a setting of streamd's own: write STREAMD_DISK_SCRUB_RATE)"]
        );
        assert_eq!(
            error(&env(&[("STREAMD_DATADIR", "/d")])),
            "STREAMD_DATADIR: unknown variable. Did you mean STREAMD_DATA_DIR?"
        );
        assert!(load(&env(&[("STREAMD_BROKERS", "b:9092")])).is_ok(), "for the client verbs");
    }

    #[test]
    fn a_bad_value_names_its_variable() {
        assert_eq!(
            error(&env(&[("KAFKA_NUM_PARTITIONS", "none")])),
            "KAFKA_NUM_PARTITIONS: num.partitions = \"none\": must be a whole number, between 1 and 10000."
        );
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        assert_eq!(
            config(&env(&[("KAFKA_NUM_PARTITIONS", ""), ("STREAMD_NOT_A_KEY", "")]))
                .topics
                .default_partitions,
            1
        );
    }

    #[test]
    fn wurstmeisters_variables_are_understood() {
        let config = config(&env(&[
            ("KAFKA_ADVERTISED_HOST_NAME", "kafka"),
            ("KAFKA_ADVERTISED_PORT", "9094"),
            ("KAFKA_CREATE_TOPICS", "orders:3:1,audit:1:1:compact"),
        ]));
        assert_eq!(
            config.listeners[0].advertise,
            Advertise::Address(HostPort { host: "kafka".to_owned(), port: 9094 })
        );
        assert_eq!(config.declared_topics.len(), 2);
        assert_eq!(config.declared_topics[0].config["cleanup.policy"], "compact");
        assert_eq!(config.declared_topics[1].partitions, Some(3));
    }

    #[test]
    fn users_without_authentication_stop_the_start() {
        assert_eq!(
            error(&env(&[("KAFKA_CLIENT_USERS", "app")])),
            "KAFKA_CLIENT_USERS: authentication is not available in this version of streamd."
        );
    }
}

mod flags {
    use super::*;

    #[test]
    fn every_spelling_of_a_name_is_taken() {
        for name in ["num.partitions", "kafka.num.partitions", "defaults.topic.partitions"] {
            let sources = Sources { flags: vec![flag(name, "5")], ..Sources::default() };
            assert_eq!(config(&sources).topics.default_partitions, 5, "{name}");
        }
        let sources =
            Sources { flags: vec![flag("defaults.topic.retention.ms", "1h")], ..Sources::default() };
        assert_eq!(config(&sources).topic_defaults.settings().retention_ms, 3_600_000);
    }

    #[test]
    fn a_mistake_names_its_flag() {
        let sources = Sources { flags: vec![flag("num.partition", "5")], ..Sources::default() };
        assert_eq!(
            error(&sources),
            "--set num.partition=5: unknown key \"num.partition\". Did you mean \"num.partitions\"?"
        );
    }

    #[test]
    fn the_port_flag_overrules_every_other_port() {
        let mut sources = toml_file("[listen]\nkafka = \"127.0.0.1:9092\"\n");
        sources.port = Some(0);
        let config = config(&sources);
        assert_eq!(config.listeners[0].bind, HostPort { host: "127.0.0.1".to_owned(), port: 0 });
        assert_eq!(origin(&config, "listen.kafka"), "--port 0");
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let sources = Sources { flags: vec![flag("ssl.key.password", "hunter2")], ..Sources::default() };
        let text = format!("{:?}", config(&sources).settings);
        assert!(text.contains("ssl.key.password") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn the_last_of_two_counts() {
        let sources =
            Sources { flags: vec![flag("node_id", "2"), flag("node_id", "3")], ..Sources::default() };
        assert_eq!(config(&sources).node_id, 3);
    }
}
