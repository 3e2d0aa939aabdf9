//! Caches and uploads: what a run keeps, and what the next one finds.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_cache::{Location, Store};
use kiln_pipeline::facts::Facts;
use kiln_wire::run::{Event, Status};

use crate::rig::{Act, Scenario, Told, steps};

#[path = "../../../cache/tests/stores/bucket/mod.rs"]
#[expect(dead_code, reason = "the tests of stores ask more of it")]
mod bucket;

use bucket::{ACCESS_KEY, Bucket, Fault, SECRET_KEY};

/// Stores in a folder of the test's own, which several runs share.
struct Stores {
    dir: tempfile::TempDir,
}

impl Stores {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a folder") }
    }

    fn open(&self, name: &str, limit_bytes: u64) -> Store {
        let location = Location::Directory(self.dir.path().join(name));
        Store::open(&location, &BTreeMap::new(), limit_bytes).expect("a store")
    }

    /// Prepares a run of steps that has the stores.
    #[track_caller]
    fn scenario(&self, yaml: &str) -> Scenario {
        let (caches, artifacts) = (self.open("caches", 1 << 30), self.open("uploads", u64::MAX));
        Scenario::new(yaml).with(|options| {
            (options.caches, options.artifacts) = (Some(caches), Some(artifacts));
            options.facts = of_repository("https://example.com/octo/hello.git");
        })
    }

    fn archives(&self) -> Vec<PathBuf> {
        files(&self.dir.path().join("caches/data"))
    }
}

/// What is known of a working tree that has a repository as its origin.
fn of_repository(remote: &str) -> Facts {
    Facts::default().with("remote_url", remote)
}

/// All files below a folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let entries = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> =
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

const SAVE: &str = r#"
- step: {identifier: make, name: make, type: Run, spec: {command: "mkdir -p m/deep; echo kept > m/deep/file; echo lock > a.lock; ln -s deep/file m/link; chmod 755 m/deep/file"}}
- step: {identifier: save, name: save, type: SaveCacheS3, spec: {bucket: b, connectorRef: c, key: 'k-{{ checksum "a.lock" }}', sourcePaths: [m, none], archiveFormat: Gzip}}
"#;
const RESTORE: &str = r#"
- step: {identifier: make, name: make, type: Run, spec: {command: "echo lock > a.lock"}}
- step: {identifier: restore, name: restore, type: RestoreCacheS3, spec: {bucket: b, connectorRef: c, key: 'k-{{ checksum "a.lock" }}'}}
- step: {identifier: use, name: use, type: Run, spec: {command: "if test -e m/link; then cat m/link; test -x m/deep/file; else echo nothing; fi"}}
"#;

/// How long an agent may be away in tests of broken connections, also on a machine that is busy.
const PATIENT: Duration = Duration::from_secs(10);

/// Saves more than is sent at once, and as it is: what cannot be compressed takes long where the tests are not optimized.
fn large() -> String {
    SAVE.replace("chmod", "head -c 1000000 /dev/urandom > m/large; chmod").replace("Gzip", "Tar")
}

/// SHA-256 of `lock` and a line feed.
fn sum() -> String {
    let mut sum = kiln_cache::Sha256::default();
    sum.update(b"lock\n");
    sum.hex()
}

/// The lines of a step, without sizes and times, which differ.
fn said(told: &Told, step: &str) -> Vec<String> {
    told.output("a", step).lines().map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(": ")).collect()
}

fn notes(told: &Told) -> Vec<String> {
    let note = |event: &Event| match event {
        Event::Note { message, .. } => Some(message.split(": ").take(2).collect::<Vec<_>>().join(": ")),
        _ => None,
    };
    told.events.iter().filter_map(note).collect()
}

fn passed(told: &Told) -> bool {
    told.report.status == Status::Passed
}

#[tokio::test]
async fn what_a_run_saves_the_next_one_finds_with_modes_and_links() {
    let (stores, key) = (Stores::new(), format!("k-{}", sum()));
    let none = stores.scenario(&steps(RESTORE)).run().await;
    assert_eq!(said(&none, "restore"), [format!("cache miss: {key}")]);
    assert_eq!((passed(&none), none.output("a", "use").as_str()), (true, "nothing\n"));
    let saved = stores.scenario(&steps(SAVE)).run().await;
    let lines = said(&saved, "save");
    assert_eq!(lines, ["none is not there, and not in the cache".to_owned(), format!("cache saved: {key}")]);
    let found = stores.scenario(&steps(RESTORE)).run().await;
    assert_eq!(said(&found, "restore"), [format!("cache hit: {key}")]);
    assert_eq!((passed(&found), found.output("a", "use").as_str()), (true, "kept\n"));
    let line = found.output("a", "restore");
    assert!(line.contains("files, ") && line.contains(" packed), in "), "{line}");
    // What is there stays without `override`.
    let again = stores.scenario(&steps(SAVE)).run().await;
    assert_eq!(said(&again, "save"), [format!("the cache {key} is there already, and stays")]);
    assert_eq!(stores.archives().len(), 1);
    let anew = stores.scenario(&steps(&SAVE.replace("archiveFormat: Gzip", "override: true"))).run().await;
    assert_eq!(said(&anew, "save").last(), Some(&format!("cache saved: {key}")));
    assert_eq!(stores.archives().len(), 1);
}

