//! The files under `recorded/`: how a transcript is written down, read back and compared.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::normal::identity;
use crate::session::Exchange;
use crate::tree::{Tree, parse};

const HEAD: &str = "# Answers of Apache Kafka 4.3.1, written by the harness: see tests/truth/README.md.\n";

/// Where the recording of `script` lies.
pub(crate) fn file(script: &str) -> PathBuf {
    folder().join(format!("{script}.txt"))
}

/// Writes the recording of `script`.
pub(crate) fn save(script: &str, exchanges: &[Exchange]) {
    let file = file(script);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, write(exchanges)).unwrap();
}

/// Every script that has a recording.
pub(crate) fn recorded() -> BTreeSet<String> {
    let families = std::fs::read_dir(folder()).into_iter().flatten().flatten();
    let files = families.flat_map(|f| std::fs::read_dir(f.path()).into_iter().flatten().flatten());
    let script =
        |path: PathBuf| Some(path.strip_prefix(folder()).ok()?.with_extension("").to_str()?.to_owned());
    files.filter_map(|f| script(f.path())).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/truth/recorded")
}

/// Neighbours that differ in the version only share one entry.
pub(crate) fn write(exchanges: &[Exchange]) -> String {
    let mut out = HEAD.to_owned();
    let mut rest = exchanges;
    while let Some(first) = rest.first() {
        let same = |(i, e): (usize, &Exchange)| {
            e.label == first.label
                && e.api == first.api
                && e.client == first.client
                && e.request == first.request
                && usize::try_from(e.version - first.version) == Ok(i)
                && e.answer.inline() == first.answer.inline()
        };
        let run = rest.iter().enumerate().take_while(|(i, e)| same((*i, *e))).count();
        let last = rest[run - 1].version;
        let versions = if run > 1 { format!("v{}-v{last}", first.version) } else { format!("v{last}") };
        let Exchange { label, api, client, request, answer, .. } = first;
        write!(out, "\n== {label} | {api} {versions} | {client}\n> {request}\n< {}\n", answer.pretty(0))
            .unwrap();
        rest = &rest[run..];
    }
    out
}

/// Reads what [`write`] wrote.
pub(crate) fn read(text: &str) -> Result<Vec<Exchange>, String> {
    let mut found = Vec::new();
    for entry in text.split("\n== ").skip(1) {
        found.extend(
            entry_of(entry).map_err(|e| format!("{}: {e}", entry.lines().next().unwrap_or_default()))?,
        );
    }
    Ok(found)
}

fn entry_of(entry: &str) -> Result<Vec<Exchange>, String> {
    let (head, rest) = entry.split_once("\n> ").ok_or("no request")?;
    let (request, answer) = rest.split_once("\n< ").ok_or("no answer")?;
    let mut parts = head.split(" | ");
    let mut part = || parts.next().ok_or("three parts are due in the head");
    let (label, call, client) = (part()?, part()?, part()?);
    let (api, versions) = call.split_once(" v").ok_or("no version")?;
    let (low, high) = versions.split_once("-v").unwrap_or((versions, versions));
    let number = |text: &str| text.parse::<i16>().map_err(|e| e.to_string());
    let answer = parse(answer)?;
    let one = |version| Exchange {
        label: label.to_owned(),
        api: api.to_owned(),
        version,
        client: client.to_owned(),
        request: request.to_owned(),
        answer: answer.clone(),
    };
    Ok((number(low)?..=number(high)?).map(one).collect())
}

/// Where two answers differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    pub(crate) path: String,
    pub(crate) recorded: String,
    pub(crate) found: String,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} -> {}", self.path, self.recorded, self.found)
    }
}

/// The leaves in which `found` differs from `recorded`.
pub(crate) fn compare(recorded: &Tree, found: &Tree) -> Vec<Change> {
    let mut changes = Vec::new();
    walk("answer", recorded, found, &mut changes);
    changes
}

