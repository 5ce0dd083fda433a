//! The text form of requests and answers: a tree with one notation, printed for people and read back for comparing.
//!
//! `{name: "a", error_code: NONE, partitions: [0, 1], records: hex"00ff", error_message: message("...")}`.

use std::fmt::Write as _;

/// Lines longer than this are broken up.
const LINE_WIDTH: usize = 120;

/// A decoded message, or a part of one.
#[derive(Clone, Debug)]
pub(crate) enum Tree {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    /// A bare word that stands for a value: the name of an error code, or that of a normalised value in `<>`.
    Symbol(String),
    /// Words for people. Two messages are equal whatever they say.
    Message(String),
    List(Vec<Self>),
    Struct(Vec<(String, Self)>),
}

impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) | (Self::Message(_), Self::Message(_)) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Text(a), Self::Text(b)) | (Self::Symbol(a), Self::Symbol(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Struct(a), Self::Struct(b)) => a == b,
            _ => false,
        }
    }
}

impl Tree {
    /// A symbol in angle brackets.
    pub(crate) fn symbol(name: impl std::fmt::Display) -> Self {
        Self::Symbol(format!("<{name}>"))
    }

    /// The field `name` of a struct.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Struct(fields) => fields.iter().find(|(n, _)| n == name).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The value at `path`, such as `topics[0].name`.
    pub(crate) fn at(&self, path: &str) -> Option<&Self> {
        let mut here = self;
        for step in path.split(['.', '[']).filter(|s| !s.is_empty()) {
            here = match step.strip_suffix(']') {
                Some(index) => match here {
                    Self::List(items) => items.get(index.parse::<usize>().ok()?)?,
                    _ => return None,
                },
                None => here.field(step)?,
            };
        }
        Some(here)
    }

    /// Replaces the values of all fields with these names, unless they are empty.
    pub(crate) fn hide(&mut self, names: &[&str]) {
        match self {
            Self::List(items) => items.iter_mut().for_each(|item| item.hide(names)),
            Self::Struct(fields) => {
                for (name, value) in fields {
                    match (names.contains(&name.as_str()), &*value) {
                        (true, Self::List(items)) if items.is_empty() => {}
                        (true, _) => *value = Self::symbol("hidden"),
                        (false, _) => value.hide(names),
                    }
                }
            }
            _ => {}
        }
    }

    /// On one line.
    pub(crate) fn inline(&self) -> String {
        let mut out = String::new();
        self.write_inline(&mut out);
        out
    }

    /// Over as many lines as it needs, each after `indent` spaces but the first.
    pub(crate) fn pretty(&self, indent: usize) -> String {
        let mut out = String::new();
        self.write_pretty(&mut out, indent, indent);
        out
    }

    fn write_inline(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Self::Int(i) => write!(out, "{i}").unwrap(),
            Self::Text(s) => write_quoted(out, s),
            Self::Bytes(b) => write_bytes(out, b),
            Self::Symbol(s) => out.push_str(s),
            Self::Message(s) => {
                out.push_str("message(");
                write_quoted(out, s);
                out.push(')');
            }
            Self::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i > 0 { ", " } else { "" });
                    item.write_inline(out);
                }
                out.push(']');
            }
            Self::Struct(fields) => {
                out.push('{');
                for (i, (name, value)) in fields.iter().enumerate() {
                    write!(out, "{}{name}: ", if i > 0 { ", " } else { "" }).unwrap();
                    value.write_inline(out);
                }
                out.push('}');
            }
        }
    }

    fn write_pretty(&self, out: &mut String, indent: usize, column: usize) {
        let line = self.inline();
        if column + line.chars().count() < LINE_WIDTH {
            out.push_str(&line);
            return;
        }
        match self {
            // A list of one needs no indentation of its own.
            Self::List(items) if items.len() == 1 => {
                out.push('[');
                items[0].write_pretty(out, indent, column + 1);
                out.push(']');
            }
            Self::List(items) => {
                let items: Vec<(String, &Self)> = items.iter().map(|item| (String::new(), item)).collect();
                write_filled(out, indent, ('[', ']'), &items);
            }
            Self::Struct(fields) => {
                let fields: Vec<(String, &Self)> =
                    fields.iter().map(|(n, v)| (format!("{n}: "), v)).collect();
                write_filled(out, indent, ('{', '}'), &fields);
            }
            _ => out.push_str(&line),
        }
    }
}

/// Puts as many short items on a line as fit; long ones get lines of their own.
fn write_filled(out: &mut String, indent: usize, (open, close): (char, char), items: &[(String, &Tree)]) {
    out.push(open);
    let (indent, mut column) = (indent + 2, LINE_WIDTH);
    for (name, item) in items {
        let line = item.inline();
        let width = name.len() + line.chars().count();
        let simple = indent + width < LINE_WIDTH;
        let is_struct = matches!(item, Tree::Struct(_));
        if simple && !is_struct && column + width + 2 < LINE_WIDTH {
            write!(out, " {name}{line},").unwrap();
            column += width + 2;
            continue;
        }
        write!(out, "\n{:1$}{name}", "", indent).unwrap();
        item.write_pretty(out, indent, indent + name.len());
        out.push(',');
        column = if simple { indent + width + 1 } else { LINE_WIDTH };
    }
    write!(out, "\n{:1$}{close}", "", indent - 2).unwrap();
}