#[tokio::test]
async fn a_repository_finds_its_own_caches_alone_whatever_its_files_name() {
    let stores = Stores::new();
    assert!(passed(&stores.scenario(&steps(SAVE)).run().await));
    let run = |list: String, remote: &'static str| {
        let scenario = stores.scenario(&steps(&list));
        scenario.with(|options| options.facts = of_repository(remote)).run()
    };
    for remote in ["https://example.com/octo/other", "https://example.org/octo/hello", "https://example.com/evil/hello"]
    {
        for bucket in ["b", "example.com/octo/hello", "../b"] {
            let told = run(RESTORE.replace("bucket: b", &format!("bucket: {bucket}")), remote).await;
            assert_eq!((passed(&told), told.output("a", "use").as_str()), (true, "nothing\n"), "{remote} {bucket}");
        }
        let own =
            run(RESTORE.replace("RestoreCacheS3", "RestoreCache").replace("bucket: b, connectorRef: c,", ""), remote);
        assert_eq!(own.await.output("a", "use"), "nothing\n", "{remote}");
    }
    // Another address of the same repository.
    assert_eq!(run(RESTORE.to_owned(), "git@example.com:octo/hello").await.output("a", "use"), "kept\n");
    // Without a repository the directory counts, and every run of the tests has one of its own.
    for _ in 0..2 {
        assert_eq!(run(SAVE.to_owned() + &RESTORE.replace("make", "make2"), "").await.output("a", "use"), "kept\n");
        assert_eq!(run(RESTORE.to_owned(), "").await.output("a", "use"), "nothing\n");
    }
}

#[tokio::test]
async fn a_secret_in_a_key_is_shown_nowhere() {
    const SECRET: &str = "s3cr3t-in-a-key";
    let stores = Stores::new();
    let list = SAVE.replace("k-{{", "<+secrets.getValue(\"s\")>-{{")
        + &RESTORE.replace("k-{{", "<+secrets.getValue(\"s\")>-{{").replace("make", "make2");
    let scenario = stores.scenario(&steps(&list));
    let told = scenario.with(|options| options.secrets.push(("s".to_owned(), SECRET.to_owned()))).run().await;
    assert_eq!((passed(&told), told.output("a", "use").as_str()), (true, "kept\n"), "{:?}", told.report);
    let all = format!("{:?} {:?}", told.events, told.report);
    assert!(all.contains("cache saved: ") && !all.contains(SECRET), "{all}");
    for file in files(stores.dir.path()) {
        let bytes = fs::read(&file).expect("bytes");
        assert!(!bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()), "{}", file.display());
    }
}

#[tokio::test]
async fn a_key_whose_archive_is_gone_counts_for_a_miss_and_is_saved_anew() {
    for restores in [true, false] {
        let stores = Stores::new();
        assert!(passed(&stores.scenario(&steps(SAVE)).run().await));
        fs::remove_file(stores.archives().pop().expect("an archive")).expect("a file");
        if restores {
            let told = stores.scenario(&steps(RESTORE)).run().await;
            let lines = said(&told, "restore");
            assert!(lines[0].contains("is broken and is removed"), "{lines:?}");
            assert_eq!((passed(&told), lines[1].clone()), (true, format!("cache miss: k-{}", sum())));
        }
        let saved = stores.scenario(&steps(SAVE)).run().await;
        assert_eq!(said(&saved, "save").last(), Some(&format!("cache saved: k-{}", sum())), "{restores}");
        assert_eq!(stores.scenario(&steps(RESTORE)).run().await.output("a", "use"), "kept\n");
    }
}

#[tokio::test]
async fn equal_keys_of_two_buckets_are_two_caches() {
    let stores = Stores::new();
    assert!(passed(&stores.scenario(&steps(SAVE)).run().await));
    let other = stores.scenario(&steps(&RESTORE.replace("bucket: b", "bucket: other"))).run().await;
    assert_eq!(other.output("a", "use"), "nothing\n");
}

