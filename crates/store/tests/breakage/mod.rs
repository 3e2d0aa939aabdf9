//! Connections that break in the middle of a transaction, and disks that are full.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use kiln_engine::conformance::{UNLIMITED, insert, ready, stage};
use kiln_engine::world::{Holder, Store as _, StoreError};
use kiln_pool::plan::WaitReason;
use kiln_pool::{Cause, Code, Instance, Stage, StageState};
use kiln_store::{SqlStore, postgres_for_tests};

/// A small file system. It is unmounted on drop.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Mounts one. Returns none, and prints so, where this user may not mount.
    fn mount(mib: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(folder)),
            other => {
                println!("NOT TESTED: this user may not mount a file system ({other:?}); run it as root");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file until there is no room left.
    fn fill(&self) {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(self.path().join("hog")).unwrap();
        for size in [1 << 16, 1 << 10, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.path().join("hog")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg("-l").arg(self.0.path()).status().unwrap().success());
    }
}

/// Inserts instances until the database refuses one, and returns its error.
async fn until_refused(store: &SqlStore, name: &str) -> StoreError {
    for n in 0..100_000 {
        let row = Instance { image: "x".repeat(20_000), ..ready(&format!("{name}-{n}"), n) };
        if let Err(error) = store.insert_instances(&[row], UNLIMITED, "fills the disk").await {
            return error;
        }
    }
    panic!("the disk is never full");
}

/// Inserts an instance as soon as the store has noticed the free room.
async fn written_again(store: &SqlStore, id: &str) {
    while let Err(error) = store.insert_instances(&[ready(id, 1)], UNLIMITED, "test").await {
        assert!(error.message.contains("full"), "{error}");
        // A runner takes leases all the time, which makes the log give back its room.
        let me = Holder { name: "r".to_owned(), process: "p".to_owned() };
        store.enroll(&me).await.unwrap();
        store.lease(&me, &[("pool".to_owned(), None)].into()).await.unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_is_no_end() {
    let Some(disk) = SmallDisk::mount(64) else { return };
    let store = kiln_store::open(&format!("sqlite:{}/kiln.db", disk.path().display())).await.unwrap().store;
    for round in 0..3 {
        insert(&*store, &[ready(&format!("before-{round}"), 1)]).await;
        disk.fill();
        for n in 0..3 {
            let error = until_refused(&store, &format!("r{round}-{n}")).await;
            assert!(error.message.contains("full"), "{error}");
        }
        // Readers are served all the while.
        assert!(store.instance(&format!("before-{round}").as_str().into()).await.unwrap().is_some());
        disk.free();
        // The store recovers without a restart.
        written_again(&store, &format!("after-{round}")).await;
    }
}

/// Ends are written although the disk is filled again at once, and the trouble is reported until it is over.
#[tokio::test]
async fn ends_are_written_on_a_full_disk() {
    const STAGES: usize = 100;
    let Some(disk) = SmallDisk::mount(96) else { return };
    let store = kiln_store::open(&format!("sqlite:{}/kiln.db", disk.path().display())).await.unwrap().store;
    let mut running = Vec::new();
    for n in 0..STAGES {
        insert(&*store, &[ready(&format!("i{n:03}"), 1)]).await;
        let (stage, instance) = store.begin_stage(&stage(&format!("s{n:03}"), 1), 2).await.unwrap();
        running.push((stage, instance.unwrap()));
    }
    assert_eq!(store.write_trouble(), None);
    disk.fill();
    until_refused(&store, "more").await;
    // The room that this freed is taken at once.
    disk.fill();
    for (stage, instance) in &running {
        let ended = stage.ended(Cause::new(Code::Destroyed, ""), 3).unwrap();
        assert!(store.update_stage(&ended).await.unwrap(), "{}", stage.id);
        let ends = instance.terminating(Cause::new(Code::Destroyed, ""), 4).unwrap();
        assert!(store.update_instance(&ends, "its stage ended").await.unwrap());
        let gone = ends.become_(kiln_pool::State::Gone, 5).unwrap();
        assert!(store.update_instance(&gone, "the cloud ended it").await.unwrap());
    }
    let usual = Stage { why: Some(WaitReason::Starting { flavor: "changes".to_owned() }), ..stage("new", 1) };
    let error = store.begin_stage(&usual, 6).await.unwrap_err();
    assert!(error.message.contains("full; free some room") && !error.ambiguous, "{error}");
    let trouble = store.write_trouble().unwrap();
    assert!(trouble.why.contains("full"), "{trouble:?}");
    assert!(store.open_stages().await.unwrap().iter().all(|stage| stage.state != StageState::Ended));

    disk.free();
    // The next write after a short while sets the room aside again.
    written_again(&store, "again").await;
    assert_eq!(store.write_trouble(), None);
    assert_eq!(store.begin_stage(&usual, 7).await.unwrap().0.id, usual.id);
}

/// The server ends a connection in the middle of a transaction.
#[tokio::test]
async fn a_killed_connection_is_replaced() {
    let server = postgres_for_tests::start().unwrap();
    let url = server.database().unwrap();
    let store = kiln_store::open(&url).await.unwrap().store;
    let other = sqlx::PgPool::connect(&url).await.unwrap();
    for round in 0..5 {
        let row = ready(&format!("i{round}"), 1);
        insert(&*store, std::slice::from_ref(&row)).await;
        // The update waits for this lock, within its transaction.
        let mut locks = other.begin().await.unwrap();
        sqlx::query("SELECT * FROM instances FOR UPDATE").fetch_all(&mut *locks).await.unwrap();
        let ends = row.terminating(Cause::new(Code::Destroyed, ""), 4).unwrap();
        let update = store.update_instance(&ends, "end");
        let kill = async {
            let waiting = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
            while sqlx::query(waiting).fetch_all(&other).await.unwrap().is_empty() {}
        };
        let (updated, ()) = futures::join!(update, kill);
        let error = updated.unwrap_err();
        assert!(error.message.contains("terminating connection"), "{error}");
        assert!(store.write_trouble().is_some_and(|trouble| trouble.why.contains("terminating connection")));
        locks.rollback().await.unwrap();
        assert!(store.update_instance(&ends, "end").await.unwrap());
        assert_eq!(store.write_trouble(), None);
    }
}
