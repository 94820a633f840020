//! Worker threads: take a batch, compute, answer. A thread that panicked is replaced, and so is one that hangs.
//!
//! A thread cannot be ended from outside, so one hangs when it computes what nobody has waited for any more for a while:
//! whoever waited had a deadline. Another takes its place, and it ends when it comes back, if ever.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{debug, error, info};

use super::EngineError;
use super::command::{Answer, Command};
use super::executor::Executor;
use super::queue::{Bounds, Queue};
use crate::faults::{self, Planned, Site};

/// How long a thread may go on with what nobody waits for any more. An inner loop stops between two steps, and the longest
/// step is a few seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Time until a thread that could not begin is replaced.
const BEGIN_AGAIN: Duration = Duration::from_secs(1);

/// Makes what a worker computes with, on the worker's own thread.
pub(super) type Factory = Arc<dyn Fn() -> Box<dyn Executor> + Send + Sync>;

/// The threads that are running.
pub(super) struct Workers(Arc<Roster>);

/// What all threads and their watch share.
struct Roster {
    queue: Arc<Queue>,
    factory: Factory,
    bounds: Bounds,
    /// Threads that take batches.
    running: watch::Sender<usize>,
    /// Threads that were replaced and have not come back.
    hanging: watch::Sender<usize>,
    posts: Mutex<Vec<Arc<Post>>>,
}

/// What one thread is at.
struct Post {
    number: usize,
    at: Mutex<At>,
}

#[derive(Default)]
struct At {
    /// Flags of those who wait for its batch, set when they have left; none between two batches.
    leaving: Vec<Arc<AtomicBool>>,
    /// Since when nobody waits.
    forsaken: Option<Instant>,
    /// Whether another thread has taken its place.
    is_replaced: bool,
}

impl Workers {
    pub(super) fn start(bounds: Bounds, queue: &Arc<Queue>, factory: &Factory) -> std::io::Result<Self> {
        let roster = Arc::new(Roster {
            queue: Arc::clone(queue),
            factory: Arc::clone(factory),
            bounds,
            running: watch::Sender::new(0),
            hanging: watch::Sender::new(0),
            posts: Mutex::default(),
        });
        for number in 0..bounds.workers {
            roster.running.send_modify(|count| *count += 1);
            roster.spawn(number).inspect_err(|_| roster.running.send_modify(|count| *count -= 1))?;
        }
        let watched = Arc::downgrade(&roster);
        let round = (bounds.patience / 10).min(Duration::from_secs(1));
        thread::Builder::new().name("imprint-watch".to_owned()).spawn(move || keep_watch(&watched, round))?;
        Ok(Self(roster))
    }

    /// Waits until every thread has ended.
    pub(super) async fn ended(&self) {
        let mut running = self.0.running.subscribe();
        // The sender lives in `self`, so the channel is open.
        let _ = running.wait_for(|&count| count == 0).await;
    }

    /// Waits until as many threads hang as there should be: each holds memory, and more would not help.
    pub(super) async fn all_hang(&self) {
        let mut hanging = self.0.hanging.subscribe();
        let _ = hanging.wait_for(|&count| count >= self.0.bounds.workers).await;
    }
}

/// Looks after the threads for as long as the engine is there.
fn keep_watch(roster: &Weak<Roster>, round: Duration) {
    while let Some(roster) = roster.upgrade() {
        roster.replace_hanging(Instant::now());
        drop(roster);
        thread::sleep(round);
    }
}

impl Roster {
    fn spawn(self: &Arc<Self>, number: usize) -> std::io::Result<()> {
        let post = Arc::new(Post { number, at: Mutex::default() });
        let (roster, own) = (Arc::downgrade(self), Arc::clone(&post));
        let (queue, factory) = (Arc::clone(&self.queue), Arc::clone(&self.factory));
        lock(&self.posts).push(Arc::clone(&post));
        let spawned = thread::Builder::new().name(format!("imprint-worker-{number}")).spawn(move || {
            let end = catch_unwind(AssertUnwindSafe(|| work(&queue, &factory, &own))).unwrap_or_else(|_| {
                thread::sleep(BEGIN_AGAIN);
                End::Panicked
            });
            if let Some(roster) = roster.upgrade() {
                roster.succeed(&own, &end);
            }
        });
        spawned.map(drop).inspect_err(|_| self.forget(&post))
    }

