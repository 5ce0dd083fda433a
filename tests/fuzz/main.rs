//! Replays the fuzzing corpora: what a fuzzer once found stays found. The fuzzers themselves are in `fuzz/`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test speaks and fails by panicking"
)]

mod logs;
mod seeds;
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

fn replay(target: &str, run: fn(&[u8])) {
    let mut inputs: Vec<_> =
        fs::read_dir(corpus(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "the corpus of {target} is empty");
    for input in inputs {
        println!("{}", input.display());
        let bytes = fs::read(&input).unwrap();
        run(&bytes);
        // A fuzzer begins with what it has and cuts it.
        run(&bytes[..bytes.len() / 2]);
    }
}

#[test]
fn frames() {
    replay("frames", targets::frames);
}

#[test]
fn requests() {
    replay("requests", targets::requests);
}

#[test]
fn batches() {
    replay("batches", logs::batches);
}

#[test]
fn recovery() {
    replay("recovery", logs::recovery);
}

/// A little fuzzing in every test run: seeds with bytes flipped, cut, doubled and zeroed.
#[test]
fn mutated_logs_and_batches() {
    for (seeds, run) in
        [(logs::batch_seeds(), logs::batches as fn(&[u8])), (logs::log_seeds(), logs::recovery as fn(&[u8]))]
    {
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut draw = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % (below as u64)).unwrap()
        };
        for (name, seed) in seeds.iter().cycle().take(1500) {
            let mut bytes = seed.clone();
            for _ in 0..=draw(3) {
                let at = draw(bytes.len().max(1));
                match draw(4) {
                    _ if bytes.is_empty() => bytes.push(0),
                    0 => bytes[at] ^= 1 << draw(8),
                    1 => bytes.truncate(at),
                    2 => bytes.extend_from_within(at..),
                    _ => bytes[at..].fill(0),
                }
            }
            println!("{name}: {bytes:02x?}");
            run(&bytes);
        }
    }
}

/// The corpus holds a valid request of every API, or the fuzzers would have to invent them.
#[test]
fn the_seeds_decode() {
    for (name, frame) in seeds::requests() {
        assert_eq!(targets::decode(&frame), Some(Ok(())), "{name}");
    }
}

/// Run with `cargo test --test fuzz write_seeds -- --ignored` when an API or a version was added.
#[test]
#[ignore = "writes fuzz/corpus"]
fn write_seeds() {
    for (target, seeds) in [
        ("requests", seeds::requests()),
        ("frames", seeds::frames()),
        ("batches", logs::batch_seeds()),
        ("recovery", logs::log_seeds()),
    ] {
        fs::create_dir_all(corpus(target)).unwrap();
        for (name, bytes) in seeds {
            fs::write(corpus(target).join(name), bytes).unwrap();
        }
    }
}
