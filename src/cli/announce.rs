//! What a start says once it serves: the banner, the ports file, and the line that waits of Kafka's images look for.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use crate::config::{Advertise, Config, Listener};

/// What there is to say.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    /// The settings.
    pub(super) config: &'a Config,
    /// The cluster's id.
    pub(super) cluster_id: &'a str,
    /// Whether the data directory was made by this start.
    pub(super) is_new: bool,
    /// Whether the data directory goes when the broker stops.
    pub(super) ephemeral: bool,
    /// What the listeners are bound to.
    pub(super) bound: &'a [SocketAddr],
    /// Free space at the data directory, in bytes.
    pub(super) free_bytes: Option<u64>,
    /// Time since the process began.
    pub(super) took: Duration,
}

impl Facts<'_> {
    /// The banner, for people.
    pub(super) fn banner(&self) -> String {
        let config = self.config;
        let fresh = if self.is_new { " (new)" } else { "" };
        let mut text = format!(
            "streamd {}  {} profile, node {}, cluster {}{fresh}\n",
            env!("CARGO_PKG_VERSION"),
            config.profile,
            config.node_id,
            self.cluster_id
        );
        for (listener, bound) in config.listeners.iter().zip(self.bound) {
            let _ = writeln!(text, "  kafka     {:<20}  {}", reach(*bound), told(listener, *bound));
        }
        let _ = writeln!(text, "  data      {:<20}  ({})", config.data_dir.display(), self.data());
        let _ = writeln!(text, "  notes     {}", self.notes());
        let _ = writeln!(text, "ready in {} ms", self.took.as_millis());
        text
    }

    /// The same as one log event, for machines.
    pub(super) fn log(&self) {
        let kafka: Vec<_> = self.bound.iter().map(ToString::to_string).collect();
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            profile = %self.config.profile,
            node = self.config.node_id,
            cluster = self.cluster_id,
            new = self.is_new,
            kafka = kafka.join(","),
            data = %self.config.data_dir.display(),
            free_bytes = self.free_bytes,
            fsync = %self.config.fsync,
            auth = "none",
            "ready in {} ms",
            self.took.as_millis()
        );
    }

    /// Warns of each listener that strangers can reach, since none asks who they are.
    pub(super) fn warn_of_open_listeners(&self) {
        for (listener, bound) in self.config.listeners.iter().zip(self.bound) {
            if !bound.ip().is_loopback() {
                tracing::warn!(
                    listener = listener.name,
                    "listener {bound} can be reached from other machines and has no authentication: whoever reaches it reads \
                     and writes everything. Keep strangers out by a firewall, or listen on 127.0.0.1 (listen.kafka)"
                );
            }
        }
    }

    fn data(&self) -> String {
        let free = self.free_bytes.map(|bytes| format!("{} GB free", bytes / 1_000_000_000));
        let state = match (self.ephemeral, self.is_new) {
            (true, _) => Some("NOT KEPT: deleted at exit".to_owned()),
            (false, true) => Some("new".to_owned()),
            (false, false) => None,
        };
        free.into_iter().chain(state).collect::<Vec<_>>().join("; ")
    }

    fn notes(&self) -> String {
        let auto_create = if self.config.topics.auto_create { "on" } else { "off" };
        let local =
            if self.bound.iter().all(|bound| bound.ip().is_loopback()) { " (loopback only)" } else { "" };
        format!("auto-create topics: {auto_create} · fsync: {} · auth: none{local}", self.config.fsync)
    }
}

/// Writes the bound addresses to a file, all at once: who sees the file sees all of it. A JSON object with `pid`,
/// `cluster` and `kafka`, a list of addresses to connect to from this machine.
pub(super) fn write_ports_file(path: &Path, cluster_id: &str, bound: &[SocketAddr]) -> anyhow::Result<()> {
    let kafka: Vec<_> = bound.iter().map(|bound| local(*bound).to_string()).collect();
    let text = json!({ "pid": std::process::id(), "cluster": cluster_id, "kafka": kafka }).to_string() + "\n";
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    fs::write(&partial, text)
        .and_then(|()| fs::rename(&partial, path))
        .with_context(|| format!("cannot write the ports file {}", path.display()))
}

/// The line whose parts Kafka's images print when they are ready: test containers wait for them.
pub(super) fn kafkas_ready_line(node_id: i32) -> String {
    format!(
        "Kafka Server started: [KafkaServer id={node_id}] started, Transitioning from RECOVERY to RUNNING\n"
    )
}

