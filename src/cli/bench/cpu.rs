//! How much processor time this process has used: a generator that is at its limit measures itself.

use std::fs;
use std::time::Duration;

/// The kernel tells processes' times in hundredths of a second, on every architecture that it is built for today.
const TICK: Duration = Duration::from_millis(10);
/// Which fields of `/proc/self/stat` behind the name are the time in user and in system mode.
const TIMES: std::ops::RangeInclusive<usize> = 11..=12;

/// The time used so far by all threads; `None` where the system does not tell.
pub(super) fn used() -> Option<Duration> {
    parse(&fs::read_to_string("/proc/self/stat").ok()?)
}

fn parse(stat: &str) -> Option<Duration> {
    // The name stands in parentheses and may have any character in it.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = fields.get(TIMES)?.iter().map(|field| field.parse::<u32>().ok()).sum::<Option<u32>>()?;
    Some(TICK * ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_found_behind_any_name() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        assert_eq!(parse(stat), Some(Duration::from_secs(2)));
        assert_eq!(parse("7 (x) S 1"), None);
    }
}
