//! Tests that need the statements themselves: query plans, schema versions, errors of opening.

use std::time::Duration;

use kiln_engine::Store as _;
use kiln_pool::Subject;
use sqlx::{AssertSqlSafe, Row as _, SqlSafeStr as _};

use crate::database::{Connections, Database};
use crate::server::Server;
use crate::writes::Room;
use crate::{OpenError, claim, instances, migrations, open, postgres_for_tests, stages};

fn url(folder: &tempfile::TempDir) -> String {
    format!("sqlite:{}/kiln.db", folder.path().display())
}

/// No statement of a claim or of a frequent query reads rows that it does not need.
#[tokio::test]
async fn plans_use_indexes() {
    let opened = open("sqlite::memory:").await.unwrap();
    let Connections::Sqlite { writer, .. } = &opened.store.database.connections else { unreachable!() };
    let check = async |sql: &str, expected: &[&str]| {
        let sql = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")).into_sql_str();
        let rows = sqlx::query(sql.clone()).fetch_all(writer).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        let scans = |step: &String| step.starts_with("SCAN") && !step.contains("INDEX") && *step != "SCAN CONSTANT ROW";
        assert!(!plan.iter().any(scans), "{sql:?}: {plan:#?}");
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{sql:?}: {plan:#?}");
        for index in expected {
            assert!(plan.iter().any(|step| step.contains(index)), "{index} in {sql:?}: {plan:#?}");
        }
    };
    check(claim::TAKE, &["SEARCH instances USING INDEX instances_ready (flavor=? AND image=?)"]).await;
    check(claim::ANY, &["SEARCH instances USING INDEX instances_ready (flavor=? AND image=?)"]).await;
    check(claim::HAS_ONE, &["instances_claimed (stage=?)"]).await;
    check(claim::ASSIGN, &["SEARCH stages USING INDEX sqlite_autoindex_stages_1 (id=?)"]).await;
    check(stages::NOT_YET, &["stages_waiting (flavor=? AND", "instances_claimed (stage=?)"]).await;
    check(stages::OPEN, &["stages_open"]).await;
    check(stages::UPDATE, &["(id=?)"]).await;
    check(instances::LIVE, &["instances_live"]).await;
    check(instances::ONE, &["(id=?)"]).await;
    check(instances::UPDATE, &["(id=?)"]).await;
    check(instances::INSERT, &["instances_counted (pool=?)", "instances_counted (pool=? AND flavor=?)"]).await;
}

/// Both dialects have the same tables with the same columns in the same order.
#[tokio::test]
async fn dialects_have_the_same_columns() {
    let server = postgres_for_tests::start().unwrap();
    let there = open(&server.database().unwrap()).await.unwrap().store;
    let here = open("sqlite::memory:").await.unwrap().store;
    let columns = async |database: &Database, sql: &'static str| -> Vec<(String, String)> {
        let rows = database.rows(sql, &[]).await.unwrap();
        rows.iter().map(|row| (row.text(0).unwrap(), row.text(1).unwrap())).collect()
    };
    let sqlite = columns(
        &here.database,
        "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' \
         AND m.name NOT LIKE 'sqlite%' AND m.name NOT LIKE '_sqlx%' ORDER BY m.name, c.cid",
    );
    let postgres = columns(
        &there.database,
        "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = 'public' \
         AND table_name NOT LIKE '\\_sqlx%' ORDER BY table_name COLLATE \"C\", ordinal_position",
    );
    let (sqlite, postgres) = (sqlite.await, postgres.await);
    assert!(sqlite.len() >= 60, "{sqlite:?}");
    assert_eq!(sqlite, postgres);
}

/// Rows as a program of each version left them, as SQL for both dialects. A new version adds its own line, and earlier
/// lines stay as they are.
const LEFT_BEHIND: &[(i64, &str)] = &[(
    1,
    "INSERT INTO instances (id, pool, flavor, site, image, digest, state, generation, runner, created_ms, since_ms, \
     attempts, needs_claim, place, token, batch_index, batch_size) VALUES ('i', 'p', 'p/f', 'd', 'img', 'x', 'ready', 4, \
     'r', 1, 2, 0, 1, '', 'i', 0, 1); \
     INSERT INTO stages (id, pool, flavor, candidates, account, state, generation, created_ms, wait_until_ms, run_ms, \
     set_up, attempts, why) VALUES ('s', 'p', 'p/f', '[{\"pool\":\"p\",\"flavor\":\"p/f\",\"image\":\"img\"}]', 'a', \
     'waiting', 1, 1, 2, 3, 0, 0, ''); INSERT INTO meta (name, value) VALUES ('installation', 'the first')",
)];

