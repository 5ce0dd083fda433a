//! Apache Kafka as the teacher: fetched with Maven, started fresh for each profile, one KRaft node.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::profile::Profile;

/// First port tried.
const PORTS_FROM: u16 = 22_000;

const LOG4J: &str = "\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = [%d] %p %m (%c)%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
";

/// A running Kafka; stopped and its data removed when dropped.
pub(crate) struct Kafka {
    pub(crate) address: SocketAddr,
    process: Child,
    home: TempDir,
}

impl Kafka {
    pub(crate) fn start(profile: Profile) -> Self {
        let libs = libs();
        let home = TempDir::new().unwrap();
        let ports: Vec<u16> =
            (PORTS_FROM..).filter(|p| TcpListener::bind(("127.0.0.1", *p)).is_ok()).take(2).collect();
        fs::write(home.path().join("server.properties"), properties(home.path(), &ports, profile)).unwrap();
        fs::write(home.path().join("log4j2.properties"), LOG4J).unwrap();
        let format =
            ["kafka.tools.StorageTool", "format", "-t", "5L6g3nShT-eMCtK--X86sw", "-c", "server.properties"];
        let formatted = java(&libs, home.path(), "format.log").args(format).status().unwrap();
        assert!(formatted.success(), "{}", fs::read_to_string(home.path().join("format.log")).unwrap());
        let process =
            java(&libs, home.path(), "kafka.log").args(["kafka.Kafka", "server.properties"]).spawn();
        let kafka =
            Self { address: SocketAddr::from(([127, 0, 0, 1], ports[0])), process: process.unwrap(), home };
        kafka.listening();
        kafka
    }

    fn listening(&self) {
        for _ in 0..600 {
            if TcpStream::connect(self.address).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{}", fs::read_to_string(self.home.path().join("kafka.log")).unwrap());
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        // What it logged last, for those who wonder about an answer.
        let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kafka.log");
        let _ = fs::copy(self.home.path().join("kafka.log"), log);
    }
}

fn properties(home: &Path, ports: &[u16], profile: Profile) -> String {
    let (port, controller) = (ports[0], ports[1]);
    let mut text = format!(
        "process.roles=broker,controller
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={}
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
",
        home.join("data").display()
    );
    for (name, value) in profile.properties() {
        text.push_str(&format!("{name}={value}\n"));
    }
    text
}

fn java(libs: &Path, home: &Path, log: &str) -> Command {
    let out = File::create(home.join(log)).unwrap();
    let mut command = Command::new("java");
    command
        .args(["-Xmx512m", "-XX:+UseSerialGC", "-Dlog4j2.configurationFile=log4j2.properties", "-cp"])
        .arg(libs.join("*"))
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out);
    command
}

/// The folder with Kafka's jars: `TRUTH_KAFKA_LIBS`, or `target/kafka-libs`, filled with Maven at first use.
fn libs() -> PathBuf {
    if let Some(libs) = std::env::var_os("TRUTH_KAFKA_LIBS") {
        return libs.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let libs = root.join("target/kafka-libs");
    if !libs.exists() {
        let fetched = Command::new("mvn")
            .args(["-q", "-f", "tests/truth/kafka.pom.xml", "dependency:copy-dependencies"])
            .arg(format!("-DoutputDirectory={}", libs.display()))
            .current_dir(root)
            .status();
        assert!(fetched.expect("mvn must be installed").success(), "Maven could not fetch Kafka");
    }
    libs
}
