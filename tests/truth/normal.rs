//! Makes answers comparable between brokers and runs: what differs by nature gets a name, the same value the same name
//! throughout a script, and lists that have no order of their own are sorted. README.md lists the rules.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use streamd::types::ErrorCode;

use crate::codec::ZERO_UUID;
use crate::tree::Tree;

/// Fields that tell the elements of a list apart, the first that an element has.
const IDENTITIES: [&str; 16] = [
    "api_key",
    "name",
    "topic",
    "topic_name",
    "group_id",
    "resource_name",
    "transactional_id",
    "group_instance_id",
    "member_id",
    "key",
    "partition_index",
    "partition",
    "index",
    "topic_id",
    "node_id",
    "producer_id",
];

/// Lists whose order is part of the answer.
const ORDERED: [&str; 3] = ["records", "headers", "record_errors"];

/// The lists of partitions in the entries of topics.
const PARTITIONS: [&str; 2] = ["partitions", "partition_responses"];

/// Texts for people.
const MESSAGES: [&str; 3] = ["error_message", "batch_index_error_message", "documentation"];

/// Times that brokers take from their clocks.
const TIMES: [&str; 6] = [
    "log_append_time_ms",
    "timestamp",
    "base_timestamp",
    "max_timestamp",
    "last_timestamp",
    "transaction_start_time_ms",
];

/// What an element of a list is called in paths, e.g. the topic's name.
pub(crate) fn identity(element: &Tree) -> Option<String> {
    let parts = IDENTITIES.iter().find_map(|name| element.field(name).filter(|v| **v != Tree::Null))?;
    Some(match parts {
        Tree::Text(text) => text.clone(),
        other => other.inline(),
    })
}

