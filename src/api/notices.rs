//! Log lines that clients cause: a client that tries again and again is worth one line a minute, not one a try.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

use crate::types::Clock;
use crate::wire::StrBytes;

/// A client is told of again after this time.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Clients that are remembered; while so many are, others are passed over.
const CLIENTS_MAX: usize = 1024;

/// When each client was last told of, on the steady clock.
#[derive(Debug, Default)]
pub(crate) struct Notices(Mutex<HashMap<(IpAddr, StrBytes), Duration>>);

impl Notices {
    /// Whether a line about this client is due; then it counts as written.
    pub(crate) fn is_due(&self, clock: &Clock, address: IpAddr, client_id: &StrBytes) -> bool {
        let now = clock.monotonic();
        let mut told = self.0.lock();
        if told.len() >= CLIENTS_MAX {
            told.retain(|_, at| now < *at + AGAIN_AFTER);
        }
        let client = (address, client_id.clone());
        match told.get(&client) {
            Some(at) if now < *at + AGAIN_AFTER => return false,
            None if told.len() >= CLIENTS_MAX => return false,
            _ => {}
        }
        told.insert(client, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> StrBytes {
        StrBytes::from_string(text.to_owned())
    }

    #[test]
    fn a_client_is_told_of_once_a_minute() {
        let clock = Clock::manual(0);
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([10, 0, 0, 1]));
        let notices = Notices::default();
        assert!(notices.is_due(&clock, here, &id("a")));
        assert!(!notices.is_due(&clock, here, &id("a")));
        assert!(notices.is_due(&clock, here, &id("b")) && notices.is_due(&clock, there, &id("a")));
        clock.advance(AGAIN_AFTER);
        assert!(notices.is_due(&clock, here, &id("a")));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten() {
        let clock = Clock::manual(0);
        let here = IpAddr::from([127, 0, 0, 1]);
        let notices = Notices::default();
        for n in 0..CLIENTS_MAX {
            assert!(notices.is_due(&clock, here, &id(&n.to_string())));
        }
        assert!(!notices.is_due(&clock, here, &id("one more")));
        assert_eq!(notices.0.lock().len(), CLIENTS_MAX);
        clock.advance(AGAIN_AFTER);
        assert!(notices.is_due(&clock, here, &id("one more")));
        assert_eq!(notices.0.lock().len(), 1);
    }
}
