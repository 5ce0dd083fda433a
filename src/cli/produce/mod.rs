//! `streamd produce`: records from standard input or a file to a topic.

mod input;
mod source;

use std::path::PathBuf;

use super::acks::AcksName;
use super::brokers::BrokerArgs;
use super::exit::Ended;
use super::failure::ended_on_topic;
use super::interrupt::Interrupt;
use super::record::read::Layout;
use super::record::template::TOKENS;
use super::verb;
use crate::client::Error;
use crate::client::producer::{Acks, Producer, Settings};
use crate::types::{Clock, Codec, ErrorCode};
use input::Input;
use source::Source;

/// What a record looks like with `-f json`.
const JSON_HELP: &str = r#"In JSON a record is an object on one line; every field may be left out, and unknown ones are errors:
  {"key": "k", "value": "v", "headers": [{"key": "h", "value": "1"}], "timestamp": 1700000000000}
A key or value that is no string is taken as the JSON that it is. Bytes that are no text stand in base64 as key_base64
and value_base64, in headers too. topic, partition and offset, which consume -f json prints, are passed over."#;

/// Write records to a topic: by default a line of standard input is the value of one
#[derive(Debug, clap::Args)]
#[command(after_help = format!("The format of -f: json, or text with {TOKENS}; \\n, \\t, \\xNN. A producer reads %k, %v, \
    %h, %T and %p. A timestamp is in milliseconds since 1970.\n\n{JSON_HELP}"))]
pub(super) struct Args {
    /// The topic
    #[arg(value_name = "TOPIC", required_unless_present = "topic")]
    target: Option<String>,
    /// A file to read instead of standard input; - is standard input
    file: Option<PathBuf>,
    /// The topic, as a flag
    #[arg(short, long)]
    topic: Option<String>,
    /// The key of every record
    #[arg(short, long, conflicts_with = "key_delimiter")]
    key: Option<String>,
    /// Each line is a key, this delimiter and a value
    #[arg(short = 'K', long, value_name = "DELIM", conflicts_with = "format")]
    key_delimiter: Option<String>,
    /// A header for every record; may be given more than once
    #[arg(short = 'H', long = "header", value_name = "KEY=VALUE")]
    headers: Vec<String>,
    /// How batches are compressed
    #[arg(short = 'z', long, value_enum, default_value_t = CodecName::None)]
    compression: CodecName,
    /// The partition; without this the key decides, and records without keys go to one partition until a batch is full,
    /// then to another
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// How records stand in the input; see below
    #[arg(short, long, value_name = "FORMAT", value_parser = Layout::parse)]
    format: Option<Layout>,
    /// An empty value is none: on compacted topics it deletes the key
    #[arg(short = 'Z', long)]
    tombstone: bool,
    /// Who must have a record before it counts as written
    #[arg(long, value_enum, default_value_t = AcksName::All)]
    acks: AcksName,
    #[command(flatten)]
    brokers: BrokerArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum CodecName {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// Runs `streamd produce …`.
pub(super) fn run(args: Args, clock: &Clock) -> anyhow::Result<()> {
    let (topic, file) = args.places()?;
    let layout = args.layout()?;
    let source = Source::open(file, &topic)?;
    let input = Input::new(layout, &args, clock.clone());
    verb::run(async { Box::pin(produce(&args, &topic, source, input)).await })
}

async fn produce(args: &Args, topic: &str, mut source: Source, mut input: Input) -> anyhow::Result<()> {
    let client = args.brokers.connect().await?;
    let started = Producer::start(client, topic, args.settings()).await;
    let mut producer = started.map_err(|error| ended_on_topic(topic, error))?;
    if producer.is_topic_new() {
        let partitions = producer.partitions();
        let s = if partitions == 1 { "" } else { "s" };
        args.brokers.note(&format!(
            "topic \"{topic}\" did not exist: the broker has created it, with {partitions} partition{s}"
        ));
    }
    input.check_partition(args.partition, topic, producer.partitions())?;
    if source.is_terminal() {
        args.brokers.note("each line is a record; Ctrl-D ends the input");
    }
    let mut interrupt = Interrupt::listen()?;
    let mut fault = None;
    loop {
        let taken = tokio::select! {
            block = source.next(), if producer.has_room() => match block {
                Some(block) => input.take(&block?, &mut producer).map(|()| true),
                None => input.end(&mut producer).map(|()| false),
            },
            done = producer.progress() => {
                done.map_err(|error| refused(&producer, topic, error))?;
                Ok(true)
            }
            () = interrupt.asked() => Ok(false),
        };
        match taken {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                fault = Some(error);
                break;
            }
        }
    }
    interrupt.second_one_ends_it();
    // What came before a fault in the input is as good as ever.
    let flushed = producer.flush().await;
    flushed.map_err(|error| refused(&producer, topic, error))?;
    let written = producer.written().records;
    args.brokers.note(&format!("{written} record{} written to {topic}", if written == 1 { "" } else { "s" }));
    fault.map_or(Ok(()), Err)
}

/// A refusal, with how far it came.
fn refused(producer: &Producer, topic: &str, error: Error) -> Ended {
    let written = producer.written().records;
    let so_far = format!(" {written} records were written before that.");
    let too_large = matches!(error.code(), Some(ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge));
    match ended_on_topic(topic, error) {
        Ended::Refused(text) if too_large => Ended::Refused(format!(
            "{text} A record is larger than the topic takes (max.message.bytes: streamd topic describe {topic} -o \
             wide).{so_far}"
        )),
        Ended::Refused(text) => Ended::Refused(text + &so_far),
        Ended::Unreachable(text) => Ended::Unreachable(text + &so_far),
        Ended::TimedOut(text) => Ended::TimedOut(text + &so_far),
        other => other,
    }
}

impl Args {
    /// The topic, and the file if there is one: with `-t` the first argument is the file.
    fn places(&self) -> Result<(String, Option<PathBuf>), Ended> {
        match (&self.topic, &self.target, &self.file) {
            (Some(topic), file, None) => Ok((topic.clone(), file.as_ref().map(PathBuf::from))),
            (None, Some(topic), file) => Ok((topic.clone(), file.clone())),
            _ => Err(Ended::Usage("name one topic and at most one file.".to_owned())),
        }
    }

    fn layout(&self) -> Result<Layout, Ended> {
        let layout = match (&self.format, &self.key_delimiter) {
            (Some(layout), _) => layout.clone(),
            (None, Some(delimiter)) => {
                Layout::keyed_lines(delimiter).map_err(|why| Ended::Usage(format!("-K: {why}.")))?
            }
            (None, None) => Layout::lines(),
        };
        if self.key.is_some() && layout.has_keys() {
            return Err(Ended::Usage("-k and %k: both say what the key is.".to_owned()));
        }
        Ok(layout)
    }

    fn settings(&self) -> Settings {
        let acks = self.acks.acks();
        let idempotent = acks == Acks::All;
        let codec = match self.compression {
            CodecName::None => Codec::None,
            CodecName::Gzip => Codec::Gzip,
            CodecName::Snappy => Codec::Snappy,
            CodecName::Lz4 => Codec::Lz4,
            CodecName::Zstd => Codec::Zstd,
        };
        Settings { acks, codec, idempotent }
    }
}
