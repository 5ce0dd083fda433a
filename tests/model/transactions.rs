//! The model's transactions: what they began with and how they ended, by the offsets that were given.

/// What readers of committed records are to make of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Committed,
    Aborted,
    Open,
}

/// One transaction in the log.
#[derive(Debug, Clone)]
struct Transaction {
    producer: i64,
    /// Its first record that was ever written.
    first: i64,
    /// Where it holds the stable offset; behind `first` if that was deleted and a start went by what is left.
    held: i64,
    /// Its marker, and whether that commits.
    end: Option<(i64, bool)>,
    /// A start has found nothing left of it. A lost manifest may bring it back with its records.
    is_forgotten: bool,
}

/// All that there ever were, by their beginnings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Transactions(Vec<Transaction>);

impl Transactions {
    fn of(&self, producer: i64, offset: i64) -> Option<&Transaction> {
        let is_in = |each: &&Transaction| each.end.is_none_or(|(marker, _)| offset < marker);
        let mut own = self.0.iter().filter(|each| each.producer == producer && each.first <= offset);
        own.rfind(is_in)
    }

    fn open(&self) -> impl Iterator<Item = &Transaction> {
        self.0.iter().filter(|each| each.end.is_none() && !each.is_forgotten)
    }

    pub(crate) fn is_open(&self, producer: i64) -> bool {
        self.open().any(|each| each.producer == producer)
    }

    /// The producers of those that are open.
    pub(crate) fn producers(&self) -> Vec<i64> {
        self.open().map(|each| each.producer).collect()
    }

    /// A batch of a transaction was appended at this offset.
    pub(crate) fn write(&mut self, producer: i64, base: i64) {
        if !self.is_open(producer) {
            self.0.push(Transaction { producer, first: base, held: base, end: None, is_forgotten: false });
        }
    }

    /// A marker was appended.
    pub(crate) fn end(&mut self, producer: i64, marker: i64, commits: bool) {
        for each in self.0.iter_mut().filter(|each| each.producer == producer && each.end.is_none()) {
            each.end = Some((marker, commits));
            each.is_forgotten = false;
        }
    }

    /// What becomes of this producer's record at this offset.
    pub(crate) fn fate(&self, producer: i64, offset: i64) -> Fate {
        match self.of(producer, offset).map(|each| each.end) {
            Some(Some((_, true))) => Fate::Committed,
            Some(Some((_, false))) => Fate::Aborted,
            Some(None) => Fate::Open,
            None => panic!("{offset} of {producer} is in no transaction"),
        }
    }

    /// The marker that decides on this record.
    pub(crate) fn marker_of(&self, producer: i64, offset: i64) -> Option<i64> {
        self.of(producer, offset)?.end.map(|(marker, _)| marker)
    }

    /// The log ends here now: what ended behind it is open.
    pub(crate) fn cut(&mut self, end: i64) {
        self.0.retain(|each| each.first < end);
        for each in &mut self.0 {
            each.end = each.end.filter(|(marker, _)| *marker < end);
        }
    }

    /// Where readers of committed records stop, if all below `high_watermark` is visible.
    pub(crate) fn stable(&self, start: i64, high_watermark: i64) -> i64 {
        let is_undecided = |each: &&Transaction| each.end.is_none_or(|(marker, _)| marker >= high_watermark);
        let known = self.0.iter().filter(|each| !each.is_forgotten);
        let first = known.filter(is_undecided).map(|each| each.held).min();
        first.map_or(high_watermark, |first| first.max(start).min(high_watermark))
    }

    /// Compares with what a start has found open: producers and where each holds the stable offset. `left` is the first
    /// record that is there of one. What is open without any may be forgotten.
    pub(crate) fn found(&mut self, open: &[(i64, i64)], left: impl Fn(i64, i64) -> Option<i64>) {
        for (producer, _) in open {
            let is_known = self.0.iter().any(|each| each.producer == *producer && each.end.is_none());
            assert!(is_known, "the transaction of {producer} hangs");
        }
        for each in self.0.iter_mut().filter(|each| each.end.is_none()) {
            let found = open.iter().find(|(producer, _)| *producer == each.producer).map(|(_, held)| *held);
            if let Some(left) = left(each.producer, each.first) {
                let held =
                    found.unwrap_or_else(|| panic!("the transaction of {} is forgotten", each.producer));
                assert!(held <= left, "{held} holds the stable offset, and {left} is undecided");
            }
            each.held = found.unwrap_or(each.held);
            each.is_forgotten = found.is_none();
        }
    }
}
