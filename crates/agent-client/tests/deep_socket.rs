//! An agent on a Unix socket of this host, however deep its folder is.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use kiln_agent_client::{Agent, Credentials};
use kiln_agent_rig::{NAME, pem, serve};
use kiln_tls::Authority;
use kiln_wire::reach::Reach;

/// The longest path that the kernel takes for an address of a socket.
const PATH_MAX_BYTES: usize = 107;

/// Listens at `path`, and passes all connections on to `agent`.
fn pass_on(path: &Path, agent: std::net::SocketAddr) {
    let folder = File::open(path.parent().expect("a folder")).expect("the folder");
    let short = PathBuf::from(format!("/proc/self/fd/{}/{}", folder.as_raw_fd(), "agent.sock"));
    let listener = tokio::net::UnixListener::bind(short).expect("a socket");
    tokio::spawn(async move {
        while let Ok((mut caller, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut agent = tokio::net::TcpStream::connect(agent).await.expect("the agent");
                // Whichever end breaks off, the test sees at the client.
                drop(tokio::io::copy_bidirectional(&mut caller, &mut agent).await);
            });
        }
    });
}

#[tokio::test]
async fn an_agent_is_reached_on_a_socket_in_a_deep_folder() {
    let authority = Authority::create().expect("a CA");
    let server = pem(&authority, &authority.issue_server(NAME).expect("a certificate"));
    let client = authority.issue_client("runner").expect("a certificate");
    let credentials = Credentials { ca_pem: authority.ca_pem().to_owned(), client };
    let (_agent_dir, address, _agent) = serve(&server, |_| {}).await;
    let dir = tempfile::tempdir().expect("a folder");
    let deep = dir.path().join("d".repeat(100)).join("e".repeat(100));
    for folder in [dir.path(), &deep] {
        std::fs::create_dir_all(folder).expect("create");
        let path = folder.join("agent.sock");
        assert_eq!(path.as_os_str().len() > PATH_MAX_BYTES, folder == deep);
        pass_on(&path, address);
        let agent = Agent::new(&Reach::Unix(path), NAME, &credentials).expect("a client");
        agent.health().await.expect("an answer");
    }
    let nowhere = Reach::Unix(dir.path().join("n".repeat(200)).join("agent.sock"));
    let error =
        Agent::new(&nowhere, NAME, &credentials).expect("a client").health().await.expect_err("nobody is there");
    assert!(error.is_connection(), "{error}");
}
