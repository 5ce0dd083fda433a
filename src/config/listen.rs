//! Addresses: what is bound, and what clients are told.

use std::fmt;

/// A host and a port, as written: the host may be a name or an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A name or an address without brackets; empty means every interface (bound) or "auto" (advertised).
    pub host: String,
    /// The port; 0 means a free one (bound) or the bound one (advertised).
    pub port: u16,
}

/// One address that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Kafka's listener name (`PLAINTEXT` unless `listeners` gives another); unique.
    pub name: String,
    /// What is bound.
    pub bind: HostPort,
    /// What clients that came in here are told.
    pub advertise: Advertise,
}

/// The address that answers to clients name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advertise {
    /// For each connection the address that works the way it came in: its own local address.
    Auto,
    /// Always this one.
    Address(HostPort),
    /// By the peer: `internal` for this machine's and this subnet's, `external` for others; `None` is as `Auto`.
    ByOrigin {
        /// For peers on this machine or on the same subnet.
        internal: Option<HostPort>,
        /// For all others.
        external: Option<HostPort>,
    },
}

/// The settings that make up the listeners, as text.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// `listen.kafka` or `listeners`.
    pub(super) listeners: &'a str,
    /// `listener.security.protocol.map`.
    pub(super) protocols: &'a str,
    /// `controller.listener.names`.
    pub(super) controllers: &'a str,
    /// `listen.advertise` or `advertised.listeners`.
    pub(super) advertise: &'a str,
    /// `listen.advertise.internal`.
    pub(super) internal: Option<&'a str>,
    /// `listen.advertise.external`.
    pub(super) external: Option<&'a str>,
}

/// What is wrong with the listeners, and the setting to blame.
#[derive(Debug, PartialEq)]
pub(super) struct ListenFault {
    /// The setting.
    pub(super) key: &'static str,
    /// What is wrong, and what to do.
    pub(super) text: String,
}

impl Wanted<'_> {
    /// The listeners, each with what its clients are told.
    pub(super) fn resolve(&self) -> Result<Vec<Listener>, ListenFault> {
        let mut listeners = self.bound()?;
        for (index, listener) in listeners.iter().enumerate() {
            let same = |other: &Listener| {
                other.name == listener.name || (other.bind == listener.bind && listener.bind.port != 0)
            };
            if listeners.iter().take(index).any(same) {
                let text = format!("{}://{} is listed twice", listener.name, listener.bind);
                return Err(ListenFault { key: "listen.kafka", text });
            }
        }
        self.tell(&mut listeners)?;
        Ok(listeners)
    }

    fn bound(&self) -> Result<Vec<Listener>, ListenFault> {
        let fault = |text: String| ListenFault { key: "listen.kafka", text };
        let controllers: Vec<&str> = elements(self.controllers).collect();
        let mut listeners: Vec<Listener> = Vec::new();
        for element in elements(self.listeners) {
            let (scheme, address) = element.split_once("://").unwrap_or(("plain", element));
            if controllers.contains(&scheme) {
                continue;
            }
            let name = self.name(scheme, listeners.len()).map_err(fault)?;
            let bind = HostPort::parse(address)
                .ok_or_else(|| fault(format!("\"{element}\" must be host:port or plain://host:port")))?;
            listeners.push(Listener { name, bind, advertise: Advertise::Auto });
        }
        if listeners.is_empty() {
            return Err(fault("there must be at least one listener for clients".to_owned()));
        }
        Ok(listeners)
    }

    /// The listener's name, if its protocol is one that can be spoken.
    fn name(&self, scheme: &str, index: usize) -> Result<String, String> {
        let protocol = match scheme {
            "plain" => "PLAINTEXT",
            "tls" => "SSL",
            name => elements(self.protocols)
                .filter_map(|pair| pair.split_once(':'))
                .find(|(mapped, _)| mapped.trim().eq_ignore_ascii_case(name))
                .map(|(_, protocol)| protocol.trim())
                .ok_or_else(|| {
                    format!("listener {name} has no protocol in listener.security.protocol.map")
                })?,
        };
        match protocol.to_ascii_uppercase().as_str() {
            "PLAINTEXT" if scheme == "plain" && index == 0 => Ok("PLAINTEXT".to_owned()),
            "PLAINTEXT" if scheme == "plain" => Ok(format!("PLAINTEXT_{}", index + 1)),
            "PLAINTEXT" => Ok(scheme.to_ascii_uppercase()),
            other => Err(format!(
                "listener {scheme} speaks {other}: TLS and SASL are not available in this version of streamd"
            )),
        }
    }

    /// Gives each listener what its clients are told.
    fn tell(&self, listeners: &mut [Listener]) -> Result<(), ListenFault> {
        let fault = |text: String| ListenFault { key: "listen.advertise", text };
        if self.internal.is_some() || self.external.is_some() {
            let read = |text: Option<&str>| text.and_then(HostPort::parse);
            let (internal, external) = (read(self.internal), read(self.external));
            for listener in listeners {
                listener.advertise =
                    Advertise::ByOrigin { internal: internal.clone(), external: external.clone() };
            }
            return Ok(());
        }
        if self.advertise == "auto" || self.advertise.is_empty() {
            return Ok(());
        }
        for element in elements(self.advertise) {
            let (name, address) = element.split_once("://").map_or((None, element), |(n, a)| (Some(n), a));
            if name.is_some_and(|name| elements(self.controllers).any(|controller| controller == name)) {
                continue;
            }
            let told = HostPort::parse_loose(address)
                .ok_or_else(|| fault(format!("\"{element}\" must be host:port or NAME://host:port")))?;
            if told.host == "0.0.0.0" || told.host == "::" {
                return Err(fault(format!(
                    "clients cannot connect to {}: name an address that they can reach, or auto",
                    told.host
                )));
            }
            let named = |listener: &&mut Listener| {
                name.is_none_or(|name| {
                    let name = if name == "plain" { "PLAINTEXT" } else { name };
                    listener.name.eq_ignore_ascii_case(name)
                })
            };
            let mut found = false;
            for listener in listeners.iter_mut().filter(named) {
                found = true;
                if !told.host.is_empty() {
                    listener.advertise = Advertise::Address(told.clone());
                }
            }
            if !found {
                return Err(fault(format!("{} is not among the listeners", name.unwrap_or(element))));
            }
        }
        Ok(())
    }
}

