//! What a running broker says to whoever runs it.

use std::fs;

use crate::support::Broker;

#[test]
fn sighup_reads_the_settings_again_and_says_what_needs_a_restart() {
    let mut broker = Broker::with("");
    let hup = |broker: &Broker, config: &str| {
        fs::write(broker.path("broker.toml"), config).unwrap();
        broker.signal("HUP");
    };
    hup(&broker, "");
    broker.wait_for_log("SIGHUP: the settings are as they were");
    hup(&broker, "[log]\nlevel = \"warn\"\n[durability]\nfsync = \"never\"\n[[topics]]\nname = \"t\"\n");
    broker.wait_for_log("SIGHUP: log.level becomes warn");
    broker.wait_for_log("SIGHUP: changed, and in force after a restart: durability.fsync");
    broker.wait_for_log("SIGHUP: [[topics]] have changed: the next start makes those that are missing");
    hup(&broker, "[durability]\nfsnc = \"never\"\n");
    let line = broker.wait_for_log("SIGHUP: the settings are wrong, and all stays as it is");
    assert!(line.contains("broker.toml:2:1: unknown key") && line.contains("durability.fsync"), "{line}");
    // The level of before the mistake is still in force.
    broker.stop();
    assert!(!broker.log().contains("SIGTERM: stopping"), "{}", broker.log());
}

#[test]
fn an_open_listener_is_warned_of_in_every_profile_and_form() {
    for config in ["", "profile = \"dev\"\n", "profile = \"dev\"\n[log]\nformat = \"text\"\n"] {
        let mut broker = Broker::with(config);
        broker.stop();
        assert!(!broker.log().contains("has no authentication"), "nobody else reaches 127.0.0.1");
        broker.up_at("0.0.0.0:0");
        broker.wait_for_log("can be reached from other machines and has no authentication");
    }
}
