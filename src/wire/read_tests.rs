//! Tests of the request cursor.

use super::*;
use crate::wire::generate::Generator;

fn bytes(of: &'static [u8]) -> Bytes {
    Bytes::from_static(of)
}

#[test]
fn numbers_are_big_endian() {
    let frame = bytes(b"\x01\xff\x01\x02\xff\xfe\x00\x00\x01\x00\x7f\xff\xff\xff\xff\xff\xff\xff");
    let mut r = Reader::new(&frame, false);
    assert_eq!((r.bool(), r.i8(), r.i16(), r.u16()), (Ok(true), Ok(-1), Ok(0x102), Ok(0xfffe)));
    assert_eq!((r.i32(), r.i64()), (Ok(256), Ok(i64::MAX)));
    assert!(r.i8().is_err());
}

#[test]
fn strings_have_two_forms() {
    let classic = bytes(b"\0\x02ab\xff\xff");
    let mut r = Reader::new(&classic, false);
    assert_eq!((r.str(), r.nullable_str()), (Ok("ab"), Ok(None)));
    let compact = bytes(b"\x03ab\x00\x01");
    let mut r = Reader::new(&compact, true);
    assert_eq!((r.str(), r.nullable_str(), r.str()), (Ok("ab"), Ok(None), Ok("")));
}

#[test]
fn strings_and_bytes_are_slices_of_the_frame() {
    let frame = Bytes::from(b"\0\x02ab\0\0\0\x03cde".to_vec());
    let mut r = Reader::new(&frame, false);
    let name = r.string().unwrap();
    let records = r.records().unwrap().unwrap();
    assert_eq!(name.as_bytes().as_ptr(), frame[2..].as_ptr());
    assert_eq!(records.as_ptr(), frame[8..].as_ptr());
    assert_eq!((&*name, &records[..]), ("ab", &b"cde"[..]));
}

#[test]
fn null_is_refused_where_it_may_not_be() {
    assert!(Reader::new(&bytes(b"\xff\xff"), false).str().is_err());
    assert!(Reader::new(&bytes(b"\0"), true).str().is_err());
    let null = bytes(b"\xff\xff\xff\xff");
    assert!(Reader::new(&null, false).bytes().is_err());
    assert!(Reader::new(&null, false).array(Reader::i8).is_err());
    assert_eq!(Reader::new(&null, false).nullable_array(Reader::i8), Ok(None));
}

#[test]
fn any_negative_length_is_null_as_in_kafka() {
    assert_eq!(Reader::new(&bytes(b"\xff\xfe"), false).nullable_str(), Ok(None));
    assert_eq!(Reader::new(&bytes(b"\xff\xff\xff\xfe"), false).nullable_bytes(), Ok(None));
    assert!(Reader::new(&bytes(b"\x80\0\0\0"), false).array(Reader::i8).is_err());
}

#[test]
fn bytes_that_are_not_utf8_are_replaced_in_requests_and_refused_in_records() {
    let odd = bytes(b"\0\x03a\xffb");
    assert_eq!(&*Reader::new(&odd, false).string().unwrap(), "a\u{fffd}b");
    assert_eq!(Reader::new(&odd, false).str().unwrap_err().reason, "a string is not UTF-8");
}

#[test]
fn a_string_longer_than_kafka_allows_is_refused_in_the_compact_form() {
    let mut frame = vec![0x81, 0x80, 0x02];
    frame.resize(3 + 0x8000, b'a');
    let frame = Bytes::from(frame);
    let refused = Reader::new(&frame, true).str().unwrap_err();
    assert_eq!(refused.reason, "a string is longer than 32767 bytes");
}

