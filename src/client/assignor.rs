//! The range assignor and what members of a group tell each other through the broker (`ConsumerProtocol`).
//!
//! The bytes come from other members, not from the broker: they are read by the bounds-checked reader.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use crate::wire::read::{DecodeError, Reader};
use crate::wire::write::Writer;

/// The name of the strategy, which nearly every Kafka client offers.
pub(super) const RANGE: &str = "range";

/// Partitions by topic.
pub type Assignment = BTreeMap<String, Vec<i32>>;

/// A member with the topics it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscriber {
    /// Its member id.
    pub(super) member_id: String,
    /// Its static id, by which static members are ordered (KIP-345).
    pub(super) instance_id: Option<String>,
    /// The topics it wants.
    pub(super) topics: Vec<String>,
}

/// Divides each topic among the members that want it: each gets a run of neighbouring partitions, the first ones one
/// more where they do not divide evenly. The result has a row for every member.
pub(super) fn range(
    subscribers: &[Subscriber],
    partitions: &BTreeMap<String, Vec<i32>>,
) -> BTreeMap<String, Assignment> {
    let mut order: Vec<&Subscriber> = subscribers.iter().collect();
    order.sort_unstable_by_key(|one| (one.instance_id.as_deref().unwrap_or(&one.member_id), &one.member_id));
    let mut assignments: BTreeMap<_, _> =
        order.iter().map(|one| (one.member_id.clone(), Assignment::new())).collect();
    for (topic, partitions) in partitions {
        let wanting: Vec<_> = order.iter().filter(|one| one.topics.contains(topic)).collect();
        let mut rest = &partitions[..];
        for (index, one) in wanting.iter().enumerate() {
            let share = rest.len().div_ceil(wanting.len() - index);
            let (own, others) = rest.split_at(share);
            rest = others;
            if let Some(assignment) = assignments.get_mut(&one.member_id)
                && !own.is_empty()
            {
                assignment.insert(topic.clone(), own.to_vec());
            }
        }
    }
    assignments
}

/// What a member says when it joins: the topics it wants.
pub(super) fn subscription(topics: &[String]) -> Bytes {
    let mut out = BytesMut::new();
    let mut writer = Writer::new(&mut out, false);
    writer.i16(0);
    writer.array(topics.len());
    for topic in topics {
        writer.string(topic);
    }
    writer.nullable_bytes(None);
    out.freeze()
}

/// The topics in a subscription of any version.
pub(super) fn read_subscription(bytes: &Bytes) -> Result<Vec<String>, DecodeError> {
    let mut reader = Reader::new(bytes, false);
    reader.i16()?;
    reader.array(|reader| reader.str().map(ToOwned::to_owned))
}

/// What the leader tells a member.
pub(super) fn assignment(assignment: &Assignment) -> Bytes {
    let mut out = BytesMut::new();
    let mut writer = Writer::new(&mut out, false);
    writer.i16(0);
    writer.array(assignment.len());
    for (topic, partitions) in assignment {
        writer.string(topic);
        writer.array(partitions.len());
        for partition in partitions {
            writer.i32(*partition);
        }
    }
    writer.nullable_bytes(None);
    out.freeze()
}

/// The partitions in an assignment of any version. A member that gets nothing may get no bytes at all.
pub(super) fn read_assignment(bytes: &Bytes) -> Result<Assignment, DecodeError> {
    if bytes.is_empty() {
        return Ok(Assignment::new());
    }
    let mut reader = Reader::new(bytes, false);
    reader.i16()?;
    let topics = reader.array(|reader| {
        let topic = reader.str()?.to_owned();
        let mut partitions = reader.array(Reader::i32)?;
        partitions.sort_unstable();
        Ok((topic, partitions))
    })?;
    Ok(topics.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
    use kafka_protocol::protocol::Decodable as _;

    use super::*;

    fn subscriber(id: &str, topics: &[&str]) -> Subscriber {
        let topics = topics.iter().map(ToString::to_string).collect();
        Subscriber { member_id: id.to_owned(), instance_id: None, topics }
    }

    fn topics(rows: &[(&str, i32)]) -> BTreeMap<String, Vec<i32>> {
        rows.iter().map(|(name, count)| ((*name).to_owned(), (0..*count).collect())).collect()
    }

    #[test]
    fn neighbours_stay_together_and_the_first_get_more() {
        let members = [subscriber("b", &["t"]), subscriber("c", &["t"]), subscriber("a", &["t"])];
        let shared = range(&members, &topics(&[("t", 7)]));
        assert_eq!(shared["a"], topics(&[("t", 3)]));
        assert_eq!(shared["b"]["t"], [3, 4]);
        assert_eq!(shared["c"]["t"], [5, 6]);
    }

    #[test]
    fn members_get_only_topics_that_they_want_and_maybe_nothing() {
        let members = [subscriber("a", &["t", "u"]), subscriber("b", &["u"]), subscriber("c", &[])];
        let shared = range(&members, &topics(&[("t", 2), ("u", 1)]));
        assert_eq!(shared["a"], topics(&[("t", 2), ("u", 1)]));
        assert!(shared["b"].is_empty() && shared["c"].is_empty());
    }

    #[test]
    fn static_members_keep_their_place_whatever_their_member_id() {
        let fixed = |id: &str, instance: &str| Subscriber {
            instance_id: Some(instance.to_owned()),
            ..subscriber(id, &["t"])
        };
        let shared = range(&[fixed("z", "1"), fixed("a", "2")], &topics(&[("t", 2)]));
        assert_eq!((&shared["z"]["t"][..], &shared["a"]["t"][..]), (&[0][..], &[1][..]));
    }

    #[test]
    fn the_bytes_are_kafkas() {
        let mut bytes = subscription(&["t".to_owned(), "u".to_owned()]);
        assert_eq!(read_subscription(&bytes).unwrap(), ["t", "u"]);
        let theirs = ConsumerProtocolSubscription::decode(&mut bytes.split_off(2), 0).unwrap();
        assert_eq!(theirs.topics.iter().map(|topic| &**topic).collect::<Vec<_>>(), ["t", "u"]);

        let own = topics(&[("t", 3)]);
        let mut bytes = assignment(&own);
        assert_eq!(read_assignment(&bytes).unwrap(), own);
        let theirs = ConsumerProtocolAssignment::decode(&mut bytes.split_off(2), 0).unwrap();
        assert_eq!(theirs.assigned_partitions[0].partitions, [0, 1, 2]);
    }

    #[test]
    fn damaged_bytes_are_errors() {
        let bytes = assignment(&topics(&[("t", 3)]));
        for len in 1..bytes.len() - 4 {
            assert!(read_assignment(&bytes.slice(..len)).is_err(), "{len} bytes");
        }
        assert_eq!(read_assignment(&Bytes::new()), Ok(Assignment::new()));
        assert!(read_subscription(&Bytes::from_static(b"\0\x01\x7f\xff\xff\xff")).is_err());
    }
}
