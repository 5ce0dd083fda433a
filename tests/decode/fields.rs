//! Each field of a request lands where it belongs: our reading and the protocol crate's agree field by field.

use bytes::Bytes;
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::StrBytes;
use streamd::api::{admin, data, group, session, topic, txn};
use streamd::types::TopicId;

use crate::shape::check;

fn bytes(id: TopicId) -> [u8; 16] {
    *id.as_bytes()
}

fn text(id: &impl std::ops::Deref<Target = StrBytes>) -> &StrBytes {
    id
}

/// Our list and theirs, element by element.
fn each<A, B>(ours: &[A], theirs: &[B], same: impl Fn(&A, &B)) {
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        same(ours, theirs);
    }
}

fn each_if_any<A, B>(ours: Option<&Vec<A>>, theirs: Option<&Vec<B>>, same: impl Fn(&A, &B)) {
    assert_eq!(ours.is_some(), theirs.is_some());
    if let (Some(ours), Some(theirs)) = (ours, theirs) {
        each(ours, theirs, same);
    }
}

#[test]
fn produce() {
    use data::produce::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::ProduceRequest| {
        assert_eq!(ours.transactional_id.as_ref(), theirs.transactional_id.as_ref().map(text));
        assert_eq!((ours.acks, ours.timeout_ms), (theirs.acks, theirs.timeout_ms));
        each(&ours.topics, &theirs.topic_data, |ours, theirs| {
            assert_eq!((&ours.name, bytes(ours.id)), (text(&theirs.name), theirs.topic_id.into_bytes()));
            each(&ours.partitions, &theirs.partition_data, |ours, theirs| {
                assert_eq!((ours.index, &ours.records), (theirs.index, &theirs.records));
            });
        });
    });
}

#[test]
fn fetch() {
    use data::fetch::{Request, SPEC};
    check(SPEC, Request::decode, |version, ours, theirs: &theirs::FetchRequest| {
        let replica = if version >= 15 { theirs.replica_state.replica_id } else { theirs.replica_id };
        assert_eq!(ours.replica_id, *replica);
        assert_eq!((ours.max_wait_ms, ours.min_bytes), (theirs.max_wait_ms, theirs.min_bytes));
        assert_eq!((ours.max_bytes, ours.isolation_level), (theirs.max_bytes, theirs.isolation_level));
        assert_eq!((ours.session_id, ours.session_epoch), (theirs.session_id, theirs.session_epoch));
        assert_eq!(ours.rack_id, theirs.rack_id);
        each(&ours.topics, &theirs.topics, |ours, theirs| {
            assert_eq!((&ours.name, bytes(ours.id)), (text(&theirs.topic), theirs.topic_id.into_bytes()));
            each(&ours.partitions, &theirs.partitions, |ours, theirs| {
                assert_eq!((ours.index, ours.fetch_offset), (theirs.partition, theirs.fetch_offset));
                assert_eq!(ours.current_leader_epoch, theirs.current_leader_epoch);
                assert_eq!(ours.last_fetched_epoch, theirs.last_fetched_epoch);
                assert_eq!(ours.max_bytes, theirs.partition_max_bytes);
            });
        });
        each(&ours.forgotten, &theirs.forgotten_topics_data, |ours, theirs| {
            assert_eq!((&ours.name, bytes(ours.id)), (text(&theirs.topic), theirs.topic_id.into_bytes()));
            assert_eq!(ours.partitions, theirs.partitions);
        });
    });
}

#[test]
fn list_offsets() {
    use data::list_offsets::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::ListOffsetsRequest| {
        assert_eq!((ours.replica_id, ours.isolation_level), (*theirs.replica_id, theirs.isolation_level));
        assert_eq!(ours.timeout_ms, theirs.timeout_ms);
        each(&ours.topics, &theirs.topics, |ours, theirs| {
            assert_eq!(&ours.name, text(&theirs.name));
            each(&ours.partitions, &theirs.partitions, |ours, theirs| {
                assert_eq!((ours.index, ours.timestamp), (theirs.partition_index, theirs.timestamp));
                assert_eq!(ours.current_leader_epoch, theirs.current_leader_epoch);
            });
        });
    });
}

