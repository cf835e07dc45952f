//! The flag that makes one signal do for all that comes before it is heeded.

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether who drains has been told, and has not looked since. Who puts something in signals on empty to non-empty alone.
///
/// Both sides read and write in one step. That step is what makes either the producer see that it must signal, or the drainer see
/// what was put in: with a plain load first, both could miss each other.
#[derive(Debug, Default)]
pub struct Armed(AtomicBool);

impl Armed {
    /// Called after something was put in: whether to send the signal.
    pub fn raise(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Called on the signal, before anything is taken out.
    pub fn lower(&self) {
        self.0.swap(false, Ordering::AcqRel);
    }
}

/// Run by `RUSTFLAGS='--cfg loom' cargo test -p sparecall-core --lib models`.
#[cfg(all(test, loom))]
mod models {
    use loom::sync::atomic::{AtomicBool, Ordering};
    use loom::sync::{Arc, Notify};
    use loom::thread;

    use super::Armed;

    const PRODUCERS: usize = 2;

    /// As rings whose own order nothing is asked of: what was put in is seen by what `Armed` says alone.
    #[derive(Default)]
    struct Rings([AtomicBool; PRODUCERS]);

    impl Rings {
        fn put(&self, producer: usize) {
            self.0[producer].store(true, Ordering::Relaxed);
        }

        /// Takes out at most `most`; how many there were.
        fn take(&self, most: usize) -> usize {
            let taken = |ring: &&AtomicBool| {
                ring.load(Ordering::Relaxed) && {
                    ring.store(false, Ordering::Relaxed);
                    true
                }
            };
            self.0.iter().filter(taken).take(most).count()
        }

        fn is_empty(&self) -> bool {
            !self.0.iter().any(|ring| ring.load(Ordering::Relaxed))
        }
    }

    /// Every interleaving in which threads are held up at most three times: all of them take minutes, and hold too.
    fn check(most: usize) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(move || run(most));
    }

    fn run(most: usize) {
        let (armed, rings, signals) = (Arc::new(Armed::default()), Arc::new(Rings::default()), Arc::new(Notify::new()));
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|producer| {
                let (armed, rings, signals) = (armed.clone(), rings.clone(), signals.clone());
                thread::spawn(move || {
                    rings.put(producer);
                    if armed.raise() {
                        signals.notify();
                    }
                })
            })
            .collect();
        let mut got = 0;
        while got < PRODUCERS {
            // Were a signal lost, this would wait for ever, and loom would say so.
            signals.wait();
            armed.lower();
            got += rings.take(most);
            if !rings.is_empty() && armed.raise() {
                signals.notify();
            }
        }
        for producer in producers {
            producer.join().unwrap_or_else(|_| panic!("a producer failed"));
        }
        assert!(rings.is_empty());
    }

    #[test]
    fn no_signal_is_lost() {
        check(PRODUCERS);
    }

    #[test]
    fn no_signal_is_lost_where_a_drain_leaves_some() {
        check(1);
    }
}
