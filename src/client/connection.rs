//! A connection to one broker that has told its versions: typed questions and answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable as _, HeaderVersion, Request, StrBytes};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::cluster::Options;
use super::link::Link;
use super::versions::{NoCommonVersion, Versions, api_name};
use super::{Address, Error, Trouble};
use crate::types::ErrorCode;
use crate::types::offset::saturate_i32;

/// How long a connection may take to come about.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// The newest ApiVersions that this client asks with.
const API_VERSIONS_MAX: i16 = 4;
const LENGTH_BYTES: usize = 4;

/// A broker that answers.
#[derive(Debug)]
pub(super) struct Connection {
    address: Arc<str>,
    client_id: StrBytes,
    link: Link,
    versions: Versions,
    next_id: AtomicI32,
}

impl Connection {
    /// Connects and asks for the versions.
    pub(super) async fn open(address: &Address, options: &Options) -> Result<Self, Error> {
        let name: Arc<str> = address.to_string().into();
        let limit = options.timeout.min(CONNECT_MAX);
        let unreachable =
            |trouble| Error::Unreachable { tried: vec![(name.to_string(), trouble)], advertised_by: None };
        let connected = timeout(limit, TcpStream::connect((address.host.as_str(), address.port))).await;
        let socket = connected
            .map_err(|_| unreachable(Trouble::NoAnswer(limit)))?
            .map_err(|error| unreachable(Trouble::from(&error)))?;
        // Requests are written whole; without this the kernel would hold a small one back for the last one's answer.
        let _only_slower = socket.set_nodelay(true);
        let mut connection = Self {
            client_id: StrBytes::from_string(options.client_id.clone()),
            link: Link::new(socket, Arc::clone(&name)),
            address: name,
            versions: Versions::default(),
            next_id: AtomicI32::new(1),
        };
        let answer = connection.ask_versions(limit).await?;
        connection.versions = Versions::new(&answer, options.ceilings);
        Ok(connection)
    }

    /// Asks, in the highest version that both sides know, and waits at most `limit` for the answer.
    pub(super) async fn call<R: Request>(
        &self,
        limit: Duration,
        make: impl FnOnce(i16) -> R,
    ) -> Result<R::Response, Error> {
        let version = self.version::<R>()?;
        let body = self.exchange(&make(version), version, limit).await?;
        self.decode::<R::Response>(R::KEY, version, body)
    }

    /// Sends what has no answer: a Produce with `acks=0`.
    pub(super) async fn post<R: Request>(&self, make: impl FnOnce(i16) -> R) -> Result<(), Error> {
        let version = self.version::<R>()?;
        let (frame, _) = self.encode(&make(version), version)?;
        self.link.post(frame).await
    }

    /// Whether the broker offers an API in a version that this client speaks.
    pub(super) fn knows<R: Request>(&self) -> bool {
        self.versions.knows::<R>()
    }

    /// The levels that the cluster has agreed on (KIP-584), by name.
    pub(super) fn features(&self) -> &BTreeMap<String, i16> {
        self.versions.features()
    }

    /// The version that requests of this kind are sent in, if there is one.
    pub(super) fn spoken<R: Request>(&self) -> Option<i16> {
        self.versions.pick::<R>().ok()
    }

    /// The broker's address, as it was connected to.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Whether the connection is of no use any more.
    pub(super) fn is_over(&self) -> bool {
        self.link.is_over()
    }

    fn version<R: Request>(&self) -> Result<i16, Error> {
        self.versions.pick::<R>().map_err(|NoCommonVersion { wanted, offered }| {
            let range = |(min, max)| format!("{min} to {max}");
            Error::Unsupported {
                address: self.address.to_string(),
                api: api_name(R::KEY),
                wanted: range(wanted),
                offered: offered.map_or_else(|| "none".to_owned(), range),
            }
        })
    }

    /// ApiVersions, which a broker that does not know our version answers in version 0, with error 35 (KIP-511).
    async fn ask_versions(&self, limit: Duration) -> Result<ApiVersionsResponse, Error> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("streamd"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let body = self.exchange(&request, API_VERSIONS_MAX, limit).await?;
        let too_new = body.get(LENGTH_BYTES..).and_then(<[u8]>::first_chunk)
            == Some(&ErrorCode::UnsupportedVersion.code().to_be_bytes());
        let (body, version) = if too_new {
            (self.exchange(&ApiVersionsRequest::default(), 0, limit).await?, 0)
        } else {
            (body, API_VERSIONS_MAX)
        };
        let answer: ApiVersionsResponse = self.decode(ApiVersionsRequest::KEY, version, body)?;
        Error::check(format!("agree on versions with {}", self.address), answer.error_code, None)?;
        Ok(answer)
    }

    async fn exchange<R: Request>(&self, request: &R, version: i16, limit: Duration) -> Result<Bytes, Error> {
        let (frame, id) = self.encode(request, version)?;
        match timeout(limit, self.link.exchange(frame, id)).await {
            Ok(answer) => answer,
            Err(_) => {
                let error = Error::TimedOut {
                    address: self.address.to_string(),
                    api: api_name(R::KEY),
                    waited: limit,
                };
                // Answers come in order: behind one that does not come there will be none.
                self.link.close(error.clone());
                Err(error)
            }
        }
    }

    fn encode<R: Request>(&self, request: &R, version: i16) -> Result<(Bytes, i32), Error> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let frame =
            request_frame(request, version, id, &self.client_id).map_err(|reason| Error::Malformed {
                address: self.address.to_string(),
                reason: format!("a {} v{version} request cannot be written: {reason}", api_name(R::KEY)),
            })?;
        Ok((frame, id))
    }

    fn decode<T: Decodable + HeaderVersion>(
        &self,
        key: i16,
        version: i16,
        mut frame: Bytes,
    ) -> Result<T, Error> {
        let header = T::header_version(version);
        let answer = ResponseHeader::decode(&mut frame, header).and_then(|_| T::decode(&mut frame, version));
        let answer = match answer {
            Ok(_) if frame.has_remaining() => Err(format!("{} bytes are left over", frame.remaining())),
            Ok(answer) => Ok(answer),
            Err(error) => Err(error.to_string()),
        };
        answer.map_err(|reason| Error::Malformed {
            address: self.address.to_string(),
            reason: format!("its {} v{version} answer cannot be read: {}", api_name(key), reason.trim_end()),
        })
    }
}

/// A request as it goes over the wire, its length in front.
pub(super) fn request_frame<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: &StrBytes,
) -> Result<Bytes, String> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(client_id.clone()));
    let size = request.compute_size(version).map_err(|error| error.to_string())?;
    let mut frame = BytesMut::with_capacity(LENGTH_BYTES + 64 + client_id.len() + size);
    frame.put_i32(0);
    header.encode(&mut frame, R::header_version(version)).map_err(|error| error.to_string())?;
    request.encode(&mut frame, version).map_err(|error| error.to_string())?;
    let length =
        i32::try_from(frame.len() - LENGTH_BYTES).map_err(|_| "it is larger than 2 GiB".to_owned())?;
    if let Some(prefix) = frame.first_chunk_mut() {
        *prefix = length.to_be_bytes();
    }
    Ok(frame.freeze())
}

/// A duration as requests carry it, in milliseconds.
pub(super) fn millis(duration: Duration) -> i32 {
    saturate_i32(duration.as_millis())
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
