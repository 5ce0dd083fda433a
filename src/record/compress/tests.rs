//! Codecs against themselves and against what their own libraries write, windows, bounds and bombs.

use std::io::Write as _;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const REAL: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
const BOUND: usize = 64 << 20;

fn deflate(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    deflate_at(codec, 3, bytes)
}

fn deflate_at(codec: Codec, level: i32, bytes: &[u8]) -> Vec<u8> {
    let mut deflate = Deflate::new(Compression { codec, level }, Vec::new()).unwrap();
    deflate.write(bytes).unwrap();
    deflate.finish().unwrap()
}

/// Bytes that neither repeat nor compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(step).take(len).collect()
}

#[test]
fn bytes_survive_at_every_block_boundary() {
    for codec in Codec::ALL {
        for len in [0, 1, 32_767, 32_768, 32_769, 65_535, 65_536, 65_537, 131_072, 1_000_001] {
            for bytes in [vec![b'a'; len], noise(len)] {
                assert!(inflate(codec, &deflate(codec, &bytes), BOUND).unwrap() == bytes, "{codec}, {len}");
            }
        }
    }
}

/// KIP-390. The bounds are those of the settings; LZ4 has one level here.
#[test]
fn a_level_trades_time_for_size() {
    let words = noise(3000);
    // Repetitions at all distances, and some that a quick look misses.
    let bytes: Vec<u8> = noise(40_000)
        .iter()
        .flat_map(|&at| words[usize::from(at) * 11..][..usize::from(at % 13)].to_vec())
        .collect();
    for (codec, levels) in [(Codec::Gzip, &[1, 6, 9][..]), (Codec::Zstd, &[-131_072, 1, 22])] {
        let sizes: Vec<usize> = levels
            .iter()
            .map(|&level| {
                let made = deflate_at(codec, level, &bytes);
                assert!(inflate(codec, &made, BOUND).unwrap() == bytes, "{codec} {level}");
                made.len()
            })
            .collect();
        assert!(sizes.is_sorted_by(|quick, slow| quick > slow), "{codec}: {sizes:?}");
    }
    assert_eq!(deflate_at(Codec::Gzip, -1, &bytes), deflate_at(Codec::Gzip, 6, &bytes), "gzip's own default");
    assert_eq!(deflate_at(Codec::Lz4, 1, &bytes), deflate_at(Codec::Lz4, 17, &bytes));
}

#[test]
fn the_prefix_stands_before_the_output() {
    for codec in Codec::ALL {
        let mut encoder = Deflate::new(Compression { codec, level: 3 }, b"head".to_vec()).unwrap();
        encoder.write(b"body").unwrap();
        assert_eq!(encoder.taken(), 4);
        let out = encoder.finish().unwrap();
        assert_eq!(&out[..4], b"head");
        assert_eq!(inflate(codec, &out[4..], BOUND).unwrap(), b"body");
    }
}

#[test]
fn snappy_is_written_as_java_does_and_read_raw_too() {
    let bytes = noise(70_000);
    let framed = deflate(Codec::Snappy, &bytes);
    assert_eq!(&framed[..16], b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    let mut rest = &framed[16..];
    let mut blocks = Vec::new();
    while let Some((len, behind)) = rest.split_first_chunk::<4>() {
        let (block, behind) = behind.split_at(usize::try_from(u32::from_be_bytes(*len)).unwrap());
        blocks.push(snap::raw::Decoder::new().decompress_vec(block).unwrap());
        rest = behind;
    }
    assert_eq!(blocks.iter().map(Vec::len).collect::<Vec<_>>(), [32_768, 32_768, 4464]);
    assert!(blocks.concat() == bytes);

    let raw = snap::raw::Encoder::new().compress_vec(&bytes).unwrap();
    assert!(inflate(Codec::Snappy, &raw, BOUND).unwrap() == bytes);
    let tiny = snap::raw::Encoder::new().compress_vec(b"hi").unwrap();
    assert_eq!(inflate(Codec::Snappy, &tiny, BOUND).unwrap(), b"hi", "shorter than a framing header");
}

#[test]
fn lz4_frames_of_every_block_size_are_read_and_dependent_blocks_refused() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let bytes = noise(300_000);
    let frame = |info: FrameInfo| {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(&bytes).unwrap();
        encoder.finish().unwrap()
    };
    for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
        let info = FrameInfo::new().block_size(size).block_checksums(true).content_checksum(true);
        let whole = frame(info.clone());
        assert!(inflate(Codec::Lz4, &whole, BOUND).unwrap() == bytes);
        for cut in [whole.len() - 1, whole.len() - 8, whole.len() / 2, 10, 4, 0] {
            assert!(inflate(Codec::Lz4, &whole[..cut], BOUND).is_err(), "cut at {cut}");
        }
        assert!(inflate(Codec::Lz4, &frame(info.block_mode(BlockMode::Linked)), BOUND).is_err());
    }
}