/// Free space for us on a directory's file system, in bytes.
pub(super) fn free_bytes(dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    stat.f_bavail.checked_mul(stat.f_frsize)
}

/// The address at which this machine reaches a listener. One on all interfaces is reached by IPv4 always: an IPv6 socket
/// takes it too, where the machine's own IPv6 address may be missing.
fn local(bound: SocketAddr) -> SocketAddr {
    if bound.ip().is_unspecified() { (Ipv4Addr::LOCALHOST, bound.port()).into() } else { bound }
}

fn reach(bound: SocketAddr) -> String {
    if bound.ip().is_unspecified() || bound.ip().is_loopback() {
        return format!("localhost:{}", bound.port());
    }
    bound.to_string()
}

fn told(listener: &Listener, bound: SocketAddr) -> String {
    match &listener.advertise {
        Advertise::Auto if bound.ip().is_loopback() => "this machine only".to_owned(),
        Advertise::Auto if bound.ip().is_unspecified() => {
            "host and containers, no listener setup needed".to_owned()
        }
        Advertise::Auto => String::new(),
        Advertise::Address(address) => {
            let port = if address.port == 0 { bound.port() } else { address.port };
            let told = crate::config::HostPort { host: address.host.clone(), port };
            format!("clients are told {told}")
        }
        Advertise::ByOrigin { internal, external } => {
            let part = |name: &str, address: &Option<crate::config::HostPort>| {
                address.as_ref().map(|address| format!("{name} clients are told {address}"))
            };
            let parts = [part("near", internal), part("far", external)];
            parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HostPort;

    fn facts<'a>(config: &'a Config, bound: &'a [SocketAddr]) -> Facts<'a> {
        Facts {
            config,
            cluster_id: "5L6g3nShT-eMCtK--X86sw",
            is_new: true,
            ephemeral: false,
            bound,
            free_bytes: Some(218_000_000_000),
            took: Duration::from_millis(7),
        }
    }

    #[test]
    fn the_banner_says_where_and_how() {
        let (config, bound) = (Config::default(), ["0.0.0.0:9092".parse().unwrap()]);
        let expected = format!(
            "streamd {}  prod profile, node 1, cluster 5L6g3nShT-eMCtK--X86sw (new)\n  \
             kafka     localhost:9092        host and containers, no listener setup needed\n  \
             data      ./streamd-data        (218 GB free; new)\n  \
             notes     auto-create topics: on · fsync: batch · auth: none\n\
             ready in 7 ms\n",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(facts(&config, &bound).banner(), expected);
    }

    #[test]
    fn what_is_not_kept_is_said_loudly_and_what_is_told_is_named() {
        let mut config = Config::default();
        config.listeners[0].advertise = Advertise::Address(HostPort { host: "kafka".to_owned(), port: 0 });
        let bound = ["127.0.0.1:4".parse().unwrap()];
        let banner = Facts { ephemeral: true, ..facts(&config, &bound) }.banner();
        assert!(banner.contains("NOT KEPT"), "{banner}");
        assert!(banner.contains("clients are told kafka:4"), "{banner}");
        assert!(banner.contains("auth: none (loopback only)"), "{banner}");
    }

    #[test]
    fn the_ports_file_names_addresses_to_connect_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ports.json");
        write_ports_file(
            &path,
            "c",
            &["0.0.0.0:5".parse().unwrap(), "[::]:6".parse().unwrap(), "[::1]:7".parse().unwrap()],
        )
        .unwrap();
        let text: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(text["kafka"], json!(["127.0.0.1:5", "127.0.0.1:6", "[::1]:7"]));
        assert_eq!(text["pid"], std::process::id());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing partial is left");
        let nowhere = dir.path().join("missing/ports.json");
        assert!(
            write_ports_file(&nowhere, "c", &[])
                .unwrap_err()
                .to_string()
                .starts_with("cannot write the ports file")
        );
    }

    #[test]
    fn kafkas_line_holds_what_each_test_container_waits_for() {
        let line = kafkas_ready_line(3);
        for part in
            ["Transitioning from RECOVERY to RUNNING", "Kafka Server started", "[KafkaServer id=3] started"]
        {
            assert!(line.contains(part));
        }
    }
}
