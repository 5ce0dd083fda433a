//! The shapes of the messages, read from `schema.txt`: which fields an API has at which version.

use std::ops::RangeInclusive;
use std::sync::LazyLock;

/// One API: its versions in Kafka 4.3.1 and the fields of both messages.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) key: i16,
    pub(crate) name: String,
    pub(crate) versions: RangeInclusive<i16>,
    first_flexible: Option<i16>,
    pub(crate) request: Vec<Field>,
    pub(crate) response: Vec<Field>,
}

impl Api {
    /// Whether this version has compact lengths and tagged fields.
    pub(crate) fn flexible(&self, version: i16) -> bool {
        self.first_flexible.is_some_and(|first| version >= first)
    }
}

/// One field of a message or struct.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) array: bool,
    versions: Versions,
    nullable: Versions,
    tag: Option<(u32, Versions)>,
    pub(crate) default: Option<String>,
    pub(crate) fields: Vec<Self>,
}

impl Field {
    pub(crate) fn exists(&self, version: i16) -> bool {
        self.versions.has(version)
    }

    pub(crate) fn nullable(&self, version: i16) -> bool {
        self.nullable.has(version)
    }

    /// The field's tag, if it is a tagged field at this version.
    pub(crate) fn tag(&self, version: i16) -> Option<u32> {
        self.tag.filter(|(_, versions)| versions.has(version)).map(|(tag, _)| tag)
    }
}

/// What a field holds; lengths depend on the version's flexibility.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Uuid,
    Str,
    Bytes,
    Records,
    Struct,
}

#[derive(Clone, Copy, Debug)]
struct Versions(i16, i16);

impl Versions {
    const NONE: Self = Self(1, 0);

    fn parse(text: &str) -> Self {
        let number = |s: &str| s.parse().unwrap_or_else(|_| panic!("schema.txt: versions {text:?}"));
        match (text.strip_suffix('+'), text.split_once('-')) {
            (Some(low), _) => Self(number(low), i16::MAX),
            (None, Some((low, high))) => Self(number(low), number(high)),
            (None, None) => Self(number(text), number(text)),
        }
    }

    fn has(self, version: i16) -> bool {
        (self.0..=self.1).contains(&version)
    }
}

static APIS: LazyLock<Vec<Api>> = LazyLock::new(|| parse(include_str!("schema.txt")));

/// The API of this name, e.g. `ListOffsets`.
pub(crate) fn api(name: &str) -> &'static Api {
    APIS.iter()
        .find(|a| a.name == name)
        .unwrap_or_else(|| panic!("schema.txt has no API {name}: see schema.py"))
}

fn parse(text: &str) -> Vec<Api> {
    let mut apis: Vec<Api> = Vec::new();
    let mut in_request = true;
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        let depth = line.len() - line.trim_start().len();
        let words: Vec<&str> = line.split_whitespace().collect();
        if depth == 0 {
            let versions = Versions::parse(words[3]);
            apis.push(Api {
                key: words[1].parse().unwrap(),
                name: words[2].to_owned(),
                versions: versions.0..=versions.1,
                first_flexible: words[5].parse().ok(),
                request: Vec::new(),
                response: Vec::new(),
            });
            continue;
        }
        let api = apis.last_mut().unwrap();
        if depth == 1 {
            in_request = words[0] == "request";
            continue;
        }
        let mut fields = if in_request { &mut api.request } else { &mut api.response };
        for _ in 2..depth {
            fields = &mut fields.last_mut().unwrap().fields;
        }
        fields.push(field(&words));
    }
    apis
}

fn field(words: &[&str]) -> Field {
    let after = |word: &str, n: usize| words.iter().position(|w| *w == word).map(|i| words[i + n]);
    let array = words[1].starts_with("[]");
    Field {
        name: words[0].to_owned(),
        kind: match words[1].trim_start_matches("[]") {
            "bool" => Kind::Bool,
            "int8" => Kind::Int8,
            "int16" => Kind::Int16,
            "int32" => Kind::Int32,
            "int64" => Kind::Int64,
            "uuid" => Kind::Uuid,
            "string" => Kind::Str,
            "bytes" => Kind::Bytes,
            "records" => Kind::Records,
            "struct" => Kind::Struct,
            other => panic!("schema.txt: no such type {other}"),
        },
        array,
        versions: Versions::parse(words[2]),
        nullable: after("null", 1).filter(|v| *v != "default").map_or(Versions::NONE, Versions::parse),
        tag: after("tag", 1).map(|tag| (tag.parse().unwrap(), Versions::parse(after("tag", 2).unwrap()))),
        default: after("default", 1).map(str::to_owned),
        fields: Vec::new(),
    }
}
