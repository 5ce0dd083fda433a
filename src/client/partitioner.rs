//! Which partition a record goes to: the one of its key's hash, as Java's producer has it; or any, and then the same
//! one until its batch is full (KIP-480).

/// Chooses partitions for the records of one topic.
#[derive(Debug)]
pub(super) struct Partitioner {
    partitions: i32,
    sticky: i32,
    /// The state of a generator of random numbers, which only spreads load.
    seed: u64,
}

impl Partitioner {
    /// For a topic with this many partitions, at least one.
    pub(super) fn new(partitions: i32, seed: u64) -> Self {
        let mut partitioner = Self { partitions: partitions.max(1), sticky: 0, seed: seed | 1 };
        partitioner.turn();
        partitioner
    }

    /// The partition for a record with this key.
    pub(super) fn choose(&self, key: Option<&[u8]>) -> i32 {
        key.map_or(self.sticky, |key| for_key(key, self.partitions))
    }

    /// Told when a batch of records without keys is closed: the next one goes elsewhere.
    pub(super) fn turn(&mut self) {
        if self.partitions == 1 {
            return;
        }
        let others = u64::from(self.partitions.unsigned_abs()) - 1;
        let step = 1 + i32::try_from(self.random() % others).unwrap_or(0);
        self.sticky = i32::try_from((i64::from(self.sticky) + i64::from(step)) % i64::from(self.partitions))
            .unwrap_or(0);
    }

    /// Xorshift: good enough to spread records.
    fn random(&mut self) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed
    }
}

/// The partition of a key, as every Java client computes it: so that records of one key meet, whoever produces them.
fn for_key(key: &[u8], partitions: i32) -> i32 {
    let positive = i32::try_from(murmur2(key) & 0x7fff_ffff).unwrap_or(0);
    positive % partitions
}

/// MurmurHash2 with the seed that Kafka uses.
fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    // Java's lengths are 31 bits wide; a key has fewer bytes than that.
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ len;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let mut k = word.iter().rev().fold(0_u32, |k, byte| k << 8 | u32::from(*byte)).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0_u32, |k, byte| k << 8 | u32::from(*byte));
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kafkas_java_client() {
        // From UtilsTest.testMurmur2 of Kafka, as signed numbers there.
        for (key, hash) in [
            (&b"21"[..], -973_932_308_i32),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key), hash.cast_unsigned(), "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn a_key_has_its_partition_and_no_key_sticks_to_one() {
        let mut partitioner = Partitioner::new(6, 42);
        let keyed = partitioner.choose(Some(b"foobar"));
        assert_eq!(keyed, (-790_332_482_i32 & 0x7fff_ffff) % 6);
        let stuck = partitioner.choose(None);
        assert_eq!(partitioner.choose(None), stuck);
        partitioner.turn();
        assert_ne!(partitioner.choose(None), stuck, "the next batch goes elsewhere");
        assert_eq!(partitioner.choose(Some(b"foobar")), keyed);
    }

    #[test]
    fn records_without_keys_reach_every_partition() {
        let mut partitioner = Partitioner::new(5, 7);
        let mut hits = [0; 5];
        for _ in 0..1_000 {
            hits[usize::try_from(partitioner.choose(None)).unwrap()] += 1;
            partitioner.turn();
        }
        assert!(hits.iter().all(|&hits| hits > 100), "{hits:?}");
        let mut lonely = Partitioner::new(1, 7);
        lonely.turn();
        assert_eq!(lonely.choose(None), 0);
    }
}
