//! What holds the stable offset back, whatever order writes, failures, markers and high watermarks come in.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// A transaction begins; the write may fail.
    Begin { fails: bool },
    /// The oldest but so many ends.
    End(usize),
    /// So much more is visible.
    Show(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => proptest::bool::weighted(0.2).prop_map(|fails| Step::Begin { fails }),
        3 => (0_usize..4).prop_map(Step::End),
        3 => (0_i64..6).prop_map(Step::Show),
    ];
    proptest::collection::vec(step, 0..120)
}

/// One transaction as the log has it.
struct Known {
    first: i64,
    marker: Option<i64>,
}

fn began(first_offset: i64) -> Change {
    Change::Began { producer_id: first_offset, epoch: 0, first_offset, is_new: true }
}

proptest! {
    #[test]
    fn s20_the_first_unstable_offset_is_that_of_the_oldest_undecided_or_invisible_transaction(steps in steps()) {
        let mut transactions = Transactions::default();
        let (mut known, mut end, mut visible) = (Vec::<Known>::new(), 0_i64, 0_i64);
        for step in steps {
            match step {
                Step::Begin { fails } => {
                    transactions.announce(&[began(end)], Duration::ZERO);
                    prop_assert!(transactions.first_unstable() <= end, "before anybody can see it");
                    if fails {
                        transactions.take_back(&[began(end)]);
                    } else {
                        transactions.settle(&[began(end)], visible);
                        known.push(Known { first: end, marker: None });
                        end += 1;
                    }
                }
                Step::End(nth) => {
                    if let Some(one) = known.iter_mut().filter(|one| one.marker.is_none()).nth(nth) {
                        one.marker = Some(end);
                        let ended = Change::Ended {
                            producer_id: one.first,
                            epoch: 0,
                            marker_offset: end,
                            first_offset: Some(one.first),
                            aborted: None,
                        };
                        transactions.settle(&[ended], visible);
                        end += 1;
                    }
                }
                Step::Show(more) => {
                    visible = (visible + more).min(end);
                    transactions.show(visible);
                }
            }
            let unstable = known.iter().filter(|one| one.marker.is_none_or(|marker| marker >= visible));
            let first = unstable.map(|one| one.first).min().unwrap_or(i64::MAX);
            prop_assert_eq!(transactions.first_unstable(), first);
        }
    }
}

#[test]
fn s54_who_was_refused_for_good_makes_room_for_others_and_nobody_else_does() {
    let mut transactions = Transactions::default();
    let batch = |producer_id| FirstBatch { producer_id, producer_epoch: 0, base_sequence: 0, is_v2: false };
    let all = i64::try_from(WAITING_MAX).unwrap();
    let tickets: Vec<_> = (0..all).map(|id| transactions.ticket(&batch(id), 0).unwrap().unwrap()).collect();
    assert_eq!(transactions.ticket(&batch(all), 0), Err(TooManyWait));
    transactions.give_ticket_up(3, tickets[3]);
    transactions.give_ticket_up(4, tickets[4]);
    assert_eq!(transactions.ticket(&batch(4), 0), Ok(Some(tickets[4])), "it tries again");
    assert!(transactions.ticket(&batch(all), 0).is_ok());
    assert_eq!(transactions.ticket(&batch(all + 1), 0), Err(TooManyWait), "4 is still waited for");
}