#[test]
fn leader_epoch() {
    use data::leader_epoch::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::OffsetForLeaderEpochRequest| {
        assert_eq!(ours.replica_id, *theirs.replica_id);
        each(&ours.topics, &theirs.topics, |ours, theirs| {
            assert_eq!(&ours.name, text(&theirs.topic));
            each(&ours.partitions, &theirs.partitions, |ours, theirs| {
                assert_eq!((ours.index, ours.leader_epoch), (theirs.partition, theirs.leader_epoch));
                assert_eq!(ours.current_leader_epoch, theirs.current_leader_epoch);
            });
        });
    });
}

#[test]
fn metadata() {
    use topic::metadata::{Request, SPEC};
    check(SPEC, Request::decode, |version, ours, theirs: &theirs::MetadataRequest| {
        // Version 0 says "all" with an empty list.
        let all = version == 0 && theirs.topics.as_ref().is_some_and(Vec::is_empty);
        let theirs_topics = theirs.topics.as_ref().filter(|_| !all);
        each_if_any(ours.topics.as_ref(), theirs_topics, |ours, theirs| {
            assert_eq!(ours.name.as_ref(), theirs.name.as_ref().map(text));
            assert_eq!(bytes(ours.id), theirs.topic_id.into_bytes());
        });
        assert_eq!(ours.allow_auto_topic_creation, theirs.allow_auto_topic_creation);
        assert_eq!(ours.include_cluster_authorized_operations, theirs.include_cluster_authorized_operations);
        assert_eq!(ours.include_topic_authorized_operations, theirs.include_topic_authorized_operations);
    });
}

#[test]
fn create_topics() {
    use topic::create::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::CreateTopicsRequest| {
        assert_eq!((ours.timeout_ms, ours.validate_only), (theirs.timeout_ms, theirs.validate_only));
        each(&ours.topics, &theirs.topics, |ours, theirs| {
            assert_eq!((&ours.name, ours.num_partitions), (text(&theirs.name), theirs.num_partitions));
            assert_eq!(ours.replication_factor, theirs.replication_factor);
            each(&ours.assignments, &theirs.assignments, |ours, theirs| {
                assert_eq!(ours.partition_index, theirs.partition_index);
                each(&ours.broker_ids, &theirs.broker_ids, |ours, theirs| assert_eq!(*ours, **theirs));
            });
            each(&ours.configs, &theirs.configs, |ours, theirs| {
                assert_eq!((&ours.name, &ours.value), (&theirs.name, &theirs.value));
            });
        });
    });
}

#[test]
fn delete_topics() {
    use topic::delete::{Request, SPEC};
    check(SPEC, Request::decode, |version, ours, theirs: &theirs::DeleteTopicsRequest| {
        assert_eq!(ours.timeout_ms, theirs.timeout_ms);
        if version <= 5 {
            each(&ours.topics, &theirs.topic_names, |ours, theirs| {
                assert_eq!((ours.name.as_ref(), ours.id), (Some(text(theirs)), TopicId::ZERO));
            });
        } else {
            each(&ours.topics, &theirs.topics, |ours, theirs| {
                assert_eq!(ours.name.as_ref(), theirs.name.as_ref().map(text));
                assert_eq!(bytes(ours.id), theirs.topic_id.into_bytes());
            });
        }
    });
}

#[test]
fn create_partitions() {
    use topic::partitions::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::CreatePartitionsRequest| {
        assert_eq!((ours.timeout_ms, ours.validate_only), (theirs.timeout_ms, theirs.validate_only));
        each(&ours.topics, &theirs.topics, |ours, theirs| {
            assert_eq!((&ours.name, ours.count), (text(&theirs.name), theirs.count));
            each_if_any(ours.assignments.as_ref(), theirs.assignments.as_ref(), |ours, theirs| {
                each(ours, &theirs.broker_ids, |ours, theirs| assert_eq!(*ours, **theirs));
            });
        });
    });
}

