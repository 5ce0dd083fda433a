//! docs/COMMANDS.md shows the command tree as it is: every verb with its purpose, arguments and flags.
//!
//! `UPDATE_DOCS=1 cargo test --test tidy` writes the generated part anew.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use clap::{Arg, Command};

use crate::source::root;

const BEGIN: &str = "<!-- commands: begin -->\n";
const END: &str = "<!-- commands: end -->";
/// Verbs whose common flags stand once, under these headings.
const SHARED: [(&str, &str, &[&str]); 2] = [
    (
        "Flags of every command that talks to a broker",
        "the flags of every command that talks to a broker",
        &["topic", "group", "produce", "consume"],
    ),
    (
        "Flags that say where settings come from",
        "the flags that say where settings come from",
        &["serve", "config check", "repair", "import kafka"],
    ),
];

#[test]
fn the_commands_page_shows_the_command_tree() {
    let path = root().join("docs/COMMANDS.md");
    let page = fs::read_to_string(&path).expect("docs/COMMANDS.md is there");
    let (before, rest) = page.split_once(BEGIN).expect("the page has its begin mark");
    let (shown, after) = rest.split_once(END).expect("the page has its end mark");
    let expected = reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}")).expect("the page can be written");
        return;
    }
    assert_eq!(shown, expected, "run UPDATE_DOCS=1 cargo test --test tidy");
}

#[test]
fn what_the_pages_tell_people_to_type_is_a_command() {
    let mut command = streamd::cli::command();
    command.build();
    let mut faults = Vec::new();
    let mut seen = 0;
    for page in [
        "README.md",
        "docs/COMMANDS.md",
        "docs/durability.md",
        "docs/compatibility.md",
        "docs/exactly-once.md",
        "docs/benchmark.md",
    ] {
        let text = fs::read_to_string(root().join(page)).expect("the page is there");
        let told = text.split(BEGIN).next().unwrap_or_default();
        for line in typed(told) {
            let Some(line) = line.trim_start_matches("target/release/").strip_prefix("streamd ") else {
                continue;
            };
            seen += 1;
            faults.extend(fault(&command, line).map(|fault| format!("{page}: streamd {line}: {fault}")));
        }
    }
    assert!(seen > 20, "the commands were not found");
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// What stands between backquotes, and the lines of code blocks: one command each.
fn typed(page: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match line.starts_with("```") {
            true => inside = !inside,
            false if inside => found.push(line),
            false => found.extend(line.split('`').skip(1).step_by(2)),
        }
    }
    found.into_iter().flat_map(|line| line.split('|')).map(str::trim).collect()
}

/// A verb or a flag of a line that does not exist.
fn fault(command: &Command, line: &str) -> Option<String> {
    let mut at = command;
    let mut is_verb = true;
    for word in line.split_whitespace().map(|word| word.trim_matches(['[', ']', ','])) {
        if let Some(flag) = word.strip_prefix("--") {
            let flag = flag.split('=').next().unwrap_or(flag);
            let known = |arg: &Arg| {
                arg.get_long() == Some(flag) || arg.get_all_aliases().is_some_and(|all| all.contains(&flag))
            };
            if !at.get_arguments().any(known) && flag != "help" {
                return Some(format!("there is no --{flag}"));
            }
            is_verb = false;
        } else if is_verb && at.has_subcommands() && word.starts_with(|c: char| c.is_ascii_lowercase()) {
            match at.find_subcommand(word) {
                Some(found) => at = found,
                None => return Some(format!("there is no {word}")),
            }
        } else {
            is_verb = false;
        }
    }
    None
}

fn reference() -> String {
    let mut command = streamd::cli::command();
    command.build();
    let mut leaves = Vec::new();
    collect(&command, "", &mut leaves);
    assert!(leaves.len() > 15, "the verbs were not found");
    let mut text = String::from("\n| command | purpose |\n|---|---|\n");
    for (name, verb) in &leaves {
        let link = format!("streamd-{}", name.replace(' ', "-"));
        writeln!(text, "| [`streamd {name}`](#{link}) | {} |", about(verb)).expect("strings take all");
    }
    let shared: Vec<BTreeSet<String>> = SHARED.iter().map(|(.., verbs)| common(&command, verbs)).collect();
    for ((heading, _, verbs), ids) in SHARED.iter().zip(&shared) {
        let verb = find(&command, verbs[0]);
        write!(text, "\n### {heading}\n\n").expect("strings take all");
        verb.get_arguments()
            .filter(|arg| ids.contains(arg.get_id().as_str()))
            .for_each(|arg| text.push_str(&row(arg)));
    }
    for (name, verb) in &leaves {
        section(&mut text, name, verb, &shared);
    }
    text.push('\n');
    text
}

