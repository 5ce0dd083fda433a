//! Words of commands that people are told to type.

/// The last word of a command as a shell takes it, whatever it holds: bare, or quoted behind `--`.
pub fn in_shell(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@%+=,".contains(c);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("-- '{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_a_shell_would_take_apart_is_quoted() {
        assert_eq!(in_shell("payments-1"), "payments-1");
        assert_eq!(in_shell("it's mine"), r"-- 'it'\''s mine'");
        assert_eq!((in_shell("-q").as_str(), in_shell("").as_str()), ("-- '-q'", "-- ''"));
    }
}
