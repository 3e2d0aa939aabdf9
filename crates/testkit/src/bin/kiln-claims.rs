//! Shows that runners with concurrent claims never get one instance twice.
//!
//! ```text
//! kiln-claims CLAIMS RUNNERS [URL]
//! ```
//! Each runner is a process of its own with 64 claimers. Without a URL, a PostgreSQL server is started for it.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use kiln_engine::world::{Limits, Store as _};
use kiln_pool::{Candidate, Instance, Stage, StageState, State};
use kiln_store::{SqlStore, postgres_for_tests};

const CLAIMERS: usize = 64;
const MOST_RUNNERS: usize = 16;
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<ExitCode, Failure> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["runner", name, claims, url] => {
            runtime.block_on(runner(name, claims.parse()?, url)).map(|()| ExitCode::SUCCESS)
        }
        [claims, runners] => {
            let server = postgres_for_tests::start()?;
            let url = server.database()?;
            demonstrate(&runtime, claims.parse()?, runners.parse()?, &url)
        }
        [claims, runners, url] => demonstrate(&runtime, claims.parse()?, runners.parse()?, url),
        _ => Err("usage: kiln-claims CLAIMS RUNNERS [URL]".into()),
    }
}

fn demonstrate(
    runtime: &tokio::runtime::Runtime,
    claims: usize,
    runners: usize,
    url: &str,
) -> Result<ExitCode, Failure> {
    if !(1..=MOST_RUNNERS).contains(&runners) {
        return Err(format!("{runners} runners: 1 to {MOST_RUNNERS}, each is a process").into());
    }
    let each = claims.div_ceil(runners).div_ceil(CLAIMERS) * CLAIMERS;
    runtime.block_on(seed(each * runners, url))?;
    let start = Instant::now();
    let program = std::env::current_exe()?;
    let run = |n: usize| {
        let arguments = ["runner".to_owned(), format!("r{n}"), each.to_string(), url.to_owned()];
        Command::new(&program).args(arguments).stdout(Stdio::piped()).spawn()
    };
    let children = (0..runners).map(run).collect::<Result<Vec<_>, _>>()?;
    let readers: Vec<_> = children
        .into_iter()
        .map(|mut child| {
            std::thread::spawn(move || -> Result<Vec<String>, Failure> {
                let output = child.stdout.take().ok_or("no output")?;
                let lines = BufReader::new(output).lines().collect::<Result<Vec<_>, _>>()?;
                if !child.wait()?.success() {
                    return Err("a runner failed".into());
                }
                Ok(lines)
            })
        })
        .collect();
    let mut times: HashMap<String, u32> = HashMap::new();
    let mut got = 0;
    for reader in readers {
        for id in reader.join().map_err(|_| "a reader died")?? {
            got += 1;
            *times.entry(id).or_default() += 1;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let double = times.values().filter(|times| **times > 1).count();
    let per_second = f64::from(u32::try_from(got)?) / seconds;
    println!("claims={got} runners={runners} double={double} claims_per_s={per_second:.0}");
    Ok(if double == 0 && got == each * runners { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes this many claims and prints the result.
async fn runner(name: &str, claims: usize, url: &str) -> Result<(), Failure> {
    let store = kiln_store::open(url).await?.store;
    let work = (0..CLAIMERS).map(|n| {
        let (store, name) = (store.clone(), name.to_owned());
        tokio::spawn(async move {
            let mut got = Vec::new();
            for m in 0..claims / CLAIMERS {
                let row = stage(&format!("{name}-{n}-{m}"));
                let mut instance = store.begin_stage(&row, 10).await?.1;
                while instance.is_none() {
                    instance = store.claim(&row, 10).await?.map(|(_, instance)| instance);
                }
                got.extend(instance.map(|instance| instance.id.to_string()));
            }
            Ok::<_, Failure>(got)
        })
    });
    let mut output = std::io::stdout().lock();
    for done in futures::future::join_all(work).await {
        for id in done?? {
            writeln!(output, "{id}")?;
        }
    }
    Ok(())
}

/// Writes warm instances.
async fn seed(rows: usize, url: &str) -> Result<(), Failure> {
    let store = kiln_store::open(url).await?.store;
    let work = (0..CLAIMERS).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            for m in (n..rows).step_by(CLAIMERS) {
                // There are many pools, because each insertion counts the rows of its pool.
                insert(&store, &format!("i{m}"), &format!("pool {}", m % 1_000)).await?;
            }
            Ok::<_, Failure>(())
        })
    });
    for done in futures::future::join_all(work).await {
        done??;
    }
    Ok(())
}

async fn insert(store: &SqlStore, id: &str, pool: &str) -> Result<(), Failure> {
    let row = Instance {
        id: id.into(),
        pool: pool.to_owned(),
        flavor: "small".to_owned(),
        site: "none".into(),
        place: String::new(),
        token: String::new(),
        batch_index: 0,
        batch_size: 1,
        image: "image".to_owned(),
        digest: String::new(),
        state: State::Ready,
        generation: 1,
        runner: "r".to_owned(),
        stage: None,
        created_ms: 1,
        since_ms: 1,
        ready_ms: Some(1),
        claimed_ms: None,
        deadline_ms: None,
        hold_until_ms: None,
        retry_ms: None,
        attempts: 0,
        address: None,
        server_name: None,
        needs_claim: false,
        cause: None,
    };
    store.insert_instances(&[row], Limits { pool: u32::MAX, flavor: None }, "seed").await?;
    Ok(())
}

fn stage(id: &str) -> Stage {
    let candidate = Candidate { pool: "p".to_owned(), flavor: "small".to_owned(), image: "image".to_owned() };
    Stage {
        id: id.into(),
        pool: "p".to_owned(),
        candidates: vec![candidate],
        account: String::new(),
        state: StageState::Waiting,
        generation: 1,
        instance: None,
        created_ms: 1,
        wait_until_ms: 1_000,
        run_ms: 1_000,
        assigned_ms: None,
        set_up: false,
        attempts: 0,
        why: None,
        cause: None,
        ended_ms: None,
    }
}
