//! ApiVersions: what is offered (S4, S11), software names (S6), versions that a broker lacks (S3).

use serde_json::{Value, json};

use crate::run::{Script, plain};
use crate::session::{As, Connection, Session};

pub(super) const SCRIPTS: &[Script] = &[
    plain("versions/offered", s4_s11_s15_offered),
    plain("versions/software_name", s6_software_name),
    plain("versions/fallback", s3_fallback),
];

/// What `versions/offered` records once is enough.
const LISTS: &[&str] = &["api_keys", "supported_features", "finalized_features"];

fn client(name: &str, version: &str) -> Value {
    json!({"client_software_name": name, "client_software_version": version})
}

fn s4_s11_s15_offered(s: &Session) {
    s.connect().every("what is offered", "ApiVersions", |_| client("truth", "1.0"));
}

fn s6_software_name(s: &Session) {
    let c = s.connect();
    let call = |label: &str, version, fields| {
        c.send(label, "ApiVersions", version, fields).hiding(LISTS).answer();
    };
    for name in ["a.b-C1", "7", "", "-a", "a-", "a b", "ä", ".", "a_b", "a\n"] {
        call(&format!("name {name:?}"), 3, client(name, "1.0"));
        call(&format!("version {name:?}"), 4, client("truth", name));
    }
}

fn s3_fallback(s: &Session) {
    let c = s.connect();
    let from_the_future = |c: &Connection, label: &str, version: i16, flexible: bool, body: &[u8]| {
        let frame = c.frame_of(18, version, flexible, body);
        c.raw(label, &format!("ApiVersions v{version}"), &frame, As::Answer("ApiVersions", 0));
    };
    for version in [5, 6, 99, i16::MAX] {
        from_the_future(&c, &format!("version {version}"), version, true, b"any body");
    }
    c.send("the connection goes on", "ApiVersions", 0, json!({})).hiding(LISTS).answer();
    from_the_future(&c, "a header without tagged fields", 5, false, &[]);
    from_the_future(&s.connect(), "below zero", -1, false, &[]);
}
