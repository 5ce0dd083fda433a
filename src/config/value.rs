//! One value of one setting: from text to Kafka's text form, or a fault that can be said in Kafka's words (to clients)
//! or in plain ones (to whoever wrote the file).

use super::keys::{Form, Key, Kind, Unit, Valid};
use super::listen::{self, Advertise, HostPort};
use super::units;
use super::{Amount, Fsync};

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fault {
    /// Neither `true` nor `false`.
    NotBoolean,
    /// Not a number, or one too wide for the type.
    NotNumber,
    /// Below the least, both as text.
    TooSmall(String, String),
    /// Above the largest, both as text.
    TooLarge(String, String),
    /// Not a gzip level.
    NotGzipLevel(String),
    /// Not one of these words; the word found.
    NotOneOf(String, &'static [&'static str]),
    /// A list with nothing between two commas.
    EmptyElement,
    /// Not a list of replicas.
    NotReplicas(Vec<String>),
    /// Not in the form that it must have.
    NotForm(Form),
}

/// Reads a value as Kafka does: plain numbers, no units. Gives its text form as Kafka reports it.
pub(super) fn parse(key: &Key, text: &str) -> Result<String, Fault> {
    let text = text.trim();
    match key.kind {
        Kind::Boolean => boolean(text),
        Kind::Int => number(key, text, i32::MIN.into(), i32::MAX.into()),
        Kind::Short => number(key, text, i16::MIN.into(), i16::MAX.into()),
        Kind::Long => number(key, text, i64::MIN, i64::MAX),
        Kind::Double => double(key, text),
        Kind::List => list(key, text),
        Kind::Password | Kind::Class => Ok(text.to_owned()),
        Kind::String => string(key, text),
    }
}

/// Reads a value as people write it: like [`parse`], and with units where the setting counts time or bytes.
pub(super) fn parse_human(key: &Key, text: &str) -> Result<String, Fault> {
    match plain_number(key, text) {
        Some(number) => parse(key, &number.to_string()),
        None => parse(key, text),
    }
}

/// The number that a text with units stands for, where the setting counts time or bytes.
pub(super) fn plain_number(key: &Key, text: &str) -> Option<i64> {
    match key.unit() {
        Unit::None => None,
        _ if text.trim().parse::<i64>().is_ok() => None,
        Unit::Bytes => units::bytes(text),
        Unit::Time(one) => units::millis(text).filter(|ms| ms % one == 0).map(|ms| ms / one),
    }
}

impl Fault {
    /// The message that Kafka gives for it.
    pub(super) fn in_kafkas_words(&self, key: &Key, text: &str) -> String {
        let name = key.name;
        let invalid =
            |value: &str, why: &str| format!("Invalid value {value} for configuration {name}: {why}");
        match self {
            Self::NotBoolean => invalid(text, "Expected value to be either true or false"),
            Self::NotNumber => invalid(text, &format!("Not a number of type {}", java_type(key.kind))),
            Self::TooSmall(value, min) => invalid(value, &format!("Value must be at least {min}")),
            Self::TooLarge(value, max) => invalid(value, &format!("Value must be no more than {max}")),
            Self::NotGzipLevel(value) => invalid(value, "Value must be between 1 and 9 or equal to -1"),
            Self::NotOneOf(value, words) => {
                invalid(value, &format!("String must be one of: {}", words.join(", ")))
            }
            Self::EmptyElement => format!("Configuration '{name}' values must not be empty."),
            Self::NotReplicas(values) => invalid(
                &format!("[{}]", values.join(", ")),
                &format!(
                    "{name} must be the literal '*' or a list of replicas in the following format: \
                     [partitionId]:[brokerId],[partitionId]:[brokerId],..."
                ),
            ),
            Self::NotForm(form) => invalid(text, &format!("Value must be {}", form_words(*form))),
        }
    }

    /// What to write instead, to follow "must be".
    pub(super) fn in_plain_words(&self, key: &Key) -> String {
        match self {
            Self::NotBoolean => "true or false".to_owned(),
            Self::NotNumber => {
                let what = match key.unit() {
                    Unit::Time(one) => {
                        format!("a number of {}, or a time such as \"7d\" or \"1h 30m\"", time_unit(one))
                    }
                    Unit::Bytes => "a number of bytes, or a size such as \"256 MiB\"".to_owned(),
                    Unit::None if key.kind == Kind::Double => "a number".to_owned(),
                    Unit::None => "a whole number".to_owned(),
                };
                range(key).map_or_else(|| what.clone(), |range| format!("{what}, {range}"))
            }
            Self::TooSmall(..) | Self::TooLarge(..) => range(key).unwrap_or_default(),
            Self::NotGzipLevel(_) => "between 1 and 9, or -1".to_owned(),
            Self::NotOneOf(_, words) if key.kind == Kind::List => format!("a list of: {}", words.join(", ")),
            Self::NotOneOf(_, words) => format!("one of: {}", words.join(", ")),
            Self::EmptyElement => "a list without empty places".to_owned(),
            Self::NotReplicas(_) => "* or a list such as 0:1,1:1 (partition:broker)".to_owned(),
            Self::NotForm(form) => form_words(*form),
        }
    }
}

