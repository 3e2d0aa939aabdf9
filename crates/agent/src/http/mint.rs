//! Tokens for steps, on the agent's own port and on the steps' socket.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use kiln_wire::agent::{MintWorkloadTokenRequest, MintWorkloadTokenResponse};

use super::Api;
use super::reply::{Refusal, read, with_status};
use crate::identities::{Asks, MintError};

/// Most bytes of a request.
const REQUEST_BYTES: usize = 64 << 10;

pub(super) async fn mint(State(api): State<Api>, request: Request) -> Result<Response, Refusal> {
    let user = request.extensions().get().and_then(|Asks(user)| *user);
    let request: MintWorkloadTokenRequest = read(request.into_body(), REQUEST_BYTES).await?;
    let (status, answer) = match api.agent.mint(&request, user).await {
        Ok(token) => (StatusCode::OK, token),
        Err(error) => {
            let status = match error {
                MintError::Unknown => StatusCode::NOT_FOUND,
                MintError::Audience => StatusCode::FORBIDDEN,
                MintError::TooMany => StatusCode::TOO_MANY_REQUESTS,
                MintError::Broker => StatusCode::INTERNAL_SERVER_ERROR,
            };
            (status, MintWorkloadTokenResponse { error: error.to_string(), ..MintWorkloadTokenResponse::default() })
        }
    };
    Ok(with_status(status, answer, api.agent.secrets()))
}
