//! The client: finds brokers, keeps a connection per broker and purpose, and sends each question to where it belongs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::protocol::Request;
use parking_lot::Mutex;

use super::connection::Connection;
use super::metadata::{self, Metadata, Wanted};
use super::retry::retry;
use super::versions::Ceilings;
use super::{Address, Error};

/// How to reach a cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// Brokers to ask first.
    pub brokers: Vec<Address>,
    /// What this client calls itself.
    pub client_id: String,
    /// How long one operation may take, tries that fail included.
    pub timeout: Duration,
    /// A highest version for some APIs, by key: to speak as an older client would.
    pub ceilings: Ceilings,
}

/// A Kafka client. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Client(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: Options,
    connections: Mutex<HashMap<(Node, Lane), Arc<Connection>>>,
    known: Mutex<Known>,
}

/// What the last Metadata answer said about the cluster.
#[derive(Debug, Default)]
struct Known {
    brokers: BTreeMap<i32, Address>,
    controller: Option<i32>,
    /// Who said it.
    from: Option<String>,
    /// Addresses where a connection came about at some time.
    reached: HashSet<String>,
}

/// A broker as connections are kept by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Node {
    /// One that the user named; its id does not matter.
    Named(Address),
    /// One that the cluster named.
    Id(i32),
}

/// What a connection is for. Answers come in the order of the questions, so what may wait long has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// Questions that are answered at once.
    Questions,
    /// Fetches, which wait for records.
    Fetches,
    /// Records to store.
    Produces,
    /// Joins, which wait for other members, and heartbeats.
    Group,
}

/// Whom to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// Any broker.
    Any,
    /// The one that takes questions of administration.
    Controller,
    /// This one.
    Broker(i32),
}

impl Client {
    /// A client that has reached a broker.
    ///
    /// # Errors
    /// No broker can be reached, or what is reached is no Kafka broker.
    pub async fn connect(options: Options) -> Result<Self, Error> {
        let connections = Mutex::new(HashMap::new());
        let client = Self(Arc::new(Shared { options, connections, known: Mutex::default() }));
        client.metadata(Wanted::None, false).await?;
        Ok(client)
    }

    /// What this client was made with.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// Brokers and topics. With `create`, topics that do not exist are created if the brokers are set to do so.
    ///
    /// # Errors
    /// No answer.
    pub async fn metadata(&self, wanted: Wanted<'_>, create: bool) -> Result<Metadata, Error> {
        retry(self, async || self.metadata_once(wanted, create).await).await
    }

    /// As [`Client::metadata`], but tried only once.
    pub(super) async fn metadata_once(&self, wanted: Wanted<'_>, create: bool) -> Result<Metadata, Error> {
        let connection = Box::pin(self.connection(At::Any, Lane::Questions)).await?;
        let make = |version| metadata::request(version, wanted, create);
        let answer = connection.call(self.0.options.timeout, make).await?;
        let metadata = metadata::read(answer)?;
        let mut known = self.0.known.lock();
        known.brokers.clone_from(&metadata.brokers);
        known.controller = metadata.controller;
        known.from = Some(connection.address().to_owned());
        Ok(metadata)
    }

    /// Asks one broker, once.
    pub(super) async fn call<R: Request>(
        &self,
        at: At,
        lane: Lane,
        make: impl FnOnce(i16) -> R,
    ) -> Result<R::Response, Error> {
        self.call_within(at, lane, self.0.options.timeout, make).await
    }

    /// Asks one broker, once, and waits this long for the answer.
    pub(super) async fn call_within<R: Request>(
        &self,
        at: At,
        lane: Lane,
        limit: Duration,
        make: impl FnOnce(i16) -> R,
    ) -> Result<R::Response, Error> {
        let connection = Box::pin(self.connection(at, lane)).await?;
        connection.call(limit, make).await
    }

