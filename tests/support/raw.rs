//! A Kafka connection without a client behind it: tests write frames of their own and see the answers as they come.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, CreateTopicsRequest, FetchRequest, FetchResponse, MetadataRequest, ProduceRequest,
    ProduceResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable as _, Request, StrBytes};
use streamd::record::batch::BatchView;
use streamd::record::build::{BatchBuilder, NewRecord};

/// How long an answer may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection.
pub struct Connection {
    pub stream: TcpStream,
    client: String,
    next: i32,
}

impl Connection {
    /// Connects to `127.0.0.1:PORT`.
    pub fn to(address: &str) -> Self {
        Self::try_to(address).expect("the broker accepts a connection")
    }

    pub fn try_to(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, client: "raw".to_owned(), next: 0 })
    }

    /// Calls itself this from now on.
    pub fn named(mut self, client: &str) -> Self {
        client.clone_into(&mut self.client);
        self
    }

    /// Another hand on the same connection: one may write while the other reads.
    pub fn another(&self) -> Self {
        let stream = self.stream.try_clone().expect("a second handle");
        Self { stream, client: self.client.clone(), next: self.next }
    }

    /// How long the next answers may take.
    pub fn patience(&self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).expect("a timeout can be set");
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a request and returns its correlation id.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> io::Result<i32> {
        let (id, frame) = self.frame(version, request);
        self.write(&frame)?;
        Ok(id)
    }

    /// The bytes of a request, length and all, not sent.
    pub fn frame<R: Request>(&mut self, version: i16, request: &R) -> (i32, Vec<u8>) {
        self.next += 1;
        (self.next, frame(version, self.next, &self.client, request))
    }

    /// The next answer's frame, without its length.
    pub fn receive(&mut self) -> io::Result<Bytes> {
        let mut prefix = [0; 4];
        self.stream.read_exact(&mut prefix)?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(prefix)).expect("a length")];
        self.stream.read_exact(&mut frame)?;
        Ok(frame.into())
    }

    /// The next answer, which must be one to a request of this kind: its correlation id and itself.
    pub fn answer<R: Request>(&mut self, version: i16) -> io::Result<(i32, R::Response)> {
        Ok(decode::<R>(version, self.receive()?))
    }

    /// Asks and waits for the answer.
    pub fn ask<R: Request>(&mut self, version: i16, request: &R) -> io::Result<R::Response> {
        let id = self.send(version, request)?;
        let (answered, response) = self.answer::<R>(version)?;
        assert_eq!(answered, id, "another request was answered");
        Ok(response)
    }

    /// As [`Connection::ask`], on a connection that must work.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.ask(version, request).expect("an answer")
    }

    /// Sends no more; what is under way may still be answered.
    pub fn finish_writing(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is there");
    }

    /// Reads what is left until the broker closes, which it must do.
    pub fn read_to_close(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => rest,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => rest,
            Err(error) => panic!("the connection stays open: {error}"),
        }
    }
}

/// The bytes of a request, length and all.
pub fn frame<R: Request>(version: i16, correlation_id: i32, client: &str, request: &R) -> Vec<u8> {
    let mut frame = vec![0; 4];
    RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_string(client.to_owned())))
        .encode(&mut frame, R::header_version(version))
        .expect("a header");
    request.encode(&mut frame, version).expect("a request");
    let len = i32::try_from(frame.len() - 4).expect("a frame");
    frame[..4].copy_from_slice(&len.to_be_bytes());
    frame
}

/// Reads an answer that must be one to a request of this kind, to its end.
pub fn decode<R: Request>(version: i16, mut frame: Bytes) -> (i32, R::Response) {
    let header_version = ApiKey::try_from(R::KEY).expect("a key").response_header_version(version);
    let header = ResponseHeader::decode(&mut frame, header_version).expect("a response header");
    let response = R::Response::decode(&mut frame, version).expect("a response");
    assert!(!frame.has_remaining(), "{} bytes after the answer", frame.remaining());
    (header.correlation_id, response)
}

/// A topic's name as the protocol crate has it.
pub fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// Makes a topic, which must work.
pub fn create(connection: &mut Connection, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
    let response = connection.call(5, &create_request(topic, partitions, settings));
    assert_eq!(response.topics[0].error_code, 0, "{response:?}");
}