    fn forget(&self, post: &Arc<Post>) {
        lock(&self.posts).retain(|other| !Arc::ptr_eq(other, post));
    }

    /// What follows when a thread ends.
    fn succeed(self: &Arc<Self>, post: &Arc<Post>, end: &End) {
        self.forget(post);
        match end {
            End::QueueClosed => self.running.send_modify(|count| *count -= 1),
            // libtorch keeps flags by thread: a fresh thread has them as they should be.
            End::Panicked => self.replace(post.number),
            End::Replaced => {
                info!(worker.number = post.number, "a worker thread that hung came back");
                self.hanging.send_modify(|count| *count -= 1);
            }
        }
    }

    fn replace(self: &Arc<Self>, number: usize) {
        if let Err(reason) = self.spawn(number) {
            error!(worker.number = number, %reason, "a worker thread could not be replaced");
            self.running.send_modify(|count| *count -= 1);
        }
    }

    fn replace_hanging(self: &Arc<Self>, now: Instant) {
        let hanging: Vec<Arc<Post>> =
            lock(&self.posts).iter().filter(|post| post.hangs(now, self.bounds.patience)).cloned().collect();
        for post in hanging {
            metrics::counter!("imprint_worker_hangs_total").increment(1);
            error!(worker.number = post.number, "a worker thread hangs in what nobody waits for; it is replaced");
            self.hanging.send_modify(|count| *count += 1);
            self.replace(post.number);
        }
    }
}

impl Post {
    fn begin(&self, batch: &[Command]) {
        let mut at = lock(&self.at);
        at.leaving = batch.iter().map(|command| Arc::clone(&command.is_abandoned)).collect();
        at.forsaken = None;
    }

    /// Whether the thread still has its place.
    fn end(&self) -> bool {
        let mut at = lock(&self.at);
        at.leaving.clear();
        !at.is_replaced
    }

    /// Whether its place is to be taken, said once.
    fn hangs(&self, now: Instant, patience: Duration) -> bool {
        let mut at = lock(&self.at);
        let is_forsaken = !at.leaving.is_empty() && at.leaving.iter().all(|left| left.load(Ordering::Relaxed));
        if at.is_replaced || !is_forsaken {
            at.forsaken = None;
            return false;
        }
        let since = *at.forsaken.get_or_insert(now);
        at.is_replaced = now.saturating_duration_since(since) >= patience;
        at.is_replaced
    }
}

/// No code that holds one of these locks leaves its value half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a thread takes no more batches.
enum End {
    QueueClosed,
    Panicked,
    Replaced,
}

fn work(queue: &Queue, factory: &Factory, post: &Post) -> End {
    let mut executor = factory();
    while let Some(batch) = queue.pop() {
        let started = Instant::now();
        post.begin(&batch);
        let computed = catch_unwind(AssertUnwindSafe(|| compute(&mut *executor, &batch, started)));
        if !post.end() {
            return End::Replaced; // nobody waits for the answers
        }
        let took = started.elapsed();
        let Ok(answers) = computed else {
            metrics::counter!("imprint_worker_panics_total").increment(1);
            blame(batch, queue);
            return End::Panicked;
        };
        metrics::histogram!("imprint_batch_seconds", "lane" => batch[0].lane().name()).record(took.as_secs_f64());
        queue.served(&batch, took);
        for (command, answer) in batch.into_iter().zip(answers) {
            command.answer(answer);
        }
    }
    End::QueueClosed
}

fn compute(executor: &mut dyn Executor, batch: &[Command], started: Instant) -> Vec<Result<Answer, EngineError>> {
    let all = |planned: Planned| batch.iter().map(|_| Err(planned.into())).collect();
    if let Err(planned) = faults::at(Site::Popped) {
        return all(planned);
    }
    observe(batch, started);
    let answers = executor.run(batch);
    faults::at(Site::Answered).map_or_else(all, |()| answers)
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
