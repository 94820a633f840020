//! Worker threads: take a command, compute, answer. A thread that panicked is replaced.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use tokio::sync::watch;
use tracing::{debug, error};

use super::EngineError;
use super::command::{Command, Work};
use super::executor::Executor;
use super::queue::Queue;

/// Makes what a worker computes with, on the worker's own thread.
pub(super) type Factory = Arc<dyn Fn() -> Box<dyn Executor> + Send + Sync>;

/// The threads that are running.
pub(super) struct Workers {
    running: watch::Sender<usize>,
}

impl Workers {
    pub(super) fn start(count: usize, queue: &Arc<Queue>, factory: &Factory) -> std::io::Result<Self> {
        let running = watch::Sender::new(0);
        for number in 0..count {
            spawn(number, queue, factory, &running)?;
        }
        Ok(Self { running })
    }

    /// Waits until every thread has ended.
    pub(super) async fn ended(&self) {
        let mut running = self.running.subscribe();
        // The sender lives in `self`, so the channel is open.
        let _ = running.wait_for(|&count| count == 0).await;
    }
}

fn spawn(number: usize, queue: &Arc<Queue>, factory: &Factory, running: &watch::Sender<usize>) -> std::io::Result<()> {
    let (queue, factory, counter) = (Arc::clone(queue), Arc::clone(factory), running.clone());
    running.send_modify(|count| *count += 1);
    let spawned = thread::Builder::new().name(format!("imprint-worker-{number}")).spawn(move || {
        if work(&queue, &factory) == End::Panicked {
            // libtorch keeps flags by thread: a fresh thread has them as they should be.
            if let Err(reason) = spawn(number, &queue, &factory, &counter) {
                error!(worker.number = number, %reason, "a worker thread could not be replaced");
            }
        }
        counter.send_modify(|count| *count -= 1);
    });
    spawned.map(drop).inspect_err(|_| running.send_modify(|count| *count -= 1))
}

#[derive(PartialEq, Eq)]
enum End {
    QueueClosed,
    Panicked,
}

fn work(queue: &Queue, factory: &Factory) -> End {
    let mut executor = factory();
    while let Some(Command { work, span, queued_at }) = queue.pop() {
        if work.is_abandoned() {
            continue; // the client has gone
        }
        let _entered = span.enter();
        debug!(queue.wait_ms = queued_at.elapsed().as_secs_f64() * 1e3, "work taken");
        let started = Instant::now();
        let survived = execute(&mut *executor, work);
        queue.served(started.elapsed());
        if !survived {
            error!("a worker panicked; the command is lost, its thread is replaced");
            return End::Panicked;
        }
    }
    End::QueueClosed
}

/// Computes and answers; false if the computation panicked.
fn execute(executor: &mut dyn Executor, work: Work) -> bool {
    match work {
        Work::Adapt { base, support, recipe, reply } => answer(reply, || executor.adapt(base, &support, &recipe)),
        Work::Predict { base, adapter, query, reply } => answer(reply, || executor.predict(base, &adapter, &query)),
        Work::AdaptPredict { base, support, recipe, query, reply } => answer(reply, || {
            let adapted = executor.adapt(base, &support, &recipe)?;
            let outputs = executor.predict(base, &adapted.blob, &query)?;
            Ok((adapted, outputs))
        }),
    }
}

fn answer<T>(reply: super::command::Reply<T>, compute: impl FnOnce() -> Result<T, EngineError>) -> bool {
    let caught = catch_unwind(AssertUnwindSafe(compute));
    let survived = caught.is_ok();
    // A failed send is a client that left while its answer was made.
    let _ = reply.send(caught.unwrap_or(Err(EngineError::Panicked)));
    survived
}
