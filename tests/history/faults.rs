//! What befalls a broker: sudden ends, orderly ends, and pauses.

use std::thread;
use std::time::{Duration, Instant};

use crate::random::Random;
use crate::record::History;
use crate::rig;
use crate::support::Broker;

/// Ends and pauses the broker at random moments for this long, and until enough was tried; then it runs.
pub(crate) fn plague(broker: &mut Broker, address: &str, seed: u64, time: Duration, history: &History) {
    let mut random = Random::new(seed, u64::MAX);
    let began = Instant::now();
    let (mut kills, mut stops, mut pauses) = (0, 0, 0);
    while began.elapsed() < time || !rig::is_enough(history) {
        assert!(began.elapsed() < time + rig::PATIENCE, "little comes of {time:?}");
        thread::sleep(Duration::from_millis(50 + random.below(700)));
        match random.below(6) {
            0 => {
                broker.stop();
                broker.up_at(address);
                stops += 1;
            }
            1 | 2 => {
                broker.freeze();
                thread::sleep(Duration::from_millis(random.below(500)));
                broker.signal("CONT");
                pauses += 1;
            }
            _ => {
                broker.kill();
                if random.below(4) == 0 {
                    // The end may come in the middle of a recovery, too.
                    broker.spawn(address);
                    thread::sleep(Duration::from_micros(random.below(60_000)));
                    broker.kill();
                }
                broker.up_at(address);
                kills += 1;
            }
        }
    }
    eprintln!("{kills} kills, {stops} stops, {pauses} pauses");
}
