//! Frames that were damaged or made up: no decoder panics or takes more than a small multiple of the frame's size.

use bytes::Bytes;
use streamd::api::table::{Row, TABLE};
use streamd::wire::Reader;
use streamd::wire::generate::Generator;

use crate::memory::measure;

/// Bytes of memory for a byte of frame: 8 for arrays, 3 for text that had to be replaced, some for growing.
const MEMORY_PER_BYTE: usize = 12;
/// Small requests may take this whatever their size.
const MEMORY_FREE: usize = 20 * 1024;

#[track_caller]
fn decode(api: &Row, version: i16, frame: &Bytes) {
    let mut reader = Reader::new(frame, api.spec.is_flexible(version));
    let (outcome, used) = measure(|| (api.decode)(&mut reader, version));
    let allowed = MEMORY_PER_BYTE * frame.len() + MEMORY_FREE;
    assert!(
        used.peak_bytes <= allowed,
        "{} v{version} took {used:?} for {} bytes ({outcome:?})",
        api.spec.name,
        frame.len()
    );
}

fn each_api(mut test: impl FnMut(&Row, i16)) {
    for api in TABLE {
        for version in api.spec.min..=api.spec.max {
            test(api, version);
        }
    }
}

fn request(api: &Row, version: i16, seed: u64) -> Vec<u8> {
    let generator = Generator::new(seed);
    let flexible = api.spec.is_flexible(version);
    (api.decode)(&mut Reader::generating(&generator, flexible), version).unwrap();
    generator.into_bytes().to_vec()
}

#[test]
fn a_frame_cut_anywhere_is_an_error() {
    each_api(|api, version| {
        for seed in 0..8 {
            let whole = request(api, version, seed);
            for len in 0..whole.len() {
                let part = Bytes::copy_from_slice(&whole[..len]);
                let mut reader = Reader::new(&part, api.spec.is_flexible(version));
                let outcome = (api.decode)(&mut reader, version);
                assert!(outcome.is_err(), "{} v{version}: {len} of {} bytes", api.spec.name, whole.len());
                decode(api, version, &part);
            }
        }
    });
}

#[test]
fn mutated_frames_cost_little() {
    let mut random = Random(1);
    each_api(|api, version| {
        for seed in 0..150 {
            let mut frame = request(api, version, seed);
            for _ in 0..=random.below(3) {
                mutate(&mut frame, &mut random);
            }
            decode(api, version, &frame.into());
        }
    });
}

fn mutate(frame: &mut Vec<u8>, random: &mut Random) {
    const WORDS: [[u8; 4]; 6] = [
        [0x7f, 0xff, 0xff, 0xff],
        [0xff, 0xff, 0xff, 0xff],
        [0x80, 0, 0, 0],
        [0, 1, 0, 0],
        [0xff, 0xff, 0xff, 0x07],
        [0, 0, 0, 0],
    ];
    if frame.is_empty() {
        return;
    }
    let at = random.below(frame.len());
    match random.below(5) {
        0 => frame[at] = random.byte(),
        1 => frame[at] ^= 1 << random.below(8),
        2 => {
            let word = WORDS[random.below(WORDS.len())];
            let end = frame.len().min(at + 4);
            frame[at..end].copy_from_slice(&word[..end - at]);
        }
        3 => frame.truncate(at),
        _ => {
            let tail = frame[at..].to_vec();
            frame.extend(tail);
        }
    }
}

#[test]
fn random_bytes_cost_little() {
    let mut random = Random(2);
    each_api(|api, version| {
        for _ in 0..100 {
            let frame: Vec<u8> = (0..random.below(300)).map(|_| random.byte()).collect();
            decode(api, version, &frame.into());
        }
    });
}

/// Frames whose every byte may be an element, some announcing as many elements as fit.
#[test]
fn large_frames_of_tiny_elements_cost_a_small_multiple() {
    const BYTES: usize = 60_000;
    let fills: [&[u8]; 5] = [&[0], &[1], &[0, 1], &[2, b'a', 0], &[0, 0, 0, 1, 0]];
    let counts: [&[u8]; 4] = [&[], &[0, 0, 0xc0, 0], &[0x80, 0x80, 3], &[0, 0, 0x20, 0]];
    let fills = fills.map(|fill| fill.repeat(BYTES / fill.len()));
    for api in TABLE {
        for version in [api.spec.min, api.spec.flexible_from.min(api.spec.max), api.spec.max] {
            let valid = request(api, version, 3);
            // Each place in turn is taken for an array's count.
            for at in 0..valid.len().min(50) {
                for (count, fill) in
                    counts.iter().flat_map(|count| fills.iter().map(move |fill| (count, fill)))
                {
                    decode(api, version, &[&valid[..at], count, fill].concat().into());
                }
            }
        }
    }
}

#[test]
fn produce_and_fetch_allocate_per_topic_but_not_per_name() {
    use streamd::api::data::{fetch, produce};
    let count = |frame: Vec<u8>, decode: &dyn Fn(&mut Reader<'_>)| {
        let frame = Bytes::from(frame);
        // The first slice of a buffer makes its owner shared: not the decoder's doing.
        drop(frame.slice(..1));
        measure(|| decode(&mut Reader::new(&frame, false))).1.allocations
    };
    let mut request = b"\xff\xff\x00\x01\x00\x00\x00\x05\0\0\0\x0a".to_vec();
    for _ in 0..10 {
        request.extend(b"\x00\x05topic\0\0\0\x01\0\0\0\x07\0\0\0\x03xyz");
    }
    let produced = count(request, &|r| drop(produce::Request::decode(r, 3).unwrap()));
    assert_eq!(produced, 1 + 10, "a list of topics, and one of partitions in each");

    let mut request = [b"\xff\xff\xff\xff".repeat(4), b"\0\0\0\0\x0a".to_vec()].concat();
    for _ in 0..10 {
        request.extend(b"\x00\x05topic\0\0\0\x01\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\x09");
    }
    let fetched = count(request, &|r| drop(fetch::Request::decode(r, 4).unwrap()));
    assert_eq!(fetched, 1 + 10);
}

/// A xorshift generator: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}
