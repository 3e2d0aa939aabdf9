//! The routes.

mod admission;
mod archive;
mod kiln;
mod lite;
mod mint;
mod output;
mod reply;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post, put};
use futures::FutureExt as _;
use kiln_wire::agent::{self as wire, archive as archives, kiln as own};

use crate::agent::Agent;
use crate::bulk::Bulk;

/// What handlers see.
#[derive(Clone)]
pub(crate) struct Api {
    pub agent: Arc<Agent>,
    pub bulk: Bulk,
}

/// All routes, each with and without a slash at its end.
pub(crate) fn router(agent: Arc<Agent>) -> Router {
    let api = Api { agent, bulk: Bulk::default() };
    let routes: [(&str, MethodRouter<Api>); 18] = [
        (wire::HEALTHZ, get(lite::healthz)),
        (wire::SETUP, post(lite::setup)),
        (wire::START_STEP, post(lite::start_step)),
        (wire::POLL_STEP, post(lite::poll_step)),
        (wire::STREAM_OUTPUT, post(output::stream_output)),
        (wire::DESTROY, post(lite::destroy)),
        (wire::SUSPEND, post(lite::suspend)),
        (wire::MINT_WORKLOAD_TOKEN, post(mint::mint)),
        (own::IDENTITY, get(kiln::identity)),
        (own::CLAIM, post(kiln::claim)),
        (own::SELF_TEST, post(kiln::self_test)),
        (own::STEPS, get(kiln::steps)),
        (own::CANCEL, post(kiln::cancel)),
        (own::INPUT, put(kiln::input)),
        (own::RESIZE, post(kiln::resize)),
        (own::OUTPUT, post(output::output)),
        (own::FILES, post(kiln::files)),
        (archives::LOOK, post(archive::look)),
    ];
    let mut router = Router::new().route(own::WORKSPACE, put(kiln::workspace));
    router = router.route(archives::ARCHIVE, post(archive::save).put(archive::restore));
    for (path, route) in routes {
        router = router.route(path, route.clone()).route(&format!("{path}/"), route);
    }
    // Bodies are limited where they are read; the workspace is not held in memory.
    let router = router.layer(DefaultBodyLimit::disable()).fallback(not_found);
    router.layer(middleware::from_fn_with_state(api.clone(), contact)).with_state(api)
}

/// The one route that steps may call, on a socket of their own.
pub(crate) fn mint_router(agent: Arc<Agent>) -> Router {
    let api = Api { agent, bulk: Bulk::default() };
    let router = Router::new().route(wire::MINT_WORKLOAD_TOKEN, post(mint::mint)).fallback(not_found);
    let masked = |State(api): State<Api>, request: Request, next: Next| async move {
        reply::tell(next.run(request).await, api.agent.secrets())
    };
    router.layer(DefaultBodyLimit::disable()).layer(middleware::from_fn_with_state(api.clone(), masked)).with_state(api)
}

async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}

async fn contact(State(api): State<Api>, request: Request, next: Next) -> Response {
    let _open = api.agent.contact.open();
    tracing::debug!(method = %request.method(), path = request.uri().path(), "request");
    let answer = match admission::admit(&api.agent, request.uri().path(), request.headers()) {
        Err(refused) => refused.into_response(),
        // A defect in one route must not cost the other requests of the connection.
        Ok(()) => {
            let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
            answer.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
        }
    };
    reply::tell(answer, api.agent.secrets())
}
