//! WriteTxnMarkers (key 27), versions 1 and 2: ends transactions in partitions without their coordinator. Brokers of a
//! cluster send it to one another; here an operator does, to end a transaction that nobody else would (KIP-664).
//!
//! v2 the version of the transaction, which says how its epoch is compared (S57). Answered when no power cut takes the
//! markers back, as far as `fsync` promises that.

use std::sync::Arc;

use crate::api::{Api, Call, Started, waits};
use crate::partition::TransactionMarker;
use crate::types::ErrorCode;
use crate::wire::{ApiSpec, DecodeError, Reader, StrBytes, Writer};

/// Key, versions, form.
pub const SPEC: ApiSpec = ApiSpec { key: 27, name: "WriteTxnMarkers", min: 1, max: 2, flexible_from: 1 };

/// From this transaction version on markers have an epoch of their own.
const V2: i8 = 2;

/// A WriteTxnMarkers request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The markers.
    pub markers: Vec<Marker>,
}

/// One marker, for any number of partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// Whose transaction.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// Committed, or else aborted.
    pub commit: bool,
    /// Where.
    pub topics: Vec<Topic>,
    /// The epoch of the coordinator that decided.
    pub coordinator_epoch: i32,
    /// The transaction's version (v2); 0 before.
    pub transaction_version: i8,
}

/// One topic of a marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: StrBytes,
    /// Indexes of its partitions.
    pub partitions: Vec<i32>,
}

impl Request {
    /// Reads the body of a request of `version`.
    pub fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let request = Self { markers: r.array(|r| Marker::decode(r, version))? };
        r.end()?;
        Ok(request)
    }
}

impl Marker {
    fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let marker = Self {
            producer_id: r.i64()?,
            producer_epoch: r.i16()?,
            commit: r.bool()?,
            topics: r.array(Topic::decode)?,
            coordinator_epoch: r.i32()?,
            transaction_version: if version >= 2 { r.i8()? } else { 0 },
        };
        r.end()?;
        Ok(marker)
    }

    fn for_partitions(&self) -> TransactionMarker {
        TransactionMarker {
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            coordinator_epoch: self.coordinator_epoch,
            commit: self.commit,
            v2: self.transaction_version >= V2,
            is_own: false,
        }
    }
}

impl Topic {
    fn is_asked(&self) -> bool {
        !self.partitions.is_empty()
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let topic = Self { name: r.string()?, partitions: r.array(Reader::i32)? };
        r.end()?;
        Ok(topic)
    }
}

/// A WriteTxnMarkers response, written by hand: the protocol crate ends at v1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// What came of each marker.
    pub markers: Vec<MarkerResult>,
}

/// What came of one marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkerResult {
    /// Whose transaction.
    pub producer_id: i64,
    /// Its topics.
    pub topics: Vec<TopicResult>,
}

/// What came of a marker in one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicResult {
    /// Its name.
    pub name: StrBytes,
    /// Its partitions and their errors.
    pub partitions: Vec<(i32, ErrorCode)>,
}

impl Response {
    /// Writes the body of a response; both versions have the same.
    pub fn write(&self, w: &mut Writer<'_>, _version: i16) {
        w.array(self.markers.len());
        for marker in &self.markers {
            w.i64(marker.producer_id);
            w.array(marker.topics.len());
            for topic in &marker.topics {
                w.string(&topic.name);
                w.array(topic.partitions.len());
                for (index, error) in &topic.partitions {
                    w.i32(*index);
                    w.i16(error.code());
                    w.end();
                }
                w.end();
            }
            w.end();
        }
        w.end();
    }
}

/// Writes the markers.
pub(crate) fn start(call: &mut Call<'_>) -> Result<Started, DecodeError> {
    let request = Request::decode(&mut call.body, call.version)?;
    let (api, responder) = (Arc::clone(call.api), call.responder);
    let who = call.session.describe();
    Ok(waits(async move {
        let mut response = Response { markers: Vec::with_capacity(request.markers.len()) };
        // What names no partition is not answered.
        for marker in request.markers.iter().filter(|marker| marker.topics.iter().any(Topic::is_asked)) {
            response.markers.push(write(&api, &who, marker).await);
        }
        responder.reply_with(256, |w| response.write(w, responder.version))
    }))
}

async fn write(api: &Arc<Api>, who: &str, marker: &Marker) -> MarkerResult {
    let places = marker.topics.iter().flat_map(|topic| {
        let name: Arc<str> = Arc::from(&*topic.name);
        topic.partitions.iter().map(move |index| (Arc::clone(&name), *index))
    });
    let places: Vec<_> = places.collect();
    let outcomes = if marker.producer_id < 0 || marker.producer_epoch < 0 {
        // Nobody's transaction.
        vec![Err(ErrorCode::UnknownServerError); places.len()]
    } else {
        api.broker.write_markers(marker.for_partitions(), &places).await
    };
    for ((topic, partition), outcome) in places.iter().zip(&outcomes) {
        let (producer_id, commit) = (marker.producer_id, marker.commit);
        match outcome {
            Ok(()) => tracing::info!(
                %topic, partition, producer_id, commit, "a transaction was ended here by client {who}"
            ),
            Err(error) => tracing::warn!(
                %topic, partition, producer_id, commit, error = error.name(),
                "a transaction could not be ended here by client {who}"
            ),
        }
    }
    let mut outcomes = outcomes.into_iter();
    let topics = marker.topics.iter().filter(|topic| topic.is_asked()).map(|topic| TopicResult {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|index| {
                let outcome = outcomes.next().unwrap_or(Err(ErrorCode::UnknownServerError));
                (*index, outcome.err().unwrap_or(ErrorCode::None))
            })
            .collect(),
    });
    MarkerResult { producer_id: marker.producer_id, topics: topics.collect() }
}