#[tokio::test]
async fn every_earlier_version_is_brought_up_to_date() {
    assert_eq!(LEFT_BEHIND.last().unwrap().0, migrations::newest(), "the newest version has no line here");
    let server = postgres_for_tests::start().unwrap();
    for (version, rows) in LEFT_BEHIND {
        let folder = tempfile::tempdir().unwrap();
        let file = url(&folder);
        let pool = sqlx::SqlitePool::connect(&format!("{file}?mode=rwc")).await.unwrap();
        migrations::sqlite().run_to(*version, &pool).await.unwrap();
        sqlx::raw_sql(*rows).execute(&pool).await.unwrap();
        pool.close().await;
        let remote = server.database().unwrap();
        let pool = sqlx::PgPool::connect(&remote).await.unwrap();
        migrations::postgres().run_to(*version, &pool).await.unwrap();
        sqlx::raw_sql(*rows).execute(&pool).await.unwrap();
        pool.close().await;
        for url in [file, remote] {
            let opened = open(&url).await.unwrap();
            assert_eq!(opened.installation, "the first");
            let stage = opened.store.read_stage("s").await.unwrap().unwrap();
            let (_, instance) = opened.store.claims.claim(&stage, 10).await.unwrap().unwrap();
            assert_eq!((instance.id.as_str(), instance.generation, instance.needs_claim), ("i", 5, true));
        }
    }
}

