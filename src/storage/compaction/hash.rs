//! SipHash-2-4 with 128 bits (Aumasson and Bernstein): what stands for a key in the offset map.
//!
//! Two keys with one hash would be one key to compaction, and the older record would be lost. With 128 bits that does
//! not happen by chance, and since the hash's own key is drawn anew for every map, not by intent either.

/// The hash's own key.
pub type Secret = [u64; 2];

/// The 128-bit hash of `bytes`.
pub(super) fn hash(secret: Secret, bytes: &[u8]) -> [u64; 2] {
    let [k0, k1] = secret;
    let mut state = State {
        v0: k0 ^ 0x736f_6d65_7073_6575,
        v1: k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
        v2: k0 ^ 0x6c79_6765_6e65_7261,
        v3: k1 ^ 0x7465_6462_7974_6573,
    };
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state.take(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    // The lowest byte of the length stands on top.
    last[7] = bytes.len().to_le_bytes()[0];
    state.take(u64::from_le_bytes(last));
    state.v2 ^= 0xee;
    let first = state.finish();
    state.v1 ^= 0xdd;
    [first, state.finish()]
}

struct State {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl State {
    #[inline]
    fn take(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.round();
        self.v0 ^= word;
    }

    fn finish(&mut self) -> u64 {
        for _ in 0..4 {
            self.round();
        }
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }

    #[inline]
    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v2 = self.v2.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference's vectors: key 00 01 … 0f, input 00 01 … of rising length.
    #[test]
    fn it_is_the_published_function() {
        let secret = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let vectors: [[u8; 16]; 3] = [
            [0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93],
            [0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45],
            [0x81, 0x77, 0x22, 0x8d, 0xa4, 0xa4, 0x5d, 0xc7, 0xfc, 0xa3, 0x8b, 0xde, 0xf6, 0x0a, 0xff, 0xe4],
        ];
        for (len, wanted) in vectors.into_iter().enumerate() {
            let input: Vec<u8> = (0..64).take(len).collect();
            let [low, high] = hash(secret, &input);
            let found: Vec<u8> = low.to_le_bytes().into_iter().chain(high.to_le_bytes()).collect();
            assert_eq!(found, wanted, "{len} bytes");
        }
    }

    #[test]
    fn every_byte_and_the_length_count() {
        let secret = [1, 2];
        let zeros = [0; 40];
        let mut seen: Vec<[u64; 2]> = (0..=40).map(|len| hash(secret, &zeros[..len])).collect();
        for at in 0..40 {
            let mut bytes = zeros;
            bytes[at] = 1;
            seen.push(hash(secret, &bytes));
        }
        seen.push(hash([1, 3], b""));
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }
}