#[tokio::test]
async fn a_restore_that_finds_nothing_fails_only_where_the_file_says_so() {
    let stores = Stores::new();
    let told = stores.scenario(&steps(&RESTORE.replace("connectorRef: c", "failIfKeyNotFound: true"))).run().await;
    let step = told.report.stages[0].steps.iter().find(|step| step.id == "restore").expect("a step");
    assert_eq!(step.status, Status::Failed);
    let message = step.message.as_deref().expect("a message");
    assert!(message.contains(&sum()) && message.contains("failIfKeyNotFound"), "{message}");
}

#[tokio::test]
async fn a_key_or_a_path_that_cannot_be_used_says_what_is_wrong() {
    for (from, to, expected) in [
        ("a.lock\"", "b.lock\"", "there is no file \"b.lock\""),
        ("checksum", "md5", "`md5` means nothing"),
        ("[m, none]", "[../m]", "`..`"),
        ("[m, none]", "[none, nor]", "there is nothing to be cached: none, nor is not there"),
    ] {
        let stores = Stores::new();
        let told = stores.scenario(&steps(&SAVE.replace(from, to))).run().await;
        let step = told.report.stages[0].steps.iter().find(|step| step.id == "save").expect("a step");
        let message = step.message.as_deref().unwrap_or_default();
        assert!(step.status == Status::Failed && message.contains(expected), "{message}");
        assert!(stores.archives().is_empty());
    }
}

