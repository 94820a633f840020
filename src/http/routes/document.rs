//! What the OpenAPI document says once for all operations: how ids are written, that problems are problems, who may
//! call, what answers mean, and an example of each.
//!
//! The examples are one conversation that took place (`scripts/examples.py` records it into `openapi/examples.json`);
//! a test plays it again.

use std::collections::BTreeMap;

use axum::http::Method;
use serde::Deserialize;
use serde_json::Value;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::Type;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ObjectBuilder, OpenApi, RefOr, Server};

use crate::domain::{AdaptationId, BulkId, KeyId, MessageId, MonitorId, SupportId, TaskId, WebhookId};
use crate::http::access;

const EXAMPLES: &str = include_str!("../../../openapi/examples.json");

/// One request of the conversation, and its answer.
#[derive(Deserialize)]
struct Step {
    operation: String,
    #[serde(default)]
    path: BTreeMap<String, Value>,
    request: Option<Value>,
    status: u16,
    response: Option<Value>,
}

/// Says it.
pub(super) fn complete(document: &mut OpenApi) {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A key of `imprint keys create`. Not needed where the server runs with `--no-auth`."));
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("key", SecurityScheme::Http(bearer.build()));
    document.servers = Some(vec![Server::new("/")]);
    let steps: Vec<Step> = serde_json::from_str(EXAMPLES).expect("openapi/examples.json is a list of steps");
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            if method == Method::POST && !path.starts_with("/v1/keys") {
                operation.parameters.get_or_insert_default().push(RefOr::T(idempotency_key()));
            }
            write_ids(operation);
            say_who(operation, &method, path);
            say_what_answers_mean(operation);
            let id = operation.operation_id.clone().unwrap_or_default();
            if let Some(step) = steps.iter().find(|step| step.operation == id) {
                show(operation, step);
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let methods = [
        (Method::GET, &mut item.get),
        (Method::POST, &mut item.post),
        (Method::PATCH, &mut item.patch),
        (Method::DELETE, &mut item.delete),
    ];
    methods.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

fn write_ids(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        let prefix = match parameter.name.as_str() {
            "task" => TaskId::PREFIX,
            "support" => SupportId::PREFIX,
            "adaptation" => AdaptationId::PREFIX,
            "bulk" => BulkId::PREFIX,
            "key" => KeyId::PREFIX,
            "monitor" => MonitorId::PREFIX,
            "webhook" => WebhookId::PREFIX,
            "message" => MessageId::PREFIX,
            _ => continue,
        };
        if parameter.parameter_in == ParameterIn::Path {
            let pattern = format!("^{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$");
            let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).build();
            parameter.schema = Some(text.into());
        }
    }
}

/// The least scope, from the rule that lets requests in.
fn say_who(operation: &mut Operation, method: &Method, path: &str) {
    let who = match access::needed(method, path) {
        None => "Needs no key.".to_owned(),
        Some(scope) => format!("Needs a key of the scope `{}` at least.", scope.name()),
    };
    let description = operation.description.take().or_else(|| operation.summary.clone()).unwrap_or_default();
    operation.description = Some(format!("{description}\n\n{who}"));
}

fn say_what_answers_mean(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if response.description.is_empty() {
            let meaning = match status.as_str() {
                "201" => "It is there.",
                "202" => "It is on its way.",
                "204" => "Done; there is no more to say.",
                "4XX" => "The request has to be mended, or comes too often: `code` says which, `detail` what to do.",
                "5XX" | "503" => {
                    "The server cannot answer now; `retryable` says whether the same request may succeed later."
                }
                _ => "Done.",
            };
            meaning.clone_into(&mut response.description);
        }
        if status.starts_with(['4', '5'])
            && let Some(body) = response.content.shift_remove("application/json")
        {
            response.content.insert("application/problem+json".to_owned(), body);
        }
    }
}

/// Shows a step of the conversation as the operation's example.
fn show(operation: &mut Operation, step: &Step) {
    const JSON: &str = "application/json";
    const LINES: &str = "application/x-ndjson";
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter
            && let Some(value) = step.path.get(&parameter.name)
        {
            *parameter = ParameterBuilder::from(parameter.clone()).example(Some(value.clone())).build();
        }
    }
    if let Some(RefOr::T(body)) = &mut operation.request_body
        && let Some(kind) = [JSON, LINES].into_iter().find(|kind| body.content.contains_key(*kind))
        && let Some(RefOr::T(content)) = body.content.get_mut(kind)
    {
        content.example.clone_from(&step.request);
    }
    if let Some(RefOr::T(response)) = operation.responses.responses.get_mut(&step.status.to_string())
        && let Some(RefOr::T(content)) = response.content.get_mut(JSON)
    {
        content.example.clone_from(&step.response);
    }
}

/// The header that every POST takes.
fn idempotency_key() -> Parameter {
    let description = "Sent twice, the request acts once and is answered alike: 409 while the first is under way, 422 \
                       if it says something else.";
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).max_length(Some(255))))
        .build()
}