    /// A connection that works: the one that there is, or a new one.
    pub(super) async fn connection(&self, at: At, lane: Lane) -> Result<Arc<Connection>, Error> {
        match at {
            At::Broker(id) => self.to_broker(id, lane).await,
            At::Any => self.to_any(lane).await,
            At::Controller => {
                let controller = self.0.known.lock().controller;
                match controller {
                    Some(id) => self.to_broker(id, lane).await,
                    None => self.to_any(lane).await,
                }
            }
        }
    }

    /// Whether the same request may work in a moment: also when a broker cannot be reached that could be before.
    pub(super) fn may_pass(&self, error: &Error) -> bool {
        match error {
            Error::Unreachable { tried, .. } => {
                let known = self.0.known.lock();
                tried.iter().any(|(address, _)| known.reached.contains(address))
            }
            error => error.is_transient(),
        }
    }

    /// Where the cluster says a broker is: for brokers that Metadata does not list yet (FindCoordinator).
    pub(super) fn learn(&self, id: i32, address: Address) {
        self.0.known.lock().brokers.insert(id, address);
    }

    /// The brokers that the cluster has named.
    pub(super) fn broker_ids(&self) -> Vec<i32> {
        self.0.known.lock().brokers.keys().copied().collect()
    }

    async fn to_broker(&self, id: i32, lane: Lane) -> Result<Arc<Connection>, Error> {
        if let Some(connection) = self.living(&(Node::Id(id), lane)) {
            return Ok(connection);
        }
        let (address, from) = {
            let known = self.0.known.lock();
            (known.brokers.get(&id).cloned(), known.from.clone())
        };
        let Some(address) = address else {
            let reason = format!("broker {id} is not part of the cluster any more");
            return Err(Error::Lost { address: from.unwrap_or_default(), reason });
        };
        let opened = Connection::open(&address, &self.0.options).await;
        let is_named = self.0.options.brokers.contains(&address);
        let connection = opened.map_err(|error| match error {
            Error::Unreachable { tried, .. } if !is_named => {
                Error::Unreachable { tried, advertised_by: from }
            }
            error => error,
        })?;
        Ok(self.keep((Node::Id(id), lane), connection))
    }

    /// Any broker: one that is connected, else the first that can be reached of those that the user named and then of
    /// those that the cluster named.
    async fn to_any(&self, lane: Lane) -> Result<Arc<Connection>, Error> {
        let living = {
            let connections = self.0.connections.lock();
            let mut fit =
                connections.iter().filter(|((_, of), connection)| *of == lane && !connection.is_over());
            fit.next().map(|(_, connection)| Arc::clone(connection))
        };
        if let Some(connection) = living {
            return Ok(connection);
        }
        let named = &self.0.options.brokers;
        let told: Vec<_> = self.0.known.lock().brokers.values().cloned().collect();
        let mut tried = Vec::new();
        for address in named.iter().chain(told.iter().filter(|address| !named.contains(address))) {
            match Connection::open(address, &self.0.options).await {
                Ok(connection) => return Ok(self.keep((Node::Named(address.clone()), lane), connection)),
                Err(Error::Unreachable { tried: one, .. }) => tried.extend(one),
                Err(error) => return Err(error),
            }
        }
        Err(Error::Unreachable { tried, advertised_by: None })
    }

    fn living(&self, key: &(Node, Lane)) -> Option<Arc<Connection>> {
        let connections = self.0.connections.lock();
        connections.get(key).filter(|connection| !connection.is_over()).map(Arc::clone)
    }

    /// Keeps a connection, unless somebody else was faster: then theirs is used.
    fn keep(&self, key: (Node, Lane), connection: Connection) -> Arc<Connection> {
        self.0.known.lock().reached.insert(connection.address().to_owned());
        let mut connections = self.0.connections.lock();
        connections.retain(|_, connection| !connection.is_over());
        Arc::clone(connections.entry(key).or_insert_with(|| Arc::new(connection)))
    }
}
