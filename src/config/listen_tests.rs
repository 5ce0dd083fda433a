//! Listener and advertised addresses: what is read and what is refused.

use super::*;

const KAFKAS_MAP: &str = "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT";

fn wanted<'a>(listeners: &'a str, advertise: &'a str) -> Wanted<'a> {
    Wanted { listeners, protocols: KAFKAS_MAP, controllers: "", advertise, internal: None, external: None }
}

fn shown(listeners: &[Listener]) -> Vec<String> {
    let told = |listener: &Listener| match &listener.advertise {
        Advertise::Auto => "auto".to_owned(),
        Advertise::Address(told) => told.to_string(),
        Advertise::ByOrigin { .. } => "by origin".to_owned(),
    };
    listeners.iter().map(|one| format!("{}://{} as {}", one.name, one.bind, told(one))).collect()
}

fn resolved(wanted: Wanted<'_>) -> Vec<String> {
    shown(&wanted.resolve().unwrap())
}

fn fault(wanted: Wanted<'_>) -> String {
    wanted.resolve().unwrap_err().text
}

#[test]
fn addresses_are_read_with_and_without_a_scheme() {
    assert_eq!(resolved(wanted("0.0.0.0:9092", "auto")), ["PLAINTEXT://0.0.0.0:9092 as auto"]);
    let two = resolved(wanted("plain://127.0.0.1:1, plain://[::1]:2", "auto"));
    assert_eq!(two, ["PLAINTEXT://127.0.0.1:1 as auto", "PLAINTEXT_2://[::1]:2 as auto"]);
}

#[test]
fn kafkas_two_listener_setup_is_understood() {
    let listeners = resolved(Wanted {
        protocols: "CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT,HOST:PLAINTEXT",
        controllers: "CONTROLLER",
        ..wanted(
            "INTERNAL://:29092,CONTROLLER://:9093,HOST://0.0.0.0:9092",
            "INTERNAL://kafka:29092,HOST://localhost:9092,CONTROLLER://kafka:9093",
        )
    });
    assert_eq!(listeners, ["INTERNAL://:29092 as kafka:29092", "HOST://0.0.0.0:9092 as localhost:9092"]);
}

#[test]
fn one_advertised_address_goes_for_all_listeners() {
    assert_eq!(
        resolved(wanted("plain://:1,plain://:2", "kafka:9092")).concat().matches("kafka:9092").count(),
        2
    );
    assert_eq!(resolved(wanted(":9092", "kafka")), ["PLAINTEXT://:9092 as kafka:0"], "0 is the bound port");
}

#[test]
fn addresses_by_origin_replace_the_one_for_all() {
    let listeners =
        Wanted { external: Some("broker.example.com:9092"), ..wanted(":9092", "auto") }.resolve().unwrap();
    let external = HostPort { host: "broker.example.com".to_owned(), port: 9092 };
    assert_eq!(listeners[0].advertise, Advertise::ByOrigin { internal: None, external: Some(external) });
}

#[test]
fn the_port_flag_moves_the_first_listener() {
    assert_eq!(with_port("127.0.0.1:9092,plain://:5", "", 0), "127.0.0.1:0,plain://:5");
    assert_eq!(
        with_port("CONTROLLER://:9093,HOST://[::1]:1", "CONTROLLER", 7),
        "CONTROLLER://:9093,HOST://[::1]:7"
    );
    assert_eq!(with_port("", "", 7), "");
}

#[test]
fn what_cannot_be_served_is_refused_with_a_reason() {
    let text = fault(wanted("SASL_SSL://:9093", "auto"));
    assert_eq!(
        text,
        "listener SASL_SSL speaks SASL_SSL: TLS and SASL are not available in this version of streamd"
    );
    assert!(fault(wanted("tls://:9093", "auto")).contains("speaks SSL"));
    assert_eq!(
        fault(wanted("EXTERNAL://:1", "auto")),
        "listener EXTERNAL has no protocol in listener.security.protocol.map"
    );
    assert_eq!(fault(wanted("localhost", "auto")), "\"localhost\" must be host:port or plain://host:port");
    assert_eq!(fault(wanted("", "auto")), "there must be at least one listener for clients");
    assert_eq!(fault(wanted(":9092,:9092", "auto")), "PLAINTEXT_2://:9092 is listed twice");
    assert_eq!(fault(wanted(":9092", "HOST://h:1")), "HOST is not among the listeners");
    let unreachable = fault(wanted(":9092", "PLAINTEXT://0.0.0.0:9092"));
    assert!(unreachable.starts_with("clients cannot connect to 0.0.0.0"), "{unreachable}");
}

#[test]
fn hosts_and_ports_survive_their_text_form() {
    for text in ["host:1", "[::1]:9092", ":0", "10.0.0.1:65535"] {
        assert_eq!(HostPort::parse(text).unwrap().to_string(), text);
    }
    for text in ["host", "host:", "host:65536", "::1:9092", "[host]:1", "a/b:1", ""] {
        assert_eq!(HostPort::parse(text), None, "{text}");
    }
}
