//! What a topic may be called (S84).

/// The longest topic name, in characters; its directory must still find room in 255 bytes.
const NAME_MAX_CHARS: usize = 249;
/// The catalog's own log: a name that nobody can use.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";
/// Committed offsets and groups.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// Transactions.
const TRANSACTION_STATE: &str = "__transaction_state";
/// Share groups.
const SHARE_GROUP_STATE: &str = "__share_group_state";

/// Whether Kafka keeps a topic of this name for itself.
pub fn is_internal(name: &str) -> bool {
    [CONSUMER_OFFSETS, TRANSACTION_STATE, SHARE_GROUP_STATE].contains(&name)
}

/// Whether only the part of the broker that will need the topic may make it: made by hand it would have the wrong
/// settings for good.
pub fn is_reserved(name: &str) -> bool {
    [TRANSACTION_STATE, SHARE_GROUP_STATE].contains(&name)
}

/// Checks a topic name. `Err` is what goes with `INVALID_TOPIC_EXCEPTION`, in Kafka's words.
pub fn check(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let reason = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if name == "." || name == ".." {
        format!("'{name}' is not allowed")
    } else if name.encode_utf16().count() > NAME_MAX_CHARS {
        format!("the length of '{name}' is longer than the max allowed length {NAME_MAX_CHARS}")
    } else if !name.chars().all(legal) {
        format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
    } else {
        return Ok(());
    };
    Err(format!("Topic name is invalid: {reason}"))
}

/// What a name with `.` or `_` shares with those that it collides with: in names of metrics the two are one. `None`
/// for a name with neither, which collides with nothing.
pub fn collision_key(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s84_names_are_1_to_249_of_a_few_characters() {
        for good in ["a", "A.b_c-9", "...", &"x".repeat(249)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let because = |name: &str| check(name).unwrap_err();
        assert_eq!(because(""), "Topic name is invalid: the empty string is not allowed");
        assert_eq!(because(".."), "Topic name is invalid: '..' is not allowed");
        let long = "x".repeat(250);
        assert_eq!(
            because(&long),
            format!(
                "Topic name is invalid: the length of '{long}' is longer than the max allowed length 249"
            )
        );
        for bad in ["a b", "ä", "a/b", "a\0"] {
            assert!(because(bad).ends_with("other than ASCII alphanumerics, '.', '_' and '-'"), "{bad}");
        }
    }

    #[test]
    fn dots_and_underscores_collide() {
        assert_eq!(collision_key("a.b_c"), collision_key("a_b.c"));
        assert_eq!(collision_key("abc"), None);
    }
}
