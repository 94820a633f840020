//! Inputs of a bulk prediction on their way in, and its answers on their way out: JSON lines, a piece at a time, so that
//! what is in memory does not grow with what is sent.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use futures_util::stream::{Stream, try_unfold};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};
use tracing::warn;
use utoipa::ToSchema;

use super::AppState;
use super::extract::parsed;
use super::lines::{Limits, Lines};
use super::object::Object;
use super::problem::{Fault, Problem};
use super::uploads::is_lines;
use super::weight;
use super::wire::{InputDoc, PredictionBody};
use crate::domain::{Bulk, BulkId, BulkItem, Input, Refusal, TenantId};
use crate::service::{BulkIntake, BulkLine, Service};

/// Most lines with nothing in them.
const BLANK: usize = 100_000;

/// One input, a line.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BulkInputBody {
    /// The input.
    #[schema(value_type = InputDoc)]
    input: Input,
    /// Your own name for it, which comes back with its answer.
    external_id: Option<String>,
}

/// What became of one input, a line: a `prediction`, or `errors`.
#[derive(Serialize, ToSchema)]
pub struct BulkLineBody {
    /// Its place among the inputs, from 0.
    index: u64,
    /// Your own name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<String>,
    /// The answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    prediction: Option<PredictionBody>,
    /// What is wrong with the input; pointers are into its line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
}

impl From<BulkLine> for BulkLineBody {
    fn from(BulkLine { index, external_id, outcome }: BulkLine) -> Self {
        let fault = |Refusal { pointer, code, detail }| Fault { pointer, code, detail };
        let (prediction, errors) = match outcome {
            Ok(answer) => (Some(PredictionBody::unnamed(answer.answer, answer.reply)), Vec::new()),
            Err(refusals) => (None, refusals.into_iter().map(fault).collect()),
        };
        Self { index, external_id, prediction, errors }
    }
}

/// The lines of a body, if it says that it is lines.
pub fn lines(request: Request, state: &AppState) -> Result<Lines, Problem> {
    if !is_lines(request.headers()) {
        return Err(Problem::by_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let (line, whole) = (state.config.max_body_bytes, state.config.max_upload_bytes);
    Ok(Lines::new(request.into_body(), Limits { line, whole, blank: BLANK }))
}

/// Takes all lines, for as long as that may take. If something comes in between, nothing of them stays.
pub async fn receive(mut lines: Lines, mut intake: BulkIntake, longest: Duration) -> Result<Bulk, Problem> {
    let taken = take(&mut lines, &mut intake, Instant::now() + longest).await;
    if taken.is_err()
        && let Err(error) = intake.give_up().await
    {
        warn!(%error, "inputs that were broken off stay until they expire");
    }
    taken
}

async fn take(lines: &mut Lines, intake: &mut BulkIntake, until: Instant) -> Result<Bulk, Problem> {
    let late = |_| Err(Problem::by_status(StatusCode::GATEWAY_TIMEOUT));
    while let Some(line) = timeout_at(until, lines.next()).await.unwrap_or_else(late)? {
        let bytes = line.len();
        intake.take(parsed(line, item).await?, bytes).await?;
    }
    Ok(intake.submit().await?)
}

/// A line that is no input stays in its place, and is answered with what is wrong with it.
fn item(line: &[u8]) -> BulkItem {
    let wrong = |detail: String| {
        let refusal = Refusal { pointer: String::new(), code: "wrong_form".to_owned(), detail };
        BulkItem { external_id: None, input: Err(vec![refusal]) }
    };
    if weight::check(line).is_err() {
        return wrong("the line holds more values than any input needs".to_owned());
    }
    match serde_json::from_slice::<Object<BulkInputBody>>(line) {
        Ok(Object(BulkInputBody { input, external_id })) => BulkItem { external_id, input: Ok(input) },
        Err(error) => wrong(error.to_string()),
    }
}

struct Reader {
    service: Service,
    tenant: TenantId,
    bulk: BulkId,
    from: u64,
    pending: VecDeque<BulkLine>,
}

/// The lines of the output that are there, from one on. One that cannot be read breaks the stream off.
pub fn output(
    service: Service,
    tenant: TenantId,
    bulk: BulkId,
    from: u64,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    let reader = Reader { service, tenant, bulk, from, pending: VecDeque::new() };
    try_unfold(reader, |mut reader| async move {
        if reader.pending.is_empty() {
            let read = reader.service.bulk_output(reader.tenant, reader.bulk, reader.from).await;
            reader.pending = read.map(VecDeque::from).map_err(|error| {
                warn!(%error, "the output of a bulk prediction broke off");
                std::io::Error::other("the output broke off")
            })?;
        }
        let Some(line) = reader.pending.pop_front() else { return Ok(None) };
        reader.from = line.index + 1;
        let mut text = serde_json::to_vec(&BulkLineBody::from(line)).map_err(std::io::Error::other)?;
        text.push(b'\n');
        Ok(Some((Bytes::from(text), reader)))
    })
}
