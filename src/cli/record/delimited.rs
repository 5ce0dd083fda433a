//! Cuts a stream of bytes into records at a delimiter.

/// The largest record: no broker takes a larger request (`socket.request.max.bytes`).
pub(in crate::cli) const RECORD_BYTES_MAX: usize = 100 * 1024 * 1024;

/// A record larger than [`RECORD_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("larger than 100 MiB, which no broker takes. Is the delimiter right?")]
pub(in crate::cli) struct TooLarge;

/// Bytes that have come, and where the next record begins.
#[derive(Debug)]
pub(in crate::cli) struct Delimited {
    delimiter: Vec<u8>,
    bytes: Vec<u8>,
    /// Where the next record begins.
    start: usize,
    /// Before this there is no delimiter that is not known.
    searched: usize,
    ended: bool,
}

impl Delimited {
    /// Cuts at this delimiter, which has at least one byte.
    pub(in crate::cli) fn new(delimiter: &[u8]) -> Self {
        Self { delimiter: delimiter.to_vec(), bytes: Vec::new(), start: 0, searched: 0, ended: false }
    }

    /// More bytes.
    pub(in crate::cli) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// There are no more bytes: what is left is the last record, if it is anything.
    pub(in crate::cli) fn end(&mut self) {
        self.ended = true;
    }

    /// The next record, without its delimiter. `None`: more bytes are needed, or there is nothing more.
    pub(in crate::cli) fn next(&mut self) -> Result<Option<&[u8]>, TooLarge> {
        let start = self.start;
        let from = self.searched.max(start);
        let found = self.bytes.get(from..).and_then(|rest| find(rest, &self.delimiter)).map(|at| from + at);
        let end = match found {
            Some(end) => {
                self.start = end + self.delimiter.len();
                self.searched = self.start;
                end
            }
            None if self.ended && start < self.bytes.len() => {
                self.start = self.bytes.len();
                self.searched = self.start;
                self.start
            }
            None => {
                // The delimiter may have begun in the last bytes.
                self.searched = self.bytes.len().saturating_sub(self.delimiter.len() - 1).max(start);
                return if self.bytes.len() - start > RECORD_BYTES_MAX { Err(TooLarge) } else { Ok(None) };
            }
        };
        match self.bytes.get(start..end) {
            Some(record) if record.len() > RECORD_BYTES_MAX => Err(TooLarge),
            record => Ok(record),
        }
    }
}

/// Where `needle` first stands in `hay`.
pub(super) fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let (first, rest) = needle.split_first()?;
    let mut from = 0;
    loop {
        let at = from + hay.get(from..)?.iter().position(|byte| byte == first)?;
        if hay.get(at + 1..)?.starts_with(rest) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(delimiter: &[u8], blocks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        let mut delimited = Delimited::new(delimiter);
        for block in blocks {
            delimited.feed(block);
            while let Some(record) = delimited.next().unwrap() {
                records.push(record.to_vec());
            }
        }
        delimited.end();
        while let Some(record) = delimited.next().unwrap() {
            records.push(record.to_vec());
        }
        records
    }

    #[test]
    fn lines_are_records_and_the_last_needs_no_newline() {
        assert_eq!(cut(b"\n", &[b"a\n\nb"]), [&b"a"[..], b"", b"b"]);
        assert_eq!(cut(b"\n", &[b"a\n"]), [b"a"]);
        assert_eq!(cut(b"\n", &[b""]), Vec::<Vec<u8>>::new());
        assert_eq!(cut(b"--", &[b"a-", b"-b---c"]), [&b"a"[..], b"b", b"-c"]);
    }

    #[test]
    fn a_record_without_end_is_refused() {
        let mut delimited = Delimited::new(b"\n");
        let block = vec![b'x'; 16 * 1024 * 1024];
        for _ in 0..6 {
            delimited.feed(&block);
            assert_eq!(delimited.next(), Ok(None));
        }
        delimited.feed(&block);
        assert_eq!(delimited.next(), Err(TooLarge));
    }

    proptest! {
        #[test]
        fn blocks_make_no_difference(text in "[a\n;]{0,40}", cuts in proptest::collection::vec(0_usize..41, 0..5)) {
            for delimiter in ["\n", ";\n"] {
                let whole = cut(delimiter.as_bytes(), &[text.as_bytes()]);
                let mut at: Vec<usize> = cuts.iter().map(|cut| (*cut).min(text.len())).collect();
                at.extend([0, text.len()]);
                at.sort_unstable();
                let blocks: Vec<&[u8]> = at.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
                prop_assert_eq!(cut(delimiter.as_bytes(), &blocks), whole.clone());
                let joined = whole.join(delimiter.as_bytes());
                prop_assert_eq!(joined.as_slice(), text.strip_suffix(delimiter).unwrap_or(&text).as_bytes());
            }
        }
    }
}
