//! The layer table: a module may use only modules of lower numbers; peers never import each other.

use crate::source::Source;

/// Every folder of `src` with its layer.
const LAYERS: [(&str, u8); 17] = [
    ("types", 0),
    ("config", 1),
    ("telemetry", 1),
    ("record", 2),
    ("wire", 2),
    ("storage", 3),
    ("partition", 5),
    ("coord", 6),
    ("catalog", 7),
    ("groups", 8),
    ("txn", 8),
    ("broker", 9),
    ("api", 10),
    ("client", 10),
    ("net", 11),
    ("cli", 12),
    ("main", 13),
];

pub(crate) fn faults(file: &Source) -> Vec<String> {
    let module = file.module();
    if module == "lib" {
        return Vec::new();
    }
    let Some(own) = layer(module) else { return vec![format!("{module} has no layer: add it to the table")] };
    let mut faults = Vec::new();
    for (number, line) in file.production_lines().iter().enumerate() {
        for used in uses(line) {
            match layer(used) {
                Some(other) if used == module || other < own => {}
                Some(_) => faults.push(format!("line {}: {module} may not use {used}", number + 1)),
                None => {}
            }
        }
    }
    faults
}

fn layer(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

/// The top-level modules that a line of code names.
fn uses(line: &str) -> impl Iterator<Item = &str> {
    let code = if line.trim_start().starts_with("//") { "" } else { line };
    code.split("crate::")
        .skip(1)
        .map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default())
}

#[test]
fn a_climbing_import_is_found() {
    let file = |text: &str| Source { path: "src/storage/x.rs".to_owned(), text: text.to_owned() };
    assert!(faults(&file("use crate::types::Clock;\nuse crate::storage::log;")).is_empty());
    assert_eq!(faults(&file("use crate::partition::Partition;")).len(), 1);
    assert_eq!(faults(&file("fn f(x: crate::api::Api) {}")).len(), 1);
}
