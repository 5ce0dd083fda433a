//! Log setup: one line an event on standard error, as text for people or as JSON for machines; and which lines are not
//! to come again and again.

pub mod notices;

use std::io;

use tracing::Subscriber;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, reload};

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text, with colours or without.
    Text {
        /// Whether levels are coloured.
        colour: bool,
    },
    /// One JSON object.
    Json,
}

/// The log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter cannot be read.
    #[error("log.level \"{0}\" is not a level or a filter")]
    Filter(String),
    /// There is one already.
    #[error("the log is set up already")]
    Twice,
}

/// What is logged; may be changed at any time.
#[derive(Debug, Clone)]
pub struct Filter(reload::Handle<Targets, Registry>);

impl Filter {
    /// Logs what this filter lets pass from now on.
    ///
    /// # Errors
    /// It cannot be read; nothing changes.
    pub fn set(&self, filter: &str) -> Result<(), InitError> {
        let targets = read_filter(filter)?;
        // Fails only when the log is gone, and then nobody reads it.
        let _gone = self.0.reload(targets);
        Ok(())
    }
}

/// Sends log lines to standard error from now on. `filter` is a level, or levels by module:
/// `info,streamd::net=debug`.
///
/// # Errors
/// The filter cannot be read, or there is a log already.
pub fn init(format: Format, filter: &str) -> Result<Filter, InitError> {
    let (subscriber, filter) = subscriber(format, read_filter(filter)?, io::stderr);
    subscriber.try_init().map_err(|_| InitError::Twice)?;
    Ok(filter)
}

fn read_filter(filter: &str) -> Result<Targets, InitError> {
    filter.parse().map_err(|_| InitError::Filter(filter.to_owned()))
}

fn subscriber<W>(format: Format, filter: Targets, writer: W) -> (impl Subscriber + Send + Sync, Filter)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match format {
        Format::Text { colour } => lines.with_ansi(colour).with_target(false).boxed(),
        Format::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
    };
    let (filter, handle) = reload::Layer::new(filter);
    (tracing_subscriber::registry().with(lines.with_filter(filter)), Filter(handle))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, filter: &str) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let (subscriber, _) = subscriber(format, read_filter(filter).unwrap(), move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(topic = "orders", partitions = 6, "topic created");
            tracing::debug!(target: "streamd::net", "accepted");
        });
        let bytes = captured.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_is_one_line_an_event() {
        let text = logged(Format::Text { colour: false }, "info");
        assert_eq!(text.lines().count(), 1);
        assert!(text.contains(" INFO topic created topic=\"orders\" partitions=6"), "{text}");
    }

    #[test]
    fn json_has_the_fields_at_the_top() {
        let text = logged(Format::Json, "info");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "topic created");
        assert_eq!((&line["level"], &line["partitions"]), (&"INFO".into(), &6.into()));
        assert!(line["timestamp"].is_string());
    }

    #[test]
    fn a_filter_opens_one_module() {
        let text = logged(Format::Text { colour: false }, "error,streamd::net=debug");
        assert!(text.contains("accepted") && !text.contains("topic created"), "{text}");
    }

    #[test]
    fn a_filter_may_change_while_lines_are_written() {
        let captured = Captured::default();
        let writer = captured.clone();
        let format = Format::Text { colour: false };
        let (subscriber, filter) = subscriber(format, read_filter("info").unwrap(), move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            for (level, n) in [("info", 1), ("debug", 2), ("a=loud", 3), ("error", 4)] {
                assert_eq!(filter.set(level).is_err(), n == 3);
                tracing::debug!("line {n}");
            }
        });
        let text = String::from_utf8(captured.0.lock().clone()).unwrap();
        let said: Vec<_> = text.lines().filter_map(|line| line.split("line ").nth(1)).collect();
        assert_eq!(said, ["2", "3"], "{text}");
    }

    #[test]
    fn a_broken_filter_is_said() {
        let error = init(Format::Json, "a=loud").unwrap_err().to_string();
        assert_eq!(error, "log.level \"a=loud\" is not a level or a filter");
    }
}
