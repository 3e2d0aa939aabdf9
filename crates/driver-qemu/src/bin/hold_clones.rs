//! Starts clones and holds them until standard input ends: how to use the driver, and the owner that tests kill.
//!
//! Usage: `hold_clones CACHE STATE AGENT IMAGE COUNT [MEMORY_MIB [NAME]]`. Builds the image if there is none of that name.
//! Prints progress on standard error, and on standard output `launching`, then one line per clone, `ID ADDRESS SERVER_NAME
//! PHASES`. With NAME, the clones belong to that name and go on when this process is killed.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use kiln_agent_client::{Agent, Credentials};
use kiln_driver::{Driver, LaunchRequest};
use kiln_driver_qemu::{
    AgentBinary, Layout, Listener, Ownership, Progress, QemuDriver, Settings, Shape, WARDEN, warden,
};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|word| word == WARDEN) {
        return warden(args);
    }
    match hold() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn hold() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [cache, state, agent, image, count, rest @ ..] = &args[..] else {
        return Err("usage: hold_clones CACHE STATE AGENT IMAGE COUNT [MEMORY_MIB [NAME]]".into());
    };
    let memory_mib = rest.first().map_or(Ok(1024), |text| text.parse())?;
    let ownership = rest.get(1).map_or(Ownership::Process, |name| Ownership::Named(name.clone()));
    let layout = Layout { cache: PathBuf::from(cache), state: PathBuf::from(state) };
    let authority = Arc::new(kiln_tls::load_or_create(&layout.state.join("ca"))?);
    let client = authority.issue_client("hold-clones")?;
    let credentials = Credentials { ca_pem: authority.ca_pem().to_owned(), client };
    let listener: Listener = Arc::new(|progress| match progress {
        Progress::Began { task } => eprintln!("{task} ..."),
        Progress::Step { task, detail } => eprintln!("{task}: {detail}"),
        Progress::Done { task, took } => eprintln!("{task}: done in {:.1} s", took.as_secs_f64()),
        Progress::Failed { task } => eprintln!("{task}: failed"),
        Progress::Note(line) => eprintln!("{line}"),
    });
    let agent = AgentBinary::File(PathBuf::from(agent));
    let (settings, own) = (Settings { disk_reserve_mib: 256, ..Settings::default() }, credentials.clone());
    let driver = QemuDriver::open(layout, &ownership, settings, agent, authority, own, listener)?;
    driver.images().ensure_built(image).await?;
    driver.ensure_golden(image, Shape { cpus: 2, memory_mib, disk_gib: 16 }).await?;

    let began = std::time::Instant::now();
    let requests: Vec<LaunchRequest> = (0..count.parse()?)
        .map(|n: u32| LaunchRequest {
            token: format!("clone-{}-{n}", std::process::id()),
            count: 1,
            place: String::new(),
            spec: serde_json::Value::Null,
            network: kiln_pool::Network::default(),
            image: image.clone(),
            cpus: 2,
            memory_mib,
            disk_gib: 16,
            labels: [("number".to_owned(), n.to_string())].into(),
        })
        .collect();
    println!("launching");
    let launches = requests.iter().map(|request| driver.launch(request));
    for launched in futures::future::try_join_all(launches).await?.into_iter().flatten() {
        let reach = launched.reach.ok_or("a local VM has an address")?;
        let agent = Agent::new(&reach, &launched.server_name, &credentials)?;
        agent.wait_healthy(std::time::Duration::from_secs(30)).await?;
        println!("{} {} {} {:?}", launched.id, reach, launched.server_name, launched.phases);
    }
    println!("all answer after {:.3} s", began.elapsed().as_secs_f64());
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    for request in &requests {
        driver.destroy(&request.token).await?;
    }
    Ok(())
}
