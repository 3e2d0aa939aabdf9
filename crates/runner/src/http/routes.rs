//! The routes, and the layers around each request.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, any, delete, get, post, put};
use futures::FutureExt as _;
use kiln_wire::runner::{self as wire, kiln as own};

use super::reply::Refusal;
use super::{Api, archive, auth, events, lifecycle, lookup, operator, proxy, setup, step};

type Handler = MethodRouter<Arc<Api>>;

/// Returns verb, path and handler of every route.
fn routes() -> Vec<(&'static str, &'static str, Handler)> {
    vec![
        ("GET", wire::HEALTHZ, get(lookup::healthz)),
        ("GET", wire::METRICS, any(lookup::metrics)),
        ("POST", wire::SETUP, post(setup::setup)),
        ("POST", wire::STEP, post(step::step)),
        ("POST", wire::DESTROY, post(lifecycle::destroy)),
        ("POST", wire::SUSPEND, post(lifecycle::suspend)),
        ("POST", wire::POOL_OWNER, post(lifecycle::pool_owner)),
        ("GET", own::POOLS, get(operator::pools)),
        ("POST", own::POOL_DRAIN, post(operator::drain)),
        ("GET", own::INSTANCES, get(operator::instances)),
        ("GET", own::INSTANCE, get(operator::instance)),
        ("DELETE", own::INSTANCE, delete(operator::destroy)),
        ("POST", own::INSTANCE_HOLD, post(operator::hold)),
        ("POST", own::INSTANCE_RELEASE, post(operator::release)),
        ("GET", own::STAGES, get(operator::stages)),
        ("GET", own::STAGE, get(operator::stage)),
        ("POST", own::STAGE_CANCEL, post(operator::cancel)),
        ("PUT", own::STAGE_WORKSPACE, put(proxy::workspace)),
        ("GET", own::STAGE_STEPS, get(proxy::steps)),
        ("POST", own::STAGE_STEPS, post(proxy::start)),
        ("POST", own::STAGE_STEPS_POLL, post(proxy::poll)),
        ("POST", own::STAGE_STEPS_CANCEL, post(proxy::cancel)),
        ("POST", own::STAGE_STEPS_END, post(proxy::end)),
        ("POST", own::STAGE_OUTPUT, post(proxy::output)),
        ("POST", own::STAGE_FILES, post(proxy::files)),
        ("POST", own::STAGE_LOOK, post(archive::look)),
        ("POST", own::STAGE_ARCHIVE, post(archive::pack)),
        ("PUT", own::STAGE_ARCHIVE, put(archive::unpack)),
        ("GET", own::EVENTS, get(events::events)),
        ("GET", own::OPENAPI, get(lookup::description)),
    ]
}

/// Returns verb and path of every route.
#[must_use]
pub fn list() -> Vec<(&'static str, &'static str)> {
    routes().into_iter().map(|(verb, path, _)| (verb, path)).collect()
}

/// Returns all routes of an API that listens on `port`, behind the guard.
pub(super) fn router(api: Arc<Api>, port: u16) -> Router {
    let below = [format!("{}/", wire::METRICS), format!("{}/{{*rest}}", wire::METRICS)];
    let mut router = below.iter().fold(Router::new(), |router, path| router.route(path, any(lookup::metrics)));
    for (_, path, handler) in routes() {
        router = router.route(path, handler);
    }
    // Bodies are limited where they are read. The workspace is not held in memory.
    let router = router.layer(DefaultBodyLimit::disable()).fallback(lookup::not_found);
    let guard = auth::Guard { api: Arc::clone(&api), port };
    let router = router.layer(middleware::from_fn_with_state(guard, auth::guard));
    router.layer(middleware::from_fn(observe)).with_state(api)
}

/// Logs verb, path, status and time of a request. Its body and query may contain secrets and are not logged.
async fn observe(request: Request, next: Next) -> Response {
    let (method, path, began) = (request.method().clone(), request.uri().path().to_owned(), Instant::now());
    // A panic in one route must not affect the other requests of the connection.
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let answer = answer.unwrap_or_else(|_| {
        Refusal::internal("the runner has a defect: this request made it panic; see its log").into_response()
    });
    let (status, took_ms) = (answer.status().as_u16(), began.elapsed().as_millis());
    match (path.as_str(), status) {
        (wire::HEALTHZ | wire::METRICS, _) => {}
        (_, 500..) => tracing::error!(%method, path, status, took_ms, "request"),
        (wire::POOL_OWNER, _) => tracing::debug!(%method, path, status, took_ms, "request"),
        _ => tracing::info!(%method, path, status, took_ms, "request"),
    }
    answer
}
