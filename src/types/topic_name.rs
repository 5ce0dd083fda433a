//! What a topic may be called (S84): one rule for requests, for settings and for whoever else takes a name.

/// The longest topic name, in characters; its directory must still find room in 255 bytes.
const NAME_MAX_CHARS: usize = 249;
/// No text above this many bytes is a topic's name: the characters that a name may have take one byte each.
pub const MAX_BYTES: usize = NAME_MAX_CHARS;

/// Checks a topic name. `Err` is what goes with `INVALID_TOPIC_EXCEPTION`, in Kafka's words.
///
/// # Errors
/// The name is empty, `.`, `..`, longer than 249 characters, or has characters other than ASCII letters, digits, `.`,
/// `_` and `-`.
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
}
