//! Who may do what: every request is let in here, or not at all.
//!
//! A route that is not listed as public needs a key, and one that is new needs more than to read: forgetting one closes
//! it. Reading and asking need the scope `predict`; all that changes something needs `adapt`; keys, webhooks, and all that
//! is about everything of a tenant's need `admin`.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::AppState;
use super::deed::Deed;
use super::extract::credential;
use super::problem::Problem;
use crate::domain::{Scope, Usage};
use crate::service::{Allowance, ServiceError};

/// Routes that need no key.
const PUBLIC: [&str; 9] = [
    "/docs",
    "/livez",
    "/openapi.json",
    "/problems/{code}",
    "/readyz",
    "/startupz",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
];

/// POSTs that change nothing.
const ASKING: [&str; 12] = [
    "/v1/adapt-predict",
    "/v1/classify",
    "/v1/tasks/{task}/adapters/{version}/verify",
    "/v1/tasks/{task}/compare",
    "/v1/tasks/{task}/evaluate",
    "/v1/tasks/{task}/predict",
    "/v1/tasks/{task}/rank",
    "/v1/tasks/{task}/search",
    "/v1/tasks/{task}/suggestions",
    "/v1/tasks/{task}/tag",
    "/v2/models/{task}/infer",
    "/v2/models/{task}/versions/{version}/infer",
];

/// What only a tenant's administrators see and change: who gets in, what goes out, what was done, what is erased.
const ADMINISTERING: [&str; 6] = ["/v1/audit", "/v1/erase", "/v1/export", "/v1/keys", "/v1/receipts", "/v1/webhooks"];

pub(super) const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(super) const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The least scope that lets a request through; none if it needs no key.
pub(super) fn needed(method: &Method, route: &str) -> Option<Scope> {
    if PUBLIC.contains(&route) {
        return None;
    }
    if ADMINISTERING.iter().any(|place| route.starts_with(place)) {
        return Some(Scope::Admin);
    }
    let is_asking = method == Method::POST && ASKING.contains(&route);
    let only_asks = method == Method::GET || method == Method::HEAD || is_asking;
    Some(if only_asks { Scope::Predict } else { Scope::Adapt })
}

/// Lets a request in whose key's scope and tenant's limits allow it.
pub async fn check(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    // A path that is not there is answered so to everyone: the contract is public.
    let Some(route) = request.extensions().get::<MatchedPath>() else { return next.run(request).await };
    let Some(scope) = needed(request.method(), route.as_str()) else { return next.run(request).await };
    let caller = match state.service.authenticate(credential(request.headers())).await {
        Ok(caller) => caller,
        Err(error) => return Problem::from(error).into_response(),
    };
    let (place, allowance) = match state.service.admit(caller.tenant) {
        Ok(admitted) => admitted,
        Err(error) => return Problem::from(error).into_response(),
    };
    let by = (caller.tenant, caller.key);
    let is_allowed = caller.scope >= scope;
    let changes = scope > Scope::Predict && request.method() != Method::GET;
    let deed = (changes || !is_allowed).then(|| Deed::of(&request));
    let service = state.service.clone();
    let run = async move {
        let _place = place;
        if !is_allowed {
            return Problem::from(ServiceError::Forbidden { needed: scope }).into_response();
        }
        service.meter(caller.tenant, Usage { requests: 1, ..Usage::default() });
        request.extensions_mut().insert(caller);
        next.run(request).await
    };
    let mut response = match deed {
        Some(deed) => deed.done(state.service, by, run).await,
        None => run.await,
    };
    if let Some(allowance) = allowance {
        say(&allowance, &mut response);
    }
    response
}

/// What is left of a tenant's requests (IETF draft `ratelimit-headers`).
fn say(allowance: &Allowance, response: &mut Response) {
    let Allowance { burst, remaining, window_s } = allowance;
    for (name, text) in [
        (POLICY, format!("\"requests\";q={burst};w={window_s}")),
        (LIMIT, format!("\"requests\";r={remaining};t={window_s}")),
    ] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_listed_needs_a_key_that_may_change_things() {
        assert_eq!(needed(&Method::POST, "/v1/something/new"), Some(Scope::Adapt));
        assert_eq!(needed(&Method::DELETE, "/v1/tasks/{task}"), Some(Scope::Adapt));
        assert_eq!(needed(&Method::GET, "/v1/keys"), Some(Scope::Admin));
        assert_eq!(needed(&Method::GET, "/livez"), None);
    }
}
