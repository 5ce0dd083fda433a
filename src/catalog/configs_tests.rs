//! S96: settings change as Kafka changes them, with its codes, all of a topic's or none.

use std::collections::BTreeMap;

use super::*;
use crate::catalog::{CatalogWorld, NewTopic};
use crate::config::Config;
use crate::types::TopicId;

struct Topics {
    hard: Catalog,
    world: CatalogWorld,
}

impl Topics {
    /// One topic, `t`, with these settings.
    fn with(configs: &[(&str, &str)]) -> Self {
        let Config { topics, topic_defaults, offsets, transactions, .. } = Config::default();
        let world = CatalogWorld { node_id: 1, topics, defaults: topic_defaults, offsets, transactions };
        let mut hard = Catalog::default();
        let configs = configs.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())));
        let topic = NewTopic {
            configs: configs.collect(),
            partitions: 1,
            ..NewTopic::with_defaults("t", TopicId::from_bytes([1; 16]))
        };
        let (plan, _) = super::super::topics::create(&hard, &world, vec![topic]);
        plan.records.iter().for_each(|record| hard.apply(record));
        Self { hard, world }
    }

    fn alter(
        &mut self,
        name: &str,
        change: ConfigChange,
    ) -> Result<Vec<(String, String)>, (ErrorCode, String)> {
        let change = AlterTopic { name: name.to_owned(), change };
        let most = room(&change, 512);
        let (plan, outcomes) = alter(&self.hard, &self.world, std::slice::from_ref(&change));
        let written: usize = plan.records.iter().map(|r| r.encode().value.unwrap().len() + 40).sum();
        assert!(written as u64 <= most, "{written} bytes written, room for {most} asked");
        plan.records.iter().for_each(|record| self.hard.apply(record));
        assert_eq!(plan.records.is_empty(), plan.configured.is_empty());
        match &outcomes[0].result {
            Ok(topic) => {
                assert_eq!(topic.overrides, self.hard.topic("t").unwrap().overrides, "told as it is");
                Ok(pairs(&topic.overrides))
            }
            Err(error) => {
                assert!(plan.records.is_empty() && plan.put.is_empty(), "what is refused changes nothing");
                Err((error.code, error.message.clone().unwrap_or_default()))
            }
        }
    }

    fn each(&mut self, ops: &[(&str, ConfigOp)]) -> Result<Vec<(String, String)>, (ErrorCode, String)> {
        self.alter("t", ConfigChange::Each(ops.iter().map(|(k, op)| ((*k).to_owned(), op.clone())).collect()))
    }

    fn replace(&mut self, all: &[(&str, &str)]) -> Result<Vec<(String, String)>, (ErrorCode, String)> {
        self.alter("t", ConfigChange::Replace(owned(all)))
    }
}