fn walk(path: &str, recorded: &Tree, found: &Tree, changes: &mut Vec<Change>) {
    let shown = |tree: Option<&Tree>| tree.map_or_else(|| "absent".to_owned(), Tree::inline);
    let mut change = |path: String, recorded: Option<&Tree>, found: Option<&Tree>| {
        changes.push(Change { path, recorded: shown(recorded), found: shown(found) });
    };
    match (recorded, found) {
        (a, b) if a == b => {}
        (Tree::Struct(a), Tree::Struct(b)) => {
            let extra = b.iter().filter(|(name, _)| recorded.field(name).is_none());
            for (name, value) in a {
                match found.field(name) {
                    Some(other) => walk(&join(path, name), value, other, changes),
                    None => changes.push(Change {
                        path: join(path, name),
                        recorded: value.inline(),
                        found: shown(None),
                    }),
                }
            }
            changes.extend(extra.map(|(name, value)| Change {
                path: join(path, name),
                recorded: shown(None),
                found: value.inline(),
            }));
        }
        (Tree::List(a), Tree::List(b)) => {
            let (a, b) = (labelled(a), labelled(b));
            let extra = b.iter().filter(|(label, _)| !a.iter().any(|(l, _)| l == label));
            for (label, value) in &a {
                let path = format!("{path}[{label}]");
                match b.iter().find(|(l, _)| l == label) {
                    Some((_, other)) => walk(&path, value, other, changes),
                    None => changes.push(Change { path, recorded: value.inline(), found: shown(None) }),
                }
            }
            changes.extend(extra.map(|(label, value)| Change {
                path: format!("{path}[{label}]"),
                recorded: shown(None),
                found: value.inline(),
            }));
        }
        (a, b) => change(path.to_owned(), Some(a), Some(b)),
    }
}

fn join(path: &str, name: &str) -> String {
    if path == "answer" { name.to_owned() } else { format!("{path}.{name}") }
}

/// The elements of a list by what they are called, or by number.
fn labelled(items: &[Tree]) -> Vec<(String, &Tree)> {
    let mut seen = BTreeSet::new();
    let label = |(i, item): (usize, _)| {
        let label = identity(item).unwrap_or_else(|| i.to_string());
        let label = if seen.insert(label.clone()) { label } else { format!("{label} #{i}") };
        (label, item)
    };
    items.iter().enumerate().map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(version: i16, answer: &str) -> Exchange {
        Exchange {
            label: "one".to_owned(),
            api: "Metadata".to_owned(),
            version,
            client: "truth".to_owned(),
            request: "{topics: []}".to_owned(),
            answer: parse(answer).unwrap(),
        }
    }

    #[test]
    fn versions_with_one_answer_share_an_entry_and_come_apart_again() {
        let all = [
            exchange(1, "{a: 1}"),
            exchange(2, "{a: 1}"),
            exchange(3, "{a: NONE}"),
            exchange(5, "{a: NONE}"),
        ];
        let text = write(&all);
        assert_eq!(text.matches("\n== ").count(), 3, "{text}");
        let read = read(&text).unwrap();
        assert_eq!(read.iter().map(|e| e.version).collect::<Vec<_>>(), [1, 2, 3, 5]);
        assert_eq!(
            read.iter().map(|e| e.answer.inline()).collect::<Vec<_>>(),
            ["{a: 1}", "{a: 1}", "{a: NONE}", "{a: NONE}"]
        );
        assert_eq!(write(&read), text);
    }

    #[test]
    fn changes_are_named_by_what_their_elements_are_called() {
        let recorded =
            parse("{e: NONE, topics: [{name: \"a\", n: 1}, {name: \"b\", n: 2}], m: message(\"x\"), l: [1]}");
        let found =
            parse("{topics: [{name: \"b\", n: 3}, {name: \"c\"}], m: message(\"y\"), l: [2], z: null}");
        let changes = compare(&recorded.unwrap(), &found.unwrap());
        let shown: Vec<String> = changes.iter().map(Change::to_string).collect();
        assert_eq!(
            shown,
            [
                "e: NONE -> absent",
                "topics[a]: {name: \"a\", n: 1} -> absent",
                "topics[b].n: 2 -> 3",
                "topics[c]: absent -> {name: \"c\"}",
                "l[0]: 1 -> 2",
                "z: absent -> null",
            ]
        );
        assert_eq!(compare(&Tree::Null, &Tree::Int(1))[0].to_string(), "answer: null -> 1");
    }
}