#[test]
fn describe_topic_partitions() {
    use topic::describe_partitions::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::DescribeTopicPartitionsRequest| {
        assert_eq!(ours.response_partition_limit, theirs.response_partition_limit);
        each(&ours.topics, &theirs.topics, |ours, theirs| assert_eq!(ours, text(&theirs.name)));
        let ours = ours.cursor.as_ref().map(|cursor| (&cursor.topic_name, cursor.partition_index));
        let theirs = theirs.cursor.as_ref().map(|cursor| (text(&cursor.topic_name), cursor.partition_index));
        assert_eq!(ours, theirs);
    });
}

#[test]
fn find_coordinator() {
    use group::find_coordinator::{Request, SPEC};
    check(SPEC, Request::decode, |version, ours, theirs: &theirs::FindCoordinatorRequest| {
        assert_eq!(ours.key_type, theirs.key_type);
        if version <= 3 {
            assert_eq!(ours.keys, std::slice::from_ref(&theirs.key));
        } else {
            assert_eq!(ours.keys, theirs.coordinator_keys);
        }
    });
}

#[test]
fn join_group() {
    use group::join_group::{Request, SPEC};
    check(SPEC, Request::decode, |version, ours, theirs: &theirs::JoinGroupRequest| {
        assert_eq!((&ours.group_id, &ours.member_id), (text(&theirs.group_id), &theirs.member_id));
        assert_eq!(ours.session_timeout_ms, theirs.session_timeout_ms);
        let rebalance = if version == 0 { theirs.session_timeout_ms } else { theirs.rebalance_timeout_ms };
        assert_eq!(ours.rebalance_timeout_ms, rebalance);
        assert_eq!(ours.group_instance_id, theirs.group_instance_id);
        assert_eq!((&ours.protocol_type, &ours.reason), (&theirs.protocol_type, &theirs.reason));
        each(&ours.protocols, &theirs.protocols, |ours, theirs| {
            assert_eq!((&ours.name, &ours.metadata), (&theirs.name, &theirs.metadata));
        });
    });
}

#[test]
fn sync_group() {
    use group::sync_group::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::SyncGroupRequest| {
        assert_eq!((&ours.group_id, &ours.member_id), (text(&theirs.group_id), &theirs.member_id));
        assert_eq!(ours.generation_id, theirs.generation_id);
        assert_eq!(ours.group_instance_id, theirs.group_instance_id);
        assert_eq!(
            (&ours.protocol_type, &ours.protocol_name),
            (&theirs.protocol_type, &theirs.protocol_name)
        );
        each(&ours.assignments, &theirs.assignments, |ours, theirs| {
            assert_eq!((&ours.member_id, &ours.assignment), (&theirs.member_id, &theirs.assignment));
        });
    });
}

#[test]
fn heartbeat() {
    use group::heartbeat::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::HeartbeatRequest| {
        assert_eq!((&ours.group_id, &ours.member_id), (text(&theirs.group_id), &theirs.member_id));
        assert_eq!(ours.generation_id, theirs.generation_id);
        assert_eq!(ours.group_instance_id, theirs.group_instance_id);
    });
}

#[test]
fn leave_group() {
    use group::leave_group::{Request, SPEC};
    check(SPEC, Request::decode, |version, ours, theirs: &theirs::LeaveGroupRequest| {
        assert_eq!(&ours.group_id, text(&theirs.group_id));
        if version <= 2 {
            assert_eq!(ours.members.len(), 1);
            assert_eq!(ours.members[0].member_id, theirs.member_id);
        } else {
            each(&ours.members, &theirs.members, |ours, theirs| {
                assert_eq!((&ours.member_id, &ours.reason), (&theirs.member_id, &theirs.reason));
                assert_eq!(ours.group_instance_id, theirs.group_instance_id);
            });
        }
    });
}

#[test]
fn offset_commit() {
    use group::offset_commit::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::OffsetCommitRequest| {
        assert_eq!((&ours.group_id, &ours.member_id), (text(&theirs.group_id), &theirs.member_id));
        assert_eq!(ours.generation_id_or_member_epoch, theirs.generation_id_or_member_epoch);
        assert_eq!(ours.group_instance_id, theirs.group_instance_id);
        assert_eq!(ours.retention_time_ms, theirs.retention_time_ms);
        each(&ours.topics, &theirs.topics, |ours, theirs| {
            assert_eq!((&ours.name, bytes(ours.id)), (text(&theirs.name), theirs.topic_id.into_bytes()));
            each(&ours.partitions, &theirs.partitions, |ours, theirs| {
                assert_eq!(
                    (ours.index, ours.committed_offset),
                    (theirs.partition_index, theirs.committed_offset)
                );
                assert_eq!(ours.committed_leader_epoch, theirs.committed_leader_epoch);
                assert_eq!(ours.committed_metadata, theirs.committed_metadata);
            });
        });
    });
}

