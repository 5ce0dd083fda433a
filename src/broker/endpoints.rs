//! Which address a client is told to come back to (S14).

use std::net::{IpAddr, SocketAddr};

use crate::config::{Advertise, HostPort, Listener};

/// A host and a port as metadata answers carry them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an address without brackets.
    pub host: String,
    /// The port.
    pub port: i32,
}

/// The address that `peer`, who reached `local` through this listener, is told. `bound` is the port listened on.
pub(super) fn endpoint(listener: &Listener, bound: u16, peer: SocketAddr, local: SocketAddr) -> Endpoint {
    let auto = Endpoint { host: local.ip().to_canonical().to_string(), port: i32::from(bound) };
    match &listener.advertise {
        Advertise::Auto => auto,
        Advertise::Address(address) => given(address, auto),
        Advertise::ByOrigin { internal, external } => {
            let chosen = if is_near(peer.ip(), local.ip()) { internal } else { external };
            match chosen {
                Some(address) => given(address, auto),
                None => auto,
            }
        }
    }
}

/// An address as written; an empty host or port 0 stands for what the connection came in on.
fn given(address: &HostPort, auto: Endpoint) -> Endpoint {
    Endpoint {
        host: if address.host.is_empty() { auto.host } else { address.host.clone() },
        port: if address.port == 0 { auto.port } else { i32::from(address.port) },
    }
}

/// Whether the peer is on this machine or, by its address, on the same small network.
fn is_near(peer: IpAddr, local: IpAddr) -> bool {
    match (peer.to_canonical(), local.to_canonical()) {
        (peer, local) if peer == local || peer.is_loopback() => true,
        (IpAddr::V4(peer), IpAddr::V4(local)) => peer.octets()[..3] == local.octets()[..3],
        (IpAddr::V6(peer), IpAddr::V6(local)) => peer.segments()[..4] == local.segments()[..4],
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(advertise: Advertise, peer: &str) -> String {
        let bind = HostPort { host: "0.0.0.0".to_owned(), port: 0 };
        let listener = Listener { name: "PLAINTEXT".to_owned(), bind, advertise };
        let local = "10.0.0.5:9092".parse().unwrap();
        let endpoint = endpoint(&listener, 9092, peer.parse().unwrap(), local);
        format!("{}:{}", endpoint.host, endpoint.port)
    }

    fn address(host: &str, port: u16) -> HostPort {
        HostPort { host: host.to_owned(), port }
    }

    #[test]
    fn s14_auto_answers_with_the_address_that_worked() {
        assert_eq!(told(Advertise::Auto, "10.9.9.9:1"), "10.0.0.5:9092");
    }

    #[test]
    fn s14_a_given_address_is_told_to_everyone() {
        assert_eq!(told(Advertise::Address(address("kafka", 0)), "10.9.9.9:1"), "kafka:9092");
    }

    #[test]
    fn s14_by_origin_tells_neighbours_and_strangers_apart() {
        let by = || Advertise::ByOrigin {
            internal: Some(address("kafka", 9092)),
            external: Some(address("broker.example.com", 443)),
        };
        assert_eq!(told(by(), "10.0.0.77:1"), "kafka:9092");
        assert_eq!(told(by(), "203.0.113.7:1"), "broker.example.com:443");
    }
}
