//! DescribeLogDirs (KIP-113, KIP-827): what partitions take.

use serde_json::{Value, json};

use super::ask;
use crate::batch::{Batch, Codec};
use crate::run::{Script, plain};
use crate::session::Session;

pub(super) const SCRIPTS: &[Script] =
    &[plain("log_dirs/sizes", sizes), plain("log_dirs/nothing_there", nothing_there)];

fn of(topic: &str, partitions: &[i32]) -> Value {
    json!({"topics": [{"topic": topic, "partitions": partitions}]})
}

fn sizes(s: &Session) {
    let topic = s.topic("a", 2);
    let c = s.connect();
    c.every("of a topic without records", "DescribeLogDirs", |_| of(&topic.name, &[0, 1]));
    for codec in [Codec::None, Codec::Lz4] {
        ask::append(s, &topic, &Batch::many(5).codec(codec));
    }
    c.every("of one with two batches", "DescribeLogDirs", |_| of(&topic.name, &[0, 1]));
    c.call("of a partition that is not asked for", "DescribeLogDirs", 4, of(&topic.name, &[1]));
    c.call("of one that is asked for twice", "DescribeLogDirs", 4, of(&topic.name, &[0, 0]));
}

fn nothing_there(s: &Session) {
    let topic = s.topic("a", 1);
    let c = s.connect();
    c.every("of a topic that is unknown", "DescribeLogDirs", |_| of(&s.name("unknown"), &[0]));
    c.call("of a partition that is unknown", "DescribeLogDirs", 4, of(&topic.name, &[0, 7, -1]));
    c.call("of no partition", "DescribeLogDirs", 4, of(&topic.name, &[]));
    c.every("of no topic", "DescribeLogDirs", |_| json!({"topics": []}));
}
