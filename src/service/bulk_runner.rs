//! Answers bulk predictions, a piece at a time, in the engine's last lane.
//!
//! A runner holds one for a turn, keeps each piece as soon as it is answered, and puts it back: whatever becomes of the
//! process, no more than a piece is answered twice.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{Instrument, info, info_span, warn};

use super::answering::Answers;
use super::attempt::{ENGINE_RETRY, beats, verdict};
use super::bulk::{BulkAnswer, BulkLine, unreadable};
use super::predictions::put_replies;
use super::{AnswerStyle, Result, Service, ServiceError};
use crate::domain::{BulkItem, BulkPiece, Input, Invalid, Refusal};
use crate::engine::{Origin, Urgency};
use crate::store::Completion;
use crate::store::bulk::{BulkAnswers, BulkClaim, BulkEnd};

/// How long a turn goes on before another's begins.
const TURN: Duration = Duration::from_secs(5);

/// How often what has expired is removed.
const FORGET: Duration = Duration::from_mins(1);

/// What came of a piece: an answer to each input, or why there is none.
type Outcomes = Vec<Result<BulkAnswer, Vec<Refusal>>>;

/// Works bulk predictions off until it is told to stop.
pub(super) async fn run(service: Service, name: String, mut stopped: watch::Receiver<bool>) {
    let lease = Duration::from_secs(service.config.lease_s);
    let poll = Duration::from_millis(service.config.poll_ms);
    let mut forget_at = Instant::now();
    while !*stopped.borrow() {
        if Instant::now() >= forget_at {
            forget_at = Instant::now() + FORGET;
            if let Err(error) = service.store.forget_bulks().await {
                warn!(%error, "expired bulk predictions could not be removed");
            }
        }
        match service.store.claim_bulk(&name, lease, service.bulk_kept()).await {
            Ok(Some(claim)) => {
                let span = info_span!("bulk", bulk.id = %claim.bulk.id, task.id = %claim.bulk.task);
                service.take_turn(&claim, lease, &stopped).instrument(span).await;
                continue;
            }
            Ok(None) => {}
            Err(error) => warn!(%error, "no bulk prediction could be claimed"),
        }
        tokio::select! {
            () = service.hints.bulk.notified() => {}
            () = sleep(poll) => {}
            _ = stopped.changed() => {}
        }
    }
}

impl Service {
    /// Answers pieces for as long as a turn is, and tells the store how it ended.
    async fn take_turn(&self, claim: &BulkClaim, lease: Duration, stopped: &watch::Receiver<bool>) {
        let until = Instant::now() + TURN;
        let end = loop {
            if Instant::now() >= until || *stopped.borrow() {
                break BulkEnd::Turn;
            }
            match self.next_piece(claim, lease).await {
                Ok(Step::Answered) => {}
                Ok(Step::Over) => break BulkEnd::Done,
                Ok(Step::Lost) => {
                    info!("the bulk prediction was called off or taken over");
                    return;
                }
                Err(error) => break ended(error, claim.attempt, self.ids.bits()[0]),
            }
        };
        match self.store.end_bulk_turn(claim, &end, self.bulk_kept()).await {
            Ok(true) if end == BulkEnd::Done => info!("a bulk prediction is answered"),
            Ok(_) => {}
            // The lease will run out, and it will be claimed again.
            Err(error) => warn!(%error, "the end of a bulk prediction's turn could not be stored"),
        }
    }

    /// Answers the next piece, and shows a sign of life while it does.
    async fn next_piece(&self, claim: &BulkClaim, lease: Duration) -> Result<Step> {
        let Some(piece) = self.store.next_bulk_piece(claim.tenant, claim.bulk.id).await? else {
            return Ok(Step::Over);
        };
        let mut beat = beats(lease);
        let work = self.answer(claim, &piece);
        tokio::pin!(work);
        let answers = loop {
            tokio::select! {
                answers = &mut work => break answers?,
                _ = beat.tick() => match self.store.renew_bulk(claim, lease).await {
                    Ok(true) => {}
                    Ok(false) => return Ok(Step::Lost),
                    Err(error) => warn!(%error, "the lease could not be renewed"),
                },
            }
        };
        let kept = self.store.keep_bulk_answers(claim, &answers, lease, self.bulk_limits()).await?;
        metrics::counter!("imprint_bulk_lines_total").increment(answers.answered + answers.refused);
        Ok(if kept { Step::Answered } else { Step::Lost })
    }

