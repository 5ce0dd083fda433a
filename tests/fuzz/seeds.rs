//! Where the fuzzers begin: small valid inputs, made by the decoders' generating mode.

use bytes::{BufMut, BytesMut};
use streamd::api::table::{Row, TABLE};
use streamd::wire::generate::Generator;
use streamd::wire::{Reader, Writer};

/// One request of each API in its oldest, its first flexible and its newest version.
pub(crate) fn requests() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for api in TABLE {
        let spec = api.spec;
        let mut versions = vec![spec.min, spec.flexible_from.clamp(spec.min, spec.max), spec.max];
        versions.dedup();
        for version in versions {
            seeds.push((format!("{}-v{version}", spec.name), request(api, version)));
        }
    }
    seeds
}

/// The shortest of some random requests that are not empty lists all through.
fn request(api: &Row, version: i16) -> Vec<u8> {
    let flexible = api.spec.is_flexible(version);
    let bodies = (0..40).map(|seed| {
        let generator = Generator::new(seed);
        (api.decode)(&mut Reader::generating(&generator, flexible), version).unwrap();
        generator.into_bytes()
    });
    let mut bodies: Vec<_> = bodies.collect();
    bodies.sort_by_key(bytes::Bytes::len);
    let body = &bodies[bodies.len() / 2];

    let mut frame = BytesMut::new();
    let mut header = Writer::new(&mut frame, false);
    header.i16(api.spec.key);
    header.i16(version);
    header.i32(7);
    header.string("fuzz");
    if flexible {
        frame.put_u8(0);
    }
    frame.extend_from_slice(body);
    frame.to_vec()
}

/// Connections: a byte for the size of the pieces, then the stream.
pub(crate) fn frames() -> Vec<(String, Vec<u8>)> {
    let framed = |body: &[u8]| [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat();
    let all: Vec<u8> = requests().iter().take(6).flat_map(|(_, request)| framed(request)).collect();
    let large = framed(&[[0; 8].to_vec(), vec![1; 2000]].concat());
    let seeds: [(&str, &[&[u8]]); 7] = [
        ("pipelined", &[&[64], &all]),
        ("empty", &[&[1], &[0, 0, 0, 0], &[0, 0, 0, 0]]),
        ("large-produce", &[&[255], &large]),
        ("large-metadata", &[&[9], &[0, 0, 8, 0, 0, 3, 0, 9, 0, 0, 0, 1]]),
        ("negative", &[&[3], &[255, 255, 255, 254]]),
        ("tls", &[&[16], b"\x16\x03\x01\x02\x00\x01\x00"]),
        ("http", &[&[16], b"GET /metrics HTTP/1.1\r\n\r\n"]),
    ];
    seeds.iter().map(|(name, parts)| ((*name).to_owned(), parts.concat())).collect()
}
