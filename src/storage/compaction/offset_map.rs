//! The last offset of each key in the part of a log that is being cleaned, within a bound on memory.
//!
//! 24 bytes a key: its 128-bit hash and an offset, in one table with open addressing that is made once and never grows.
//! When it is full the cleaning goes as far as the map does, and the next one goes on from there.

use super::hash::{Secret, hash};

/// Key hashes and the offset each was last seen at.
#[derive(Debug)]
pub struct OffsetMap {
    secret: Secret,
    slots: Vec<Slot>,
    used: usize,
    used_max: usize,
}

/// Hash, and the offset plus one; 0 is a free slot.
type Slot = [u64; 3];

impl OffsetMap {
    /// A map of at most `bytes`, filled to at most `load` (0 to 1), for no more than `keys_max` keys. `secret` is random.
    pub fn new(bytes: u64, load: f64, keys_max: u64, secret: Secret) -> Self {
        let load = if load.is_finite() { load.clamp(0.01, 0.99) } else { 0.9 };
        let fitting = bytes / SLOT_BYTES;
        // A number of keys as a float is near enough: one slot more or less does not matter.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        #[expect(clippy::cast_precision_loss, reason = "near enough")]
        let wanted = ((keys_max as f64 / load) as u64).saturating_add(1);
        let slots = usize::try_from(fitting.min(wanted).max(SLOTS_MIN)).unwrap_or(usize::MAX);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "below the number of slots"
        )]
        #[expect(clippy::cast_precision_loss, reason = "near enough")]
        let used_max = ((slots as f64 * load) as usize).clamp(1, slots - 1);
        Self { secret, slots: vec![[0; 3]; slots], used: 0, used_max }
    }

    /// Takes note of `key` at `offset`, which is not below any before. `false`: the key is new and the map is full.
    pub fn put(&mut self, key: &[u8], offset: i64) -> bool {
        let [high, low] = hash(self.secret, key);
        let nth = self.find(high, low);
        let Some(slot) = self.slots.get_mut(nth) else { return false };
        if slot[2] == 0 {
            if self.used >= self.used_max {
                return false;
            }
            self.used += 1;
        }
        *slot = [high, low, offset.max(0).cast_unsigned() + 1];
        true
    }

    /// The last offset noted for `key`.
    pub fn last(&self, key: &[u8]) -> Option<i64> {
        let [high, low] = hash(self.secret, key);
        let slot = self.slots.get(self.find(high, low))?;
        slot[2].checked_sub(1).map(u64::cast_signed)
    }

    /// Keys in the map.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Keys that find room.
    pub fn capacity(&self) -> usize {
        self.used_max
    }

    /// The slot that has this hash, or the free one where it belongs. There always is a free one.
    fn find(&self, high: u64, low: u64) -> usize {
        let count = self.slots.len();
        // The hash as a fraction of the table: no remainder, and any number of slots will do.
        let mut nth = usize::try_from((u128::from(high) * count as u128) >> 64).unwrap_or(0);
        while let Some([a, b, at]) = self.slots.get(nth) {
            if *at == 0 || (*a == high && *b == low) {
                break;
            }
            nth = if nth + 1 == count { 0 } else { nth + 1 };
        }
        nth
    }
}

const SLOT_BYTES: u64 = 24;
/// However little memory there is, a cleaning gets ahead.
const SLOTS_MIN: u64 = 1024;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_map_refuses_new_keys_and_takes_known_ones() {
        let mut map = OffsetMap::new(0, 0.5, u64::MAX, [1, 2]);
        assert_eq!(map.capacity(), 512);
        let key = |n: usize| n.to_be_bytes();
        for n in 0..512 {
            assert!(map.put(&key(n), i64::try_from(n).unwrap()));
        }
        assert!(!map.put(&key(512), 512));
        assert_eq!(map.last(&key(512)), None);
        assert!(map.put(&key(7), 600));
        assert_eq!((map.last(&key(7)), map.last(&key(511)), map.len()), (Some(600), Some(511), 512));
    }

    #[test]
    fn memory_follows_the_bound_and_the_need() {
        assert_eq!(OffsetMap::new(1 << 20, 0.9, u64::MAX, [0, 0]).slots.len(), (1 << 20) / 24);
        assert_eq!(OffsetMap::new(128 << 20, 0.9, 9_000, [0, 0]).slots.len(), 10_001);
        assert!(OffsetMap::new(128 << 20, 0.9, 9_000, [0, 0]).capacity() >= 9_000);
        // Kafka's default: five million keys.
        assert_eq!(OffsetMap::new(134_217_728, 0.9, u64::MAX, [0, 0]).capacity(), 5_033_164);
    }

    proptest! {
        #[test]
        fn it_is_a_map(puts in prop::collection::vec((0..200_u16, 0..1_000_i64), 0..500), secret: [u64; 2]) {
            let mut map = OffsetMap::new(1 << 16, 0.9, u64::MAX, secret);
            let mut model = HashMap::new();
            for (key, offset) in puts {
                prop_assert!(map.put(&key.to_be_bytes(), offset));
                model.insert(key, offset);
            }
            prop_assert_eq!(map.len(), model.len());
            for key in 0..200_u16 {
                prop_assert_eq!(map.last(&key.to_be_bytes()), model.get(&key).copied());
            }
        }
    }
}
