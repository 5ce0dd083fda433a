//! Broker addresses as people write them.

use std::fmt;
use std::str::FromStr;

/// The port of an address that names none.
const DEFAULT_PORT: u16 = 9092;

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing is there.
    #[error("no broker is named: write HOST:PORT, several with commas between them")]
    Empty,
    /// It has no host, or a port that is none.
    #[error("\"{0}\" is no broker address: write HOST:PORT, as in localhost:9092")]
    Malformed(String),
    /// A listener with TLS or SASL.
    #[error("\"{0}\": this client speaks PLAINTEXT only")]
    Protocol(String),
}

impl Address {
    /// Reads a list with commas between its members, as in `bootstrap.servers`.
    ///
    /// # Errors
    /// An empty list, or a member that is no address.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, AddressError> {
        let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
        let list = members.map(str::parse).collect::<Result<Vec<_>, _>>()?;
        if list.is_empty() { Err(AddressError::Empty) } else { Ok(list) }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let malformed = || AddressError::Malformed(text.to_owned());
        let bare = match text.split_once("://") {
            Some((protocol, bare)) if protocol.eq_ignore_ascii_case("plaintext") => bare,
            Some(_) => return Err(AddressError::Protocol(text.to_owned())),
            None => text,
        };
        let (host, port) = match bare.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or_else(malformed)?;
                let port = if after.is_empty() {
                    None
                } else {
                    Some(after.strip_prefix(':').ok_or_else(malformed)?)
                };
                (host, port)
            }
            // More than one colon: an IPv6 address without brackets, and so without a port.
            None => match bare.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (bare, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(malformed)?,
            None => DEFAULT_PORT,
        };
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(malformed());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, shown) in [
            ("localhost:9092", "localhost:9092"),
            ("kafka", "kafka:9092"),
            ("10.0.0.1:19092", "10.0.0.1:19092"),
            ("[::1]:9093", "[::1]:9093"),
            ("[::1]", "[::1]:9092"),
            ("fe80::1", "[fe80::1]:9092"),
            ("PLAINTEXT://kafka:29092", "kafka:29092"),
        ] {
            assert_eq!(
                text.parse::<Address>().map(|address| address.to_string()).as_deref(),
                Ok(shown),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [":9092", "kafka:", "kafka:0", "kafka:99999", "kafka:http", "[::1", "[::1]9092", "a b:1"]
        {
            assert_eq!(text.parse::<Address>(), Err(AddressError::Malformed(text.to_owned())), "{text}");
        }
        assert!(matches!("SASL_SSL://kafka:9093".parse::<Address>(), Err(AddressError::Protocol(_))));
    }

    #[test]
    fn a_list_has_commas_and_at_least_one_member() {
        let list = Address::parse_list("a:1, b:2,").unwrap();
        assert_eq!(list.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a:1", "b:2"]);
        assert_eq!(Address::parse_list(" , "), Err(AddressError::Empty));
        assert!(Address::parse_list("a:1,:").is_err());
    }
}
