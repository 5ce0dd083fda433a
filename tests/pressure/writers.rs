//! Those who write as much as they can: to fill what may be unsynced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kafka_protocol::messages::ProduceRequest;

use crate::support::Broker;
use crate::support::raw::{self, Connection};

const MIB: usize = 1 << 20;
/// What the broker may use in these tests. A tenth of it may be unsynced.
pub(crate) const MEMORY_BYTES: usize = 320 * MIB;
pub(crate) const UNSYNCED_BYTES_MAX: usize = 32 * MIB;
pub(crate) const REQUEST_BYTES: usize = 64 * 1024;
pub(crate) const WRITERS: usize = 4;
/// Of each writer; what is under way when the bytes are full still goes through.
pub(crate) const IN_FLIGHT: usize = 16;
/// After this long without an answer somebody waits.
pub(crate) const WAITS: Duration = Duration::from_millis(700);

/// Writers that have some requests under way, each on a partition of its own, until they are told to end.
pub(crate) struct Writers {
    answered: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Writers {
    pub(crate) fn start(broker: &Broker, topic: &'static str) -> Self {
        let (answered, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let threads = (0..WRITERS)
            .map(|n| {
                let mut connection = Connection::to(broker.address());
                connection.patience(Duration::from_secs(60));
                let (answered, over) = (Arc::clone(&answered), Arc::clone(&over));
                thread::spawn(move || {
                    let batch = raw::batch(&[&[7; REQUEST_BYTES]]);
                    let request = raw::produce(topic, i32::try_from(n).unwrap(), 1, batch);
                    let (_, frame) = connection.frame(9, &request);
                    (0..IN_FLIGHT).for_each(|_| connection.write(&frame).unwrap());
                    let mut under_way = IN_FLIGHT;
                    while under_way > 0 {
                        let (_, response) =
                            connection.answer::<ProduceRequest>(9).expect("an answer, at last");
                        assert_eq!(raw::produced(&response).0, 0);
                        answered.fetch_add(1, Ordering::SeqCst);
                        under_way -= 1;
                        if !over.load(Ordering::SeqCst) {
                            connection.write(&frame).unwrap();
                            under_way += 1;
                        }
                    }
                })
            })
            .collect();
        Self { answered, over, threads }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.answered.load(Ordering::SeqCst) * REQUEST_BYTES
    }

    /// Waits until none of them is answered any more; how many bytes were.
    pub(crate) fn wait_until_held_back(&self) -> usize {
        let began = Instant::now();
        let mut last = usize::MAX;
        while last != self.bytes() {
            assert!(began.elapsed() < Duration::from_secs(60), "nothing holds them back");
            last = self.bytes();
            thread::sleep(WAITS);
        }
        last
    }

    /// How many requests were answered in all.
    pub(crate) fn end(self) -> usize {
        self.over.store(true, Ordering::SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().expect("a writer ends well"));
        self.answered.load(Ordering::SeqCst)
    }
}

/// Makes topics `t` and `u` with a partition for each writer and a record in each; somebody who has produced and is owed
/// nothing.
pub(crate) fn with_topics(broker: &Broker) -> Connection {
    let mut connection = Connection::to(broker.address());
    let partitions = i32::try_from(WRITERS).unwrap();
    for topic in ["t", "u"] {
        raw::create(&mut connection, topic, partitions, &[]);
        for partition in 0..partitions {
            let response = connection.call(9, &raw::produce(topic, partition, -1, raw::batch(&[&[7; 1000]])));
            assert_eq!(raw::produced(&response).0, 0);
        }
    }
    connection
}