/// The names given so far in one script.
#[derive(Debug)]
pub(crate) struct Names {
    /// Where the broker was reached, which is where it must say that it is.
    address: SocketAddr,
    /// The script's clock at its start, in milliseconds.
    started: i64,
    /// Only topics and groups whose name begins so are the script's own.
    prefix: String,
    by_value: BTreeMap<(&'static str, String), String>,
    counts: BTreeMap<String, usize>,
}

impl Names {
    pub(crate) fn new(address: SocketAddr, started: i64, prefix: &str) -> Self {
        Self {
            address,
            started,
            prefix: prefix.to_owned(),
            by_value: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    /// An answer in its comparable form.
    pub(crate) fn answer(&mut self, tree: &Tree) -> Tree {
        self.learn(tree);
        self.value("", tree, true)
    }

    /// A request in its comparable form; the order of its lists is the script's.
    pub(crate) fn request(&mut self, tree: &Tree) -> Tree {
        self.value("", tree, false)
    }

    /// Drops the topics, groups and transactions of other scripts from the lists of an answer.
    pub(crate) fn keep_own(&self, answer: &mut Tree) {
        let Tree::Struct(fields) = answer else { return };
        for (name, value) in fields {
            if let ("topics" | "groups" | "transaction_states", Tree::List(items)) = (name.as_str(), value) {
                let name = |item: &Tree| {
                    ["name", "group_id", "transactional_id"].iter().find_map(|n| item.field(n).cloned())
                };
                let named = |item: &Tree| match name(item) {
                    Some(Tree::Text(name)) => name.starts_with(&self.prefix),
                    _ => true,
                };
                items.retain(named);
            }
        }
    }

    /// Gives names to the ids that stand beside the name of what they belong to.
    fn learn(&mut self, tree: &Tree) {
        match tree {
            Tree::List(items) => items.iter().for_each(|item| self.learn(item)),
            Tree::Struct(fields) => {
                let name = tree.field("name").or_else(|| tree.field("topic"));
                if let (Some(Tree::Text(name)), Some(Tree::Text(id))) = (name, tree.field("topic_id"))
                    && id != ZERO_UUID
                    && name.starts_with(&self.prefix)
                {
                    self.name_of("topic-id", id, &format!("id of {name}"));
                }
                fields.iter().for_each(|(_, value)| self.learn(value));
            }
            _ => {}
        }
    }

    /// The name of `value`, made from `base` and a number if it has none yet.
    fn name_of(&mut self, kind: &'static str, value: &str, base: &str) -> String {
        let counts = &mut self.counts;
        let new = || {
            let count = counts.entry(base.to_owned()).or_default();
            *count += 1;
            if *count == 1 && base.contains(' ') { base.to_owned() } else { format!("{base} {count}") }
        };
        self.by_value.entry((kind, value.to_owned())).or_insert_with(new).clone()
    }

    fn known(&self, kind: &'static str, value: &str) -> Option<Tree> {
        self.by_value.get(&(kind, value.to_owned())).map(Tree::symbol)
    }

    fn value(&mut self, name: &str, tree: &Tree, answer: bool) -> Tree {
        match tree {
            Tree::Struct(fields) => {
                let normal = fields.iter().map(|(n, v)| (n.clone(), self.value(n, v, answer)));
                Tree::Struct(normal.collect())
            }
            Tree::List(items) => self.list(name, items, answer),
            Tree::Int(number) => self.number(name, *number, answer),
            Tree::Text(text) => self.text(name, text, answer),
            Tree::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Tree::Bytes(self.mask(text).into_bytes()),
                Err(_) => tree.clone(),
            },
            other => other.clone(),
        }
    }

    fn list(&mut self, name: &str, items: &[Tree], answer: bool) -> Tree {
        let mut items: Vec<&Tree> = items.iter().collect();
        let sorted = answer && !ORDERED.contains(&name);
        if sorted {
            // Before names are given, so that ids get theirs in an order that does not depend on their value.
            items.sort_by_cached_key(|item| self.sort_key(item));
        }
        let items: Vec<Tree> = items.into_iter().map(|item| self.value(name, item, answer)).collect();
        Tree::List(if answer { self.merge_topics(items) } else { items })
    }

    /// Makes one entry of the entries for one topic: brokers may group partitions as they like.
    fn merge_topics(&self, items: Vec<Tree>) -> Vec<Tree> {
        let mut merged: Vec<Tree> = Vec::new();
        for mut item in items {
            let head = head_of(&item);
            let before = merged.iter_mut().find(|m| head.is_some() && head_of(m) == head);
            match (before.and_then(partitions_of), partitions_of(&mut item)) {
                (Some(all), Some(more)) => {
                    all.append(more);
                    all.sort_by_cached_key(|item| self.sort_key(item));
                }
                _ => merged.push(item),
            }
        }
        merged
    }

    fn sort_key(&self, item: &Tree) -> (bool, String) {
        match item {
            Tree::Struct(_) => {
                let number = IDENTITIES.iter().find_map(|n| match item.field(n) {
                    Some(Tree::Int(i)) => Some(format!("{i:020}")),
                    Some(Tree::Text(t)) => Some(self.blur(t)),
                    _ => None,
                });
                (true, format!("{}{}", number.unwrap_or_default(), self.blur(&item.inline())))
            }
            Tree::Int(number) => (false, format!("{number:020}")),
            _ => (false, String::new()),
        }
    }

    /// `text` without the ids that have no name yet.
    fn blur(&self, text: &str) -> String {
        let known = |id: &str| self.by_value.get(&("uuid", id.to_owned())).cloned().unwrap_or_default();
        let mut blurred = replace_uuids(text, known);
        for ((kind, value), name) in &self.by_value {
            if *kind == "topic-id" {
                blurred = blurred.replace(value, name);
            }
        }
        blurred
    }

    fn number(&mut self, name: &str, number: i64, answer: bool) -> Tree {
        match name {
            "error_code" | "topic_config_error_code" | "partition_error_code" => error_name(number),
            "port" if answer && number == i64::from(self.address.port()) => Tree::symbol("port"),
            "session_id" if number != 0 => match answer {
                true => Tree::symbol(self.name_of("session", &number.to_string(), "session")),
                false => self.known("session", &number.to_string()).unwrap_or(Tree::Int(number)),
            },
            "producer_id" | "producer_id_filters" | "v3_and_below_producer_id" if number >= 0 => {
                self.known("producer", &number.to_string()).unwrap_or(Tree::Int(number))
            }
            // The file system's, which lives.
            "total_bytes" | "usable_bytes" if answer && number > 0 => Tree::symbol("bytes"),
            "finalized_features_epoch" if number >= 0 => Tree::symbol("epoch"),
            _ if TIMES.contains(&name) => self.time(number),
            _ => Tree::Int(number),
        }
    }

    /// Binds the producer id that an answer gives out.
    pub(crate) fn producer_id(&mut self, id: i64) {
        if id >= 0 {
            self.name_of("producer", &id.to_string(), "producer-id");
        }
    }

    /// Times near the script's own are told by their distance, in minutes.
    fn time(&self, time: i64) -> Tree {
        const MINUTE: i64 = 60_000;
        match time.saturating_sub(self.started) {
            -60_000..120_000 => Tree::symbol("now"),
            off if off.unsigned_abs() < 24 * 60 * MINUTE.unsigned_abs() => {
                Tree::symbol(format!("now {:+} min", (off + MINUTE / 2).div_euclid(MINUTE)))
            }
            _ => Tree::Int(time),
        }
    }

    fn text(&mut self, name: &str, text: &str, answer: bool) -> Tree {
        match name {
            _ if MESSAGES.contains(&name) && !text.is_empty() => {
                Tree::Message(if name == "documentation" { String::new() } else { self.message(text) })
            }
            "topic_id" if text == ZERO_UUID => Tree::symbol("zero id"),
            "topic_id" => match answer {
                true => Tree::symbol(self.name_of("topic-id", text, "topic-id")),
                false => self.known("topic-id", text).unwrap_or_else(|| Tree::Text(text.to_owned())),
            },
            "host" if answer && text == self.address.ip().to_string() => Tree::symbol("host"),
            "client_host" if answer && !text.is_empty() => Tree::symbol("client host"),
            "cluster_id" if answer => Tree::symbol("cluster id"),
            "log_dir" if answer => Tree::symbol("log dir"),
            _ => Tree::Text(self.mask(text)),
        }
    }

    /// `text` with its UUIDs, such as those in member ids, replaced by their names.
    fn mask(&mut self, text: &str) -> String {
        let mut found = Vec::new();
        replace_uuids(text, |id| {
            found.push(id.to_owned());
            String::new()
        });
        for id in found {
            self.name_of("uuid", &id, "uuid");
        }
        self.show(text)
    }

    fn show(&self, text: &str) -> String {
        let name = |id: &str| {
            format!("<{}>", self.by_value.get(&("uuid", id.to_owned())).map_or("uuid", String::as_str))
        };
        replace_uuids(text, name)
    }

    /// The words that a broker sent, without what changes from run to run.
    fn message(&self, text: &str) -> String {
        let mut text = self.show(text);
        for ((kind, value), name) in &self.by_value {
            if *kind == "topic-id" {
                text = text.replace(value, &format!("<{name}>"));
            }
        }
        let digits = |c: &char| c.is_ascii_digit();
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some(start) = rest.find(|c| digits(&c)) {
            let run = rest[start..].chars().take_while(digits).count();
            out.push_str(&rest[..start]);
            out.push_str(if run > 9 { "<number>" } else { &rest[start..start + run] });
            rest = &rest[start + run..];
        }
        out + rest
    }
}

/// What a topic's entry says besides its partitions.
fn head_of(item: &Tree) -> Option<Vec<(String, Tree)>> {
    let Tree::Struct(fields) = item else { return None };
    let plain = |(name, _): &&(String, Tree)| !PARTITIONS.contains(&name.as_str());
    let head: Vec<_> = fields.iter().filter(plain).cloned().collect();
    (head.len() + 1 == fields.len()).then_some(head)
}

fn partitions_of(item: &mut Tree) -> Option<&mut Vec<Tree>> {
    let Tree::Struct(fields) = item else { return None };
    fields.iter_mut().find_map(|(name, value)| match value {
        Tree::List(items) if PARTITIONS.contains(&name.as_str()) => Some(items),
        _ => None,
    })
}

fn error_name(code: i64) -> Tree {
    let known = i16::try_from(code).ok().and_then(ErrorCode::from_code);
    known.map_or(Tree::Int(code), |code| Tree::Symbol(code.name().to_owned()))
}

/// Replaces each UUID in its 36 characters.
fn replace_uuids(text: &str, mut name: impl FnMut(&str) -> String) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        match rest.get(..36).filter(|id| is_uuid(id)) {
            Some(id) => {
                out.push_str(&name(id));
                rest = &rest[36..];
            }
            None => {
                out.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    out
}

fn is_uuid(text: &str) -> bool {
    text.char_indices().all(|(i, c)| match i {
        8 | 13 | 18 | 23 => c == '-',
        _ => c.is_ascii_hexdigit(),
    })
}