fn pairs(map: &BTreeMap<String, String>) -> Vec<(String, String)> {
    map.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn owned(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn set(value: &str) -> ConfigOp {
    ConfigOp::Set(value.to_owned())
}

fn append(values: &str) -> ConfigOp {
    ConfigOp::Append(values.to_owned())
}

fn subtract(values: &str) -> ConfigOp {
    ConfigOp::Subtract(values.to_owned())
}

#[test]
fn s96_single_settings_change_and_the_others_stay() {
    let mut topics = Topics::with(&[("retention.ms", "1000"), ("segment.bytes", "5000")]);
    let now = topics.each(&[("retention.ms", set("2000")), ("flush.ms", set("7"))]);
    assert_eq!(now, Ok(owned(&[("flush.ms", "7"), ("retention.ms", "2000"), ("segment.bytes", "5000")])));
    let now = topics.each(&[("segment.bytes", ConfigOp::Delete), ("never.set", ConfigOp::Delete)]);
    assert_eq!(now, Ok(owned(&[("flush.ms", "7"), ("retention.ms", "2000")])));
}

#[test]
fn s96_all_settings_are_replaced_and_what_is_left_out_goes_back() {
    let mut topics = Topics::with(&[("retention.ms", "1000"), ("segment.bytes", "5000")]);
    let now = topics.replace(&[("cleanup.policy", "compact"), ("retention.ms", "1000")]);
    assert_eq!(now, Ok(owned(&[("cleanup.policy", "compact"), ("retention.ms", "1000")])));
    assert_eq!(topics.replace(&[]), Ok(Vec::new()));
}

#[test]
fn what_is_so_already_leaves_no_record() {
    let topics = Topics::with(&[("retention.ms", "1000")]);
    for change in [
        ConfigChange::Replace(owned(&[("retention.ms", "1000")])),
        ConfigChange::Each(vec![("retention.ms".into(), set("1000"))]),
        ConfigChange::Each(vec![("flush.ms".into(), ConfigOp::Delete)]),
        ConfigChange::Each(vec![]),
    ] {
        let change = AlterTopic { name: "t".into(), change };
        let (plan, outcomes) = alter(&topics.hard, &topics.world, &[change]);
        assert!(plan.records.is_empty() && outcomes[0].result.is_ok());
    }
}

#[test]
fn s96_lists_get_elements_and_lose_them() {
    let mut topics = Topics::with(&[]);
    let policy = |value: &str| Ok(owned(&[("cleanup.policy", value)]));
    assert_eq!(
        topics.each(&[("cleanup.policy", append("compact"))]),
        policy("delete,compact"),
        "to the default"
    );
    assert_eq!(topics.each(&[("cleanup.policy", append("compact,delete"))]), policy("delete,compact"));
    assert_eq!(topics.each(&[("cleanup.policy", subtract("delete"))]), policy("compact"));
    assert_eq!(topics.each(&[("cleanup.policy", subtract("delete"))]), policy("compact"));
    let refused = topics.each(&[("retention.ms", append("1"))]).unwrap_err();
    let words = "Can't APPEND to key retention.ms because its type is not LIST.";
    assert_eq!(refused, (ErrorCode::InvalidConfig, words.to_owned()));
    assert_eq!(topics.each(&[("no.such", subtract("1"))]).unwrap_err().0, ErrorCode::InvalidConfig);
    assert_eq!(topics.each(&[("cleanup.policy", append("shred"))]).unwrap_err().0, ErrorCode::InvalidConfig);
}

#[test]
fn one_bad_setting_refuses_all_of_its_topic() {
    let mut topics = Topics::with(&[("retention.ms", "1000")]);
    for bad in [("retention.ms", "soon"), ("no.such", "1"), ("segment.ms", "0")] {
        let refused = topics.each(&[("flush.ms", set("7")), (bad.0, set(bad.1))]).unwrap_err();
        assert_eq!(refused.0, ErrorCode::InvalidConfig, "{refused:?}");
        let refused = topics.replace(&[("flush.ms", "7"), bad]).unwrap_err();
        assert_eq!(refused.0, ErrorCode::InvalidConfig, "{refused:?}");
    }
    let lags = [("min.compaction.lag.ms", "5"), ("max.compaction.lag.ms", "4")];
    assert_eq!(topics.replace(&lags).unwrap_err().0, ErrorCode::InvalidConfig, "they do not go together");
    let long = "1".repeat(32_768);
    assert_eq!(topics.replace(&[("flush.ms", &long)]).unwrap_err().0, ErrorCode::InvalidConfig);
    assert_eq!(pairs(&topics.hard.topic("t").unwrap().overrides), owned(&[("retention.ms", "1000")]));
}

#[test]
fn topics_that_do_not_exist_are_told_behind_what_is_wrong_with_the_settings() {
    let mut topics = Topics::with(&[]);
    let change = |value: &str| ConfigChange::Replace(owned(&[("retention.ms", value)]));
    let refused = topics.alter("u", change("5")).unwrap_err();
    assert_eq!(refused, (ErrorCode::UnknownTopicOrPartition, "The topic 'u' does not exist.".to_owned()));
    assert_eq!(topics.alter("u", change("x")).unwrap_err().0, ErrorCode::InvalidConfig);
    assert_eq!(topics.alter("", change("5")).unwrap_err().0, ErrorCode::InvalidRequest);
    assert_eq!(topics.alter("a b", change("5")).unwrap_err().0, ErrorCode::InvalidTopicException);
}
