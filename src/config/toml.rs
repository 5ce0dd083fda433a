//! `broker.toml`: tables flattened to dotted names, every value with its line and column.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::raw::{Layer, Origin, Problem, Said, Written, WrittenTopic};

/// Reads the text of a TOML file. The first error of syntax ends it; all others are found.
pub(super) fn read(file: &str, text: &str) -> Result<Said, Vec<Problem>> {
    let mut reader = Reader { file: file.into(), text, problems: Vec::new() };
    let mut said = Said::default();
    match DeTable::parse(text) {
        Ok(root) => {
            for (key, value) in root.get_ref().iter() {
                match (key.get_ref().as_ref(), value.get_ref()) {
                    ("topics", DeValue::Array(topics)) => {
                        said.topics = topics.iter().filter_map(|topic| reader.topic(topic)).collect();
                    }
                    ("topic", DeValue::Array(_)) => {
                        reader
                            .problem(key.span(), "unknown key \"topic\". Write [[topics]] above each topic.");
                    }
                    ("topics", _) => {
                        reader.problem(key.span(), "topics must be tables: write [[topics]] above each one");
                    }
                    (name, _) => reader.flatten(name.to_owned(), key.span(), value, &mut said.settings),
                }
            }
        }
        Err(error) => {
            let mut first_line = error.message().lines().next().unwrap_or("not TOML").to_owned();
            let at = error.span().unwrap_or(0..0);
            if let Some(quoted) = quoted(text, at.start) {
                first_line = format!("text stands in quotes: write {quoted}");
            }
            if !file.ends_with(".toml") {
                first_line += ". It was read as TOML; Kafka's property format is told by a name that ends in .properties";
            }
            reader.problem(at, first_line);
        }
    }
    if reader.problems.is_empty() { Ok(said) } else { Err(reader.problems) }
}

/// The line with its value in quotes, where that is what it lacks: a host, a path or a word stands there as it is.
fn quoted(text: &str, at: usize) -> Option<String> {
    let before = text.get(..at)?;
    let begin = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text.get(begin..)?.lines().next()?;
    let (name, value) = line.split_once('=')?;
    let value = value.split(" #").next().unwrap_or_default().trim();
    let is_bare = !value.is_empty() && !value.contains(['"', '\'', '[', ']', '{', '}', '=', '\\']);
    let is_about_the_value = at > begin + name.len() && !name.trim().contains(' ');
    (is_bare && is_about_the_value).then(|| format!("{} = \"{value}\"", name.trim()))
}

struct Reader<'a> {
    file: Arc<str>,
    text: &'a str,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    /// Appends the settings under `name`: one, or those of a table.
    fn flatten(
        &mut self,
        name: String,
        at: Range<usize>,
        value: &Spanned<DeValue<'_>>,
        to: &mut Vec<Written>,
    ) {
        if let DeValue::Table(table) = value.get_ref() {
            for (key, value) in table.iter() {
                // A dotted key is reported where it begins, not at its last part.
                let begins = if key.span().start > at.start && self.same_line(&at, &key.span()) {
                    at.clone()
                } else {
                    key.span()
                };
                self.flatten(format!("{name}.{}", key.get_ref()), begins, value, to);
            }
            return;
        }
        match text_of(value.get_ref()) {
            Ok(text) if name == "data_dir" && !matches!(value.get_ref(), DeValue::String(_)) => {
                self.problem(at, format!("data_dir = {text}: must be the path of a directory, in quotes."));
            }
            Ok(text) => {
                let origin = self.origin(at.start);
                to.push(Written { name, text, origin, layer: Layer::File });
            }
            Err(what) => {
                let shown = name.strip_prefix("kafka.").unwrap_or(&name);
                let text =
                    format!("{shown} must be a string, a number, true, false or a list of them, not {what}");
                self.problem(at, text);
            }
        }
    }

    fn topic(&mut self, topic: &Spanned<DeValue<'_>>) -> Option<WrittenTopic> {
        let DeValue::Table(table) = topic.get_ref() else {
            self.problem(topic.span(), "topics must be tables: write [[topics]] above each one");
            return None;
        };
        let mut settings = Vec::new();
        for (key, value) in table.iter() {
            self.flatten(key.get_ref().to_string(), key.span(), value, &mut settings);
        }
        Some(WrittenTopic { origin: self.origin(topic.span().start), settings })
    }

    /// Whether `inner` is on the line on which `outer` begins, in a dotted key rather than in an inline table.
    fn same_line(&self, outer: &Range<usize>, inner: &Range<usize>) -> bool {
        self.text.get(outer.start..inner.start).is_some_and(|between| !between.contains(['\n', '{', ']']))
    }

    fn origin(&self, at: usize) -> Origin {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Origin::File { file: Arc::clone(&self.file), line, column }
    }

    fn problem(&mut self, at: Range<usize>, text: impl Into<String>) {
        let origin = self.origin(at.start);
        self.problems.push(Problem::new(&origin, text));
    }
}

/// A value's text form; `Err` names what it is if it has none.
fn text_of(value: &DeValue<'_>) -> Result<String, &'static str> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|_| "a number this large"),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Ok(truth.to_string()),
        DeValue::Array(elements) => {
            let texts: Result<Vec<_>, _> = elements
                .iter()
                .map(|element| match element.get_ref() {
                    DeValue::Array(_) => Err("a list of lists"),
                    element => text_of(element),
                })
                .collect();
            Ok(texts?.join(","))
        }
        DeValue::Datetime(_) => Err("a date"),
        DeValue::Table(_) => Err("a table"),
    }
}
