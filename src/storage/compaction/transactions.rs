//! Transactions as a cleaning meets them, from the log's start on (S94): what of them is data that nobody shall read,
//! and which markers have nothing left to mark.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::record::BatchView;
use crate::record::batch::{BatchError, BatchHeader};
use crate::record::control::{ControlType, read_marker};
use crate::storage::txn_index::AbortedTransaction;

/// The transactions that are open where a pass over the log has got to.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// Still to come, by rising first offset.
    aborted: VecDeque<AbortedTransaction>,
    /// Open ones that will be aborted, by producer.
    doomed: HashMap<i64, Doomed>,
    /// Producers with data in an open transaction that is not known to be aborted.
    open: HashSet<i64>,
    /// Aborted ones that ended in the segment that is being written, and of which something is left.
    left: Vec<AbortedTransaction>,
}

/// An open transaction that will be aborted.
#[derive(Debug)]
struct Doomed {
    /// Its marker itself may have gone: nothing behind that one's offset is of this transaction.
    transaction: AbortedTransaction,
    /// Whether data of it was seen.
    seen: bool,
}

impl Transactions {
    /// A pass over a log in which these transactions were aborted.
    pub(super) fn new(aborted: &[AbortedTransaction]) -> Self {
        let mut aborted = aborted.to_vec();
        aborted.sort_unstable_by_key(|transaction| transaction.first_offset);
        Self { aborted: aborted.into(), ..Self::default() }
    }

    /// Meets a data batch. Whether its transaction was aborted.
    pub(super) fn data(&mut self, header: &BatchHeader) -> bool {
        self.begin(header);
        if !header.attributes.is_transactional() {
            return false;
        }
        match self.doomed.get_mut(&header.producer_id) {
            Some(doomed) if header.base_offset < doomed.transaction.last_offset => {
                doomed.seen = true;
                true
            }
            _ => {
                self.open.insert(header.producer_id);
                false
            }
        }
    }

    /// Meets a control batch. Whether nothing is left of what it marks, so that it need not stay for that.
    pub(super) fn marker(&mut self, batch: &BatchView<'_>) -> Result<bool, BatchError> {
        let header = batch.header();
        self.begin(header);
        if header.records_count == 0 {
            // Cleaned before.
            return Ok(true);
        }
        let Some(marker) = read_marker(batch)? else { return Ok(false) };
        Ok(match marker.kind {
            ControlType::Commit => !self.open.remove(&header.producer_id),
            ControlType::Abort => {
                let doomed = self.doomed.remove(&header.producer_id).filter(|doomed| doomed.seen);
                let is_left = doomed.is_some();
                self.left.extend(doomed.map(|doomed| doomed.transaction));
                // Data whose abort no index tells of is data all the same.
                !(self.open.remove(&header.producer_id) || is_left)
            }
            ControlType::Other(_) => false,
        })
    }

    /// The aborted transactions whose markers were met since the last call, and that the index of the segment with those
    /// markers has to name: something of them is left, if only the frame of a batch.
    pub(super) fn take_left(&mut self) -> Vec<AbortedTransaction> {
        std::mem::take(&mut self.left)
    }

    /// Begins the transactions that have begun where this batch ends. Those that were over before it are passed by: the
    /// pass may begin behind them, or their markers may be gone.
    fn begin(&mut self, header: &BatchHeader) {
        let end = header.last_offset();
        while let Some(next) = self.aborted.pop_front_if(|next| next.first_offset <= end) {
            if next.last_offset >= header.base_offset {
                self.doomed.insert(next.producer_id, Doomed { transaction: next, seen: false });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::control::{Marker, build_marker};
    use crate::record::{BatchBuilder, NewRecord, empty, stamp};

    fn data(producer: i64, offset: i64, transactional: bool) -> BatchHeader {
        let mut builder = BatchBuilder::new().base_offset(offset).producer(producer, 0, 0);
        builder = builder.transactional(transactional);
        builder.push(&NewRecord { key: Some(b"k"), ..NewRecord::default() });
        BatchHeader::parse(&builder.build().unwrap()).unwrap()
    }

    fn marker(producer: i64, offset: i64, kind: ControlType) -> Vec<u8> {
        let marker = Marker { kind, coordinator_epoch: 0 };
        let mut bytes = build_marker(marker, producer, 0, 1).unwrap().to_vec();
        stamp(&mut bytes, offset, 0);
        bytes
    }

    fn is_done(pass: &mut Transactions, bytes: &[u8]) -> bool {
        pass.marker(&BatchView::parse(bytes).unwrap()).unwrap()
    }

    #[test]
    fn s94_a_marker_stays_while_data_of_its_transaction_does() {
        for kind in [ControlType::Commit, ControlType::Abort] {
            let mut pass = Transactions::default();
            assert!(!pass.data(&data(1, 10, true)));
            assert!(!pass.data(&data(2, 11, false)), "not in a transaction");
            assert!(!is_done(&mut pass, &marker(1, 12, kind)));
            assert!(is_done(&mut pass, &marker(2, 13, kind)));
            assert!(is_done(&mut pass, &marker(1, 14, kind)), "the next transaction had no data");
        }
    }

    #[test]
    fn s94_data_of_an_aborted_transaction_goes_and_its_marker_a_cleaning_later() {
        let aborted = [AbortedTransaction {
            producer_id: 1,
            first_offset: 10,
            last_offset: 12,
            last_stable_offset: 13,
        }];
        let mut pass = Transactions::new(&aborted);
        assert!(!pass.data(&data(1, 5, true)), "an earlier transaction");
        assert!(!is_done(&mut pass, &marker(1, 6, ControlType::Commit)));
        assert!(pass.data(&data(1, 10, true)));
        assert!(!is_done(&mut pass, &marker(1, 12, ControlType::Abort)));
        assert_eq!(pass.take_left(), aborted, "whoever meets the frames of its batches has to know");
        assert!(!pass.data(&data(1, 13, true)), "the next transaction");

        let mut pass = Transactions::new(&aborted);
        assert!(is_done(&mut pass, &marker(1, 12, ControlType::Abort)));
        assert_eq!(pass.take_left(), []);
    }

    #[test]
    fn s94_what_a_producer_commits_after_an_abort_stays_though_the_marker_is_gone() {
        let aborted = [AbortedTransaction {
            producer_id: 1,
            first_offset: 10,
            last_offset: 12,
            last_stable_offset: 13,
        }];
        // The pass begins behind it.
        let mut pass = Transactions::new(&aborted);
        assert!(!pass.data(&data(1, 20, true)));
        assert!(!is_done(&mut pass, &marker(1, 21, ControlType::Commit)));
        // Cleaned before, and so was its marker: a batch of another producer stands where both were.
        let mut pass = Transactions::new(&aborted);
        assert!(!pass.data(&data(2, 11, true)));
        assert!(!pass.data(&data(1, 20, true)));
        assert!(!is_done(&mut pass, &marker(1, 21, ControlType::Commit)));
        // An emptied marker is no record to end it.
        let emptied = empty(BatchView::parse(&marker(1, 12, ControlType::Abort)).unwrap().header());
        let mut pass = Transactions::new(&aborted);
        assert!(is_done(&mut pass, &emptied));
        assert!(!pass.data(&data(1, 13, true)));
    }

    #[test]
    fn an_emptied_marker_marks_nothing() {
        let bytes = marker(1, 3, ControlType::Commit);
        let emptied = empty(BatchView::parse(&bytes).unwrap().header());
        let mut pass = Transactions::default();
        pass.data(&data(1, 2, true));
        assert!(is_done(&mut pass, &emptied));
    }
}
