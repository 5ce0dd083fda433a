//! A broker that lies: a proxy in front of a real one that acknowledges records which the broker does not have yet. Like
//! an honest one it gives offsets in the order of arrival and passes everything on in that order; it only is some batches
//! behind with that.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable as _, Encodable as _};
use parking_lot::Mutex;
use streamd::record::batch::BatchView;

use crate::support::raw;

/// The version of the Produce requests that come.
const PRODUCE: i16 = 9;

/// What the proxy has acknowledged, in order, and the connection by which it passes that on.
struct Debt {
    next: HashMap<(String, i32), i64>,
    /// Requests that are acknowledged and not passed on, with the offset that was told.
    held: VecDeque<(Bytes, i64)>,
    /// How many of them there may be.
    held_max: usize,
    broker: TcpStream,
}

/// Starts a proxy before the broker at this address, which keeps the newest `held_max` acknowledged requests to itself;
/// with 0 it acknowledges what the broker has acknowledged. Returns its own address.
pub(crate) fn start(broker: &str, held_max: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let broker = broker.to_owned();
    let own = TcpStream::connect(&broker).expect("the broker accepts a connection");
    let debt = Debt { next: HashMap::new(), held: VecDeque::new(), held_max, broker: own };
    let debt = Arc::new(Mutex::new(debt));
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(upstream) = TcpStream::connect(&broker) else { return };
            let debt = Arc::clone(&debt);
            thread::spawn(move || {
                // The broker's end is the client's end.
                let _ended = serve(&client, &upstream, &debt);
                let _ = client.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

fn serve(mut client: &TcpStream, mut upstream: &TcpStream, debt: &Mutex<Debt>) -> io::Result<()> {
    loop {
        let frame = receive(client)?;
        let answer = if frame[..2] == [0, 0] {
            debt.lock().produce(frame)?
        } else {
            send(&mut upstream, &frame)?;
            receive(upstream)?
        };
        send(&mut client, &answer)?;
    }
}

impl Debt {
    /// Acknowledges a request of one batch.
    fn produce(&mut self, frame: Bytes) -> io::Result<Bytes> {
        let mut rest = frame.clone();
        let header = RequestHeader::decode(&mut rest, 2).expect("a request header");
        let request = ProduceRequest::decode(&mut rest, PRODUCE).expect("a produce request");
        let topic = &request.topic_data[0];
        let partition = &topic.partition_data[0];
        let records = partition.records.as_ref().expect("records");
        let count = BatchView::parse(records).expect("a batch").header().records_count;
        let next = self.next.entry((topic.name.to_string(), partition.index)).or_default();
        let base_offset = *next;
        *next += i64::from(count);
        self.held.push_back((frame, base_offset));
        while self.held.len() > self.held_max {
            self.pass_on()?;
        }
        let partition = PartitionProduceResponse::default()
            .with_index(partition.index)
            .with_base_offset(base_offset)
            .with_log_start_offset(0);
        let topic = TopicProduceResponse::default()
            .with_name(topic.name.clone())
            .with_partition_responses(vec![partition]);
        let mut answer = BytesMut::new();
        let header = ResponseHeader::default().with_correlation_id(header.correlation_id);
        header.encode(&mut answer, 1).expect("a response header");
        let response = ProduceResponse::default().with_responses(vec![topic]);
        response.encode(&mut answer, PRODUCE).expect("a response");
        Ok(answer.freeze())
    }

    /// Gives the broker the oldest request that it does not have, and waits for its answer.
    fn pass_on(&mut self) -> io::Result<()> {
        let Some((frame, told)) = self.held.pop_front() else { return Ok(()) };
        send(&mut &self.broker, &frame)?;
        let (_, response) = raw::decode::<ProduceRequest>(PRODUCE, receive(&self.broker)?);
        assert_eq!(raw::produced(&response), (0, told), "the offset that was told is the one that is given");
        Ok(())
    }
}

fn receive(mut stream: &TcpStream) -> io::Result<Bytes> {
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let mut frame = vec![0; usize::try_from(u32::from_be_bytes(len)).expect("a length")];
    stream.read_exact(&mut frame)?;
    Ok(frame.into())
}

fn send(stream: &mut &TcpStream, frame: &[u8]) -> io::Result<()> {
    let len = u32::try_from(frame.len()).expect("a frame");
    stream.write_all(&[&len.to_be_bytes(), frame].concat())
}