/// The numbers that a setting takes, in words; `None` if there is no bound.
pub(super) fn range(key: &Key) -> Option<String> {
    let show = |n: i64| match key.unit() {
        Unit::Time(one) if n.abs() > 999 => format!("{n} ({})", units::show_millis(n.saturating_mul(one))),
        Unit::Bytes if n > 1023 => format!("{n} ({})", units::show_bytes(n)),
        _ => n.to_string(),
    };
    match key.valid {
        Valid::AtLeast(min) => Some(format!("at least {}", show(min))),
        Valid::Between(min, max) => Some(format!("between {} and {}", show(min), show(max))),
        Valid::Hundredths(min, max) => Some(format!("between {} and {}", hundredths(min), hundredths(max))),
        _ => match key.kind {
            Kind::Int => Some(format!("between {} and {}", i32::MIN, i32::MAX)),
            Kind::Short => Some(format!("between {} and {}", i16::MIN, i16::MAX)),
            _ => None,
        },
    }
}

fn time_unit(ms: i64) -> &'static str {
    match ms {
        1 => "milliseconds",
        1_000 => "seconds",
        60_000 => "minutes",
        _ => "hours",
    }
}

fn java_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Int => "INT",
        Kind::Short => "SHORT",
        Kind::Double => "DOUBLE",
        _ => "LONG",
    }
}

fn boolean(text: &str) -> Result<String, Fault> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Ok("true".to_owned()),
        _ if text.eq_ignore_ascii_case("false") => Ok("false".to_owned()),
        _ => Err(Fault::NotBoolean),
    }
}

fn number(key: &Key, text: &str, least: i64, most: i64) -> Result<String, Fault> {
    let number: i64 = text.parse().map_err(|_| Fault::NotNumber)?;
    if !(least..=most).contains(&number) {
        return Err(Fault::NotNumber);
    }
    match key.valid {
        Valid::AtLeast(min) | Valid::Between(min, _) if number < min => {
            Err(Fault::TooSmall(number.to_string(), min.to_string()))
        }
        Valid::Between(_, max) if number > max => Err(Fault::TooLarge(number.to_string(), max.to_string())),
        Valid::GzipLevel if number != -1 && !(1..=9).contains(&number) => {
            Err(Fault::NotGzipLevel(number.to_string()))
        }
        _ => Ok(number.to_string()),
    }
}

fn double(key: &Key, text: &str) -> Result<String, Fault> {
    let digits = text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text);
    let number: f64 = digits.parse().map_err(|_| Fault::NotNumber)?;
    if !number.is_finite() {
        return Err(Fault::NotNumber);
    }
    #[expect(clippy::cast_precision_loss, reason = "bounds are small whole numbers")]
    let (least, most) = match key.valid {
        Valid::AtLeast(min) => (min as f64, f64::MAX),
        Valid::Between(min, max) => (min as f64, max as f64),
        Valid::Hundredths(min, max) => (min as f64 / 100.0, max as f64 / 100.0),
        _ => (f64::MIN, f64::MAX),
    };
    match number {
        _ if number < least => Err(Fault::TooSmall(java_double(number), least.to_string())),
        _ if number > most => Err(Fault::TooLarge(java_double(number), most.to_string())),
        _ => Ok(java_double(number)),
    }
}

/// Hundredths as a fraction.
fn hundredths(number: i64) -> String {
    let text = format!("{}.{:02}", number / 100, number % 100);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A number as Java prints a double: what DescribeConfigs carries.
fn java_double(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 || (1e-3..1e7).contains(&size) {
        return format!("{number:?}");
    }
    let text = format!("{number:E}");
    match text.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => text,
    }
}

fn list(key: &Key, text: &str) -> Result<String, Fault> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let elements: Vec<&str> = text.split(',').map(str::trim).collect();
    if key.valid == Valid::Replicas {
        return replicas(&elements);
    }
    if elements.iter().any(|element| element.is_empty()) {
        return Err(Fault::EmptyElement);
    }
    if let Valid::OneOf(words) = key.valid
        && let Some(stray) = elements.iter().find(|element| !words.contains(*element))
    {
        return Err(Fault::NotOneOf((*stray).to_owned(), words));
    }
    match key.valid {
        Valid::Form(form) => check_form(form, text)?,
        // Kafka drops what is said twice.
        Valid::OneOf(_) => {
            let mut seen: Vec<&str> = Vec::new();
            for element in elements {
                if !seen.contains(&element) {
                    seen.push(element);
                }
            }
            return Ok(seen.join(","));
        }
        _ => {}
    }
    Ok(elements.join(","))
}

