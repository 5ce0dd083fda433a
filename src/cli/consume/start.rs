//! Where reading begins: the grammar of `-o`, and what it means in a partition.

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::client::offsets::{self, Isolation, Place};
use crate::client::{Client, Error};
use crate::config::units;
use crate::types::Timestamp;

/// Numbers below this count seconds since 1970, others milliseconds: in milliseconds it is the year 1973.
const SECONDS_BELOW: i64 = 100_000_000_000;

/// What `-o` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum BeginText {
    /// A place that does not depend on the time.
    Place(Begin),
    /// So many milliseconds ago.
    Ago(i64),
}

/// Where to begin in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Begin {
    /// The first record.
    Start,
    /// Behind the last record.
    End,
    /// So many offsets after the start.
    After(i64),
    /// So many offsets before the end.
    Before(i64),
    /// This offset, or the nearest that there is.
    Offset(i64),
    /// The first record at or after this time.
    Time(Timestamp),
}

impl FromStr for BeginText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = match text {
            "start" | "beginning" | "earliest" | "oldest" => Begin::Start,
            "end" | "latest" | "newest" => Begin::End,
            _ => match text.strip_prefix('@') {
                Some(time) => return at_time(time),
                None => number(text).ok_or_else(|| {
                    "must be start, end, an offset, -N before the end, +N after the start, or @TIME"
                        .to_owned()
                })?,
            },
        };
        Ok(Self::Place(place))
    }
}

fn number(text: &str) -> Option<Begin> {
    let digits = text.trim_start_matches(['-', '+']);
    let count: i64 = digits.parse().ok().filter(|_| text.len() - digits.len() <= 1)?;
    Some(match text.chars().next()? {
        '-' => Begin::Before(count),
        '+' => Begin::After(count),
        _ => Begin::Offset(count),
    })
}

fn at_time(text: &str) -> Result<BeginText, String> {
    if let Some(ago) = text.strip_prefix('-') {
        let ago = units::millis(ago).filter(|millis| *millis >= 0);
        return ago
            .map(BeginText::Ago)
            .ok_or_else(|| "after @- must stand a time such as 5m, 2h or 1d".to_owned());
    }
    if let Ok(number) = text.parse::<i64>() {
        let millis = if number < SECONDS_BELOW { number * 1_000 } else { number };
        return Ok(BeginText::Place(Begin::Time(millis)));
    }
    // With an offset from UTC it is a point in time; without, what a clock on this machine shows.
    let timestamp = text.parse::<jiff::Timestamp>().or_else(|_| {
        text.parse::<DateTime>()
            .and_then(|civil| civil.to_zoned(TimeZone::system()))
            .map(|zoned| zoned.timestamp())
    });
    let timestamp = timestamp.map_err(|_| {
        "after @ must stand a time: -5m for five minutes ago, 2026-11-21, 2026-11-21T09:00, 2026-11-21T09:00:00Z, \
         or seconds or milliseconds since 1970"
            .to_owned()
    })?;
    Ok(BeginText::Place(Begin::Time(timestamp.as_millisecond())))
}

impl BeginText {
    /// What is meant at this moment.
    pub(in crate::cli) fn meant(&self, now: Timestamp) -> Begin {
        match *self {
            Self::Place(start) => start,
            Self::Ago(millis) => Begin::Time(now.saturating_sub(millis).max(0)),
        }
    }
}

/// Where reading begins in some partitions.
#[derive(Debug, Default)]
pub(in crate::cli) struct Beginnings {
    /// The offset in each.
    pub(in crate::cli) offsets: BTreeMap<i32, i64>,
    /// Those whose end comes before the offset that was asked for; they begin at their end.
    pub(in crate::cli) past_end: Vec<PastEnd>,
    /// The time that was asked for, if no partition has a record at or after it; they begin at their ends.
    pub(in crate::cli) none_since: Option<Timestamp>,
}

/// An offset that was asked for and is not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct PastEnd {
    /// The partition.
    pub(in crate::cli) partition: i32,
    /// What was asked for.
    pub(in crate::cli) wanted: i64,
    /// The partition's end.
    pub(in crate::cli) end: i64,
}

