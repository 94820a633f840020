//! Bodies of all operations as strangers write them.

use std::cell::Cell;

use super::{
    adaptations, adapters, classify, feedback, keys, ledger, monitors, predictions, search, support, tasks, webhooks,
};
use crate::fuzz::hammer;
use crate::http::extract::weighed;
use crate::http::{tensors, weight};

/// Whether bytes are a body of one form.
type Read = fn(&[u8]) -> bool;

const FORMS: &[Read] = &[
    |bytes| weighed::<adaptations::CreateAdaptationBody>(bytes).is_ok(),
    |bytes| weighed::<adapters::ImportAdapterBody>(bytes).is_ok(),
    |bytes| weighed::<classify::ClassifyBody>(bytes).is_ok(),
    |bytes| weighed::<feedback::EvaluateBody>(bytes).is_ok(),
    |bytes| weighed::<feedback::FeedbackBody>(bytes).is_ok(),
    |bytes| weighed::<tensors::InferBody>(bytes).is_ok(),
    |bytes| weighed::<keys::CreateKeyBody>(bytes).is_ok(),
    |bytes| weighed::<keys::RotateKeyBody>(bytes).is_ok(),
    |bytes| weighed::<ledger::EraseBody>(bytes).is_ok(),
    |bytes| weighed::<monitors::CreateMonitorBody>(bytes).is_ok(),
    |bytes| weighed::<monitors::UpdateMonitorBody>(bytes).is_ok(),
    |bytes| weighed::<predictions::PredictBody>(bytes).is_ok(),
    |bytes| weighed::<predictions::AdaptPredictBody>(bytes).is_ok(),
    |bytes| weighed::<predictions::CompareBody>(bytes).is_ok(),
    |bytes| weighed::<search::SearchBody>(bytes).is_ok(),
    |bytes| weighed::<support::AddSupportBody>(bytes).is_ok(),
    |bytes| weighed::<support::UpdateSupportBody>(bytes).is_ok(),
    |bytes| weighed::<tasks::CreateTaskBody>(bytes).is_ok(),
    |bytes| weighed::<tasks::UpdateTaskBody>(bytes).is_ok(),
    |bytes| weighed::<webhooks::CreateWebhookBody>(bytes).is_ok(),
    |bytes| weighed::<webhooks::UpdateWebhookBody>(bytes).is_ok(),
    |bytes| weighed::<webhooks::RotateWebhookBody>(bytes).is_ok(),
];

#[test]
fn bodies() {
    let samples: [&[u8]; 12] = [
        br#"{"inner_steps": 3, "seed": 7, "promote": "if_better"}"#,
        br#"{"name": "places", "base_model": "plane", "kind": "classification", "support":
            [{"input": [0.0, 0.1], "label": "low", "external_id": "a"}, {"input": [5.0, 5.1], "label": "high"}],
            "metadata": {"team": "support"}, "settings": {"auto_adapt": {"min_new_examples": 1}}}"#,
        br#"{"base_model": "plane", "support": [{"input": [0.5], "value": 2.5}], "query": [[5.0], [0.25]], "top_k": 3}"#,
        br#"{"query": [[5.0, 5.0], "text", {"image": "iVBORw0KGgo="}], "version": 2, "abstain": true, "nearest": 2, "store": true}"#,
        br#"{"examples": [{"input": {"tokens": ["Ann", "met"]}, "spans": [{"start": 0, "end": 3, "label": "person"}]}]}"#,
        br#"{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [0.5, 1.5]}], "outputs": [{"name": "label"}]}"#,
        br#"{"inputs": ["a", "b"], "examples": [{"text": "a", "label": "x"}], "model": "text", "truncate": "END"}"#,
        br#"{"weights": "AAAA", "labels": ["a", "b"], "recipe": {"inner_steps": 1}, "promote": "never"}"#,
        br#"{"scope": "adapt", "expires_in_s": 3600}"#,
        br#"{"name": "surge", "label": "high", "baseline": 0.1, "ratio": 4.0, "false_alarm_every": 20}"#,
        br#"{"url": "https://example.com/hook", "topics": ["adaptation.succeeded"], "enabled": false}"#,
        br#"{"task": "task_0123456789abcdefghjkmnpqrs", "prediction_id": "pred_1", "versions": [1, 2], "query": "card", "limit": 5}"#,
    ];
    let turn = Cell::new(0);
    let taken = Cell::new(0);

    hammer("bodies", &samples, |bytes| {
        // What is taken is no heavier than it may be.
        let form = FORMS[turn.replace(turn.get() + 1) % FORMS.len()];
        let is_light = weight::check(bytes).is_ok();
        if form(bytes) {
            assert!(is_light);
            taken.set(taken.get() + 1);
        }
    });

    assert!(taken.get() > 0, "nothing was ever taken: the samples are none");
}
