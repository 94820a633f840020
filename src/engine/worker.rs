//! Worker threads: take a batch, compute, answer. A thread that panicked is replaced.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use tokio::sync::watch;
use tracing::{debug, error};

use super::EngineError;
use super::command::Command;
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
    while let Some(batch) = queue.pop() {
        let started = Instant::now();
        observe(&batch, started);
        let computed = catch_unwind(AssertUnwindSafe(|| executor.run(&batch)));
        let Ok(answers) = computed else {
            metrics::counter!("imprint_worker_panics_total").increment(1);
            blame(batch, queue);
            return End::Panicked;
        };
        queue.served(batch.iter().map(|command| command.cost).sum(), started.elapsed());
        for (command, answer) in batch.into_iter().zip(answers) {
            command.answer(answer);
        }
    }
    End::QueueClosed
}

/// A panic costs the command that caused it: whoever was alone.
fn blame(mut batch: Vec<Command>, queue: &Queue) {
    if batch.len() > 1 {
        error!(batch.commands = batch.len(), "a worker panicked; the commands are tried one by one");
        return queue.give_back(batch);
    }
    for command in batch.drain(..) {
        let _entered = command.span.clone().entered();
        error!("a worker panicked; the command is lost, its thread is replaced");
        command.answer(Err(EngineError::Panicked));
    }
}

fn observe(batch: &[Command], started: Instant) {
    let lane = batch[0].lane().name();
    let mut tenants: Vec<_> = batch.iter().map(|command| command.origin.tenant).collect();
    tenants.sort_unstable();
    tenants.dedup();
    let rows: usize = batch.iter().map(|command| command.shape.rows).sum();
    metrics::histogram!("imprint_batch_tenants", "lane" => lane).record(tenants.len() as f64);
    metrics::histogram!("imprint_batch_commands", "lane" => lane).record(batch.len() as f64);
    metrics::histogram!("imprint_batch_rows", "lane" => lane).record(rows as f64);
    for command in batch {
        let waited = started.saturating_duration_since(command.queued_at);
        metrics::histogram!("imprint_queue_wait_seconds", "lane" => lane).record(waited.as_secs_f64());
        let _entered = command.span.enter();
        debug!(queue.wait_ms = waited.as_secs_f64() * 1e3, batch.commands = batch.len(), "work taken");
    }
}