#[test]
fn txn_offset_commit() {
    use txn::offset_commit::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::TxnOffsetCommitRequest| {
        assert_eq!(&ours.transactional_id, text(&theirs.transactional_id));
        assert_eq!((&ours.group_id, &ours.member_id), (text(&theirs.group_id), &theirs.member_id));
        assert_eq!((ours.producer_id, ours.producer_epoch), (*theirs.producer_id, theirs.producer_epoch));
        assert_eq!(ours.generation_id_or_member_epoch, theirs.generation_id);
        assert_eq!(ours.group_instance_id, theirs.group_instance_id);
        each(&ours.topics, &theirs.topics, |ours, theirs| {
            assert_eq!(&ours.name, text(&theirs.name));
            each(&ours.partitions, &theirs.partitions, |ours, theirs| {
                assert_eq!(
                    (ours.index, ours.committed_offset),
                    (theirs.partition_index, theirs.committed_offset)
                );
                assert_eq!(ours.committed_leader_epoch, theirs.committed_leader_epoch);
                assert_eq!(ours.committed_metadata, theirs.committed_metadata);
            });
        });
    });
}

#[test]
fn offset_fetch() {
    use group::offset_fetch::{Request, SPEC};
    check(SPEC, Request::decode, |version, ours, theirs: &theirs::OffsetFetchRequest| {
        assert_eq!(ours.require_stable, theirs.require_stable);
        if version <= 7 {
            let [group] = &ours.groups[..] else { panic!("one group") };
            assert_eq!(&group.group_id, text(&theirs.group_id));
            each_if_any(group.topics.as_ref(), theirs.topics.as_ref(), |ours, theirs| {
                assert_eq!((&ours.name, &ours.partitions), (text(&theirs.name), &theirs.partition_indexes));
            });
            return;
        }
        each(&ours.groups, &theirs.groups, |ours, theirs| {
            assert_eq!(&ours.group_id, text(&theirs.group_id));
            assert_eq!((&ours.member_id, ours.member_epoch), (&theirs.member_id, theirs.member_epoch));
            each_if_any(ours.topics.as_ref(), theirs.topics.as_ref(), |ours, theirs| {
                assert_eq!((&ours.name, &ours.partitions), (text(&theirs.name), &theirs.partition_indexes));
            });
        });
    });
}

#[test]
fn describe_groups() {
    use group::describe::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::DescribeGroupsRequest| {
        each(&ours.groups, &theirs.groups, |ours, theirs| assert_eq!(ours, text(theirs)));
        assert_eq!(ours.include_authorized_operations, theirs.include_authorized_operations);
    });
}

#[test]
fn list_groups() {
    use group::list::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::ListGroupsRequest| {
        assert_eq!((&ours.states_filter, &ours.types_filter), (&theirs.states_filter, &theirs.types_filter));
    });
}

#[test]
fn delete_groups() {
    use group::delete::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::DeleteGroupsRequest| {
        each(&ours.groups, &theirs.groups_names, |ours, theirs| assert_eq!(ours, text(theirs)));
    });
}

#[test]
fn offset_delete() {
    use group::offset_delete::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::OffsetDeleteRequest| {
        assert_eq!(&ours.group_id, text(&theirs.group_id));
        each(&ours.topics, &theirs.topics, |ours, theirs| {
            assert_eq!(&ours.name, text(&theirs.name));
            each(&ours.partitions, &theirs.partitions, |ours, theirs| {
                assert_eq!(*ours, theirs.partition_index);
            });
        });
    });
}

