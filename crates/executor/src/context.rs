//! What all parts of a run share: the plan and the options, the sink, the results so far, the secrets.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kiln_mask::Secrets;
use kiln_pipeline::Dialect;
use kiln_pipeline::expr::Template;
use kiln_pipeline::facts::Facts;
use kiln_pipeline::plan::{Plan, PoolRequest, Stage};
use kiln_pipeline::scope::{Book, Place};
use kiln_pipeline::strategy::Iteration;
use kiln_wire::run::Event;
use tokio_util::sync::CancellationToken;

use crate::fleet::Fleet;
use crate::kinds::Login;
use crate::patience::Patience;
use crate::sink::Sink;
use crate::why::Why;

/// What the caller of a run decides.
#[derive(Clone, Default)]
pub struct Options {
    /// The directory whose tree the stages get.
    pub workspace: std::path::PathBuf,
    /// Environment for every step, over the file's.
    pub env: Vec<(String, String)>,
    /// Secrets by name.
    pub secrets: Vec<(String, String)>,
    /// Values for variables and inputs, by name or path.
    pub given: Vec<(String, String)>,
    /// Ids of the stages to run; all when empty.
    pub stages: Vec<String>,
    /// What is known about the build.
    pub facts: Facts,
    /// Time for which a failed stage's instance is kept for a look.
    pub keep_on_failure: Option<Duration>,
    /// Credentials of registries, for images of which the file names none that are known.
    pub registries: Vec<Login>,
    /// Where caches are kept.
    pub caches: Option<kiln_cache::Store>,
    /// Where steps upload to.
    pub artifacts: Option<kiln_cache::Store>,
    /// How long to wait for what does not answer.
    pub patience: Patience,
}

/// The beginning of an expression.
const EXPRESSION: &str = "<+";

/// Chooses the image for a stage's pool.
pub type Images<'a> = &'a (dyn Fn(&PoolRequest) -> String + Send + Sync);

/// What all parts of one run share.
pub(crate) struct Context<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) options: &'a Options,
    /// What is known about the build, with the time at which it began.
    pub(crate) facts: Facts,
    pub(crate) fleet: &'a dyn Fleet,
    pub(crate) images: Images<'a>,
    sink: Sink<'a>,
    /// Tells that the run ends before its end: somebody cancelled it, a failure strategy says abort, or its time was up.
    pub(crate) cancel: CancellationToken,
    /// Why it does, unless the caller cancelled it.
    why: OnceLock<Why>,
    /// The run's id, unique among all runs.
    pub(crate) id: String,
    book: Mutex<Book>,
    /// Names of the stages that failed so far.
    failed: Mutex<Vec<String>>,
    /// What no text of the run shows: the secrets that were given, and the secret outputs of steps so far.
    pub(crate) secrets: Arc<Secrets>,
    /// Notes that hold for every stage and were told with the first one.
    told: Mutex<BTreeSet<String>>,
}

impl<'a> Context<'a> {
    /// Makes the context of a run that has not begun. `cancel` ends the run.
    pub(crate) fn new(
        plan: &'a Plan,
        options: &'a Options,
        fleet: &'a dyn Fleet,
        images: Images<'a>,
        sink: Sink<'a>,
        cancel: &CancellationToken,
    ) -> Self {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let facts = match options.facts.get("created_unix_s") {
            "" => options.facts.clone().with("created_unix_s", now.as_secs().to_string()),
            _ => options.facts.clone(),
        };
        let known = Arc::<Secrets>::default();
        known.add(options.secrets.iter().map(|(_, value)| value).filter(|value| !value.is_empty()));
        known.add(options.registries.iter().map(|login| &login.password));
        let (secrets, dialect) = (options.secrets.clone(), plan.dialect);
        let book = Book::new(plan, &facts, &options.given, &id, now_ms)
            .with_secrets(move |name| find(dialect, &secrets, name).map(str::to_owned));
        Self {
            plan,
            options,
            facts,
            fleet,
            images,
            sink,
            cancel: cancel.child_token(),
            why: OnceLock::new(),
            id,
            book: Mutex::new(book),
            failed: Mutex::default(),
            secrets: known,
            told: Mutex::default(),
        }
    }

    /// Ends the run before its end. The first reason is the one that reports show.
    pub(crate) fn end(&self, why: Why) {
        if !self.cancel.is_cancelled() {
            self.why.get_or_init(|| why);
        }
        self.cancel.cancel();
    }

    /// Returns why the run ends.
    pub(crate) fn why(&self) -> Why {
        self.why.get().cloned().unwrap_or(Why::Asked)
    }

    /// Makes a stage known to expressions before it runs.
    pub(crate) fn describe_stage(&self, stage: &Stage, id: &str) {
        lock(&self.book).describe_stage(stage, id);
    }

    /// Makes the end of a stage known to expressions.
    pub(crate) fn record_stage(&self, id: &str, word: &str) {
        lock(&self.book).record_stage(id, word);
    }

    /// Records that a stage failed, for the environment of later ones.
    pub(crate) fn record_failure(&self, name: &str) {
        lock(&self.failed).push(name.to_owned());
    }

    /// Returns the names of the stages that failed so far, in that order.
    pub(crate) fn failed(&self) -> Vec<String> {
        lock(&self.failed).clone()
    }

    /// Returns what expressions at a place may use.
    pub(crate) fn scope(&self, place: &Place<'_>) -> kiln_pipeline::expr::Scope {
        lock(&self.book).scope(place)
    }

    /// Makes the end of a step, and its outputs, known to expressions.
    pub(crate) fn record_step(
        &self,
        stage: &str,
        groups: &[String],
        step: &str,
        outputs: &[(String, String)],
        word: &str,
    ) {
        lock(&self.book).record_step(stage, groups, step, outputs, word);
    }

    /// Records that a note is told, and returns whether it is the first time.
    pub(crate) fn is_new(&self, note: &str) -> bool {
        lock(&self.told).insert(note.to_owned())
    }

    /// Returns what people call an iteration of a stage.
    pub(crate) fn stage_name(&self, stage: &Stage, id: &str, iteration: Option<&Iteration>) -> String {
        let place = Place { stage: Some((stage, id)), stage_run: iteration, ..Place::default() };
        self.name(&stage.name, &place, iteration)
    }

    /// Returns a name with the values of its expressions, or else with the title of its iteration. A name whose expressions have no
    /// value is shown as it stands in the file.
    pub(crate) fn name(&self, name: &str, place: &Place<'_>, iteration: Option<&Iteration>) -> String {
        if name.contains(EXPRESSION) && self.plan.dialect == Dialect::Harness {
            return Template::render_text(name, &self.scope(place)).unwrap_or_else(|| name.to_owned());
        }
        match iteration {
            Some(iteration) if !iteration.title.is_empty() => format!("{name} ({})", iteration.title),
            _ => name.to_owned(),
        }
    }

    /// Returns the value of a secret that was given.
    pub(crate) fn secret(&self, name: &str) -> Option<String> {
        find(self.plan.dialect, &self.options.secrets, name).map(str::to_owned)
    }

    /// Tells whoever watches the run.
    pub(crate) fn tell(&self, event: Event) {
        (self.sink)(self.secrets.mask(event));
    }
}

/// Finds a secret by the name that a file of this dialect has for it.
fn find<'s>(dialect: Dialect, secrets: &'s [(String, String)], name: &str) -> Option<&'s str> {
    let at = dialect.find_secret(name, secrets.iter().map(|(given, _)| given.as_str()))?;
    Some(secrets[at].1.as_str())
}

/// Locks a mutex, also after a panic of its holder. Each critical section is one assignment, so that none leaves anything half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
