//! The flags of every verb that talks to a broker, and what becomes of them: a connected client.

use std::time::Duration;

use super::exit::Ended;
use super::failure::ended;
use crate::client::{Address, Client, Options};
use crate::config::units;

/// Where a broker is looked for when nobody says.
const DEFAULT_BROKERS: &str = "localhost:9092";
/// How often a long read looks whether its topics have grown.
const METADATA_MAX_AGE: Duration = Duration::from_secs(60);
const BROKERS_VARIABLE: &str = "STREAMD_BROKERS";

/// Which brokers to talk to, and how.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct BrokerArgs {
    /// Brokers to ask first, with commas between them [env: STREAMD_BROKERS] [default: localhost:9092]
    #[arg(short, long, visible_alias = "bootstrap-server", value_name = "HOST:PORT", global = true)]
    brokers: Option<String>,
    /// A client property: brokers, client.id, request.timeout.ms or metadata.max.age.ms; may be given more than once
    #[arg(short = 'X', value_name = "KEY=VALUE", value_parser = property, global = true)]
    properties: Vec<Property>,
    /// How long to wait for a broker, tries that fail included; in seconds unless it has a unit [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = timeout, global = true)]
    timeout: Option<Duration>,
    /// Say nothing on standard error unless it is an error; lists print names only
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
}

/// A property given with `-X`, by the name that Kafka's clients or librdkafka have for it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Property {
    Brokers(String),
    ClientId(String),
    Timeout(Duration),
    MetadataMaxAge(Duration),
    /// What is so anyway.
    Plaintext,
}

impl BrokerArgs {
    /// Connects.
    pub(super) async fn connect(&self) -> Result<Client, Ended> {
        self.connect_as("streamd").await
    }

    /// The same under this client id, unless the user has said another: brokers' logs name it.
    pub(super) async fn connect_as(&self, client_id: &str) -> Result<Client, Ended> {
        let mut options = self.options(std::env::var(BROKERS_VARIABLE).ok())?;
        if !self.properties.iter().any(|one| matches!(one, Property::ClientId(_))) {
            client_id.clone_into(&mut options.client_id);
        }
        Client::connect(options).await.map_err(ended)
    }

    /// How long to rely on what topics look like.
    pub(super) fn metadata_max_age(&self) -> Duration {
        let mut said = self.properties.iter().rev();
        let said =
            said.find_map(|one| if let Property::MetadataMaxAge(age) = one { Some(*age) } else { None });
        said.unwrap_or(METADATA_MAX_AGE)
    }

    /// A remark for people, on standard error.
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            super::output::note(text);
        }
    }

    fn options(&self, environment: Option<String>) -> Result<Options, Ended> {
        let property =
            |pick: fn(&Property) -> Option<&String>| self.properties.iter().rev().find_map(pick).cloned();
        let brokers = self
            .brokers
            .clone()
            .or_else(|| property(|one| if let Property::Brokers(list) = one { Some(list) } else { None }))
            .or_else(|| environment.filter(|list| !list.trim().is_empty()))
            .unwrap_or_else(|| DEFAULT_BROKERS.to_owned());
        let client_id = property(|one| if let Property::ClientId(id) = one { Some(id) } else { None });
        let timeout = self.properties.iter().rev().find_map(|one| match one {
            Property::Timeout(timeout) => Some(*timeout),
            _ => None,
        });
        Ok(Options {
            brokers: Address::parse_list(&brokers).map_err(|error| Ended::Usage(format!("{error}.")))?,
            client_id: client_id.unwrap_or_else(|| "streamd".to_owned()),
            timeout: self.timeout.or(timeout).unwrap_or(Duration::from_secs(30)),
            ceilings: &[],
        })
    }
}

fn property(text: &str) -> Result<Property, String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    let value = value.trim().to_owned();
    match key.trim() {
        "brokers" | "bootstrap.servers" | "metadata.broker.list" => Ok(Property::Brokers(value)),
        "client.id" => Ok(Property::ClientId(value)),
        "request.timeout.ms" => millis(&value).map(Property::Timeout),
        "metadata.max.age.ms" => millis(&value).map(Property::MetadataMaxAge),
        "security.protocol" if value.eq_ignore_ascii_case("plaintext") => Ok(Property::Plaintext),
        "security.protocol" => Err("this client speaks PLAINTEXT only".to_owned()),
        other => Err(format!(
            "\"{other}\" is not known; there are brokers, client.id, request.timeout.ms and metadata.max.age.ms"
        )),
    }
}

fn millis(value: &str) -> Result<Duration, String> {
    let millis = value.parse().ok().filter(|millis| *millis > 0);
    millis.map(Duration::from_millis).ok_or_else(|| "must be a number of milliseconds above 0".to_owned())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let millis =
        units::millis(text).and_then(|millis| u64::try_from(millis).ok()).filter(|millis| *millis > 0);
    millis
        .map(Duration::from_millis)
        .ok_or_else(|| "must be a time with its unit, such as 500ms, 10s or 1m".to_owned())
}

/// A plain number counts seconds, as curl and most others have it.
fn timeout(text: &str) -> Result<Duration, String> {
    match text.trim().parse::<u32>() {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds.into())),
        _ => duration(text).map_err(|why| format!("{why}; a plain number counts seconds")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        brokers: BrokerArgs,
    }

    fn options(line: &str, environment: Option<&str>) -> Result<Options, String> {
        let line = Line::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
        line.brokers.options(environment.map(ToOwned::to_owned)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_flag_wins_over_the_property_over_the_environment() {
        for (line, environment, broker) in [
            ("x -b a:1 -X brokers=b:2", Some("c:3"), "a:1"),
            ("x --bootstrap-server a:1", None, "a:1"),
            ("x -X bootstrap.servers=b:2", Some("c:3"), "b:2"),
            ("x", Some("c:3"), "c:3"),
            ("x", Some(""), "localhost:9092"),
            ("x", None, "localhost:9092"),
        ] {
            let options = options(line, environment).unwrap();
            assert_eq!(options.brokers[0].to_string(), broker, "{line}");
        }
    }

    #[test]
    fn times_have_units_or_are_milliseconds_of_kafka() {
        assert_eq!(options("x --timeout 2s", None).unwrap().timeout, Duration::from_secs(2));
        assert_eq!(options("x --timeout 5", None).unwrap().timeout, Duration::from_secs(5));
        let property = options("x -X request.timeout.ms=1500", None).unwrap();
        assert_eq!(property.timeout, Duration::from_millis(1_500));
        assert!(options("x --timeout 0s", None).is_err() && options("x --timeout 0", None).is_err());
    }

    #[test]
    fn unknown_properties_and_addresses_are_usage_errors() {
        let error = options("x -X sasl.username=me", None).unwrap_err();
        assert!(error.contains("\"sasl.username\" is not known"), "{error}");
        assert!(options("x -X security.protocol=SASL_SSL", None).is_err());
        assert_eq!(
            options("x -b :9092", None).unwrap_err(),
            "\":9092\" is no broker address: write HOST:PORT, as in localhost:9092."
        );
    }
}
