//! What can go wrong between this client and a broker, told apart by who is to do what about it.

use std::fmt::{self, Write as _};
use std::io;
use std::time::Duration;

use crate::types::ErrorCode;

/// Why a request has no answer, or not the one that was hoped for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No connection came about.
    #[error("cannot reach {}{}", Tried(tried), told_by(advertised_by.as_deref()))]
    Unreachable {
        /// Each address that was tried, and what happened there.
        tried: Vec<(String, Trouble)>,
        /// The broker that gave this address, unless the user did.
        advertised_by: Option<String>,
    },
    /// What answers there is not a Kafka broker, or not one for plain connections.
    #[error("{address} {what}")]
    Foreign {
        /// The address.
        address: String,
        /// What it does instead.
        what: &'static str,
    },
    /// The connection ended while an answer was due.
    #[error("the connection to {address} is lost: {reason}")]
    Lost {
        /// The broker's address.
        address: String,
        /// Why.
        reason: String,
    },
    /// No answer in time.
    #[error("{address} has not answered {api} within {}", Seconds(*waited))]
    TimedOut {
        /// The broker's address.
        address: String,
        /// The API that was called.
        api: String,
        /// How long was waited.
        waited: Duration,
    },
    /// It was tried again and again until the time was over.
    #[error("gave up after {}: {last}", Seconds(*after))]
    GaveUp {
        /// How long it was tried.
        after: Duration,
        /// What the last try ended with.
        last: Box<Self>,
    },
    /// There is no version of an API that both sides speak.
    #[error(
        "{address} does not offer {api} in a version that this client speaks ({wanted}; it offers {offered})"
    )]
    Unsupported {
        /// The broker's address.
        address: String,
        /// The API.
        api: String,
        /// The versions that this client speaks.
        wanted: String,
        /// The versions that the broker offers.
        offered: String,
    },
    /// An answer that breaks the protocol, or a question that cannot be put in it.
    #[error("{address}: {reason}")]
    Malformed {
        /// The broker's address.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// The broker said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// A broker's refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked, as the rest of a sentence that begins with "cannot".
    pub doing: String,
    /// Kafka's code.
    pub code: ErrorCode,
    /// What the broker says about it.
    pub message: Option<String>,
}

/// Why an address cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Nobody listens there.
    #[error("connection refused")]
    ConnectionRefused,
    /// The name means nothing.
    #[error("no such host")]
    NoSuchHost,
    /// Nobody says yes or no.
    #[error("no answer within {}", Seconds(*.0))]
    NoAnswer(Duration),
    /// Anything else the system says.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// A refusal with this code, which may be one that this client does not know.
    pub(super) fn refused(doing: impl Into<String>, code: i16, message: Option<&str>) -> Self {
        let known = ErrorCode::from_code(code);
        let message = match (message, known) {
            (Some(message), _) if !message.is_empty() => Some(message.to_owned()),
            (_, None) => Some(format!("error code {code}, which this client does not know")),
            _ => None,
        };
        Self::Refused(Refusal {
            doing: doing.into(),
            code: known.unwrap_or(ErrorCode::UnknownServerError),
            message,
        })
    }

    /// `Ok` for code 0, else the refusal.
    pub(super) fn check(doing: impl Into<String>, code: i16, message: Option<&str>) -> Result<(), Self> {
        if code == ErrorCode::None.code() { Ok(()) } else { Err(Self::refused(doing, code, message)) }
    }

    /// Kafka's code, if a broker refused.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(refusal) => Some(refusal.code),
            _ => None,
        }
    }

    /// The code that the broker answered last, also if it was asked again and again.
    pub fn last_code(&self) -> Option<ErrorCode> {
        match self {
            Self::GaveUp { last, .. } => last.last_code(),
            error => error.code(),
        }
    }

    /// Whether the same request may work in a moment, on the connections that there are or on new ones.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Lost { .. } => true,
            Self::Refused(refusal) => refusal.code.is_retriable(),
            _ => false,
        }
    }

    /// Whether somebody who has spoken with the cluster before should try once more: also when a broker is gone, for
    /// it may come back.
    pub fn may_pass(&self) -> bool {
        self.is_transient() || matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: ", self.doing)?;
        match &self.message {
            Some(message) => write!(f, "{} ({})", message.trim_end_matches('.'), self.code.name()),
            None => f.write_str(self.code.name()),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<&io::Error> for Trouble {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::ConnectionRefused,
            // The standard library has no kind for a failed look-up, but these words.
            _ if error.to_string().contains("failed to lookup address") => Self::NoSuchHost,
            _ => Self::Other(plain(error)),
        }
    }
}

/// An I/O error without its number and in small letters, as the rest of a sentence.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// A list of addresses and their troubles.
struct Tried<'a>(&'a [(String, Trouble)]);

impl fmt::Display for Tried<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (address, trouble)) in self.0.iter().enumerate() {
            let joint = if index == 0 { "" } else { ", nor " };
            write!(f, "{joint}{address}: {trouble}")?;
        }
        Ok(())
    }
}

fn told_by(advertised_by: Option<&str>) -> String {
    let mut text = String::new();
    if let Some(broker) = advertised_by {
        let _ = write!(text, " ({broker} gave this address)");
    }
    text
}

/// A duration in seconds, or in milliseconds below one.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < Duration::from_secs(1) {
            write!(f, "{} ms", self.0.as_millis())
        } else {
            write!(f, "{} s", (self.0.as_secs_f64() * 10.0).round() / 10.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_is_one_sentence() {
        let refused = ("localhost:9092".to_owned(), Trouble::ConnectionRefused);
        let unreachable = Error::Unreachable { tried: vec![refused.clone()], advertised_by: None };
        assert_eq!(unreachable.to_string(), "cannot reach localhost:9092: connection refused");
        let both = Error::Unreachable {
            tried: vec![refused, ("kafka:1".to_owned(), Trouble::NoSuchHost)],
            advertised_by: Some("a:9092".to_owned()),
        };
        assert_eq!(
            both.to_string(),
            "cannot reach localhost:9092: connection refused, nor kafka:1: no such host (a:9092 gave this address)"
        );
        let gave_up = Error::GaveUp { after: Duration::from_millis(1_500), last: Box::new(unreachable) };
        assert!(gave_up.to_string().starts_with("gave up after 1.5 s: cannot reach "), "{gave_up}");
    }

    #[test]
    fn a_refusal_has_the_brokers_words_and_kafkas_name() {
        let known = Error::refused("create topic t", 36, Some("Topic 't' already exists."));
        assert_eq!(
            known.to_string(),
            "cannot create topic t: Topic 't' already exists (TOPIC_ALREADY_EXISTS)"
        );
        let silent = Error::refused("create topic t", 36, Some(""));
        assert_eq!(silent.to_string(), "cannot create topic t: TOPIC_ALREADY_EXISTS");
        let odd = Error::refused("x", 999, None);
        assert_eq!(
            odd.to_string(),
            "cannot x: error code 999, which this client does not know (UNKNOWN_SERVER_ERROR)"
        );
    }

    #[test]
    fn system_errors_lose_their_numbers() {
        assert_eq!(plain(&io::Error::from_raw_os_error(111)), "connection refused");
        let lookup = io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(Trouble::from(&lookup), Trouble::NoSuchHost);
    }
}