/// A request that makes a topic.
pub fn create_request(topic: &str, partitions: i32, settings: &[(&str, &str)]) -> CreateTopicsRequest {
    let configs = settings.iter().map(|(key, value)| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_string((*key).to_owned()))
            .with_value(Some(StrBytes::from_string((*value).to_owned())))
    });
    let topic = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(configs.collect());
    CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000)
}

/// Whether the broker answers on this connection.
pub fn is_served(connection: &mut Connection) -> bool {
    connection.ask(9, &MetadataRequest::default().with_topics(Some(Vec::new()))).is_ok()
}

/// A batch of these values, of no producer.
pub fn batch(values: &[&[u8]]) -> Bytes {
    build(BatchBuilder::new(), values)
}

/// A batch of these values by an idempotent producer.
pub fn batch_of(producer_id: i64, epoch: i16, sequence: i32, values: &[&[u8]]) -> Bytes {
    build(BatchBuilder::new().producer(producer_id, epoch, sequence), values)
}

fn build(mut builder: BatchBuilder, values: &[&[u8]]) -> Bytes {
    for value in values {
        builder.push(&NewRecord { timestamp: 1_700_000_000_000, value: Some(value), ..NewRecord::default() });
    }
    builder.build().expect("a batch")
}

/// A request that appends one batch.
pub fn produce(topic: &str, partition: i32, acks: i16, records: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(acks)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic])
}

/// A request that appends one batch to each of these partitions.
pub fn produce_to(topic: &str, batches: impl Iterator<Item = (i32, Bytes)>, acks: i16) -> ProduceRequest {
    let data = batches.map(|(partition, records)| {
        PartitionProduceData::default().with_index(partition).with_records(Some(records))
    });
    let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(data.collect());
    ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(acks)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic])
}

/// The error and the base offset of an answer about one partition.
pub fn produced(response: &ProduceResponse) -> (i16, i64) {
    let partition = &response.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}

/// A request, outside of sessions, that reads one partition.
pub fn fetch(topic: &str, partition: i32, offset: i64, max_wait_ms: i32) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(8 << 20);
    let topic = FetchTopic::default().with_topic(name(topic)).with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_wait_ms(max_wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(8 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// A request, outside of sessions, that reads these partitions, each from its offset.
pub fn fetch_from(topic: &str, places: impl Iterator<Item = (i32, i64)>) -> FetchRequest {
    let mut request = fetch(topic, 0, 0, 0);
    let like = request.topics[0].partitions[0].clone();
    let partition = |(index, offset)| like.clone().with_partition(index).with_fetch_offset(offset);
    request.topics[0].partitions = places.map(partition).collect();
    request
}

/// One record of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub offset: i64,
    pub value: Vec<u8>,
}

/// The error, the high watermark and the records from `offset` on of an answer about one partition. Every batch must
/// be whole and sound.
pub fn fetched(response: &FetchResponse, offset: i64) -> (i16, i64, Vec<Read>) {
    let partition = &response.responses[0].partitions[0];
    let records = records(&partition.records.clone().unwrap_or_default(), offset);
    (partition.error_code, partition.high_watermark, records)
}

/// The records from `offset` on of whole batches.
pub fn records(mut bytes: &[u8], offset: i64) -> Vec<Read> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let view = BatchView::parse(bytes).expect("a whole batch");
        assert!(view.crc_ok(), "a batch with a wrong CRC at {}", view.header().base_offset);
        let header = *view.header();
        for record in &view.records(64 << 20).expect("records") {
            let record = record.expect("a sound record");
            if record.offset >= offset {
                found.push(Read { offset: record.offset, value: record.value.unwrap_or_default().to_vec() });
            }
        }
        bytes = &bytes[header.total_len()..];
    }
    found
}

/// Everything in a partition that readers may see.
pub fn read_all(connection: &mut Connection, topic: &str, partition: i32) -> Vec<Read> {
    read_from(connection, topic, partition, 0)
}

/// Everything from `offset` on in a partition that readers may see.
pub fn read_from(connection: &mut Connection, topic: &str, partition: i32, offset: i64) -> Vec<Read> {
    let mut all: Vec<Read> = Vec::new();
    loop {
        let next = all.last().map_or(offset, |read| read.offset + 1);
        let response = connection.call(11, &fetch(topic, partition, next, 0));
        let (error, end, mut records) = fetched(&response, next);
        assert_eq!(error, 0, "fetch of {topic}-{partition} at {next}");
        if records.is_empty() {
            assert!(next >= end, "nothing at {next}, below the high watermark {end}");
            return all;
        }
        all.append(&mut records);
    }
}