fn write_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => write!(out, "\\u{{{:x}}}", u32::from(c)).unwrap(),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn write_bytes(out: &mut String, bytes: &[u8]) {
    let printable = |b: &u8| matches!(b, b' '..=b'~') && *b != b'"' && *b != b'\\';
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.iter().all(printable) => write!(out, "b\"{text}\"").unwrap(),
        _ => {
            out.push_str("hex\"");
            for b in bytes {
                write!(out, "{b:02x}").unwrap();
            }
            out.push('"');
        }
    }
}

/// Reads what [`Tree::pretty`] wrote.
pub(crate) fn parse(text: &str) -> Result<Tree, String> {
    let mut parser = Parser { text, at: 0 };
    let tree = parser.value()?;
    parser.space();
    match parser.rest() {
        "" => Ok(tree),
        _ => Err(parser.expected("the end")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn expected(&self, what: &str) -> String {
        let line = self.text[..self.at].lines().count().max(1);
        let near: String = self.rest().chars().take(40).collect();
        format!("line {line}: expected {what} at {near:?}")
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.space();
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !keep(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn value(&mut self) -> Result<Tree, String> {
        self.space();
        match self.rest().chars().next() {
            Some('{') => self
                .items('}', |p| {
                    let name = p.take_while(|c| c.is_ascii_alphanumeric() || c == '_').to_owned();
                    match p.eat(":") {
                        true => Ok((name, p.value()?)),
                        false => Err(p.expected("`:`")),
                    }
                })
                .map(Tree::Struct),
            Some('[') => self.items(']', Self::value).map(Tree::List),
            Some('"') => self.quoted().map(Tree::Text),
            Some('<') => {
                let inside = self.take_while(|c| c != '>').to_owned();
                self.eat(">");
                Ok(Tree::Symbol(inside + ">"))
            }
            Some('-' | '0'..='9') => {
                let digits = self.take_while(|c| c == '-' || c.is_ascii_digit());
                digits.parse().map(Tree::Int).map_err(|_| self.expected("a number"))
            }
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<Tree, String> {
        match self.take_while(|c| c.is_ascii_alphanumeric() || c == '_') {
            "" => Err(self.expected("a value")),
            "null" => Ok(Tree::Null),
            "true" => Ok(Tree::Bool(true)),
            "false" => Ok(Tree::Bool(false)),
            "b" => Ok(Tree::Bytes(self.quoted()?.into_bytes())),
            "hex" => unhex(&self.quoted()?).map(Tree::Bytes).ok_or_else(|| self.expected("hex")),
            "message" if self.eat("(") => {
                let text = self.quoted()?;
                self.eat(")");
                Ok(Tree::Message(text))
            }
            word => Ok(Tree::Symbol(word.to_owned())),
        }
    }

    fn items<T>(
        &mut self,
        close: char,
        item: impl Fn(&mut Self) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let close = close.to_string();
        self.at += 1;
        let mut found = Vec::new();
        while !self.eat(&close) {
            found.push(item(self)?);
            if !self.eat(",") && !self.rest().trim_start().starts_with(&close) {
                return Err(self.expected("`,` or the end"));
            }
        }
        Ok(found)
    }

    fn quoted(&mut self) -> Result<String, String> {
        if !self.eat("\"") {
            return Err(self.expected("a quote"));
        }
        let mut out = String::new();
        let mut chars = self.rest().char_indices();
        while let Some((i, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += i + 1;
                    return Ok(out);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => out.push('\n'),
                    Some((_, 'u')) => {
                        let code: String = chars.by_ref().map(|(_, c)| c).take_while(|c| *c != '}').collect();
                        let code = u32::from_str_radix(code.trim_start_matches('{'), 16).unwrap_or_default();
                        out.extend(char::from_u32(code));
                    }
                    Some((_, c)) => out.push(c),
                    None => break,
                },
                c => out.push(c),
            }
        }
        Err(self.expected("a closing quote"))
    }
}

/// Bytes from hexadecimal digits.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    let digits = digits.filter(|d| d.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect())
}

#[test]
fn what_is_printed_reads_back_the_same() {
    let name = |s: &str| s.to_owned();
    let tree = Tree::Struct(vec![
        (name("text"), Tree::Text("a \"quoted\\\n\u{1} word, [x]".to_owned())),
        (name("bytes"), Tree::List(vec![Tree::Bytes(b"plain".to_vec()), Tree::Bytes(vec![0, 0xff])])),
        (name("error_code"), Tree::Symbol("NONE".to_owned())),
        (name("id"), Tree::symbol("topic-id a")),
        (name("long"), Tree::List((0..60).map(|i| Tree::Int(i - 30)).collect())),
        (
            name("none"),
            Tree::List(vec![Tree::Null, Tree::Bool(true), Tree::Struct(vec![]), Tree::List(vec![])]),
        ),
        (name("error_message"), Tree::Message("said (so)".to_owned())),
    ]);
    assert_eq!(parse(&tree.pretty(2)), Ok(tree.clone()));
    assert_eq!(parse(&tree.inline()), Ok(tree));
    assert!(parse("{a: 1").is_err() && parse("{a 1}").is_err() && parse("[1] 2").is_err());
}