/// The rows were changed by hand.
#[tokio::test]
async fn rows_that_cannot_be_read_are_set_aside() {
    let server = postgres_for_tests::start().unwrap();
    for url in ["sqlite::memory:".to_owned(), server.database().unwrap()] {
        let store = open(&url).await.unwrap().store;
        let change = async |sql: &'static str| {
            let mut session = store.database.write(Room::Free).await.unwrap();
            session.execute(sql, &[]).await.unwrap();
            session.commit().await.unwrap();
        };
        // The first two statements insert an instance and a stage.
        for sql in LEFT_BEHIND[0].1.split("; ").take(2) {
            change(sql).await;
        }
        change("INSERT INTO instances SELECT 'odd', pool, flavor, site, image, digest, 'asleep?', generation, runner, stage, \
                created_ms, since_ms, ready_ms, claimed_ms, deadline_ms, hold_until_ms, retry_ms, attempts, address, \
                server_name, needs_claim, cause_code, cause_evidence, place, token, batch_index, batch_size FROM instances").await;
        let ids = async || {
            store.read_live_instances().await.unwrap().into_iter().map(|row| row.id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(ids().await, ["i"]);
        assert!(
            store.unreadable()[&(Subject::Instance, "odd".to_owned())].contains("has the state \"asleep?\""),
            "{:?}",
            store.unreadable()
        );
        change("UPDATE stages SET candidates = '['").await;
        assert_eq!(store.read_open_stages().await.unwrap(), []);
        let (instance, stage) = ((Subject::Instance, "odd".to_owned()), (Subject::Stage, "s".to_owned()));
        assert!(store.unreadable().keys().eq([&instance, &stage]), "{:?}", store.unreadable());
        let newest = (store.read_newest_instances(9).await.unwrap().len(), store.read_newest_stages(9).await.unwrap());
        assert_eq!(newest, (1, vec![]), "the history leaves them out");
        change("UPDATE instances SET state = 'ready'").await;
        assert_eq!(ids().await, ["i", "odd"]);
        assert!(store.unreadable().keys().eq([&stage]));
        change(
            "INSERT INTO changes (at_ms, subject, id, pool, state, reason) \
                VALUES (1, 'odd', 'c', 'p', 's', ''), (2, 'stage', 'c', 'p', 's', '')",
        )
        .await;
        let told = store.read_timeline("c", 10).await.unwrap().into_iter().map(|change| change.subject);
        assert_eq!(told.collect::<Vec<_>>(), [Subject::Stage]);
    }
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    let server = postgres_for_tests::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for url in [url(&folder), server.database().unwrap()] {
        let store = open(&url).await.unwrap().store;
        let mut session = store.database.write(Room::Free).await.unwrap();
        let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                     SELECT 99, description, success, checksum, 0 FROM _sqlx_migrations WHERE version = 1";
        session.execute(newer, &[]).await.unwrap();
        session.commit().await.unwrap();
        store.close().await;
        let error = open(&url).await.unwrap_err();
        assert!(
            matches!(error, OpenError::Newer { found: 99, known, .. } if known == migrations::newest()),
            "{error:?}"
        );
        assert!(error.to_string().contains("start the newer program"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_open_a_new_database_at_once() {
    let server = postgres_for_tests::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for url in [url(&folder), server.database().unwrap()] {
        let tries = (0..6).map(|_| {
            let url = url.clone();
            tokio::spawn(async move { open(&url).await.unwrap().installation })
        });
        let ids: Vec<_> = futures::future::join_all(tries).await.into_iter().map(|id| id.unwrap()).collect();
        assert!(ids.iter().all(|id| *id == ids[0] && id.len() == 36), "{ids:?}");
    }
}

/// All connections hang at the same time; the next calls use new ones.
#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let server = postgres_for_tests::start().unwrap();
    let url = server.database().unwrap();
    drop(open(&url).await.unwrap());
    let limit = Duration::from_millis(500);
    let there = Server::new(url.parse().unwrap(), limit);
    let hung = || async { there.answer(sqlx::query("SELECT 1").fetch_all(&there.pool())).await.map(drop) };
    // The connections are warm, and their processes at the server are then stopped.
    futures::future::try_join_all((0..20).map(|_| hung())).await.unwrap();
    let pids = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    let other = sqlx::PgPool::connect(&url).await.unwrap();
    let pids: Vec<i32> = sqlx::query_scalar(pids).fetch_all(&other).await.unwrap();
    let signal = |name: &str| {
        let pids = pids.iter().map(i32::to_string);
        assert!(std::process::Command::new("kill").arg(name).args(pids).status().unwrap().success());
    };
    signal("-STOP");
    let failed = futures::future::join_all((0..16).map(|_| hung())).await;
    let texts: Vec<String> = failed.into_iter().filter_map(Result::err).map(|error| error.to_string()).collect();
    assert!(!texts.is_empty() && texts.iter().all(|text| text.contains("did not answer within 0.5 s")), "{texts:?}");
    hung().await.expect("by a new connection");
    signal("-CONT");
    // The server itself ends a statement that waits for a lock.
    let mut locks = other.begin().await.unwrap();
    sqlx::query("LOCK TABLE instances").execute(&mut *locks).await.unwrap();
    let waits = there.answer(sqlx::query("SELECT count(*) FROM instances").fetch_all(&there.pool())).await;
    let error = waits.map(drop).unwrap_err().to_string();
    assert!(error.contains("statement timeout"), "{error}");
}

#[tokio::test]
async fn what_goes_wrong_at_opening_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    std::fs::write(folder.path().join("text"), "This is no database, and it is longer than a header. ".repeat(40))
        .unwrap();
    let check = async |url: String, expected: &str| {
        let error = open(&url).await.unwrap_err();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        assert!(text.contains(expected) && !text.contains("hunter2"), "{text}");
    };
    check(format!("sqlite:{path}/none/kiln.db"), "there is no folder").await;
    check(format!("sqlite:{path}"), "May this user read and write the file").await;
    check(format!("sqlite:{path}/text"), "file is not a database").await;
    check("postgres://kiln:hunter2@127.0.0.1:1/kiln".to_owned(), "(database kiln at 127.0.0.1:1). Does the server run")
        .await;
    check("redis://:hunter2@host/".to_owned(), "Write sqlite:PATH").await;
}

/// The log is moved into the database although no commit makes it so long that SQLite moves it.
#[tokio::test(flavor = "multi_thread")]
async fn a_short_log_is_moved_into_the_database_beside_the_commits() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(&format!("{}?sync=off", url(&folder))).await.unwrap();
    // <https://www.sqlite.org/walformat.html#the_wal_index_file_format>: 32 bits, in the order of this machine's bytes.
    let index = |at: usize| {
        let bytes = std::fs::read(folder.path().join("kiln.db-shm")).unwrap();
        u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
    };
    let (pages, moved) = (|| index(16), || index(96));
    let mut commits = 0;
    while moved() == 0 {
        assert!(pages() < 1000, "SQLite would move the log after {commits} commits");
        opened.store.remember(&format!("name-{commits}"), "value").await.unwrap();
        commits += 1;
        if commits >= crate::checkpoints::COMMITS {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert!(commits >= crate::checkpoints::COMMITS, "{commits}");
    opened.store.close().await;
}
