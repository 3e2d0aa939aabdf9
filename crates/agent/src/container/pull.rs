//! Getting an image onto the machine.

use std::time::Duration;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::errors::Error as ApiError;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptions;
use futures::StreamExt as _;
use kiln_wire::agent::{Auth, PullPolicy, StartStepRequest};
use tokio::time::sleep;

use super::error::{ContainerError, EngineError, is_of_connection};
use super::image::Image;
use crate::supervise::Prelude;

/// How often an image is tried to be pulled,
const TRIES: u32 = 3;
/// with this pause after the first try, and more after each further one.
const PAUSE: Duration = Duration::from_millis(500);
/// A pull of which nothing is heard for so long has failed. An engine that unpacks a large layer is silent for a while.
const SILENCE: Duration = Duration::from_secs(600);
/// Most lines of progress of one pull.
const LINES: usize = 200;

/// The image of a step, and how it gets onto the machine.
#[derive(Debug)]
pub(super) struct Pull<'a> {
    docker: &'a Docker,
    image: &'a Image,
    policy: PullPolicy,
    credentials: Option<DockerCredentials>,
    prelude: &'a Prelude,
}

/// Why one try came to nothing.
struct Failure {
    error: String,
    /// Whether the registry knows no such image, or not for us.
    denied: bool,
    /// Whether another try may go better.
    passing: bool,
}

impl<'a> Pull<'a> {
    pub(super) fn new(docker: &'a Docker, image: &'a Image, request: &StartStepRequest, prelude: &'a Prelude) -> Self {
        let auth = request.auth.as_ref().filter(|auth| !auth.username.is_empty() || !auth.password.is_empty());
        if let Some(auth) = auth.filter(|auth| !image.is_of(auth)) {
            prelude.say(&format!(
                "the credentials for {} are not sent to the registry of {}",
                auth.address.trim(),
                image.name()
            ));
        }
        let credentials = auth.filter(|auth| image.is_of(auth)).map(credentials);
        Self { docker, image, policy: request.pull, credentials, prelude }
    }

    /// Pulls the image if its policy says so whether or not it is there.
    pub(super) async fn first(&self) -> Result<(), ContainerError> {
        if !self.image.is_pulled_first(self.policy) {
            return Ok(());
        }
        let Err(error) = self.now().await else { return Ok(()) };
        // Only `Always` promises that it is the registry's.
        if self.policy == PullPolicy::Always || self.is_missing().await {
            return Err(error);
        }
        self.prelude.say(&format!("{error}; the one on this machine is used"));
        Ok(())
    }

    /// Whether the engine says that it does not have it.
    async fn is_missing(&self) -> bool {
        let looked = self.docker.inspect_image(self.image.name()).await;
        looked.is_err_and(|error| EngineError::of("look for an image", &error).is_missing())
    }

    /// Pulls the image, which is missing, unless its policy forbids it.
    pub(super) async fn missing(&self) -> Result<(), ContainerError> {
        if self.policy == PullPolicy::Never {
            return Err(ContainerError::NoImage { image: self.image.name().into() });
        }
        self.now().await
    }

    async fn now(&self) -> Result<(), ContainerError> {
        let mut tried = 1;
        loop {
            let Err(failure) = self.once().await else { return Ok(()) };
            if !failure.passing || tried == TRIES {
                let Failure { error, denied, .. } = failure;
                return Err(ContainerError::Pull { image: self.image.name().into(), error, denied });
            }
            self.prelude.say(&format!("pulling {} failed, and is tried again: {}", self.image.name(), failure.error));
            sleep(PAUSE * tried * tried).await;
            tried += 1;
        }
    }

    async fn once(&self) -> Result<(), Failure> {
        let options =
            CreateImageOptions { from_image: Some(self.image.name().into()), ..CreateImageOptions::default() };
        let mut news = self.docker.create_image(Some(options), None, self.credentials.clone()).boxed();
        let mut lines = 0;
        loop {
            match tokio::time::timeout(SILENCE, news.next()).await {
                Ok(Some(Ok(news))) => self.tell(&news, &mut lines),
                Ok(Some(Err(error))) => return Err(Failure::of(&error)),
                Ok(None) => return Ok(()),
                Err(_) => {
                    let error = format!("nothing was heard of it for {} s", SILENCE.as_secs());
                    return Err(Failure { error, denied: false, passing: false });
                }
            }
        }
    }

    /// Tells what has changed, and none of the bars that move meanwhile.
    fn tell(&self, news: &CreateImageInfo, lines: &mut usize) {
        let moves = news.progress_detail.as_ref().is_some_and(|bar| bar.current.is_some() || bar.total.is_some());
        let Some(status) = news.status.as_deref().filter(|_| !moves) else { return };
        *lines += 1;
        match (*lines).cmp(&LINES) {
            std::cmp::Ordering::Less => {
                let layer = news.id.as_deref().map_or_else(String::new, |id| format!("{id}: "));
                self.prelude.say(&format!("{layer}{status}"));
            }
            std::cmp::Ordering::Equal => self.prelude.say("... and so on"),
            std::cmp::Ordering::Greater => {}
        }
    }
}

impl Failure {
    fn of(error: &ApiError) -> Self {
        match error {
            ApiError::DockerResponseServerError { status_code, message } => Self {
                error: message.trim().to_owned(),
                denied: matches!(status_code, 401 | 403 | 404),
                passing: *status_code >= 500,
            },
            // The pull had begun, so it was neither a wrong name nor a wrong password.
            ApiError::DockerStreamError { error } => Self { error: error.clone(), denied: false, passing: true },
            error => Self {
                error: EngineError::of("pull an image", error).to_string(),
                denied: false,
                passing: is_of_connection(error),
            },
        }
    }
}

fn credentials(auth: &Auth) -> DockerCredentials {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    DockerCredentials {
        username: some(&auth.username),
        password: some(&auth.password),
        serveraddress: some(auth.address.trim()),
        ..DockerCredentials::default()
    }
}