fn replicas(elements: &[&str]) -> Result<String, Fault> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_pair = |text: &str| {
        text.is_empty()
            || text
                .split_once(':')
                .is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
    };
    if elements == ["*"] || elements.iter().all(|element| is_pair(element)) {
        return Ok(elements.join(","));
    }
    Err(Fault::NotReplicas(elements.iter().map(|&element| element.to_owned()).collect()))
}

fn string(key: &Key, text: &str) -> Result<String, Fault> {
    match key.valid {
        Valid::OneOf(words) if !words.contains(&text) => Err(Fault::NotOneOf(text.to_owned(), words)),
        Valid::OneOfAnyCase(words) if !words.iter().any(|word| word.eq_ignore_ascii_case(text)) => {
            Err(Fault::NotOneOf(text.to_owned(), words))
        }
        Valid::Form(form) => check_form(form, text).map(|()| text.to_owned()),
        _ => Ok(text.to_owned()),
    }
}

fn check_form(form: Form, text: &str) -> Result<(), Fault> {
    let from = |least: i64| units::bytes(text).is_some_and(|bytes| bytes >= least);
    let fits = match form {
        Form::Fsync => Fsync::parse(text).is_some(),
        Form::Bytes(least) => from(least),
        Form::BytesOrAuto(least) => text == "auto" || from(least),
        Form::BytesOrOff(least) => units::bytes(text) == Some(0) || from(least),
        Form::Amount(most) => match Amount::parse(text) {
            #[expect(clippy::cast_precision_loss, reason = "a percentage is small")]
            Some(Amount::Percent(percent)) => percent <= most as f64,
            found => found.is_some(),
        },
        Form::Advertise => Advertise::check(text),
        Form::HostPort => HostPort::parse(text).is_some(),
        Form::Listeners => listen::is_list(text),
        Form::LogFilter => text.split(',').all(is_log_directive),
        Form::Time(least) => units::millis(text).is_some_and(|ms| ms >= least),
    };
    if fits { Ok(()) } else { Err(Fault::NotForm(form)) }
}

/// A form in words, to follow "must be".
fn form_words(form: Form) -> String {
    const SIZE: &str = "a number of bytes, or a size such as \"256 MiB\"";
    match form {
        Form::Fsync => "always, batch, never, or interval(1s) with a time of 1ms to 1h".to_owned(),
        Form::Bytes(least) => format!("{SIZE}, at least {}", units::show_bytes(least)),
        Form::BytesOrAuto(least) => format!("auto, {SIZE}, at least {}", units::show_bytes(least)),
        Form::BytesOrOff(least) => format!("{SIZE}, at least {}, or 0", units::show_bytes(least)),
        Form::Amount(most) => format!("a size such as \"2 GiB\", or a share such as \"5%\", at most {most}%"),
        Form::Advertise => {
            "auto, host:port, or NAME://host:port for each listener, with a port between 0 and 65535"
                .to_owned()
        }
        Form::HostPort => "host:port, with a port between 0 and 65535".to_owned(),
        Form::Listeners => {
            "host:port, or plain://host:port for each of several, with a port between 0 and 65535".to_owned()
        }
        Form::LogFilter => {
            "error, warn, info, debug, trace, off, or a filter such as info,streamd::net=debug".to_owned()
        }
        Form::Time(least) => {
            format!(
                "a time with its unit, such as \"7d\" or \"1h 30m\", at least {}",
                units::show_millis(least)
            )
        }
    }
}

/// The bounds of a form, in words; `None` for those without.
pub(super) fn form_range(form: Form) -> Option<String> {
    Some(match form {
        Form::Bytes(least) => format!("at least {}", units::show_bytes(least)),
        Form::BytesOrAuto(least) => format!("at least {}, or auto", units::show_bytes(least)),
        Form::BytesOrOff(least) => format!("at least {}, or 0", units::show_bytes(least)),
        Form::Amount(most) => format!("bytes, or at most {most}%"),
        Form::Time(least) => format!("at least {}", units::show_millis(least)),
        _ => return None,
    })
}

/// `info`, or `target=info`.
fn is_log_directive(text: &str) -> bool {
    let (target, level) = text.split_once('=').map_or((None, text), |(target, level)| (Some(target), level));
    target.is_none_or(|target| !target.trim().is_empty())
        && ["error", "warn", "info", "debug", "trace", "off"]
            .contains(&level.trim().to_ascii_lowercase().as_str())
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