impl Begin {
    /// The offset in each of these partitions.
    pub(in crate::cli) async fn offsets(
        self,
        client: &Client,
        topic: &str,
        partitions: &[i32],
        isolation: Isolation,
    ) -> Result<Beginnings, Error> {
        let at = async |place| offsets::list(client, topic, partitions, place, isolation).await;
        let alone = |offsets| Beginnings { offsets, ..Beginnings::default() };
        match self {
            Self::Start => at(Place::Start).await.map(alone),
            Self::End => at(Place::End).await.map(alone),
            Self::Time(time) => {
                let (offsets, ends) = (at(Place::Time(time)).await?, at(Place::End).await?);
                let is_end = |(index, offset)| ends.get(index).is_some_and(|end| offset >= end);
                let none_since = (!offsets.is_empty() && offsets.iter().all(is_end)).then_some(time);
                Ok(Beginnings { offsets, none_since, ..Beginnings::default() })
            }
            Self::After(_) | Self::Before(_) | Self::Offset(_) => {
                let (starts, ends) = (at(Place::Start).await?, at(Place::End).await?);
                let mut found = Beginnings::default();
                for (partition, start) in starts {
                    let end = ends.get(&partition).copied().unwrap_or(start).max(start);
                    let wanted = self.wanted(start, end);
                    if wanted > end {
                        found.past_end.push(PastEnd { partition, wanted, end });
                    }
                    found.offsets.insert(partition, wanted.clamp(start, end));
                }
                Ok(found)
            }
        }
    }

    /// The offset in a partition with these bounds, which may lie outside of them.
    fn wanted(self, start: i64, end: i64) -> i64 {
        match self {
            Self::Start | Self::Time(_) => start,
            Self::End => end,
            Self::After(count) => start.saturating_add(count),
            Self::Before(count) => end.saturating_sub(count),
            Self::Offset(offset) => offset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> BeginText {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn place(start: Begin) -> BeginText {
        BeginText::Place(start)
    }

    #[test]
    fn places_have_the_names_that_kafkas_tools_give_them() {
        for text in ["start", "beginning", "earliest", "oldest"] {
            assert_eq!(parsed(text), place(Begin::Start));
        }
        for text in ["end", "latest", "newest"] {
            assert_eq!(parsed(text), place(Begin::End));
        }
    }

    #[test]
    fn numbers_are_offsets_or_distances() {
        assert_eq!(parsed("42"), place(Begin::Offset(42)));
        assert_eq!(parsed("-10"), place(Begin::Before(10)));
        assert_eq!(parsed("+3"), place(Begin::After(3)));
    }

    #[test]
    fn times_are_distances_points_or_what_a_clock_shows() {
        assert_eq!(parsed("@-5m"), BeginText::Ago(300_000));
        assert_eq!(parsed("@-5m").meant(1_000_000), Begin::Time(700_000));
        assert_eq!(parsed("@-1d").meant(5), Begin::Time(0));
        assert_eq!(parsed("@1700000000"), place(Begin::Time(1_700_000_000_000)));
        assert_eq!(parsed("@1700000000123"), place(Begin::Time(1_700_000_000_123)));
        assert_eq!(parsed("@2023-11-14T22:13:20Z"), place(Begin::Time(1_700_000_000_000)));
        assert_eq!(parsed("@2023-11-14T23:13:20.5+01:00"), place(Begin::Time(1_700_000_000_500)));
        let BeginText::Place(Begin::Time(day)) = parsed("@2026-11-21") else { panic!("no time") };
        let BeginText::Place(Begin::Time(nine)) = parsed("@2026-11-21T09:00") else { panic!("no time") };
        assert_eq!(nine - day, 9 * 3_600_000);
    }

    #[test]
    fn anything_else_is_refused_with_what_there_is() {
        for text in
            ["", "middle", "--5", "1.5", "@", "@soon", "@-", "@-5", "@2026-13-01", "99999999999999999999"]
        {
            assert!(text.parse::<BeginText>().is_err(), "{text}");
        }
        assert!("@soon".parse::<BeginText>().unwrap_err().contains("2026-11-21T09:00"));
    }

    #[test]
    fn a_place_is_counted_from_the_bounds_of_a_partition() {
        assert_eq!(Begin::Before(10).wanted(5, 9), -1);
        assert_eq!(Begin::Before(3).wanted(5, 9), 6);
        assert_eq!(Begin::After(10).wanted(5, 9), 15);
        assert_eq!(Begin::Offset(7).wanted(5, 9), 7);
        assert_eq!(Begin::After(i64::MAX).wanted(5, 9), i64::MAX);
    }
}
