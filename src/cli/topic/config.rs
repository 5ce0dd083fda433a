//! `streamd topic config`: show the settings of topics, or change them.

use super::super::brokers::BrokerArgs;
use super::super::exit::Ended;
use super::super::failure::ended_on_topic;
use serde_json::json;

use super::super::output::print;
use super::super::table::{self, Shape, Table};
use super::Names;
use super::create::setting;
use super::shown;
use super::unknown_settings;
use crate::client::alter::{SettingChange, SettingOp, alter};
use crate::client::{Client, Error, topics};
use crate::types::ErrorCode;

/// Show topics' settings, or change those that are named
#[derive(Debug, clap::Args)]
#[command(visible_alias = "alter", alias = "alter-config")]
pub(super) struct Args {
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    changes: Changes,
    /// How to show them; wide shows all settings, also those that nobody has changed
    #[arg(short, long, value_enum, default_value_t)]
    output: Shape,
}

#[derive(Debug, clap::Args)]
#[group(multiple = true)]
struct Changes {
    /// Set a setting, as in -c retention.ms=7d; may be given more than once
    #[arg(short, long, visible_aliases = ["set", "add-config"], value_name = "KEY=VALUE", value_parser = setting)]
    config: Vec<(String, String)>,
    /// Take a setting back: the topic goes by the broker's default again
    #[arg(short, long, visible_alias = "delete", value_name = "KEY", value_delimiter = ',')]
    delete_config: Vec<String>,
    /// Add to a list, as in --append cleanup.policy=compact
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    append: Vec<(String, String)>,
    /// Take out of a list, as in --subtract cleanup.policy=delete
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    subtract: Vec<(String, String)>,
}

impl Changes {
    fn all(self) -> Vec<SettingChange> {
        let with = |op: fn(String) -> SettingOp| {
            move |(name, value): (String, String)| SettingChange { name, op: op(value) }
        };
        let deleted =
            self.delete_config.into_iter().map(|name| SettingChange { name, op: SettingOp::Delete });
        let set = self.config.into_iter().map(with(SettingOp::Set));
        let appended = self.append.into_iter().map(with(SettingOp::Append));
        let subtracted = self.subtract.into_iter().map(with(SettingOp::Subtract));
        set.chain(deleted).chain(appended).chain(subtracted).collect()
    }
}

/// Runs `streamd topic config …`.
pub(super) async fn run(args: Args, brokers: &BrokerArgs) -> anyhow::Result<()> {
    let changes = args.changes.all();
    for (nth, change) in changes.iter().enumerate() {
        if changes.iter().take(nth).any(|earlier| earlier.name == change.name) {
            let name = &change.name;
            return Err(Ended::Usage(format!("{name} is named twice. Say once what it is to be.")).into());
        }
    }
    let client = brokers.connect().await?;
    if changes.is_empty() {
        return show(&client, &args.names.all(), args.output).await;
    }
    let mut text = String::new();
    let mut refusals = Vec::new();
    for topic in args.names.all() {
        match Box::pin(alter(&client, &topic, &changes)).await {
            Ok(()) => {
                let told: Vec<_> = changes.iter().map(told).collect();
                text.push_str(&format!("changed {topic}: {}\n", told.join(", ")));
            }
            Err(error) => refusals.push(refusal(&topic, &changes, error).to_string()),
        }
    }
    if !brokers.quiet {
        print(&text)?;
    }
    if refusals.is_empty() { Ok(()) } else { Err(Ended::Refused(refusals.join("\n")).into()) }
}

/// What is in force.
async fn show(client: &Client, names: &[String], output: Shape) -> anyhow::Result<()> {
    let mut settings = Vec::new();
    for name in names {
        let found = async {
            topics::find(client, name, false).await?;
            topics::settings(client, name).await
        };
        settings.push((name, Box::pin(found).await.map_err(|error| ended_on_topic(name, error))?));
    }
    if output == Shape::Json {
        let all = settings
            .iter()
            .map(|(name, settings)| json!({ "name": name, "settings": shown::json(settings) }));
        return print(&table::json(&all.collect())?);
    }
    let mut table = Table::new(&["TOPIC", "SETTING", "VALUE", "SET BY"]);
    let mut unset = String::new();
    for (name, settings) in &settings {
        let mut rows = shown::rows(settings, output == Shape::Wide).peekable();
        if rows.peek().is_none() {
            unset.push_str(&format!("{name} has the default for every setting; -o wide shows them\n"));
        }
        for [setting, value, set_by] in rows {
            table.row(vec![(*name).clone(), setting, value, set_by]);
        }
    }
    let text = if table.is_empty() { String::new() } else { table.text() };
    print(&(text + &unset))
}

fn told(change: &SettingChange) -> String {
    let name = &change.name;
    match &change.op {
        SettingOp::Set(value) => format!("{name}={}", shown::value(name, value)),
        SettingOp::Delete => format!("{name} is the broker's default"),
        SettingOp::Append(values) => format!("{name} has {values}"),
        SettingOp::Subtract(values) => format!("{name} lacks {values}"),
    }
}

fn refusal(topic: &str, changes: &[SettingChange], error: Error) -> Ended {
    let is_about_settings = error.code() == Some(ErrorCode::InvalidConfig);
    match ended_on_topic(topic, error) {
        Ended::Refused(text) if is_about_settings => {
            let set = changes.iter().filter(|change| change.op != SettingOp::Delete);
            unknown_settings(text, set.map(|change| change.name.as_str()))
        }
        other => other,
    }
}
