//! A log service that only counts.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};

/// More than any request has.
const MOST_BYTES: usize = 64 << 20;
/// What stands before the number of a line.
const BEFORE_NUMBER: &[u8] = br#"{"level":"info","pos":"#;

/// What came.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    /// Lines that came while the step ran, each once.
    pub live: u64,
    /// Such lines that came once more.
    pub again: u64,
    /// Lines of the last upload.
    pub uploaded: u64,
    pub batches: u64,
}

#[derive(Default)]
struct Seen {
    counts: Counts,
    /// By the numbers of lines.
    lines: Vec<bool>,
}

/// The service, as long as the process lives.
pub struct Sink {
    pub url: String,
    seen: Arc<Mutex<Seen>>,
}

impl Sink {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let seen = Arc::<Mutex<Seen>>::default();
        let app = Router::new().fallback(count).with_state(seen.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, seen }
    }

    pub fn counts(&self) -> Counts {
        self.seen.lock().expect("counts").counts
    }
}

async fn count(State(seen): State<Arc<Mutex<Seen>>>, method: Method, uri: Uri, body: Body) -> StatusCode {
    let Ok(body) = to_bytes(body, MOST_BYTES).await else { return StatusCode::BAD_REQUEST };
    let mut seen = seen.lock().expect("counts");
    if uri.path() == "/blob" {
        seen.counts.uploaded = numbers(&body).count() as u64;
    } else if method == Method::PUT {
        seen.counts.batches += 1;
        numbers(&body).for_each(|number| seen.take(number));
    }
    StatusCode::OK
}

impl Seen {
    fn take(&mut self, number: usize) {
        if self.lines.len() <= number {
            self.lines.resize(number + 1, false);
        }
        if std::mem::replace(&mut self.lines[number], true) {
            self.counts.again += 1;
        } else {
            self.counts.live += 1;
        }
    }
}

/// The numbers of the lines of a body. There are no braces in their texts.
fn numbers(body: &[u8]) -> impl Iterator<Item = usize> {
    body.split(|byte| *byte == b'{').skip(1).map(|line| {
        let line = line.strip_prefix(&BEFORE_NUMBER[1..]).expect("a line");
        line.iter()
            .take_while(|byte| byte.is_ascii_digit())
            .fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
    })
}
