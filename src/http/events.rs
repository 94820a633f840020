//! Events of an adaptation as server-sent events.
//!
//! A stream ends with `done`; or with `interrupted` if the server stops, after which a client comes back with the
//! `Last-Event-ID` that it has; or with `error` and a problem's code, if the adaptation went away.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::response::sse::Event;
use futures_util::stream::{Stream, unfold};
use serde::Serialize;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;

use super::problem::Problem;
use crate::domain::{AdaptationEvent, AdaptationId, News, TenantId, Timestamp};
use crate::service::{Service, ServiceError};

/// One thing that happened to an adaptation.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventBody {
    /// Its number within the adaptation: what to send as `Last-Event-ID`.
    #[schema(example = "2")]
    id: String,
    /// `adaptation.event`
    object: &'static str,
    /// `status`, `phase`, `progress` or `done`, and what it says: `status`, `phase`, or inner steps that are `done` `of` how
    /// many, each with its `attempt`; or `status` with the adapter's `version` or the `error`.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    news: News,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<AdaptationEvent> for EventBody {
    fn from(AdaptationEvent { number, news, created_at }: AdaptationEvent) -> Self {
        Self { id: number.to_string(), object: "adaptation.event", news, created_at }
    }
}

/// One who follows an adaptation.
pub struct Follower {
    pub service: Service,
    pub tenant: TenantId,
    pub adaptation: AdaptationId,
    /// Number of the last event that the client has.
    pub after: u32,
    /// What is there already.
    pub pending: VecDeque<AdaptationEvent>,
    /// A place among the streams.
    pub _permit: OwnedSemaphorePermit,
}

impl Follower {
    /// What happened and what happens, to the end.
    pub fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        unfold(Some(self), |follower| async move {
            let (event, follower) = follower?.next().await;
            Some((Ok(event), follower))
        })
    }

    /// The next event; no follower any more if it is the last.
    async fn next(mut self) -> (Event, Option<Self>) {
        if self.pending.is_empty() {
            match self.service.next_events(self.tenant, self.adaptation, self.after).await {
                Ok(events) => self.pending = events.into(),
                Err(error) => return (failed(error), None),
            }
        }
        let Some(event) = self.pending.pop_front() else {
            return (Event::default().event("interrupted").data(json!({"reason": "stopping"}).to_string()), None);
        };
        self.after = event.number;
        let follower = if event.is_last() { None } else { Some(self) };
        (written(event), follower)
    }
}

fn written(event: AdaptationEvent) -> Event {
    let name = match &event.news {
        News::Status { .. } => "status",
        News::Phase { .. } => "phase",
        News::Progress { .. } => "progress",
        News::Done { .. } => "done",
    };
    let written = Event::default().id(event.number.to_string()).event(name);
    written.data(serde_json::to_string(&EventBody::from(event)).expect("an event is plain data"))
}

fn failed(error: ServiceError) -> Event {
    let problem = Problem::from(error);
    let data = json!({"code": problem.code(), "detail": problem.detail()});
    Event::default().event("error").data(data.to_string())
}
