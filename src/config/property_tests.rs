//! What holds for every text that somebody may write.

use proptest::prelude::*;

use super::keys::{self, Key};
use super::load::{Flag, SourceFile, Sources, load};
use super::{properties, toml, units, value};

fn any_key() -> impl Strategy<Value = &'static Key> {
    let all: Vec<_> = keys::own().chain(keys::broker()).chain(keys::topic()).collect();
    proptest::sample::select(all)
}

/// Texts that come near to settings: numbers, units, lists, addresses, and noise.
fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        "[0-9]{1,20} ?(ms|s|m|h|d|w|KiB|MiB|GB|%)?",
        "[a-z]{0,8}(,[a-z]{0,8}){0,3}",
        "[A-Z_]{1,8}://[a-z.]{0,8}:[0-9]{0,6}",
        ".{0,20}",
    ]
}

fn loaded_from(name: &str, text: String) -> bool {
    let file = Some(SourceFile { name: name.to_owned(), text });
    load(&Sources { file, ..Sources::default() }).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_value_in_kafkas_form_stays_as_it_is(key in any_key(), text in any_value()) {
        if let Ok(once) = value::parse_human(key, &text) {
            prop_assert_eq!(value::parse_human(key, &once), Ok(once.clone()));
        }
    }

    #[test]
    fn a_fault_has_words_for_people_and_for_clients(key in any_key(), text in any_value()) {
        if let Err(fault) = value::parse(key, &text) {
            prop_assert!(!fault.in_plain_words(key).is_empty());
            prop_assert!(fault.in_kafkas_words(key, &text).contains(key.name));
        }
    }

    #[test]
    fn any_setting_may_be_set_to_any_text(key in any_key(), text in any_value()) {
        let flag = Flag { shown: "--set".to_owned(), name: key.name.to_owned(), text };
        let _either = load(&Sources { flags: vec![flag], ..Sources::default() });
    }

    #[test]
    fn any_file_is_read_or_refused(text in "(.{0,30}\n){0,6}") {
        let _either = loaded_from("broker.toml", text.clone());
        let _either = loaded_from("server.properties", text);
    }

    #[test]
    fn tables_and_keys_in_any_order_are_read_or_refused(
        lines in proptest::collection::vec(
            prop_oneof![
                "\\[(kafka|listen|defaults.topic|disk)\\]",
                "\\[\\[topics\\]\\]",
                "\"?[a-z.]{1,12}\"? = (1|true|\"x\"|\\[1, 2\\]|\\{ a = 1 \\})",
            ],
            0..8,
        )
    ) {
        let text = lines.join("\n");
        if let Err(problems) = toml::read("f", &text) {
            prop_assert!(!problems.is_empty());
        }
    }

    #[test]
    fn a_property_survives_being_written(name in "[a-z.]{1,20}", text in "[a-zA-Z0-9:/,=. ]{0,30}") {
        let said = properties::read("f", &format!("{name}={text}\n")).unwrap();
        prop_assert_eq!(&said.settings[0].name, &name);
        prop_assert_eq!(said.settings[0].text.as_str(), text.trim_start());
    }

    #[test]
    fn quantities_survive_being_shown(number in 1..i64::MAX / 2) {
        prop_assert_eq!(units::millis(&units::show_millis(number)), Some(number));
        prop_assert_eq!(units::bytes(&units::show_bytes(number)), Some(number));
    }

    #[test]
    fn no_text_is_a_quantity_by_accident(text in ".{0,20}") {
        for quantity in [units::millis(&text), units::bytes(&text)].into_iter().flatten() {
            prop_assert!(text.contains(|c: char| c.is_ascii_digit()), "{} is {}", text, quantity);
        }
    }
}
