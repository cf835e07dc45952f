//! The queue against a slow model that says the rule outright, its bounds, and threads that put in and cancel at once.

use proptest::prelude::*;
use sparecall_core::queue::{Overflow, PATIENCE, PRIORITIES, Priority, Queue, Ticket};

/// All that waits, searched through at every step.
#[derive(Default)]
struct Model {
    waiting: Vec<Waits>,
    start: [f64; 4],
    virtual_time: f64,
    number: u64,
}

#[derive(Clone)]
struct Waits {
    value: u64,
    priority: Priority,
    tokens: u64,
    arrived: u64,
    deadline: Option<u64>,
}

impl Model {
    fn push(&mut self, priority: Priority, tokens: u64, deadline: Option<u64>, arrived: u64) -> u64 {
        let value = self.number;
        self.number += 1;
        let class = priority as usize;
        if !self.waiting.iter().any(|one| one.priority == priority) {
            self.start[class] = self.start[class].max(self.virtual_time);
        }
        self.waiting.push(Waits { value, priority, tokens, arrived, deadline });
        value
    }

    /// The class furthest behind; in it the one due first, of equally due ones those with a deadline, then the older.
    fn take(&mut self, lowest: Priority) -> Option<u64> {
        let class = PRIORITIES
            .into_iter()
            .filter(|class| *class <= lowest)
            .filter(|class| self.waiting.iter().any(|one| one.priority == *class))
            .min_by(|a, b| self.start[*a as usize].total_cmp(&self.start[*b as usize]))?;
        let key = |one: &Waits| (one.deadline.unwrap_or(one.arrived + PATIENCE), one.deadline.is_none(), one.value);
        let next = self.waiting.iter().filter(|one| one.priority == class).min_by_key(|one| key(one)).cloned()?;
        let waits = |class: &Priority| self.waiting.iter().any(|one| one.priority == *class);
        let behind = PRIORITIES.into_iter().filter(waits).map(|class| self.start[class as usize]);
        self.virtual_time = self.virtual_time.max(behind.fold(f64::INFINITY, f64::min));
        self.start[class as usize] += next.tokens as f64 / f64::from(class.weight());
        self.remove(next.value);
        Some(next.value)
    }

