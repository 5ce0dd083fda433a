//! When the next segment falls due: so that retention looks at a log when there is something to do, not at every log
//! from time to time.

use super::too_old_at;
use crate::config::topic::TopicSettings;
use crate::storage::log::SegmentInfo;
use crate::types::Timestamp;

/// When [`super::plan`] finds something to drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// Not before this time, unless the log grows beyond its room; `i64::MIN` for at once, `None` for never.
    pub due: Option<Timestamp>,
    /// Bytes that may be appended before `retention.bytes` asks for the oldest segment.
    pub room_bytes: u64,
}

/// The outlook of a log with these segments, oldest first, the last one active. Segments go in order, so the oldest one
/// decides. Appends only ever make it later, but for what [`Outlook::room_bytes`] says: whoever looks at the time told
/// and finds nothing asks anew.
pub fn outlook(segments: &[SegmentInfo], settings: &TopicSettings, start: i64) -> Outlook {
    let nothing = Outlook { due: None, room_bytes: u64::MAX };
    let Some(oldest) = segments.first().filter(|oldest| oldest.bytes > 0 || segments.len() > 1) else {
        return nothing;
    };
    let at_once = Outlook { due: Some(i64::MIN), room_bytes: 0 };
    if oldest.next <= start {
        return at_once;
    }
    if !settings.delete {
        return nothing;
    }
    let rest: u64 = segments.iter().skip(1).map(|segment| segment.bytes).sum();
    let size_max = u64::try_from(settings.retention_bytes).ok();
    if size_max.is_some_and(|max| rest >= max) {
        return at_once;
    }
    let room_bytes = match size_max {
        // A lone segment grows as a whole.
        Some(max) if segments.len() > 1 => max - rest,
        _ => u64::MAX,
    };
    let due = too_old_at(oldest, settings);
    Outlook { due, room_bytes }
}
