//! `streamd topic create`.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::brokers::BrokerArgs;
use super::super::exit::Ended;
use super::super::failure::{ended, ended_on_topic};
use super::super::output::print;
use super::super::table::{self, Shape};
use super::{Names, unknown_settings};
use crate::client::topics::{Created, NewTopic, create};
use crate::client::{Client, Error, Wanted};
use crate::config::keys::{self, Scope};
use crate::config::topic::plain_value;
use crate::types::ErrorCode;

/// Partitions that brokers make for one request, at most: Kafka's limit and ours.
const CREATED_MAX_PARTITIONS: i32 = 10_000;

/// Create topics
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    names: Names,
    /// How many partitions; without this the broker's default
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// How many replicas of each partition; without this the broker's default
    #[arg(short, long, visible_alias = "replicas", value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// A setting, as in -c retention.ms=7d; may be given more than once
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = setting)]
    config: Vec<(String, String)>,
    /// Succeed also for topics that exist already
    #[arg(long)]
    if_not_exists: bool,
    /// How to show what was created
    #[arg(short, long, value_enum, default_value_t)]
    output: Shape,
}

/// Runs `streamd topic create …`.
pub(super) async fn run(args: Args, brokers: &BrokerArgs) -> anyhow::Result<()> {
    let config: BTreeMap<String, String> = args.config.into_iter().collect();
    let wanted: Vec<NewTopic> = args
        .names
        .all()
        .into_iter()
        .map(|name| NewTopic {
            name,
            partitions: args.partitions,
            replication_factor: args.replication_factor,
            config: config.clone(),
        })
        .collect();
    let client = brokers.connect().await?;
    let outcomes = create(&client, &wanted).await.map_err(ended)?;
    let mut rows = Vec::new();
    let mut refusals = Vec::new();
    for (topic, outcome) in wanted.iter().zip(outcomes) {
        match outcome {
            Ok(created) => rows.push(Row::New(created)),
            Err(error) if args.if_not_exists && error.code() == Some(ErrorCode::TopicAlreadyExists) => {
                rows.push(Row::Old(topic.name.clone()));
            }
            Err(error) => refusals.push(refusal(&client, topic, error).await.to_string()),
        }
    }
    match args.output {
        Shape::Json => print(&table::json(&rows.iter().map(Row::json).collect())?)?,
        Shape::Table | Shape::Wide if brokers.quiet => {}
        Shape::Table | Shape::Wide => print(&rows.iter().map(Row::text).collect::<String>())?,
    }
    if refusals.is_empty() { Ok(()) } else { Err(Ended::Refused(refusals.join("\n")).into()) }
}

/// A topic that exists now.
enum Row {
    New(Created),
    Old(String),
}

impl Row {
    fn text(&self) -> String {
        match self {
            Self::New(topic) => match (topic.partitions, topic.replication_factor) {
                (Some(partitions), Some(factor)) => {
                    let s = if partitions == 1 { "" } else { "s" };
                    format!(
                        "created {}: {partitions} partition{s}, replication factor {factor}\n",
                        topic.name
                    )
                }
                _ => format!("created {}\n", topic.name),
            },
            Self::Old(name) => format!("{name} exists already\n"),
        }
    }

    fn json(&self) -> serde_json::Value {
        match self {
            Self::New(topic) => json!({
                "name": topic.name,
                "created": true,
                "id": topic.id.map(|id| id.to_string()),
                "partitions": topic.partitions,
                "replication_factor": topic.replication_factor,
            }),
            Self::Old(name) => json!({ "name": name, "created": false }),
        }
    }
}

/// What a refusal means, with what to do.
async fn refusal(client: &Client, topic: &NewTopic, error: Error) -> Ended {
    let name = &topic.name;
    match error.code() {
        Some(ErrorCode::TopicAlreadyExists) => Ended::Refused(format!(
            "topic {name} exists already. Take another name, or say --if-not-exists to let it be."
        )),
        Some(ErrorCode::InvalidReplicationFactor) => {
            let Some(factor) = topic.replication_factor else { return ended(error) };
            let Ok(metadata) = client.metadata(Wanted::None, false).await else { return ended(error) };
            let up = metadata.brokers.len();
            let are = if up == 1 { "is" } else { "are" };
            let most = if up == 1 { "-r 1".to_owned() } else { format!("-r {up} or less") };
            Ended::Refused(format!(
                "replication factor {factor} needs {factor} brokers, {up} {are} up. Use {most}, or omit it."
            ))
        }
        Some(ErrorCode::PolicyViolation) if topic.partitions.is_some_and(|n| n > CREATED_MAX_PARTITIONS) => {
            Ended::Refused(format!(
                "{error}. One request makes at most {CREATED_MAX_PARTITIONS} partitions: say -p {CREATED_MAX_PARTITIONS} \
                 or less."
            ))
        }
        Some(ErrorCode::InvalidConfig) => match ended_on_topic(name, error) {
            Ended::Refused(text) => unknown_settings(text, topic.config.keys().map(String::as_str)),
            other => other,
        },
        _ => ended_on_topic(name, error),
    }
}

/// Reads `key=value`. Times and sizes may have units, which brokers do not know: they get plain numbers. What is no
/// number where every broker wants one is refused here; names and ranges are the broker's to know.
pub(super) fn setting(text: &str) -> Result<(String, String), String> {
    let form = "must be KEY=VALUE, as in retention.ms=7d";
    let (key, value) = text.split_once('=').ok_or(form)?;
    let (key, value) = (key.trim(), value.trim());
    if key.is_empty() {
        return Err(form.to_owned());
    }
    let plain = match keys::find(Scope::Topic, key) {
        Some(known) => plain_value(known, value).map_err(|expected| format!("must be {expected}"))?,
        None => value.to_owned(),
    };
    Ok((key.to_owned(), plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_may_have_units_where_they_count_time_or_bytes() {
        for (text, value) in [
            ("retention.ms=7d", "604800000"),
            ("retention.ms=-1", "-1"),
            ("segment.bytes=64 MiB", "67108864"),
            ("cleanup.policy=compact", "compact"),
            ("retention.ms=-7", "-7"),
            ("segment.ms=0s", "0"),
            ("preallocate=TRUE", "TRUE"),
            ("no.such.key=7d", "7d"),
            ("cleanup.policy=", ""),
        ] {
            assert_eq!(setting(text).unwrap().1, value, "{text}");
        }
        assert!(setting("retention.ms").is_err() && setting("=1").is_err());
        let expected = setting("retention.ms=soon").unwrap_err();
        assert!(
            expected.starts_with("must be a number of milliseconds, or a time such as \"7d\""),
            "{expected}"
        );
        assert!(setting("preallocate=maybe").unwrap_err().contains("true or false"));
    }
}
