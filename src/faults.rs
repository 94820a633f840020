//! Faults on purpose: places where a test lets the program go wrong, to see that nothing is lost by it.
//!
//! A place is a [`Site`], what happens there an [`Action`]; [`plan`] puts one of each together, for one time. They are
//! there where debug assertions are on, and nowhere else: in a release build [`at`] and [`pass`] do nothing, and nothing
//! can be planned.

use std::time::Duration;

/// Names every site once.
macro_rules! sites {
    ($($(#[doc = $doc:literal])* $site:ident,)*) => {
        /// A place where something may go wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Site {
            $($(#[doc = $doc])* $site,)*
        }

        impl Site {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$site,)*];
        }
    };
}

sites! {
    /// The store: before a connection is taken from the pool.
    Acquire,
    /// The store: a transaction has begun.
    Begin,
    /// The store: all is written, nothing is committed.
    Commit,
    /// The store: it is committed, and nobody knows yet.
    Committed,
    /// The queue: a job's row is written.
    Submitted,
    /// The queue: a job is a worker's, in a transaction that is open.
    Claimed,
    /// The queue: a job has ended, its adapter is not stored.
    Ended,
    /// The queue: a job has ended, its adapter is stored, and nothing is promoted.
    Stored,
    /// The queue: all but the notice of the end is written.
    Unannounced,
    /// The store: an adapter's bytes are read.
    Loaded,
    /// A runner: it holds a job and has done nothing.
    Taken,
    /// A runner: it has the support set.
    Prepared,
    /// A runner: it has the adapter.
    Adapted,
    /// A runner: the store knows of the end, nobody else.
    Told,
    /// The engine: before a command is queued.
    Push,
    /// A worker: it has taken a batch.
    Popped,
    /// A worker: before the rows of a batch go through the trunk.
    Trunk,
    /// A worker: before a command's own part of a batch.
    Head,
    /// A worker: before a gradient.
    Gradient,
    /// A worker: an adapter is computed and not yet bytes.
    Serialise,
    /// A worker: before an adapter's bytes become tensors.
    Open,
    /// A worker: before texts are encoded.
    Embed,
    /// A worker: it has the answers, nobody else.
    Answered,
    /// The relay: a message is posted, its notice not settled.
    Posted,
    /// The relay: a delivery is taken up.
    Sending,
    /// The relay: it was sent, and nobody noted it.
    Sent,
    /// The courier: before it connects.
    Connect,
    /// The courier: it is connected and has said nothing.
    Exchange,
    /// HTTP: a repeatable request is carried out, its answer is not kept.
    Acted,
    /// HTTP: its answer is kept and not given.
    Kept,
    /// HTTP: any answer, before it goes out.
    Reply,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A panic.
    Panic,
    /// An error, as what stands behind the place would give it.
    Error,
    /// The same, for want of memory.
    OutOfMemory,
    /// Nothing happens for so long.
    Stall(Duration),
    /// The process ends at once.
    Abort,
}

/// An error on purpose; each layer makes of it one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Planned {
    /// Of whatever kind.
    #[error("a planned fault")]
    Error,
    /// For want of memory.
    #[error("a planned want of memory")]
    OutOfMemory,
}

impl From<Planned> for std::io::Error {
    fn from(planned: Planned) -> Self {
        Self::other(planned)
    }
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Mutex, PoisonError};

    use super::{Action, Duration, Planned, Site};

    /// What is planned, and how often the site is passed before.
    static PLAN: Mutex<Option<(Site, Action, usize)>> = Mutex::new(None);
    /// Whether anything is: all that is looked at in an ordinary run.
    static IS_ARMED: AtomicBool = AtomicBool::new(false);

    /// Lets `action` happen at the site once, after it was passed `before` times. There is one plan at a time.
    pub fn plan(site: Site, action: Action, before: usize) {
        *PLAN.lock().unwrap_or_else(PoisonError::into_inner) = Some((site, action, before));
        IS_ARMED.store(true, Ordering::Release);
    }

    /// Forgets the plan; whether it had come true.
    pub fn end() -> bool {
        IS_ARMED.store(false, Ordering::Release);
        PLAN.lock().unwrap_or_else(PoisonError::into_inner).take().is_none()
    }

    /// What happens here now.
    fn struck(site: Site) -> Option<Action> {
        if !IS_ARMED.load(Ordering::Acquire) {
            return None;
        }
        let mut plan = PLAN.lock().unwrap_or_else(PoisonError::into_inner);
        match *plan {
            Some((planned, action, 0)) if planned == site => {
                *plan = None;
                Some(action)
            }
            Some((planned, action, before)) if planned == site => {
                *plan = Some((planned, action, before - 1));
                None
            }
            _ => None,
        }
    }

    fn strike(site: Site, action: Action) -> Result<Option<Duration>, Planned> {
        match action {
            Action::Panic => panic!("planned at {site:?}"),
            Action::Error => Err(Planned::Error),
            Action::OutOfMemory => Err(Planned::OutOfMemory),
            Action::Stall(pause) => Ok(Some(pause)),
            Action::Abort => std::process::abort(),
        }
    }

    /// Goes wrong here, if that is planned; a stall holds the thread.
    pub fn at(site: Site) -> Result<(), Planned> {
        let stall = struck(site).map_or(Ok(None), |action| strike(site, action))?;
        if let Some(pause) = stall {
            std::thread::sleep(pause);
        }
        Ok(())
    }

    /// The same in async code: a stall holds nobody else.
    pub async fn pass(site: Site) -> Result<(), Planned> {
        let stall = struck(site).map_or(Ok(None), |action| strike(site, action))?;
        if let Some(pause) = stall {
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }
}

#[cfg(debug_assertions)]
pub use armed::{at, end, pass, plan};

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
#[inline]
pub const fn at(_: Site) -> Result<(), Planned> {
    Ok(())
}

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
#[inline]
#[expect(clippy::unused_async, reason = "a stall would be awaited")]
pub async fn pass(_: Site) -> Result<(), Planned> {
    Ok(())
}
