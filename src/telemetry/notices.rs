//! Log lines that would come again and again: who or what makes trouble is worth one line a minute, not one a try.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;

/// The same is said again after this time.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// What is remembered; while there is so much, what is new is not said: one bad disk has all partitions fail.
const REMEMBERED_MAX: usize = 1024;

/// What was said lately, and when on the steady clock.
#[derive(Debug)]
pub struct Notices<K>(Mutex<HashMap<K, Duration>>);

impl<K> Default for Notices<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Notices<K> {
    /// Whether a line about this is due at `now`, on the steady clock; then it counts as written.
    pub fn is_due(&self, what: K, now: Duration) -> bool {
        let is_old = |at: Duration| now >= at.saturating_add(AGAIN_AFTER);
        let mut said = self.0.lock();
        if said.len() >= REMEMBERED_MAX {
            said.retain(|_, at| !is_old(*at));
        }
        match said.get(&what) {
            Some(at) if !is_old(*at) => return false,
            None if said.len() >= REMEMBERED_MAX => return false,
            _ => {}
        }
        said.insert(what, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(10);

    #[test]
    fn the_same_is_said_once_a_minute() {
        let notices = Notices::default();
        assert!(notices.is_due(("t", "no space"), START));
        assert!(!notices.is_due(("t", "no space"), START + AGAIN_AFTER - Duration::from_millis(1)));
        assert!(notices.is_due(("t", "no permission"), START) && notices.is_due(("u", "no space"), START));
        assert!(notices.is_due(("t", "no space"), START + AGAIN_AFTER));
        assert!(!notices.is_due(("t", "no space"), START + AGAIN_AFTER));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten() {
        let notices = Notices::default();
        let count = |from: usize, at| (from..from + 5000).filter(|n| notices.is_due(*n, at)).count();
        assert_eq!(count(0, START), REMEMBERED_MAX);
        assert_eq!(count(5000, START), 0);
        assert_eq!(count(5000, START + AGAIN_AFTER), REMEMBERED_MAX);
        assert_eq!(notices.0.lock().len(), REMEMBERED_MAX);
    }
}
