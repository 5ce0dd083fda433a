//! Replaced files after a crash at every step, and Kafka's text form.

use proptest::prelude::*;

use super::*;

#[test]
fn a_crash_at_any_step_leaves_the_old_file_or_the_new_one() {
    let (old, new) = (encode_epochs(&[(0, 0)]), encode_epochs(&[(0, 0), (1, 500)]));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("leader-epoch-checkpoint");
    for written in 0..=new.len() {
        // The image of a crash before the rename: the old file, and any part of the temporary one.
        fs::write(&path, &old).unwrap();
        fs::write(temp_path(&path), &new.as_bytes()[..written]).unwrap();
        assert_eq!(read_epochs(&path).unwrap(), Some(vec![(0, 0)]));
        // What the crash left behind is in nobody's way.
        replace(&path, new.as_bytes()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), new);
        assert!(!temp_path(&path).exists());
    }
    // Negative control: a file that is written in place shows its middle.
    let torn = (0..new.len()).any(|n| {
        fs::write(&path, &new.as_bytes()[..n]).unwrap();
        !matches!(read_epochs(&path), Ok(Some(epochs)) if epochs == [(0, 0)])
    });
    assert!(torn, "else this test proves nothing");
}

#[test]
fn a_replacement_that_fails_leaves_the_old_file_and_names_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    replace(&path, b"old").unwrap();
    fs::create_dir(temp_path(&path)).unwrap();
    let error = replace(&path, b"new").unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

fn at(topic: &str, partition: i32, offset: i64) -> PartitionOffset {
    PartitionOffset { topic: topic.into(), partition, offset }
}

#[test]
fn the_text_is_kafkas() {
    assert_eq!(encode_epochs(&[(0, 0), (3, 1200)]), "0\n2\n0 0\n3 1200\n");
    assert_eq!(encode_offsets(&[at("orders", 3, 42), at("a.b", 0, 7)]), "0\n2\norders 3 42\na.b 0 7\n");
    assert_eq!(encode_epochs(&[]), "0\n0\n");
}

fn epochs_of(text: &[u8]) -> Result<Option<Vec<(i32, i64)>>, TextFault> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c");
    fs::write(&path, text).unwrap();
    read_epochs(&path)
}

#[test]
fn a_malformed_file_is_a_fault_that_says_where() {
    let cases: [(&[u8], &str); 9] = [
        (b"1\n0\n", "line 1"),
        (b"0\nx\n", "line 2"),
        (b"0\n", "line 2"),
        (b"0\n1\n3\n", "line 3"),
        (b"0\n1\n3 4 5\n", "line 3"),
        (b"0\n1\n-1 4\n", "line 3"),
        (b"0\n2\n3 4\n", "1 entries where line 2 says 2"),
        (b"0\n2\n3 4\n3 5\n", "do not rise"),
        (b"\xff\xff", "not text"),
    ];
    for (text, expected) in cases {
        let error = epochs_of(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let huge = epochs_of(b"0\n18446744073709551615\n").unwrap_err().to_string();
    assert!(huge.contains("0 entries"), "a count reserves nothing: {huge}");
}

#[test]
fn a_file_that_kafka_made_but_never_wrote_is_empty() {
    assert_eq!(epochs_of(b"").unwrap(), Some(vec![]));
    assert_eq!(read_epochs(Path::new("/nonexistent/c")).unwrap(), None);
}

proptest! {
    #[test]
    fn offsets_survive_the_file(rows in prop::collection::vec(("[a-zA-Z0-9._-]{1,249}", 0..i32::MAX, 0..i64::MAX), 0..20)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        let rows: Vec<_> = rows.iter().map(|(t, p, o)| at(t, *p, *o)).collect();
        replace(&path, encode_offsets(&rows).as_bytes()).unwrap();
        prop_assert_eq!(read_offsets(&path).unwrap(), Some(rows));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = epochs_of(&bytes);
    }
}