/// Whether this can be a value of `listen.kafka`: addresses, each with a port.
pub(super) fn is_list(text: &str) -> bool {
    elements(text).all(|element| {
        let address = element.split_once("://").map_or(element, |(_, address)| address);
        HostPort::parse(address).is_some()
    })
}

/// A list of listeners, the first that clients use on another port. What has no port stays as it is.
pub(super) fn with_port(list: &str, controllers: &str, port: u16) -> String {
    let is_controller = |element: &str| {
        let scheme = element.split_once("://").map(|(scheme, _)| scheme);
        scheme.is_some_and(|scheme| elements(controllers).any(|controller| controller == scheme))
    };
    let first = elements(list).position(|element| !is_controller(element));
    let moved = elements(list).enumerate().map(|(index, element)| match element.rsplit_once(':') {
        Some((address, _)) if Some(index) == first => format!("{address}:{port}"),
        _ => element.to_owned(),
    });
    moved.collect::<Vec<_>>().join(",")
}

/// The elements of a list between commas, without empty ones.
fn elements(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|element| !element.is_empty())
}

impl HostPort {
    /// Reads `host:port`, `[v6]:port` or `:port`.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.trim().rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').filter(|inner| inner.contains(':'))?,
            None if host.contains([':', '/', ' ']) => return None,
            None => host,
        };
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }

    /// Reads a host without a port as well; the port is then 0.
    fn parse_loose(text: &str) -> Option<Self> {
        Self::parse(text).or_else(|| Self::parse(&format!("{text}:0")))
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Advertise {
    /// Whether this can be a value of `listen.advertise`.
    pub(super) fn check(text: &str) -> bool {
        text == "auto"
            || elements(text).all(|element| {
                let address = element.split_once("://").map_or(element, |(_, address)| address);
                HostPort::parse_loose(address).is_some()
            })
    }
}

#[cfg(test)]
#[path = "listen_tests.rs"]
mod tests;