#[test]
fn init_producer_id() {
    use txn::init_producer_id::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::InitProducerIdRequest| {
        assert_eq!(ours.transactional_id.as_ref(), theirs.transactional_id.as_ref().map(text));
        assert_eq!(ours.transaction_timeout_ms, theirs.transaction_timeout_ms);
        assert_eq!((ours.producer_id, ours.producer_epoch), (*theirs.producer_id, theirs.producer_epoch));
    });
}

#[test]
fn add_partitions_to_txn() {
    use txn::add_partitions::{Request, SPEC, Topic};
    check(SPEC, Request::decode, |version, ours, theirs: &theirs::AddPartitionsToTxnRequest| {
        let topics =
            |ours: &[Topic], theirs: &[theirs::add_partitions_to_txn_request::AddPartitionsToTxnTopic]| {
                each(ours, theirs, |ours, theirs| {
                    assert_eq!((&ours.name, &ours.partitions), (text(&theirs.name), &theirs.partitions));
                });
            };
        if version < 4 {
            let [ours] = &ours.transactions[..] else { panic!("one transaction") };
            assert_eq!(&ours.transactional_id, text(&theirs.v3_and_below_transactional_id));
            assert_eq!(ours.producer_id, *theirs.v3_and_below_producer_id);
            assert_eq!(ours.producer_epoch, theirs.v3_and_below_producer_epoch);
            assert!(!ours.verify_only);
            topics(&ours.topics, &theirs.v3_and_below_topics);
            return;
        }
        each(&ours.transactions, &theirs.transactions, |ours, theirs| {
            assert_eq!(&ours.transactional_id, text(&theirs.transactional_id));
            assert_eq!((ours.producer_id, ours.producer_epoch), (*theirs.producer_id, theirs.producer_epoch));
            assert_eq!(ours.verify_only, theirs.verify_only);
            topics(&ours.topics, &theirs.topics);
        });
    });
}

#[test]
fn add_offsets_to_txn() {
    use txn::add_offsets::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::AddOffsetsToTxnRequest| {
        assert_eq!(&ours.transactional_id, text(&theirs.transactional_id));
        assert_eq!((ours.producer_id, ours.producer_epoch), (*theirs.producer_id, theirs.producer_epoch));
        assert_eq!(&ours.group_id, text(&theirs.group_id));
    });
}

#[test]
fn end_txn() {
    use txn::end::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::EndTxnRequest| {
        assert_eq!(&ours.transactional_id, text(&theirs.transactional_id));
        assert_eq!((ours.producer_id, ours.producer_epoch), (*theirs.producer_id, theirs.producer_epoch));
        assert_eq!(ours.committed, theirs.committed);
    });
}

#[test]
fn describe_transactions() {
    use txn::describe::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::DescribeTransactionsRequest| {
        each(&ours.transactional_ids, &theirs.transactional_ids, |ours, theirs| {
            assert_eq!(ours, text(theirs));
        });
    });
}

#[test]
fn list_transactions() {
    use txn::list::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::ListTransactionsRequest| {
        assert_eq!(ours.state_filters, theirs.state_filters);
        each(&ours.producer_id_filters, &theirs.producer_id_filters, |ours, theirs| {
            assert_eq!(*ours, **theirs);
        });
        assert_eq!(ours.duration_filter, theirs.duration_filter);
        assert_eq!(ours.transactional_id_pattern, theirs.transactional_id_pattern);
    });
}

#[test]
fn api_versions() {
    use session::api_versions::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::ApiVersionsRequest| {
        assert_eq!(ours.client_software_name, theirs.client_software_name);
        assert_eq!(ours.client_software_version, theirs.client_software_version);
    });
}

#[test]
fn describe_cluster() {
    use admin::cluster::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::DescribeClusterRequest| {
        assert_eq!(ours.include_cluster_authorized_operations, theirs.include_cluster_authorized_operations);
        assert_eq!(ours.endpoint_type, theirs.endpoint_type);
        assert_eq!(ours.include_fenced_brokers, theirs.include_fenced_brokers);
    });
}

#[test]
fn describe_configs() {
    use admin::configs::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::DescribeConfigsRequest| {
        assert_eq!(ours.include_synonyms, theirs.include_synonyms);
        assert_eq!(ours.include_documentation, theirs.include_documentation);
        each(&ours.resources, &theirs.resources, |ours, theirs| {
            assert_eq!(
                (ours.resource_type, &ours.resource_name),
                (theirs.resource_type, &theirs.resource_name)
            );
            assert_eq!(ours.configuration_keys, theirs.configuration_keys);
        });
    });
}

