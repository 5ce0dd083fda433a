//! Human units in settings: `7d`, `256 MiB`, `5%`. Files, variables and flags take them; the wire never does, where
//! Kafka's plain numbers are the rule.

/// A time in milliseconds: a number with `ms`, `s`, `m`, `h`, `d` or `w`, or several of them (`1h 30m`).
pub fn millis(text: &str) -> Option<i64> {
    sum(text, |unit| {
        Some(match unit {
            "ms" => 1,
            "s" | "sec" | "second" | "seconds" => 1_000,
            "m" | "min" | "minute" | "minutes" => 60_000,
            "h" | "hour" | "hours" => 3_600_000,
            "d" | "day" | "days" => 86_400_000,
            "w" | "week" | "weeks" => 604_800_000,
            _ => return None,
        })
    })
}

/// A number of bytes: plain, or with `B`, `KiB` to `TiB` (1024) or `kB` to `TB` (1000); a lone `K`, `M`, `G`, `T`
/// counts in 1024s.
pub fn bytes(text: &str) -> Option<i64> {
    if let Ok(plain) = text.trim().parse() {
        return Some(plain);
    }
    sum(text, |unit| {
        Some(match unit.to_ascii_lowercase().as_str() {
            "b" => 1,
            "kib" | "k" => 1 << 10,
            "mib" | "m" => 1 << 20,
            "gib" | "g" => 1 << 30,
            "tib" | "t" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return None,
        })
    })
}

/// A percentage between 0 and 100, with its sign.
pub fn percent(text: &str) -> Option<f64> {
    let number: f64 = text.trim().strip_suffix('%')?.trim_end().parse().ok()?;
    (0.0..=100.0).contains(&number).then_some(number)
}

/// The time in the largest unit that leaves no rest, for people.
pub fn show_millis(ms: i64) -> String {
    let units =
        [(604_800_000, "w"), (86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    match units.iter().find(|(unit, _)| ms != 0 && ms % unit == 0) {
        Some((604_800_000, _)) => format!("{}d", ms / 86_400_000),
        Some((unit, name)) => format!("{}{name}", ms / unit),
        None => "0".to_owned(),
    }
}

/// The bytes in the largest binary unit that leaves no rest, for people.
pub fn show_bytes(bytes: i64) -> String {
    let units = [(1_i64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| bytes != 0 && bytes % unit == 0) {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} B"),
    }
}

/// The bytes in a decimal unit with two or three digits, for people who want to know about how much it is.
pub fn show_rounded(bytes: u64) -> String {
    let units = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    let Some((unit, name)) = units.iter().find(|(unit, _)| bytes >= *unit) else {
        return format!("{bytes} B");
    };
    let (whole, tenth) = (bytes / unit, bytes % unit / (unit / 10));
    if whole < 10 && tenth > 0 { format!("{whole}.{tenth} {name}") } else { format!("{whole} {name}") }
}

/// A time in its largest unit, the rest left out, for people.
pub fn about_millis(ms: i64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match units.iter().find(|(unit, _)| ms >= *unit) {
        Some((unit, name)) => format!("{}{name}", ms / unit),
        None => format!("{ms}ms"),
    }
}

/// A length of time in its two largest units, for people: `3m12s`.
pub fn show_span(ms: i64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let Some(largest) = units.iter().position(|(unit, _)| ms >= *unit) else { return format!("{ms}ms") };
    let mut rest = ms;
    let mut text = String::new();
    for (unit, name) in units.iter().skip(largest).take(2) {
        if rest >= *unit {
            text.push_str(&format!("{}{name}", rest / unit));
        }
        rest %= unit;
    }
    text
}

/// A number with its thousands apart, for people: `1,048,588`.
pub fn show_count(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut text = String::from(if n < 0 { "-" } else { "" });
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Numbers with units, added up. `None` if a unit is unknown or missing, or the sum does not fit.
fn sum(text: &str, factor: impl Fn(&str) -> Option<i64>) -> Option<i64> {
    let mut rest = text.trim();
    let mut total: i64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(digits);
        let behind = behind.trim_start();
        let letters = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
        let (unit, after) = behind.split_at(letters);
        total = total.checked_add(scaled(number, factor(unit)?)?)?;
        rest = after.trim_start();
    }
    Some(total)
}

/// `number * factor`, exactly; the number may have a decimal point if the product is whole.
fn scaled(number: &str, factor: i64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut product = whole.parse::<i64>().ok()?.checked_mul(factor)?;
    if !fraction.is_empty() {
        let tens = 10_i64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let parts = fraction.parse::<i64>().ok()?.checked_mul(factor)?;
        if parts % tens != 0 {
            return None;
        }
        product = product.checked_add(parts / tens)?;
    }
    Some(product)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_as_people_write_them() {
        let times = [
            ("7d", 604_800_000),
            ("1h 30m", 5_400_000),
            ("1.5s", 1_500),
            ("250 ms", 250),
            ("2 weeks", 1_209_600_000),
        ];
        for (text, ms) in times {
            assert_eq!(millis(text), Some(ms), "{text}");
        }
        let sizes = [
            ("256 MiB", 256 << 20),
            ("1GiB", 1 << 30),
            ("50 GB", 50_000_000_000),
            ("64k", 65_536),
            ("1.5 KiB", 1_536),
            ("17", 17),
        ];
        for (text, n) in sizes {
            assert_eq!(bytes(text), Some(n), "{text}");
        }
        assert_eq!(percent("5%"), Some(5.0));
    }

    #[test]
    fn what_is_not_a_quantity_is_refused() {
        for text in ["", "d", "7", "7x", "-7d", "7d d", "1.0001 ms", "99999999999999999w", "1..5s"] {
            assert_eq!(millis(text), None, "{text}");
        }
        for text in ["", "MiB", "5 XB", "1.3 B", "9000000000 GiB"] {
            assert_eq!(bytes(text), None, "{text}");
        }
        for text in ["5", "101%", "-1%", "NaN%"] {
            assert_eq!(percent(text), None, "{text}");
        }
    }

    #[test]
    fn quantities_are_shown_in_their_largest_whole_unit() {
        assert_eq!(show_millis(604_800_000), "7d");
        assert_eq!(show_millis(90_000), "90s");
        assert_eq!(show_bytes(1 << 30), "1 GiB");
        assert_eq!(show_bytes(1_048_588), "1048588 B");
    }

    #[test]
    fn about_how_much_it_is_takes_few_digits() {
        let shown = [
            (0, "0 B"),
            (999, "999 B"),
            (4_096, "4 kB"),
            (480_700_000, "480 MB"),
            (3_190_000_000, "3.1 GB"),
            (50_000_000_000, "50 GB"),
            (u64::MAX, "18446744 TB"),
        ];
        for (bytes, text) in shown {
            assert_eq!(show_rounded(bytes), text);
        }
    }

    #[test]
    fn rough_times_and_large_counts_are_short_to_read() {
        assert_eq!(
            [0, 999, 59_999, 10_900_000, 800_000_000].map(about_millis),
            ["0ms", "999ms", "59s", "3h", "9d"]
        );
        assert_eq!(
            [0, 999, 59_999, 60_000, 192_500, 3_661_000, 97_200_000].map(show_span),
            ["0ms", "999ms", "59s", "1m", "3m12s", "1h1m", "1d3h"]
        );
        assert_eq!(
            [0, 999, 1_000, 1_048_588, -4_194_412].map(show_count),
            ["0", "999", "1,000", "1,048,588", "-4,194,412"]
        );
        assert_eq!(show_count(i64::MIN), "-9,223,372,036,854,775,808");
    }
}
