//! What a client's error means for whoever typed the command: the text with what to do, and the exit code.

use super::exit::Ended;
use crate::client::{Error, Trouble};
use crate::types::{ErrorCode, topic_name};

/// The way a command ends after this error.
pub(super) fn ended(error: Error) -> Ended {
    let hint = hint(&error);
    let text = format!("{error}.{hint}");
    match kind(&error) {
        Kind::Refused => Ended::Refused(text),
        Kind::Unreachable => Ended::Unreachable(text),
        Kind::TimedOut => Ended::TimedOut(text),
    }
}

enum Kind {
    Refused,
    Unreachable,
    TimedOut,
}

fn kind(error: &Error) -> Kind {
    match error {
        Error::Unreachable { .. } | Error::Foreign { .. } | Error::Lost { .. } => Kind::Unreachable,
        Error::TimedOut { .. } => Kind::TimedOut,
        Error::GaveUp { last, .. } => match kind(last) {
            Kind::Unreachable => Kind::Unreachable,
            Kind::Refused | Kind::TimedOut => Kind::TimedOut,
        },
        Error::Unsupported { .. } | Error::Malformed { .. } | Error::Refused(_) => Kind::Refused,
    }
}

/// What to do about it, as a sentence with a space before it.
fn hint(error: &Error) -> String {
    match error {
        Error::Unreachable { advertised_by: Some(broker), .. } => format!(
            " Brokers tell clients where to go: the broker at {broker} must advertise an address that can be reached \
             from here (advertise in broker.toml, advertised.listeners in server.properties)."
        ),
        Error::Unreachable { tried, .. } => match tried.first() {
            Some((_, Trouble::ConnectionRefused)) => " Is the broker running? streamd starts one.".to_owned(),
            Some((_, Trouble::NoSuchHost)) => " Check the name, or name another broker with -b HOST:PORT.".to_owned(),
            _ => " Check the address, or name another broker with -b HOST:PORT.".to_owned(),
        },
        Error::GaveUp { last, .. } => hint(last),
        Error::TimedOut { .. } => " Wait longer with --timeout 2m.".to_owned(),
        Error::Refused(refusal) => match refusal.code {
            ErrorCode::TopicAuthorizationFailed
            | ErrorCode::GroupAuthorizationFailed
            | ErrorCode::ClusterAuthorizationFailed => " Ask for the right with whoever runs the broker.".to_owned(),
            ErrorCode::InconsistentGroupProtocol => {
                " Its members use another way to share partitions; this client knows range only. Take another group."
                    .to_owned()
            }
            ErrorCode::UnstableOffsetCommit => {
                " An open transaction is to commit offsets of this group: streamd txn list --open shows which are open, \
                 and streamd txn abort ends one whose producer does not come back."
                    .to_owned()
            }
            ErrorCode::KafkaStorageError => {
                " The broker cannot write to its disk, or not read from it, or records are damaged: its log says why. If the \
                 disk is full, see \"When the disk is full\" in docs/COMMANDS.md."
                    .to_owned()
            }
            _ => String::new(),
        },
        Error::Foreign { .. } | Error::Lost { .. } | Error::Unsupported { .. } | Error::Malformed { .. } => {
            String::new()
        }
    }
}

/// The same for an error about a topic: one that does not exist can be created.
pub(super) fn ended_on_topic(topic: &str, error: Error) -> Ended {
    match error.code() {
        Some(ErrorCode::UnknownTopicOrPartition) => {
            Ended::Refused(format!("topic {topic} does not exist. Create it: streamd topic create {topic}"))
        }
        Some(ErrorCode::InvalidTopicException) => invalid_topic(topic, error),
        _ => ended(error),
    }
}

/// A name that no topic can have; or one that is well formed and refused for a reason that the broker may give.
fn invalid_topic(topic: &str, error: Error) -> Ended {
    if topic_name::check(topic).is_err() {
        return Ended::Refused(format!(
            "\"{topic}\" is no topic name: use letters, digits, '.', '_' and '-', at most 249 of them."
        ));
    }
    match &error {
        Error::Refused(refusal) if refusal.message.is_none() => Ended::Refused(format!(
            "{error}. The broker keeps this name for itself, or has a topic whose name differs only in '.' and '_': \
             streamd topic list shows those that there are."
        )),
        _ => ended(error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::client::Refusal;

    fn unreachable(trouble: Trouble, advertised_by: Option<&str>) -> Error {
        let tried = vec![("localhost:9092".to_owned(), trouble)];
        Error::Unreachable { tried, advertised_by: advertised_by.map(ToOwned::to_owned) }
    }

    #[test]
    fn who_is_not_there_is_told_with_what_to_do() {
        assert_eq!(
            ended(unreachable(Trouble::ConnectionRefused, None)),
            Ended::Unreachable(
                "cannot reach localhost:9092: connection refused. Is the broker running? streamd starts one."
                    .to_owned()
            )
        );
        let told = ended(unreachable(Trouble::NoSuchHost, Some("10.0.0.1:9092"))).to_string();
        assert!(
            told.contains("(10.0.0.1:9092 gave this address)") && told.contains("advertised.listeners"),
            "{told}"
        );
    }

    #[test]
    fn a_topic_name_is_called_bad_only_if_it_is() {
        let refused = |doing: &str, message: Option<&str>| {
            Error::Refused(Refusal {
                doing: doing.to_owned(),
                code: ErrorCode::InvalidTopicException,
                message: message.map(ToOwned::to_owned),
            })
        };
        let bad = ended_on_topic("a b", refused("use topic a b", None)).to_string();
        assert!(bad.starts_with("\"a b\" is no topic name"), "{bad}");
        let words = "Topic 'a_b' collides with existing topic: a.b";
        let told = ended_on_topic("a_b", refused("create topic a_b", Some(words))).to_string();
        assert_eq!(told, format!("cannot create topic a_b: {words} (INVALID_TOPIC_EXCEPTION)."));
        let silent = ended_on_topic("a_b", refused("use topic a_b", None)).to_string();
        assert!(
            silent.contains("keeps this name for itself") && !silent.contains("is no topic name"),
            "{silent}"
        );
    }

    #[test]
    fn giving_up_on_somebody_who_is_gone_is_not_a_timeout() {
        let gave_up = |last| Error::GaveUp { after: Duration::from_secs(30), last: Box::new(last) };
        assert!(matches!(
            ended(gave_up(unreachable(Trouble::ConnectionRefused, None))),
            Ended::Unreachable(_)
        ));
        let slow =
            Error::TimedOut { address: "a:1".into(), api: "Fetch".into(), waited: Duration::from_secs(1) };
        assert!(matches!(ended(gave_up(slow)), Ended::TimedOut(_)));
    }
}
