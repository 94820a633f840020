//! The bounded queue between the async side and the workers: predictions before adaptations before bulk work, and within
//! a lane tenants by turns. What is taken together is `plan`'s to say.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::EngineError;
use super::command::{Command, Lane, Work};
use super::plan;
use super::presence::Presence;
use crate::domain::FairQueue;

/// After so many batches of higher lanes in a row, one of a lower lane that waits.
const PATIENCE: u32 = 16;

/// How much may wait, and how much is taken at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) capacity: usize,
    /// Commands of one tenant.
    pub(super) per_tenant: usize,
    pub(super) workers: usize,
    /// Rows in one batch.
    pub(super) batch_rows: usize,
    /// How long a worker may go on with what nobody waits for any more.
    pub(super) patience: Duration,
}

pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    bounds: Bounds,
}

struct State {
    lanes: [FairQueue<Command>; 3],
    /// Whose batch panicked: each goes alone.
    suspects: Vec<Command>,
    present: Presence,
    /// Batches in a row for which a lower lane had to wait.
    passed_over: u32,
    is_closed: bool,
    /// Running mean of the multiply-adds that one worker gets through in a second.
    speed: f64,
    /// The same of adaptations alone, by base model: small inner loops are mostly something else.
    adapting: HashMap<usize, f64>,
}

impl State {
    fn len(&self) -> usize {
        self.suspects.len() + self.lanes.iter().map(FairQueue::len).sum::<usize>()
    }

    /// When what waits now will be done.
    fn drained_in(&self, workers: usize) -> Duration {
        let backlog: u64 = self.lanes.iter().map(FairQueue::backlog).sum();
        Duration::from_secs_f64((backlog as f64 / (self.speed * workers as f64)).clamp(1e-3, 3600.0))
    }

    /// Those whom nobody waits for are dropped; those who come too late are told so.
    fn weed(&mut self, now: Instant) {
        for lane in &mut self.lanes {
            for command in lane.weed(|command| command.is_awaited() && !command.is_late(now)) {
                let name = if command.is_awaited() { "late" } else { "abandoned" };
                metrics::counter!("imprint_rejected_total", "reason" => name).increment(1);
                command.answer(Err(EngineError::Late));
            }
        }
    }

    /// The lane whose turn it is.
    fn next_lane(&mut self) -> Option<usize> {
        let first = self.lanes.iter().position(|lane| !lane.is_empty())?;
        let lower = (first + 1..self.lanes.len()).find(|&lane| !self.lanes[lane].is_empty());
        match lower {
            Some(lower) if self.passed_over >= PATIENCE => {
                self.passed_over = 0;
                Some(lower)
            }
            Some(_) => {
                self.passed_over += 1;
                Some(first)
            }
            None => {
                self.passed_over = 0;
                Some(first)
            }
        }
    }

    fn next_batch(&mut self, bounds: Bounds) -> Option<Vec<Command>> {
        if let Some(command) = self.suspects.pop() {
            return Some(vec![command]);
        }
        let lane = self.next_lane()?;
        let lane = &mut self.lanes[lane];
        let rows = lane.iter().map(|(_, command)| command.shape.rows).sum();
        let budget = plan::budget(rows, bounds.workers, bounds.batch_rows);
        let share = plan::share(bounds.batch_rows, self.present.count(Instant::now()));
        let waiting = lane.iter().map(|(turn, command)| (turn, command.origin.tenant, command.shape));
        let turns = plan::together(waiting, budget, share);
        Some(lane.take(&turns))
    }
}

impl Queue {
    pub(super) fn new(bounds: Bounds) -> Self {
        let bounds = Bounds { workers: bounds.workers.max(1), ..bounds };
        let state = State {
            lanes: std::array::from_fn(|_| FairQueue::new()),
            suspects: Vec::new(),
            present: Presence::new(Instant::now()),
            passed_over: 0,
            is_closed: false,
            speed: 1e10,
            adapting: HashMap::new(),
        };
        Self { state: Mutex::new(state), arrived: Condvar::new(), bounds }
    }

    /// Commands of one tenant that may wait.
    pub(super) fn per_tenant(&self) -> usize {
        self.bounds.per_tenant
    }

    /// Adds a command, or says at once that there is no place.
    pub(super) fn push(&self, command: Command) -> Result<(), EngineError> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(EngineError::Stopping);
        }
        if self.is_refused(&state, &command) {
            // Those who left make room before anyone is turned away.
            state.weed(Instant::now());
            if self.is_refused(&state, &command) {
                let retry_after = state.drained_in(self.bounds.workers);
                let is_full = state.len() >= self.bounds.capacity;
                let reason = if is_full { "full" } else { "tenant_full" };
                metrics::counter!("imprint_rejected_total", "reason" => reason).increment(1);
                return Err(if is_full {
                    EngineError::Full { retry_after }
                } else {
                    EngineError::TenantFull { limit: self.bounds.per_tenant, retry_after }
                });
            }
        }
        state.present.note(command.origin.tenant, Instant::now());
        let lane = command.lane();
        state.lanes[lane as usize].push(command.origin.tenant, command.cost, command);
        metrics::gauge!("imprint_queue_depth", "lane" => lane.name()).set(state.lanes[lane as usize].len() as f64);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    fn is_refused(&self, state: &State, command: &Command) -> bool {
        let own: usize = state.lanes.iter().map(|lane| lane.waiting_of(command.origin.tenant)).sum();
        state.len() >= self.bounds.capacity || own >= self.bounds.per_tenant
    }

    /// The next batch, once there is one; `None` when the queue is closed and empty.
    pub(super) fn pop(&self) -> Option<Vec<Command>> {
        let mut state = self.lock();
        loop {
            state.weed(Instant::now());
            if let Some(batch) = state.next_batch(self.bounds) {
                for lane in Lane::ALL {
                    let depth = state.lanes[lane as usize].len() as f64;
                    metrics::gauge!("imprint_queue_depth", "lane" => lane.name()).set(depth);
                }
                return Some(batch);
            }
            if state.is_closed {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Takes back a batch that panicked: one of it is to blame, and the others are not to pay for it.
    pub(super) fn give_back(&self, batch: Vec<Command>) {
        self.lock().suspects.extend(batch);
        self.arrived.notify_all();
    }

    /// Learns how long a batch took.
    pub(super) fn served(&self, batch: &[Command], took: Duration) {
        let mut state = self.lock();
        let cost: u64 = batch.iter().map(|command| command.cost).sum();
        let speed = (cost as f64 / took.as_secs_f64().max(1e-6)).max(1.0);
        state.speed = 0.95 * state.speed + 0.05 * speed;
        if let Some(Command { work: Work::Adapt { .. }, shape, .. }) = batch.first() {
            let known = state.adapting.entry(shape.base).or_insert(speed);
            *known = 0.8 * *known + 0.2 * speed;
        }
    }

    /// Multiply-adds of an adaptation of a base model that would be done within `time` if it came now.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "neither negative nor without end")]
    pub(super) fn adapts_within(&self, base: usize, time: Duration) -> u64 {
        let state = self.lock();
        let left = time.saturating_sub(state.drained_in(self.bounds.workers));
        (left.as_secs_f64() * state.adapting.get(&base).unwrap_or(&state.speed)) as u64
    }

    /// Takes no more commands; those that wait are still handed out.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.arrived.notify_all();
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// How many threads it feeds.
    pub(super) fn workers(&self) -> usize {
        self.bounds.workers
    }

    /// No code that holds this lock can leave the state half-changed, so that a poisoned lock is as good as another.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