#[test]
fn varints_are_read_strictly() {
    let read = |of: &'static [u8]| Reader::new(&bytes(of), true).uvarint();
    assert_eq!(
        (read(b"\x00"), read(b"\x96\x01"), read(b"\xff\xff\xff\xff\x0f")),
        (Ok(0), Ok(150), Ok(u32::MAX))
    );
    assert_eq!(read(b"\xff\xff\xff\xff\x1f").unwrap_err().reason, "a varint has more than 32 bits");
    assert_eq!(read(b"\x80\x80\x80\x80\x80\x00").unwrap_err().reason, "a varint does not end");
    assert!(read(b"\x80").is_err());
    let zigzag = |of: &'static [u8]| Reader::new(&bytes(of), true).varint();
    assert_eq!(
        (zigzag(b"\x01"), zigzag(b"\x02"), zigzag(b"\xff\xff\xff\xff\x0f")),
        (Ok(-1), Ok(1), Ok(i32::MIN))
    );
    let long = |of: &'static [u8]| Reader::new(&bytes(of), true).varlong();
    assert_eq!(long(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), Ok(i64::MIN));
    assert!(long(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02").is_err());
}

#[test]
fn an_array_count_is_held_against_the_bytes_that_follow() {
    let frame = bytes(b"\x7f\xff\xff\xff\x01\x02");
    let refused = Reader::new(&frame, false).array(Reader::i8).unwrap_err();
    assert_eq!(refused.reason, "an array has more elements than bytes follow");
    let compact = bytes(b"\xff\xff\xff\xff\x0f\x01");
    assert!(Reader::new(&compact, true).array(Reader::i8).is_err());
    let fits = bytes(b"\0\0\0\x02\x01\x02");
    assert_eq!(Reader::new(&fits, false).array(Reader::i8), Ok(vec![1, 2]));
}

#[test]
fn small_elements_cannot_take_many_times_the_frame() {
    let mut frame = 500_000_i32.to_be_bytes().to_vec();
    frame.resize(4 + 1_000_000, 0);
    let frame = Bytes::from(frame);
    let refused = Reader::new(&frame, false).array(Reader::string).unwrap_err();
    assert!(refused.reason.starts_with("too many small elements"), "{refused}");
}

#[test]
fn unknown_tagged_fields_are_skipped_and_known_ones_read() {
    let frame = bytes(b"\x03\x00\x04\x00\x00\x00\x2a\x05\x02xy\x07\x01z\x09");
    let mut r = Reader::new(&frame, true);
    let mut seen = None;
    r.tags(&[0], |tag, r| {
        seen = Some((tag, r.i32()?));
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, Some((0, 42)));
    assert_eq!(r.i8(), Ok(9));
}

#[test]
fn a_tagged_field_cannot_read_past_its_end() {
    let frame = bytes(b"\x01\x00\x02\x00\x00\x00\x2a");
    let mut r = Reader::new(&frame, true);
    assert!(r.tags(&[0], |_, r| r.i32().map(drop)).is_err());
}

#[test]
fn tagged_fields_are_absent_from_the_classic_form() {
    let frame = bytes(b"\x05");
    let mut r = Reader::new(&frame, false);
    r.end().unwrap();
    assert_eq!(r.i8(), Ok(5));
}

#[test]
fn an_error_says_where() {
    let frame = bytes(b"\0\x05ab");
    let error = Reader::new(&frame, false).str().unwrap_err();
    assert_eq!(error.to_string(), "the bytes end in the middle of a field (at byte 2)");
}

/// A decoder that uses every kind of field.
fn decode_all(r: &mut Reader<'_>) -> Result<String, DecodeError> {
    let mut tagged = None;
    let mut text = String::new();
    text += &format!("{:?} {} {} {}", r.bool()?, r.i8()?, r.i64()?, r.topic_id()?);
    text += &format!("{:?} {:?} {:?}", r.string()?, r.nullable_str()?, r.nullable_bytes()?);
    text += &format!("{} {} {}", r.uvarint()?, r.varint()?, r.varlong()?);
    let element = |r: &mut Reader<'_>| {
        let pair = (r.i32()?, r.nullable_array(Reader::string)?);
        r.end()?;
        Ok(pair)
    };
    text += &format!("{:?} {:?}", r.array(element)?, r.nullable(|r| r.str())?);
    r.tags(&[0, 3], |tag, r| {
        tagged = Some((tag, r.nullable_str()?.map(str::to_owned)));
        Ok(())
    })?;
    Ok(format!("{text} {tagged:?}"))
}

#[test]
fn what_the_generating_mode_writes_reads_back_the_same() {
    for flexible in [false, true] {
        for seed in 0..500 {
            let generator = Generator::new(seed);
            let told = decode_all(&mut Reader::generating(&generator, flexible)).unwrap();
            let frame = generator.into_bytes();
            let mut r = Reader::new(&frame, flexible);
            assert_eq!(decode_all(&mut r).unwrap(), told, "seed {seed}");
            assert_eq!(r.remaining(), 0, "seed {seed}");
        }
    }
}
