//! Randomness, drawn here and handed down: machines below take it inside their commands.

use crate::types::TopicId;

/// Random bytes. The system's source can only fail where it does not exist; then the process cannot go on safely.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    loop {
        if getrandom::fill(&mut bytes).is_ok() {
            return bytes;
        }
    }
}

/// A fresh topic id.
pub fn topic_id() -> TopicId {
    loop {
        if let Some(id) = TopicId::from_random(bytes()) {
            return id;
        }
    }
}
