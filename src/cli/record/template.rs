//! The little language of `-f`: text, escapes, and tokens for the parts of a record, as kcat and rpk have them.

/// The tokens, for help texts and errors.
pub(in crate::cli) const TOKENS: &str = "%t topic, %p partition, %o offset, %T timestamp, %k key, %K its length, %v or %s value, %V or %S its length, \
     %h headers, %% a percent sign";

/// A part of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    KeyLength,
    Value,
    ValueLength,
    Headers,
}

impl Token {
    const fn from_letter(letter: char) -> Option<Self> {
        Some(match letter {
            't' => Self::Topic,
            'p' => Self::Partition,
            'o' => Self::Offset,
            'T' => Self::Timestamp,
            'k' => Self::Key,
            'K' => Self::KeyLength,
            'v' | 's' => Self::Value,
            'V' | 'S' => Self::ValueLength,
            'h' => Self::Headers,
            _ => return None,
        })
    }
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// What stands for itself.
    Text(Vec<u8>),
    /// What stands for a part of the record.
    Token(Token),
}

/// Reads a template. Neighbouring texts are one piece.
pub(super) fn parse(template: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut chars = template.chars();
    while let Some(char) = chars.next() {
        if char != '%' {
            put_char(&mut pieces, char, &mut chars)?;
            continue;
        }
        match chars.next() {
            Some('%') => put(&mut pieces, b"%"),
            Some(letter) => match Token::from_letter(letter) {
                Some(token) => pieces.push(Piece::Token(token)),
                None => return Err(format!("%{letter} stands for nothing. There are {TOKENS}")),
            },
            None => return Err(format!("a lone % at the end. There are {TOKENS}")),
        }
    }
    Ok(pieces)
}

/// Text with escapes and without tokens: a delimiter.
pub(super) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut pieces = Vec::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        put_char(&mut pieces, char, &mut chars)?;
    }
    match pieces.pop() {
        Some(Piece::Text(text)) => Ok(text),
        _ => Err("must not be empty".to_owned()),
    }
}

/// Puts a character, or what a backslash and the characters behind it stand for.
fn put_char(pieces: &mut Vec<Piece>, char: char, rest: &mut std::str::Chars<'_>) -> Result<(), String> {
    if char != '\\' {
        put(pieces, char.encode_utf8(&mut [0; 4]).as_bytes());
        return Ok(());
    }
    let byte = match rest.next() {
        Some('n') => b'\n',
        Some('t') => b'\t',
        Some('r') => b'\r',
        Some('0') => 0,
        Some('\\') => b'\\',
        Some('x') => {
            let digits: String = rest.by_ref().take(2).collect();
            u8::from_str_radix(&digits, 16)
                .ok()
                .filter(|_| digits.len() == 2)
                .ok_or_else(|| format!("\\x{digits}: two hexadecimal digits must follow \\x"))?
        }
        other => {
            let shown = other.map(String::from).unwrap_or_default();
            return Err(format!(
                "\\{shown} stands for nothing. There are \\n, \\t, \\r, \\0, \\xNN and \\\\"
            ));
        }
    };
    put(pieces, &[byte]);
    Ok(())
}

/// Puts text, to the text before it if there is one.
fn put(pieces: &mut Vec<Piece>, bytes: &[u8]) {
    match pieces.last_mut() {
        Some(Piece::Text(text)) => text.extend_from_slice(bytes),
        _ => pieces.push(Piece::Text(bytes.to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &[u8]) -> Piece {
        Piece::Text(text.to_vec())
    }

    #[test]
    fn tokens_and_texts_take_turns() {
        let pieces = parse("%t-%p@%o: %k=%v\\n").unwrap();
        let tokens = pieces.iter().filter(|piece| matches!(piece, Piece::Token(_))).count();
        assert_eq!((pieces.len(), tokens), (10, 5));
        assert_eq!(pieces[5], piece(b": "));
        assert_eq!(pieces[9], piece(b"\n"));
        assert_eq!(parse("%s").unwrap(), parse("%v").unwrap());
    }

    #[test]
    fn escapes_are_single_bytes() {
        assert_eq!(parse(r"\t\r\0\x1f\\100%%").unwrap(), [piece(b"\t\r\0\x1f\\100%")]);
        assert_eq!(unescape(r"::\t").unwrap(), b"::\t");
        assert_eq!(unescape("ä%k").unwrap(), "ä%k".as_bytes());
    }

    #[test]
    fn what_stands_for_nothing_is_an_error_that_says_what_there_is() {
        for text in ["%q", "100%", r"\q", r"a\", r"\x1", r"\xzz"] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("There are ") || error.contains("hexadecimal"), "{text}: {error}");
        }
        assert!(unescape("").is_err());
    }
}
