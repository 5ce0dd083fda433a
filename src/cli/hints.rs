//! Wrong command lines that people bring along from other tools: what to write here instead, as a tip in clap's error.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The error with a tip, where there is a better one than clap's likeness of words.
pub(super) fn with_tip(mut error: clap::Error, line: &[String]) -> clap::Error {
    let wrong = match error.kind() {
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        _ => return error,
    };
    let Some(ContextValue::String(word)) = error.get(wrong) else { return error };
    if let Some(tip) = tip(word, line) {
        error.remove(ContextKind::SuggestedSubcommand);
        error.remove(ContextKind::SuggestedArg);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
    }
    error
}

/// `line` is all that was written behind `streamd`.
fn tip(word: &str, line: &[String]) -> Option<String> {
    let first = line.first().map_or("", String::as_str);
    if is_config_file(word) {
        return Some(match (first, line.get(1).map(String::as_str)) {
            ("config", Some(verb)) => {
                format!("name the file with a flag: 'streamd config {verb} --config {word}'")
            }
            _ => format!("name the file with a flag: 'streamd --config {word}'"),
        });
    }
    // Kafka's scripts spell what to do as a flag.
    let (bare, is_flag) = word.strip_prefix("--").map_or((word, false), |bare| (bare, true));
    let noun = match first {
        "topic" | "topics" => Some("topic"),
        "group" | "groups" => Some("group"),
        "txn" | "txns" => Some("txn"),
        _ => None,
    };
    match (bare, noun) {
        // As kafka-transactions.sh calls them.
        ("find-hanging", Some("txn")) => Some("'streamd txn list --hung'".to_owned()),
        ("describe-producers", Some("txn")) => Some("'streamd txn list --topic NAME'".to_owned()),
        ("forceTerminateTransaction", Some("txn")) => Some("'streamd txn abort ID'".to_owned()),
        ("create" | "delete" | "alter", Some("txn")) => None,
        ("create" | "list" | "describe" | "delete" | "alter", Some(noun)) if is_flag => {
            Some(format!("write it without dashes: 'streamd {noun} {bare}'"))
        }
        ("create" | "delete", None) => Some(format!("write what first: 'streamd topic {bare} NAME'")),
        ("list" | "ls", None) => Some("list what? 'streamd topic list' or 'streamd group list'".to_owned()),
        ("describe" | "desc", None) => {
            Some("describe what? 'streamd topic describe NAME' or 'streamd group describe NAME'".to_owned())
        }
        ("start" | "run" | "server" | "broker", None) if !is_flag => {
            Some("'streamd' alone starts a broker, 'streamd serve' does the same".to_owned())
        }
        ("check" | "show" | "reference", None) => Some(format!("'streamd config {bare}'")),
        ("version", None) | ("-v", _) => Some("'streamd --version'".to_owned()),
        ("grow" | "add-partitions", Some("topic"))
        | ("seek" | "delete" | "lag" | "reset-offsets", Some("group"))
        | ("health" | "doctor" | "reload" | "user" | "acl" | "backup" | "restore", None) => {
            Some(format!("this version of streamd has no '{bare}'; 'streamd --help' shows what there is"))
        }
        ("bootstrap-server" | "brokers", None) => {
            Some(format!("{word} stands behind a command: 'streamd topic list {word} HOST:PORT'"))
        }
        ("topic" | "group", None) if is_flag => Some(format!(
            "{word} stands behind a command: 'streamd {bare} list', or 'streamd consume --help'"
        )),
        _ => None,
    }
}

fn is_config_file(word: &str) -> bool {
    let extension = std::path::Path::new(word).extension();
    extension.is_some_and(|extension| extension == "toml" || extension == "properties")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_other_tools_get_a_tip() {
        for (line, words) in [
            ("broker.toml", "'streamd --config broker.toml'"),
            ("serve /etc/server.properties", "'streamd --config /etc/server.properties'"),
            ("config check broker.toml", "'streamd config check --config broker.toml'"),
            ("create topic", "'streamd topic create NAME'"),
            ("topic --create --topic t", "'streamd topic create'"),
            ("topics --list", "'streamd topic list'"),
            ("txn --list", "'streamd txn list'"),
            ("txn find-hanging", "'streamd txn list --hung'"),
            ("txn forceTerminateTransaction --transactionalId x", "'streamd txn abort ID'"),
            ("list", "'streamd topic list' or"),
            ("start", "'streamd' alone starts a broker"),
            ("check", "'streamd config check'"),
            ("version", "'streamd --version'"),
            ("topic grow t", "has no 'grow'"),
            ("health", "has no 'health'"),
            ("--bootstrap-server a:1 topic list", "'streamd topic list --bootstrap-server HOST:PORT'"),
            ("--topic t", "'streamd topic list'"),
        ] {
            let words_of_line: Vec<String> = line.split(' ').map(ToOwned::to_owned).collect();
            let all = std::iter::once("streamd").chain(line.split(' '));
            let error = <super::super::Cli as clap::Parser>::try_parse_from(all).unwrap_err();
            let text = with_tip(error, &words_of_line).to_string();
            let tips: Vec<_> = text.lines().filter(|line| line.contains("tip: ")).collect();
            assert!(tips.len() == 1 && tips[0].contains(words), "{line}\n{text}");
        }
    }

    #[test]
    fn other_mistakes_keep_claps_words() {
        let error = <super::super::Cli as clap::Parser>::try_parse_from(["streamd", "topik"]).unwrap_err();
        let text = with_tip(error, &["topik".to_owned()]).to_string();
        assert!(text.contains("similar subcommand") && text.contains("'topic'"), "{text}");
    }
}