#[tokio::test]
async fn a_broken_archive_is_told_and_removed_and_counts_for_a_miss() {
    for how in ["cut", "changed"] {
        let stores = Stores::new();
        assert!(passed(&stores.scenario(&steps(SAVE)).run().await));
        let archive = stores.archives().pop().expect("an archive");
        let mut bytes = fs::read(&archive).expect("bytes");
        match how {
            "cut" => bytes.truncate(bytes.len() / 2),
            _ => bytes[40] ^= 1,
        }
        fs::write(&archive, bytes).expect("a file");
        let told = stores.scenario(&steps(RESTORE)).run().await;
        let lines = said(&told, "restore");
        assert!(lines[0].contains("is broken and is removed"), "{how}: {lines:?}");
        assert_eq!(lines[1], format!("cache miss: k-{}", sum()), "{how}");
        assert_eq!((passed(&told), told.output("a", "use").as_str()), (true, "nothing\n"), "{how}");
        assert!(stores.archives().is_empty() && files(&stores.dir.path().join("caches/keys")).is_empty(), "{how}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_while_a_cache_moves_is_made_anew() {
    let stores = Stores::new();
    let patient = |list: &str| stores.scenario(&steps(list)).with(|options| options.patience.unreachable_for = PATIENT);
    let saved = patient(&large()).when("a.save started", Act::Refuse("a", 1)).run().await;
    assert!(passed(&saved), "{:?}", saved.report);
    let found = patient(RESTORE).when("a.restore started", Act::Refuse("a", 1)).run().await;
    assert_eq!((passed(&found), found.output("a", "use").as_str()), (true, "kept\n"));
}

#[tokio::test]
async fn a_bucket_serves_runs_as_a_directory_does_and_a_broken_connection_to_it_is_made_anew() {
    let bucket = Bucket::start().await;
    let keys = [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
    let settings = keys.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let location = Location::parse(&bucket.url("ci")).expect("a location");
    let store = Store::open(&location, &settings, 1 << 30).expect("a store");
    let run = |list: String| {
        let scenario = Scenario::new(&steps(&list));
        let repository = of_repository("https://example.com/octo/hello");
        let store = store.clone();
        scenario.with(|options| (options.caches, options.facts) = (Some(store), repository)).run()
    };
    assert_eq!(run(RESTORE.to_owned()).await.output("a", "use"), "nothing\n");
    assert!(passed(&run(large()).await));
    bucket.fault(Fault::CutOff);
    let found = run(RESTORE.to_owned()).await;
    assert_eq!((passed(&found), found.output("a", "use").as_str()), (true, "kept\n"));
    assert_eq!((bucket.faults_left(), bucket.refused(), bucket.unfinished()), (Vec::new(), Vec::new(), 0));
}

#[tokio::test]
async fn a_cancelled_save_leaves_no_cache() {
    let stores = Stores::new();
    let told = stores.scenario(&steps(&large())).when("a.save started", Act::Cancel).run().await;
    assert_eq!(told.report.status, Status::Cancelled);
    assert!(files(&stores.dir.path().join("caches/keys")).is_empty());
}

/// A stage with Cache Intelligence.
fn intelligent(caching: &str, command: &str) -> String {
    let list = format!(r#"- step: {{identifier: s, name: s, type: Run, spec: {{command: "{command}"}}}}"#);
    let clone = format!("cloneCodebase: true\n          caching: {caching}\n          execution:");
    steps(&list).replace("execution:", &clone)
}

#[tokio::test]
async fn a_stage_finds_what_its_build_tools_kept() {
    let stores = Stores::new();
    let run = |lock: &'static str, command: &'static str| {
        let scenario = stores.scenario(&intelligent("{enabled: true}", command));
        scenario.file("Gemfile.lock", lock).run()
    };
    let make = "if test -e vendor/bundle/x; then echo found; else mkdir -p vendor/bundle; echo x > vendor/bundle/x; fi";
    let first = run("1", make).await;
    assert_eq!(first.output("a", "s"), "");
    let told = notes(&first);
    assert!(
        told[0].starts_with("cache miss: bundler-")
            && told.last().expect("a note").starts_with("cache saved: bundler-"),
        "{told:?}"
    );
    let second = run("1", make).await;
    assert_eq!(second.output("a", "s"), "found\n");
    let told = notes(&second);
    assert!(told.len() == 1 && told[0].starts_with("cache hit: bundler-"), "{told:?}");
    // With another lock file, and when the stage fails.
    let failed = run("2", "mkdir -p vendor/bundle; echo y > vendor/bundle/x; exit 1").await;
    assert!(!notes(&failed).iter().any(|note| note.starts_with("cache saved")), "{:?}", notes(&failed));
    assert_eq!(run("2", make).await.output("a", "s"), "");
}

#[tokio::test]
async fn a_stage_says_what_it_keeps_and_in_which_direction() {
    let stores = Stores::new();
    let run = |more: &str, command: &str| {
        let caching = format!("{{enabled: true, key: 'k-{{{{ .Branch }}}}', paths: [kept]{more}}}");
        stores.scenario(&intelligent(&caching, command)).run()
    };
    let count =
        "cat kept/n 2> /dev/null || true; mkdir -p kept; echo $((1 + $(cat kept/n 2> /dev/null || echo 0))) > kept/n";
    assert_eq!(run(", policy: pull", count).await.output("a", "s"), "");
    assert_eq!(run("", count).await.output("a", "s"), "");
    assert_eq!(run(", policy: push", count).await.output("a", "s"), "", "it was not to be pulled");
    assert_eq!(run("", count).await.output("a", "s"), "1\n", "what is kept stays");
    assert_eq!(run(", override: true", count).await.output("a", "s"), "1\n");
    assert_eq!(run("", count).await.output("a", "s"), "2\n");
}

#[tokio::test]
async fn a_stage_whose_cache_cannot_be_had_runs_without() {
    let stores = Stores::new();
    let told = stores.scenario(&intelligent("{enabled: true}", "true")).run().await;
    assert!(passed(&told));
    let is_told = |event: &Event| matches!(event, Event::Note { message, .. } if message.contains("the sources use no build tool"));
    assert!(
        told.events.iter().any(is_told) && notes(&told)[0].contains("runs without its cache"),
        "{:?}",
        notes(&told)
    );
    // A store that cannot be used.
    fs::write(stores.dir.path().join("caches/keys"), "no folder").expect("a file");
    let told = stores.scenario(&intelligent("{enabled: true, key: k, paths: [x]}", "true")).run().await;
    assert!(passed(&told) && notes(&told)[0].contains("the stage runs without its cache"), "{:?}", notes(&told));
}

#[tokio::test]
async fn what_is_uploaded_is_found_under_the_names_that_the_file_gives() {
    let stores = Stores::new();
    let upload = |spec: &str| {
        let list = format!(
            r#"
- step: {{identifier: make, name: make, type: Run, spec: {{command: "mkdir -p out/sub; printf one > out/a.jar; printf two > out/sub/b.jar; : > out/empty"}}}}
- step: {{identifier: up, name: up, type: S3Upload, spec: {{bucket: releases, connectorRef: c, region: r, {spec}}}}}
"#
        );
        stores.scenario(&steps(&list)).run()
    };
    let told = upload("sourcePath: 'out/**', target: app/1, stripPrefix: out/").await;
    assert!(passed(&told), "{:?}", told.report);
    let root = stores.dir.path().join("uploads/artifacts/releases");
    assert!(told.output("a", "up").starts_with("uploaded 3 files, 6 B, in "), "{}", told.output("a", "up"));
    assert!(told.output("a", "up").trim_end().ends_with("/uploads/artifacts/releases/app/1"));
    assert_eq!(fs::read_to_string(root.join("app/1/a.jar")).expect("a file"), "one");
    assert_eq!(fs::read_to_string(root.join("app/1/sub/b.jar")).expect("a file"), "two");
    assert_eq!(fs::read_to_string(root.join("app/1/empty")).expect("a file"), "");
    assert!(passed(&upload("sourcePath: out/a.jar").await));
    assert_eq!(fs::read_to_string(root.join("out/a.jar")).expect("a file"), "one");
    let none = upload("sourcePath: none").await;
    let message = none.report.stages[0].steps[1].message.clone().unwrap_or_default();
    assert!(message.contains("no file is at none"), "{message}");
}
