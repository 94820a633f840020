//! How a run of the outer loop looks to the person who waits for it, and how that person stops it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{CliError, out};
use crate::trainer::{Observer, StepReport, ValidationReport};

/// Set at the first interrupt. At the second the program ends.
pub(super) fn interrupts() -> Result<Arc<AtomicBool>, CliError> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&interrupted);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(CliError::Runtime)?;
    std::thread::spawn(move || {
        while runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            if seen.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        }
    });
    Ok(interrupted)
}

/// A bar on a terminal, a line now and then elsewhere.
pub(super) struct Progress {
    bar: ProgressBar,
    is_terminal: bool,
    started: Instant,
    first_step: u64,
    last_line: Instant,
    steps: u64,
    loss: f64,
    accuracy: Option<f64>,
    interrupted: Arc<AtomicBool>,
}

impl Progress {
    pub(super) fn new(steps: u64, first_step: u64, interrupted: Arc<AtomicBool>) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr_with_hz(4));
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len}  {msg}  ETA {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_position(first_step);
        bar.reset_eta();
        let is_terminal = !bar.is_hidden();
        let now = Instant::now();
        let (loss, accuracy) = (f64::NAN, None);
        Self { bar, is_terminal, started: now, first_step, last_line: now, steps, loss, accuracy, interrupted }
    }

    /// Removes the bar from the terminal.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn message(&self, report: &StepReport) -> String {
        let taken = (report.step - self.first_step) as f64;
        let rate = taken * report.episodes as f64 / self.started.elapsed().as_secs_f64();
        let accuracy =
            self.accuracy.map_or_else(String::new, |accuracy| format!("  accuracy {:.1} %", 100.0 * accuracy));
        format!("loss {:.4}{accuracy}  {rate:.1} episodes/s", self.loss)
    }
}

/// Moves an average towards a new value.
fn smoothed(average: f64, value: f64) -> f64 {
    if average.is_nan() { value } else { 0.95 * average + 0.05 * value }
}

impl Observer for Progress {
    fn stepped(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.loss = smoothed(self.loss, report.loss);
        self.accuracy = report.accuracy.map(|accuracy| smoothed(self.accuracy.unwrap_or(f64::NAN), accuracy));
        self.bar.set_position(report.step);
        self.bar.set_message(self.message(report));
        if !self.is_terminal && self.last_line.elapsed() > Duration::from_secs(10) {
            self.last_line = Instant::now();
            let taken = (report.step - self.first_step) as f64;
            let left = self.started.elapsed().mul_f64((self.steps - report.step) as f64 / taken);
            out::note(format!(
                "step {}/{}  {}  ETA {} s",
                report.step,
                self.steps,
                self.message(report),
                left.as_secs()
            ));
        }
        if self.interrupted.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn validated(&mut self, report: &ValidationReport) {
        let figures: Vec<String> = report
            .estimates
            .iter()
            .map(|(name, estimate)| format!("{name} {:.4} ± {:.4}", estimate.mean, estimate.ci95))
            .collect();
        let best = if report.is_best { "  (best)" } else { "" };
        self.bar.suspend(|| out::note(format!("validation at step {}: {}{best}", report.step, figures.join(", "))));
    }
}
