//! The bounded queue between the async side and the workers: predictions before adaptations, first come first served
//! within a lane.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::EngineError;
use super::command::{Command, Lane};

pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    capacity: usize,
    workers: usize,
}

struct State {
    predict: VecDeque<Command>,
    adapt: VecDeque<Command>,
    is_closed: bool,
    /// Running mean of the time that a command takes.
    service_time: Duration,
}

impl State {
    fn len(&self) -> usize {
        self.predict.len() + self.adapt.len()
    }
}

impl Queue {
    pub(super) fn new(capacity: usize, workers: usize) -> Self {
        let state = State {
            predict: VecDeque::new(),
            adapt: VecDeque::new(),
            is_closed: false,
            service_time: Duration::from_millis(10),
        };
        Self { state: Mutex::new(state), arrived: Condvar::new(), capacity, workers: workers.max(1) }
    }

    /// Adds a command, or says at once that there is no place.
    pub(super) fn push(&self, command: Command) -> Result<(), EngineError> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(EngineError::Stopping);
        }
        if state.len() >= self.capacity {
            // Those who left make room before anyone is turned away.
            state.predict.retain(|waiting| !waiting.work.is_abandoned());
            state.adapt.retain(|waiting| !waiting.work.is_abandoned());
        }
        if state.len() >= self.capacity {
            let waiting = u32::try_from(state.len() / self.workers + 1).unwrap_or(u32::MAX);
            return Err(EngineError::Full { retry_after: state.service_time.saturating_mul(waiting) });
        }
        match command.work.lane() {
            Lane::Predict => state.predict.push_back(command),
            Lane::Adapt => state.adapt.push_back(command),
        }
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// The next command, once there is one; `None` when the queue is closed and empty.
    pub(super) fn pop(&self) -> Option<Command> {
        let mut state = self.lock();
        loop {
            if let Some(command) = state.predict.pop_front().or_else(|| state.adapt.pop_front()) {
                return Some(command);
            }
            if state.is_closed {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Learns how long a command took.
    pub(super) fn served(&self, took: Duration) {
        let mut state = self.lock();
        state.service_time = state.service_time.mul_f64(0.9) + took.mul_f64(0.1);
    }

    /// Takes no more commands; those that wait are still handed out.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.arrived.notify_all();
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// No code that holds this lock can leave the state half-changed, so that a poisoned lock is as good as another.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
