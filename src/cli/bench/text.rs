//! Numbers as people read them, and the histogram as they see it.

use std::fmt::Write as _;
use std::time::Duration;

use super::histogram::Row;
use crate::config::units;
use crate::types::offset::saturate_i64;

/// How wide the longest bar is, in characters.
const BAR_CHARS: u64 = 40;
/// Parts of a character that a bar can end with.
const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// A time with three digits or more, in a unit that fits it.
pub(super) fn time(time: Duration) -> String {
    let ns = time.as_secs_f64() * 1e9;
    let (value, unit) = match ns {
        _ if ns < 999.5 => (ns, "ns"),
        _ if ns < 999.5e3 => (ns / 1e3, "µs"),
        _ if ns < 999.5e6 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    format!("{} {unit}", digits(value))
}

/// Bytes with three digits, in a decimal unit.
pub(super) fn bytes(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{} {name}", digits(ratio(bytes, *unit))),
        None => format!("{bytes} B"),
    }
}

/// A number with its thousands apart.
pub(super) fn count(count: u64) -> String {
    units::show_count(saturate_i64(count))
}

/// Three digits.
fn digits(value: f64) -> String {
    match value {
        _ if value < 9.995 => format!("{value:.2}"),
        _ if value < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A quotient for people; the numbers are far below what a float holds exactly.
#[expect(clippy::cast_precision_loss, reason = "for people, who read three digits of it")]
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// A line for each row: its upper end, a bar, and how much of all it has.
pub(super) fn chart(rows: &[Row]) -> String {
    let most = rows.iter().map(|row| row.count).max().unwrap_or(0);
    let all: u64 = rows.iter().map(|row| row.count).sum();
    let mut text = String::new();
    for row in rows {
        let percent = 100.0 * ratio(row.count, all.max(1));
        let label = format!("< {}", time(row.to));
        let width = usize::try_from(BAR_CHARS).unwrap_or(0);
        let _ = writeln!(
            text,
            "  {label:>10}  {:<width$}  {percent:>7.3} %  {}",
            bar(row.count, most),
            count(row.count)
        );
    }
    text
}

/// A bar; what is not nothing is at least its thinnest part.
fn bar(count: u64, most: u64) -> String {
    let parts = u128::from(count) * u128::from(BAR_CHARS * 8);
    let parts = usize::try_from(parts.div_ceil(u128::from(most.max(1)))).unwrap_or(0);
    let end = PARTS.get(parts % 8).copied().unwrap_or_default();
    "█".repeat(parts / 8) + end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        let shown = [0, 999, 1_000, 999_499, 999_500, 12_345_678, 3_000_000_000]
            .map(|ns| time(Duration::from_nanos(ns)));
        assert_eq!(shown, ["0.00 ns", "999 ns", "1.00 µs", "999 µs", "1.00 ms", "12.3 ms", "3.00 s"]);
        assert_eq!(
            [999, 1_000, 45_600_000, 2_000_000_000].map(bytes),
            ["999 B", "1.00 kB", "45.6 MB", "2.00 GB"]
        );
    }

    #[test]
    fn bars_grow_with_the_counts_and_none_that_counts_is_empty() {
        assert_eq!(bar(0, 1_000), "");
        assert_eq!(bar(1, 1_000_000), "▏");
        assert_eq!(bar(500, 1_000), "█".repeat(20));
        assert_eq!(bar(1_000, 1_000), "█".repeat(40));
    }

    #[test]
    fn a_chart_has_a_line_for_each_row() {
        let row =
            |from, to, count| Row { from: Duration::from_micros(from), to: Duration::from_micros(to), count };
        let text = chart(&[row(64, 128, 30), row(128, 256, 0), row(256, 512, 10)]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].contains("< 128 µs") && lines[0].ends_with("75.000 %  30"), "{text}");
        assert!(!lines[1].contains('▏') && lines[2].contains('█'), "{text}");
    }
}