fn collect<'a>(command: &'a Command, path: &str, leaves: &mut Vec<(String, &'a Command)>) {
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        let name = format!("{path}{}", verb.get_name());
        match verb.has_subcommands() {
            true => collect(verb, &format!("{name} "), leaves),
            false => leaves.push((name, verb)),
        }
    }
}

fn find<'a>(command: &'a Command, path: &str) -> &'a Command {
    path.split(' ').fold(command, |at, name| at.find_subcommand(name).expect("a verb"))
}

/// The flags that all of these verbs have.
fn common(command: &Command, verbs: &[&str]) -> BTreeSet<String> {
    let ids = |path: &&str| {
        let flags = find(command, path).get_arguments().filter(|arg| !arg.is_positional());
        flags.map(|arg| arg.get_id().to_string()).filter(|id| id != "help").collect::<BTreeSet<_>>()
    };
    let all = verbs.iter().map(ids).reduce(|common, ids| &common & &ids);
    all.filter(|ids| !ids.is_empty()).expect("they have flags in common")
}

fn about(verb: &Command) -> String {
    verb.get_about().map(ToString::to_string).unwrap_or_default()
}

fn section(text: &mut String, name: &str, verb: &Command, shared: &[BTreeSet<String>]) {
    let mut verb = verb.clone();
    let usage = verb.render_usage().to_string();
    let usage = usage.trim().trim_start_matches("Usage: ");
    let aliases: Vec<_> = verb.get_visible_aliases().map(|alias| format!("`{alias}`")).collect();
    let also = if aliases.is_empty() { String::new() } else { format!(" Also {}.", aliases.join(", ")) };
    let about = verb.get_long_about().map_or_else(|| about(&verb), ToString::to_string).replace('<', "\\<");
    let about = about.split("\n\n").map(sentence).collect::<Vec<_>>().join(" ");
    write!(text, "\n### streamd {name}\n\n{about}{also}\n\n`{usage}`\n\n").expect("strings take all");
    let own = verb.get_arguments().filter(|arg| {
        let id = arg.get_id().as_str();
        !arg.is_hide_set()
            && id != "help"
            && id != "version"
            && !shared.iter().any(|ids| ids.contains(id) && has_all(&verb, ids))
    });
    own.for_each(|arg| text.push_str(&row(arg)));
    for ((_, words, _), _) in SHARED.iter().zip(shared).filter(|(_, ids)| has_all(&verb, ids)) {
        let link = words.trim_start_matches("the ").replace(' ', "-");
        writeln!(text, "- and [{words}](#{link})").expect("strings take all");
    }
    if let Some(more) = verb.get_after_help() {
        write!(text, "\n```text\n{more}\n```\n").expect("strings take all");
    }
}

fn has_all(verb: &Command, ids: &BTreeSet<String>) -> bool {
    ids.iter().all(|id| verb.get_arguments().any(|arg| arg.get_id() == id.as_str()))
}

/// One line for an argument or a flag.
fn row(arg: &Arg) -> String {
    let value = arg
        .get_value_names()
        .map(|names| names.iter().map(|name| name.to_string()).collect::<Vec<_>>().join(" "));
    let takes = arg.get_action().takes_values();
    let value = value.filter(|_| takes).unwrap_or_default();
    let flags: Vec<String> = arg
        .get_short()
        .map(|short| format!("-{short}"))
        .into_iter()
        .chain(arg.get_long().map(|long| format!("--{long}")))
        .collect();
    let head = match (flags.is_empty(), value.is_empty()) {
        (true, _) => value,
        (false, true) => flags.join(", "),
        (false, false) => format!("{} {value}", flags.join(", ")),
    };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<_> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    let values = match takes && !values.is_empty() {
        true => format!(" One of {}.", values.join(", ")),
        false => String::new(),
    };
    let default: Vec<_> =
        arg.get_default_values().iter().map(|text| format!("`{}`", text.to_string_lossy())).collect();
    let default = match takes && !default.is_empty() {
        true => format!(" Default {}.", default.join(", ")),
        false => String::new(),
    };
    format!("- `{head}`: {}{values}{default}\n", sentence(&help.replace('<', "\\<")))
}

fn sentence(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.ends_with(['.', '?']) { text } else { text + "." }
}
