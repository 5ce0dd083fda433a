//! A broker that lies: a proxy in front of a real one that keeps no promise of a certain kind.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    ApiKey, EndTxnRequest, FetchRequest, GroupId, OffsetCommitRequest, RequestHeader, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};

use crate::support::raw::Connection;

/// One request of so many is met by the fault.
const EVERY: i32 = 7;

/// What is wrong with the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Commits are acknowledged and come to nothing.
    CommitsNothing,
    /// Aborts let records be seen.
    CommitsAborted,
    /// Readers of committed records are given all that there is.
    ReadsUncommitted,
    /// Offsets of a transaction are acknowledged and lost.
    LosesOffsets,
    /// Offsets of a transaction are seen before its commit.
    EarlyOffsets,
}

/// Starts a proxy before the broker at this address; returns its own.
pub(crate) fn start(broker: &str, fault: Fault) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let broker = broker.to_owned();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(upstream) = TcpStream::connect(&broker) else { return };
            let broker = broker.clone();
            thread::spawn(move || {
                // The broker's end is the client's end.
                let _ended = serve(&client, &upstream, &broker, fault);
                let _ = client.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

fn serve(client: &TcpStream, upstream: &TcpStream, broker: &str, fault: Fault) -> io::Result<()> {
    loop {
        let frame = spoil(receive(client)?, broker, fault);
        send(upstream, &frame)?;
        send(client, &receive(upstream)?)?;
    }
}

/// The request as the fault lets it through.
fn spoil(frame: Bytes, broker: &str, fault: Fault) -> Bytes {
    let (key, version) = (i16::from_be_bytes([frame[0], frame[1]]), i16::from_be_bytes([frame[2], frame[3]]));
    let correlation = i32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]);
    let due = correlation % EVERY == 0;
    let Ok(api) = ApiKey::try_from(key) else { return frame };
    match (fault, api) {
        (Fault::CommitsNothing, ApiKey::EndTxn) if due => {
            change::<EndTxnRequest>(&frame, version, |request| request.committed = false)
        }
        (Fault::CommitsAborted, ApiKey::EndTxn) => {
            change::<EndTxnRequest>(&frame, version, |request| request.committed = true)
        }
        (Fault::ReadsUncommitted, ApiKey::Fetch) => {
            change::<FetchRequest>(&frame, version, |request| request.isolation_level = 0)
        }
        (Fault::LosesOffsets, ApiKey::TxnOffsetCommit) if due => {
            change::<TxnOffsetCommitRequest>(&frame, version, |request| {
                request.group_id = GroupId(StrBytes::from_static_str("another"));
            })
        }
        (Fault::EarlyOffsets, ApiKey::TxnOffsetCommit) => {
            change::<TxnOffsetCommitRequest>(&frame, version, |request| commit_at_once(request, broker))
        }
        _ => frame,
    }
}

/// The same request with other content.
fn change<R: Request + Decodable + Encodable>(
    frame: &Bytes,
    version: i16,
    edit: impl FnOnce(&mut R),
) -> Bytes {
    let mut rest = frame.clone();
    let header_version = R::header_version(version);
    let header = RequestHeader::decode(&mut rest, header_version).expect("a request header");
    let mut request = R::decode(&mut rest, version).expect("a request");
    edit(&mut request);
    let mut changed = BytesMut::new();
    header.encode(&mut changed, header_version).expect("a request header");
    request.encode(&mut changed, version).expect("a request");
    changed.freeze()
}

/// Commits the offsets of a transaction outside of it.
fn commit_at_once(request: &TxnOffsetCommitRequest, broker: &str) {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            OffsetCommitRequestPartition::default()
                .with_partition_index(partition.partition_index)
                .with_committed_offset(partition.committed_offset)
        });
        OffsetCommitRequestTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    let commit =
        OffsetCommitRequest::default().with_group_id(request.group_id.clone()).with_topics(topics.collect());
    Connection::to(broker).call(7, &commit);
}

fn receive(mut stream: &TcpStream) -> io::Result<Bytes> {
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let mut frame = vec![0; usize::try_from(u32::from_be_bytes(len)).expect("a length")];
    stream.read_exact(&mut frame)?;
    Ok(frame.into())
}

fn send(mut stream: &TcpStream, frame: &[u8]) -> io::Result<()> {
    let len = u32::try_from(frame.len()).expect("a frame");
    stream.write_all(&[&len.to_be_bytes(), frame].concat())
}
