//! Work that goes on for as long as the process does.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::sleep;
use tracing::error;

/// Time until work that panicked begins anew.
const BEGIN_AGAIN: Duration = Duration::from_secs(1);

/// Does work to its end. A panic costs what was under way, and the work begins anew: nobody else would do it, and nobody
/// would know.
pub(super) async fn steadily<W: Future<Output = ()>>(who: &'static str, mut work: impl FnMut() -> W) {
    while AssertUnwindSafe(work()).catch_unwind().await.is_err() {
        metrics::counter!("imprint_task_panics_total").increment(1);
        error!(who, "a panic: what was under way is lost; it begins anew");
        sleep(BEGIN_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_costs_what_was_under_way_and_no_more() {
        let mut left = vec!["done", "panics"];

        steadily("a test", || {
            let next = left.pop();
            async move { assert_eq!(next, Some("done"), "told to panic") }
        })
        .await;

        assert!(left.is_empty());
    }
}
