//! Every decoder, in the generating mode, writes requests that the protocol crate reads to the last byte and writes
//! back the same.

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{HeaderVersion, Request};
use streamd::api::table::{Row, TABLE};
use streamd::wire::generate::Generator;
use streamd::wire::{ApiSpec, DecodeError, Reader};

const SEEDS: u64 = 300;

/// A request decoder of ours.
pub(crate) type Decode<T> = fn(&mut Reader<'_>, i16) -> Result<T, DecodeError>;

/// Generates requests at every version that the crate has, checks that it reads and writes them as we do, and hands
/// both readings to `same`.
pub(crate) fn check<Ours: PartialEq + Debug, Theirs: Request + PartialEq + Debug>(
    spec: ApiSpec,
    decode: Decode<Ours>,
    same: impl Fn(i16, &Ours, &Theirs),
) {
    assert_eq!(spec.key, Theirs::KEY, "{}", spec.name);
    assert_eq!(spec.min, Theirs::VERSIONS.min, "{}", spec.name);
    for version in spec.min..=spec.max.min(Theirs::VERSIONS.max) {
        let flexible = spec.is_flexible(version);
        assert_eq!(flexible, Theirs::header_version(version) == 2, "{} v{version}", spec.name);
        let response_header = <Theirs::Response as HeaderVersion>::header_version(version);
        assert_eq!(
            spec.has_flexible_response_header(version),
            response_header == 1,
            "{} v{version}",
            spec.name
        );
        for seed in 0..SEEDS {
            let (body, generated, tagged) = generate(decode, version, flexible, seed);
            let what = format!("{} v{version} seed {seed}: {body:?}", spec.name);

            let mut reader = Reader::new(&body, flexible);
            let ours = decode(&mut reader, version).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(reader.remaining(), 0, "{what}");
            assert_eq!(ours, generated, "{what}");

            let mut rest = body.clone();
            let theirs = Theirs::decode(&mut rest, version).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert!(rest.is_empty(), "{what}: {} bytes left", rest.len());
            let mut again = BytesMut::new();
            theirs.encode(&mut again, version).unwrap_or_else(|e| panic!("{what}: {e}"));
            if tagged {
                // A tagged field that has its default is not written back; the meaning must be the same.
                let back = Theirs::decode(&mut again.freeze(), version).unwrap();
                assert_eq!(back, theirs, "{what}");
            } else {
                assert_eq!(again, body, "{what}");
            }
            same(version, &ours, &theirs);
        }
    }
}

fn generate<T>(decode: Decode<T>, version: i16, flexible: bool, seed: u64) -> (Bytes, T, bool) {
    let generator = Generator::new(seed);
    let request = decode(&mut Reader::generating(&generator, flexible), version).unwrap();
    let tagged = generator.wrote_known_tags();
    (generator.into_bytes(), request, tagged)
}

/// What was read, to compare two readings.
fn print(api: &Row, reader: &mut Reader<'_>, version: i16) -> String {
    format!("{:?}", (api.decode)(reader, version).unwrap())
}

#[test]
fn what_a_decoder_asks_for_it_reads_back_at_every_version() {
    for api in TABLE {
        for version in api.spec.min..=api.spec.max {
            let flexible = api.spec.is_flexible(version);
            for seed in 1000..1000 + SEEDS {
                let generator = Generator::new(seed);
                let generated = print(api, &mut Reader::generating(&generator, flexible), version);
                let body = generator.into_bytes();
                let mut reader = Reader::new(&body, flexible);
                assert_eq!(print(api, &mut reader, version), generated);
                assert_eq!(reader.remaining(), 0, "{} v{version} seed {seed}", api.spec.name);
            }
        }
    }
}

#[test]
fn bytes_after_the_last_field_are_ignored() {
    for api in TABLE {
        let flexible = api.spec.is_flexible(api.spec.max);
        let generator = Generator::new(7);
        let generated = print(api, &mut Reader::generating(&generator, flexible), api.spec.max);
        let body: Bytes = [&generator.into_bytes()[..], b"more"].concat().into();
        let mut reader = Reader::new(&body, flexible);
        assert_eq!(print(api, &mut reader, api.spec.max), generated);
        assert_eq!(reader.remaining(), 4);
    }
}
