//! What the machine needs without an agent.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_tls::Authority;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::rig::{NAME, pem};

/// Bytes of a write and of a read.
const CHUNK_BYTES: usize = 64 * 1024;

/// Starts so many `sh -c true` and waits for all.
pub(crate) fn spawn(count: usize) {
    let start = |_| Command::new("sh").args(["-c", "true"]).stdin(Stdio::null()).spawn().expect("a process");
    let children: Vec<Child> = (0..count).map(start).collect();
    for mut child in children {
        assert!(child.wait().expect("a status").success());
    }
}

/// Copies zeros from one task to another over mTLS on loopback.
pub(crate) async fn copy(bytes: u64) -> Duration {
    kiln_tls::install_provider();
    let authority = Authority::create().expect("a CA");
    let server = pem(&authority, &authority.issue_server(NAME).expect("a certificate"));
    let client = pem(&authority, &authority.issue_client("runner").expect("a certificate"));
    let config = kiln_tls::server_config(server.ca.as_bytes(), server.cert.as_bytes(), server.key.as_bytes());
    let acceptor = TlsAcceptor::from(Arc::new(config.expect("a configuration")));
    let config = kiln_tls::client_config(client.ca.as_bytes(), client.cert.as_bytes(), client.key.as_bytes());
    let connector = TlsConnector::from(Arc::new(config.expect("a configuration")));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let send = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut stream = acceptor.accept(stream).await.expect("a handshake");
        let chunk = vec![b'x'; CHUNK_BYTES];
        let mut left = bytes;
        while left > 0 {
            let n = left.min(CHUNK_BYTES as u64);
            stream.write_all(&chunk[..n as usize]).await.expect("a write");
            left -= n;
        }
        stream.shutdown().await.expect("an end");
    });
    let stream = TcpStream::connect(address).await.expect("a connection");
    let name = NAME.try_into().expect("a name");
    let mut stream = connector.connect(name, stream).await.expect("a handshake");
    let start = Instant::now();
    let (mut chunk, mut read) = (vec![0; CHUNK_BYTES], 0);
    while read < bytes {
        let n = stream.read(&mut chunk).await.expect("bytes");
        assert!(n > 0, "the copy broke off");
        read += n as u64;
    }
    send.await.expect("a copy");
    start.elapsed()
}