    fn remove(&mut self, value: u64) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|one| one.value != value);
        self.waiting.len() < before
    }

    fn oldest_of_lowest(&self, above: Priority) -> Option<u64> {
        let lowest = self.waiting.iter().map(|one| one.priority).filter(|class| *class >= above).max()?;
        let those = self.waiting.iter().filter(|one| one.priority == lowest);
        those.min_by_key(|one| (one.arrived, one.deadline.is_some(), one.value)).map(|one| one.value)
    }

    fn expired(&mut self, now: u64) -> Vec<u64> {
        let late = |one: &&Waits| one.deadline.is_some_and(|deadline| deadline <= now);
        let mut late: Vec<u64> = self.waiting.iter().filter(late).map(|one| one.value).collect();
        for value in &late {
            assert!(self.remove(*value));
        }
        late.sort_unstable();
        late
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push { class: usize, tokens: u64, deadline: Option<u64> },
    Take(usize),
    Cancel(usize),
    Expire,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let deadline = prop::option::weighted(0.3, 0..3 * PATIENCE);
    prop_oneof![
        5 => (0..4usize, 1..50u64, deadline).prop_map(|(class, tokens, deadline)| Step::Push { class, tokens, deadline }),
        3 => prop_oneof![Just(3), 0..4usize].prop_map(Step::Take),
        2 => any::<prop::sample::Index>().prop_map(|at| Step::Cancel(at.index(1000))),
        1 => Just(Step::Expire),
        1 => (0..PATIENCE).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn it_does_what_the_model_says(
        steps in prop::collection::vec(step(), 1..200),
        most in 1..40usize,
        overflow in prop::sample::select(vec![Overflow::Wait, Overflow::Reject, Overflow::Drop]),
    ) {
        let queue = Queue::new(most, overflow);
        let (mut model, mut tickets, mut now) = (Model::default(), Vec::<(u64, Ticket<u64>)>::new(), 0);
        for step in steps {
            match step {
                Step::Push { class, tokens, deadline } => {
                    let (priority, deadline) = (PRIORITIES[class], deadline.map(|deadline| now + deadline));
                    let full = model.waiting.len() >= most;
                    let gives_way = if full && overflow == Overflow::Drop { model.oldest_of_lowest(priority) } else { None };
                    match queue.push(model.number, priority, tokens, deadline, now) {
                        Ok(pushed) => {
                            prop_assert!(!full || overflow == Overflow::Wait || gives_way.is_some());
                            prop_assert_eq!(pushed.dropped.map(|dropped| dropped.value), gives_way);
                            gives_way.map(|value| model.remove(value));
                            tickets.push((model.push(priority, tokens, deadline, now), pushed.ticket));
                        }
                        Err(refused) => {
                            prop_assert!(full && overflow != Overflow::Wait && gives_way.is_none());
                            prop_assert_eq!(refused.value, model.number);
                            prop_assert!(refused.retry_after > 0);
                        }
                    }
                }
                Step::Take(lowest) => {
                    let lowest = PRIORITIES[lowest];
                    prop_assert_eq!(queue.take_of(lowest, now).map(|taken| taken.value), model.take(lowest));
                }
                Step::Cancel(at) => {
                    if !tickets.is_empty() {
                        let (value, ticket) = &tickets[at % tickets.len()];
                        let waits = model.remove(*value);
                        prop_assert_eq!(ticket.is_waiting(), waits);
                        prop_assert_eq!(queue.cancel(ticket), waits.then_some(*value));
                        prop_assert!(!ticket.is_waiting());
                    }
                }
                Step::Expire => {
                    let mut late: Vec<u64> = queue.expired(now).into_iter().map(|taken| taken.value).collect();
                    late.sort_unstable();
                    prop_assert_eq!(late, model.expired(now));
                }
                Step::Pass(time) => now += time,
            }
            prop_assert_eq!(queue.len(), model.waiting.len());
            prop_assert_eq!(queue.tokens(), model.waiting.iter().map(|one| one.tokens).sum::<u64>());
            prop_assert_eq!(queue.has_room(), model.waiting.len() < most);
            prop_assert_eq!(queue.earliest(), model.waiting.iter().filter_map(|one| one.deadline).min());
        }
        while let Some(value) = model.take(Priority::Low) {
            prop_assert_eq!(queue.take(now).map(|taken| taken.value), Some(value));
        }
        prop_assert!(queue.is_empty() && queue.take(now).is_none() && queue.tokens() == 0);
    }

    /// The bound that the module states, whatever the others' load.
    #[test]
    fn nobody_waits_longer_than_the_bound(
        sizes in prop::collection::vec((0..4usize, 1..100u64), 1..300),
        own in prop::collection::vec(1..100u64, 1..10),
        class in 0..4usize,
    ) {
        let priority = PRIORITIES[class];
        let queue = Queue::new(1_000_000, Overflow::Wait);
        let mut largest = 1;
        let mut more = sizes.iter().cycle();
        let mut put = |queue: &Queue<u64>, many: usize| {
            for (class, tokens) in more.by_ref().filter(|(other, _)| *other != class).take(many) {
                largest = largest.max(*tokens);
                assert!(queue.push(0, PRIORITIES[*class], *tokens, None, 0).is_ok());
            }
        };
        if sizes.iter().all(|(other, _)| *other == class) {
            return Ok(());
        }
        put(&queue, sizes.len());
        for _ in 0..sizes.len() / 2 {
            queue.take(0);
        }
        let before: u64 = own[..own.len() - 1].iter().sum();
        for (place, tokens) in own.iter().enumerate() {
            let value = u64::from(place + 1 == own.len());
            prop_assert!(queue.push(value, priority, *tokens, None, 0).is_ok());
        }
        let mut spent = 0;
        loop {
            put(&queue, 2);
            let taken = queue.take(0).expect("something waits");
            if taken.value == 1 {
                break;
            }
            spent += taken.tokens;
        }
        let most = own.iter().copied().max().unwrap_or(1).max(largest) as f64;
        let share = 15.0 / f64::from(priority.weight());
        prop_assert!(spent as f64 <= before as f64 * share + most * (share + 3.0), "{spent}");
    }
}

#[test]
fn shares_are_by_weight_under_overload() {
    let queue = Queue::new(100_000, Overflow::Wait);
    let mut tokens = [0u64; 4];
    for _ in 0..5_000 {
        for priority in PRIORITIES {
            assert!(queue.push((), priority, 3 + priority as u64, None, 0).is_ok());
        }
    }
    for _ in 0..5_000 {
        let taken = queue.take(0).expect("all wait");
        tokens[taken.priority as usize] += taken.tokens;
    }
    let shares = PRIORITIES.map(|priority| tokens[priority as usize] as f64 / f64::from(priority.weight()));
    let jain = shares.iter().sum::<f64>().powi(2) / (4.0 * shares.iter().map(|share| share * share).sum::<f64>());
    assert!(jain > 0.999, "{jain}");
}

#[test]
fn a_refusal_says_when_there_is_room_at_the_pace_seen() {
    let queue = Queue::new(160, Overflow::Reject);
    for _ in 0..160 {
        assert!(queue.push((), Priority::Normal, 1, None, 0).is_ok());
    }
    assert_eq!(
        queue.push((), Priority::Normal, 1, None, 0).map_err(|full| full.retry_after).err(),
        Some(1_000_000_000)
    );
    for second in 1..60 {
        assert!(queue.take(second * 1_000).is_some());
        assert!(queue.push((), Priority::Normal, 1, None, 0).is_ok());
    }
    assert_eq!(queue.push((), Priority::Low, 1, None, 0).map_err(|full| full.retry_after).err(), Some(10_000));
}

#[test]
fn tombstones_take_no_place_and_little_memory() {
    let queue = Queue::new(8, Overflow::Reject);
    for number in 0..10_000u64 {
        let deadline = (number % 2 == 0).then_some(number);
        let pushed = queue.push(Box::new(number), Priority::Low, 7, deadline, 0).expect("there is room");
        assert_eq!(queue.cancel(&pushed.ticket).as_deref(), Some(&number));
        assert_eq!((queue.len(), queue.tokens()), (0, 0));
    }
}

/// Several producers, some of which cancel, and one drainer: each value is taken or cancelled, once.
#[test]
fn nothing_is_lost_or_doubled_between_threads() {
    const EACH: u64 = 20_000;
    let queue = Queue::new(64, Overflow::Reject);
    let (taken, cancelled) = std::thread::scope(|scope| {
        let producers: Vec<_> = (0..3u64)
            .map(|producer| {
                let queue = &queue;
                scope.spawn(move || {
                    let mut cancelled = Vec::new();
                    for number in 0..EACH {
                        let (mut value, priority) = (producer * EACH + number, PRIORITIES[(number % 4) as usize]);
                        let ticket = loop {
                            match queue.push(value, priority, 1 + number % 5, None, number) {
                                Ok(pushed) => break pushed.ticket,
                                Err(full) => value = full.value,
                            }
                            std::thread::yield_now();
                        };
                        if number % 3 == 0 {
                            cancelled.extend(queue.cancel(&ticket));
                        }
                    }
                    cancelled
                })
            })
            .collect();
        let mut taken = Vec::new();
        while !producers.iter().all(std::thread::ScopedJoinHandle::is_finished) || !queue.is_empty() {
            assert!(queue.len() <= 64);
            taken.extend(queue.take(0).map(|taken| taken.value));
        }
        let cancelled: Vec<u64> = producers.into_iter().flat_map(|one| one.join().expect("no panic")).collect();
        (taken, cancelled)
    });
    let mut last = [[None; 4]; 3];
    for value in &taken {
        let (producer, number) = ((value / EACH) as usize, value % EACH);
        let before = &mut last[producer][(number % 4) as usize];
        assert!(before.is_none_or(|before| before < number), "a producer's items of a class come in order");
        *before = Some(number);
    }
    let mut all = [taken, cancelled].concat();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..3 * EACH));
    assert_eq!(queue.tokens(), 0);
}