    async fn answer(&self, claim: &BulkClaim, piece: &BulkPiece) -> Result<BulkAnswers> {
        let items: Vec<BulkItem> = serde_json::from_str(&piece.text).map_err(unreadable)?;
        let (names, inputs): (Vec<_>, Vec<_>) = items.into_iter().map(|item| (item.external_id, item.input)).unzip();
        let readable: Vec<Input> = inputs.iter().filter_map(|input| input.as_ref().ok().cloned()).collect();
        let mut answered = Vec::new();
        if !readable.is_empty() {
            let bulk = &claim.bulk;
            let answers = self.answering(claim.tenant, bulk.task, Some(bulk.version)).await?;
            let style = AnswerStyle { top_k: Some(bulk.top_k), abstain: bulk.abstain, nearest: None };
            let origin = Origin { urgency: Urgency::Bulk, ..Origin::interactive(claim.tenant) };
            answered = self.outcomes(origin, &answers, readable, style).await?;
        }
        let mut answered = answered.into_iter();
        let line = |(external_id, input): (Option<String>, Result<Input, Vec<Refusal>>)| {
            // As many outcomes as inputs that can be read.
            let outcome = input.and_then(|_| answered.next().unwrap_or_else(|| Err(Vec::new())));
            BulkLine { index: 0, external_id, outcome }
        };
        let lines: Vec<BulkLine> = names.into_iter().zip(inputs).map(line).collect();
        let right = lines.iter().filter(|line| line.outcome.is_ok()).count() as u64;
        let text = serde_json::to_string(&lines).map_err(unreadable)?;
        Ok(BulkAnswers { number: piece.number, text, answered: right, refused: lines.len() as u64 - right })
    }

    /// An outcome for each input. Where some are wrong, halves are asked by themselves until each wrong one is alone.
    async fn outcomes(
        &self,
        origin: Origin,
        answers: &Answers,
        inputs: Vec<Input>,
        style: AnswerStyle,
    ) -> Result<Outcomes> {
        let (mut outcomes, mut waiting) = (Vec::with_capacity(inputs.len()), vec![inputs]);
        while let Some(mut inputs) = waiting.pop() {
            match self.ask(origin, answers, inputs.clone(), style).await {
                Ok(answered) => outcomes.extend(answered.into_iter().map(Ok)),
                Err(ServiceError::Invalid(faults)) if inputs.len() == 1 => {
                    outcomes.push(Err(faults.into_iter().map(within).collect()));
                }
                Err(ServiceError::Invalid(_)) => {
                    let rest = inputs.split_off(inputs.len() / 2);
                    waiting.extend([rest, inputs]);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(outcomes)
    }

    async fn ask(
        &self,
        origin: Origin,
        answers: &Answers,
        inputs: Vec<Input>,
        style: AnswerStyle,
    ) -> Result<Vec<BulkAnswer>> {
        let Answers { task, adapter, .. } = answers;
        let base = self.base_of(task, adapter)?;
        let mut predictions = loop {
            let asked = async {
                let query = self.query(origin, base, inputs.clone(), ("", "/input")).await?;
                self.predict_rows(origin, task, adapter, query, style).await
            };
            match asked.await {
                // It was accepted: it waits for its place, holding its lease.
                Err(ServiceError::Overloaded { retry_after } | ServiceError::Crowded { retry_after, .. }) => {
                    sleep(retry_after.min(ENGINE_RETRY)).await;
                }
                asked => break asked?,
            }
        };
        put_replies(&mut predictions, task);
        Ok(predictions.into_iter().map(|one| BulkAnswer { answer: one.answer, reply: one.reply }).collect())
    }
}

/// What came of looking for a piece.
enum Step {
    /// One was answered.
    Answered,
    /// There are no more.
    Over,
    /// It is no longer this attempt's.
    Lost,
}

/// A fault of a query with one input, as one of its line.
fn within(Invalid { pointer, fault }: Invalid) -> Refusal {
    Invalid { pointer: pointer.strip_prefix("/0").unwrap_or_default().to_owned(), fault }.into()
}

/// How a turn ends in which something went wrong.
fn ended(error: ServiceError, attempt: u32, jitter: u8) -> BulkEnd {
    match verdict(error, attempt.min(3), jitter) {
        Completion::Failed(failure) => BulkEnd::Failed(failure),
        Completion::Retry(failure, pause) => BulkEnd::Retry(failure, pause),
        Completion::Adapted(..) | Completion::Known(_) => BulkEnd::Turn, // no error is either
    }
}
