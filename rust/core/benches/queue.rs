//! What an item through the queue takes, one producer and one consumer, beside bare rings, channels and a locked deque.
//!
//! `cargo bench -p sparecall-core --bench queue`: nanoseconds per push and pop. First both by one thread, then each by its own, which take turns
//! by yielding where there is nothing to do. Ways take turns, round after round; medians, and in brackets the least.
#![allow(clippy::print_stdout)]

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crossbeam_queue::ArrayQueue;
use sparecall_core::queue::{Overflow, Priority, Queue};

const ROUNDS: usize = 15;
const ITEMS: u64 = 200_000;
const ROOM: usize = 1024;

/// Something that holds numbers: each call says whether it could.
trait Way: Sync {
    fn push(&self, item: u64) -> bool;
    fn pop(&self) -> Option<u64>;
}

impl Way for Queue<u64> {
    fn push(&self, item: u64) -> bool {
        self.push(item, Priority::Normal, 1, None, item).is_ok()
    }

    fn pop(&self) -> Option<u64> {
        self.take(0).map(|taken| taken.value)
    }
}

impl Way for ArrayQueue<u64> {
    fn push(&self, item: u64) -> bool {
        self.push(item).is_ok()
    }

    fn pop(&self) -> Option<u64> {
        self.pop()
    }
}

impl Way for (flume::Sender<u64>, flume::Receiver<u64>) {
    fn push(&self, item: u64) -> bool {
        self.0.try_send(item).is_ok()
    }

    fn pop(&self) -> Option<u64> {
        self.1.try_recv().ok()
    }
}

impl Way for Mutex<VecDeque<u64>> {
    fn push(&self, item: u64) -> bool {
        let mut queue = self.lock().unwrap_or_else(PoisonError::into_inner);
        let room = queue.len() < ROOM;
        if room {
            queue.push_back(item);
        }
        room
    }

    fn pop(&self) -> Option<u64> {
        self.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// Nanoseconds an item: one thread puts in 32 and takes out 32.
fn alone(way: &dyn Way) -> f64 {
    let start = Instant::now();
    let mut sum = 0;
    for first in (0..ITEMS).step_by(32) {
        for item in first..first + 32 {
            assert!(way.push(item));
        }
        for _ in 0..32 {
            sum += way.pop().expect("it was put in");
        }
    }
    assert_eq!(sum, ITEMS * (ITEMS - 1) / 2);
    start.elapsed().as_nanos() as f64 / ITEMS as f64
}

/// Nanoseconds an item, of a producer and a consumer at once.
fn beside(way: &dyn Way) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for item in 0..ITEMS {
                while !way.push(item) {
                    std::thread::yield_now();
                }
            }
        });
        let mut sum = 0;
        for _ in 0..ITEMS {
            sum += loop {
                match way.pop() {
                    Some(item) => break item,
                    None => std::thread::yield_now(),
                }
            };
        }
        assert_eq!(sum, ITEMS * (ITEMS - 1) / 2);
    });
    start.elapsed().as_nanos() as f64 / ITEMS as f64
}

fn main() {
    let ways: [(&str, Box<dyn Way>); 4] = [
        ("sparecall: classes, costs, cancellation", Box::new(Queue::new(ROOM, Overflow::Reject))),
        ("crossbeam ArrayQueue", Box::new(ArrayQueue::new(ROOM))),
        ("flume", Box::new(flume::bounded(ROOM))),
        ("Mutex<VecDeque>", Box::new(Mutex::new(VecDeque::with_capacity(ROOM)))),
    ];
    let mut times = vec![[const { Vec::new() }; 2]; ways.len()];
    for _ in 0..ROUNDS {
        for ((_, way), times) in ways.iter().zip(&mut times) {
            times[0].push(alone(way.as_ref()));
            times[1].push(beside(way.as_ref()));
        }
    }
    println!("| ns per push and pop | one thread | a producer and a consumer |\n|---|---|---|");
    for ((name, _), times) in ways.iter().zip(&mut times) {
        let cells = times.each_mut().map(|times| {
            times.sort_by(f64::total_cmp);
            format!("{:.0} ({:.0})", times[times.len() / 2], times[0])
        });
        println!("| {name} | {} |", cells.join(" | "));
    }
}