#[test]
fn an_lz4_frame_that_stops_between_blocks_is_not_finished() {
    let whole = deflate(Codec::Lz4, &noise(200_000));
    let no_end_mark = &whole[..whole.len() - 4];
    assert!(inflate(Codec::Lz4, no_end_mark, BOUND).is_err());
    // A block of nothing in front of the end mark: the end to some readers, an error to others.
    for empty in [&[0, 0, 0, 0x80][..], &[1, 0, 0, 0, 0]] {
        let padded = [no_end_mark, empty, &[0; 4]].concat();
        assert!(inflate(Codec::Lz4, &padded, BOUND).is_err());
    }
}

#[test]
fn a_payload_cut_anywhere_is_an_error() {
    let bytes = [noise(500), vec![0; 500]].concat();
    for codec in REAL {
        let whole = deflate(codec, &bytes);
        for cut in 0..whole.len() {
            // Framed snappy has no end: cut between blocks it is a shorter stream, and the record count tells.
            let short = inflate(codec, &whole[..cut], BOUND);
            assert!(short.is_err() || short.is_ok_and(|out| out.is_empty()), "{codec} cut at {cut}");
        }
    }
}

#[test]
fn bombs_stop_at_the_bound_and_take_a_window_of_memory() {
    let zeros = vec![0; 32 << 20];
    for codec in REAL {
        let bomb = deflate(codec, &zeros);
        let bound = 1 << 20;
        let mut inflate = Inflate::new(codec, &bomb, bound).unwrap();
        let flaw = inflate.span(zeros.len()).unwrap_err();
        assert_eq!(inflate.explain(flaw), BatchError::Bomb { max_bytes: bound }, "{codec}");
        assert!(inflate.position() <= bound, "{codec}");
        assert!(
            inflate.window.capacity() <= WINDOW_KEPT_MAX_BYTES,
            "{codec} held {}",
            inflate.window.capacity()
        );
    }
}

#[test]
fn a_snappy_block_is_not_believed_about_its_length() {
    // Claims 4 GiB less one; there are 3 bytes to make it of.
    let liar = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, b'a', b'b'];
    let mut inflate = Inflate::new(Codec::Snappy, &liar, usize::MAX).unwrap();
    let flaw = inflate.byte().unwrap_err();
    assert!(matches!(inflate.explain(flaw), BatchError::Inflate { .. }));
    assert!(inflate.window.capacity() <= WINDOW_KEPT_MAX_BYTES);
    // The densest block there can be is still read.
    let zeros = snap::raw::Encoder::new().compress_vec(&vec![0; 1 << 20]).unwrap();
    assert_eq!(super::inflate(Codec::Snappy, &zeros, BOUND).unwrap().len(), 1 << 20);
}

#[test]
fn reading_past_the_end_is_an_error_and_the_end_is_known() {
    for codec in Codec::ALL {
        let payload = deflate(codec, b"abcdef");
        let mut inflate = Inflate::new(codec, &payload, BOUND).unwrap();
        assert_eq!(inflate.byte().unwrap(), b'a');
        inflate.span(4).unwrap();
        assert_eq!(inflate.position(), 5);
        assert!(!inflate.at_end().unwrap());
        assert_eq!(inflate.byte().unwrap(), b'f');
        assert!(inflate.at_end().unwrap(), "{codec}");
        assert!(inflate.byte().is_err() && inflate.span(1).is_err());
    }
}

proptest! {
    #[test]
    fn any_payload_gives_bytes_or_an_error(codec in proptest::sample::select(&REAL[..]), payload in vec(any::<u8>(), 0..200)) {
        let bound = 1 << 20;
        if let Ok(out) = inflate(codec, &payload, bound) {
            prop_assert!(out.len() <= bound);
        }
    }

    #[test]
    fn damaged_payloads_give_bytes_or_an_error(
        codec in proptest::sample::select(&REAL[..]),
        (at, byte) in (any::<prop::sample::Index>(), any::<u8>()),
    ) {
        let mut payload = deflate(codec, &[noise(300), vec![7; 40_000]].concat());
        let at = at.index(payload.len());
        payload[at] = byte;
        let bound = 1 << 20;
        if let Ok(out) = inflate(codec, &payload, bound) {
            prop_assert!(out.len() <= bound);
        }
    }
}