#[test]
fn alter_configs() {
    use admin::alter_configs::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::AlterConfigsRequest| {
        assert_eq!(ours.validate_only, theirs.validate_only);
        each(&ours.resources, &theirs.resources, |ours, theirs| {
            assert_eq!(
                (ours.resource_type, &ours.resource_name),
                (theirs.resource_type, &theirs.resource_name)
            );
            each(&ours.configs, &theirs.configs, |ours, theirs| {
                assert_eq!((&ours.name, &ours.value), (&theirs.name, &theirs.value));
            });
        });
    });
}

#[test]
fn incremental_alter_configs() {
    use admin::incremental_alter_configs::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::IncrementalAlterConfigsRequest| {
        assert_eq!(ours.validate_only, theirs.validate_only);
        each(&ours.resources, &theirs.resources, |ours, theirs| {
            assert_eq!(
                (ours.resource_type, &ours.resource_name),
                (theirs.resource_type, &theirs.resource_name)
            );
            each(&ours.configs, &theirs.configs, |ours, theirs| {
                assert_eq!((&ours.name, &ours.value), (&theirs.name, &theirs.value));
                assert_eq!(ours.config_operation, theirs.config_operation);
            });
        });
    });
}

#[test]
fn describe_log_dirs() {
    use admin::log_dirs::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::DescribeLogDirsRequest| {
        each_if_any(ours.topics.as_ref(), theirs.topics.as_ref(), |ours, theirs| {
            assert_eq!((&ours.name, &ours.partitions), (text(&theirs.topic), &theirs.partitions));
        });
    });
}

#[test]
fn delete_records() {
    use data::delete_records::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::DeleteRecordsRequest| {
        assert_eq!(ours.timeout_ms, theirs.timeout_ms);
        each(&ours.topics, &theirs.topics, |ours, theirs| {
            assert_eq!(&ours.name, text(&theirs.name));
            each(&ours.partitions, &theirs.partitions, |ours, theirs| {
                assert_eq!((ours.index, ours.offset), (theirs.partition_index, theirs.offset));
            });
        });
    });
}

#[test]
fn describe_producers() {
    use data::describe_producers::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::DescribeProducersRequest| {
        each(&ours.topics, &theirs.topics, |ours, theirs| {
            assert_eq!((&ours.name, &ours.partitions), (text(&theirs.name), &theirs.partition_indexes));
        });
    });
}

#[test]
fn write_txn_markers() {
    use txn::write_markers::{Request, SPEC};
    check(SPEC, Request::decode, |_, ours, theirs: &theirs::WriteTxnMarkersRequest| {
        each(&ours.markers, &theirs.markers, |ours, theirs| {
            assert_eq!((ours.producer_id, ours.producer_epoch), (*theirs.producer_id, theirs.producer_epoch));
            assert_eq!(
                (ours.commit, ours.coordinator_epoch),
                (theirs.transaction_result, theirs.coordinator_epoch)
            );
            assert_eq!(ours.transaction_version, 0, "v2 has it");
            each(&ours.topics, &theirs.topics, |ours, theirs| {
                assert_eq!((&ours.name, &ours.partitions), (text(&theirs.name), &theirs.partition_indexes));
            });
        });
    });
}

#[test]
fn names_and_records_are_slices_of_the_frame() {
    let frame = Bytes::from(
        b"\xff\xff\x00\x01\x00\x00\x00\x05\0\0\0\x01\0\x02ab\0\0\0\x01\0\0\0\x07\0\0\0\x03xyz".to_vec(),
    );
    let mut reader = streamd::wire::Reader::new(&frame, false);
    let request = data::produce::Request::decode(&mut reader, 3).unwrap();
    let within = |part: &[u8]| frame.as_ptr_range().contains(&part.as_ptr());
    let records = request.topics[0].partitions[0].records.clone().unwrap();
    assert!(within(request.topics[0].name.as_bytes()) && within(&records));
    assert_eq!(&records[..], b"xyz");
}
