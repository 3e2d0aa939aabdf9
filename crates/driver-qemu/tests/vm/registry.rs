//! A registry on this host's loopback, whose content the test makes and which tells what it was asked for; and Debian's
//! `docker-registry` as a cache of it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::json;
use sha2::{Digest as _, Sha256};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// An answer: status, media type, body.
type Answer = (u16, &'static str, Vec<u8>);

/// The registry. Its threads end with the process.
pub struct Registry {
    pub port: u16,
    answers: Arc<Mutex<BTreeMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

pub fn digest(bytes: &[u8]) -> String {
    let digits: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

impl Registry {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let registry = Self { port, answers: Arc::default(), asked: Arc::default() };
        registry.put("", (200, "application/json", b"{}".to_vec()));
        let (answers, asked) = (Arc::clone(&registry.answers), Arc::clone(&registry.asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answers, asked) = (Arc::clone(&answers), Arc::clone(&asked));
                // Whoever asks may go away at any time.
                std::thread::spawn(move || drop(serve(&stream, &answers, &asked)));
            }
        });
        registry
    }

    /// Answers what is asked below `/v2/`.
    pub fn put(&self, path: &str, answer: Answer) {
        self.answers.lock().expect("no panic").insert(format!("/v2/{path}"), answer);
    }

    /// Serves an image of one layer, which holds one program, `/tool`. Returns the image's id.
    pub fn put_image(&self, repository: &str, tag: &str, architecture: &str, program: &[u8]) -> String {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(program.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        tar.append_data(&mut header, "tool", program).expect("an entry");
        let tar = tar.into_inner().expect("a tar");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).expect("gzip");
        let layer = gzip.finish().expect("gzip");
        let config = json!({
            "os": "linux", "architecture": architecture, "config": { "Cmd": ["/tool"] },
            "rootfs": { "type": "layers", "diff_ids": [digest(&tar)] },
        });
        let config = config.to_string().into_bytes();
        let part =
            |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "size": bytes.len(), "digest": digest(bytes) });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": part(CONFIG, &config), "layers": [part(LAYER, &layer)],
        });
        let (manifest, id) = (manifest.to_string().into_bytes(), digest(&config));
        for (bytes, kind) in [(layer, LAYER), (config, CONFIG)] {
            self.put(&format!("{repository}/blobs/{}", digest(&bytes)), (200, kind, bytes));
        }
        for name in [tag, &digest(&manifest)] {
            self.put(&format!("{repository}/manifests/{name}"), (200, MANIFEST, manifest.clone()));
        }
        id
    }

    /// Has nothing any more.
    pub fn clear(&self) {
        self.answers.lock().expect("no panic").clear();
    }

    /// Takes what it was asked for since the last time.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().expect("no panic"))
    }
}

/// A running cache of a [`Registry`]: what is asked of it twice comes from afar once.
pub struct Cache {
    pub port: u16,
    process: Child,
}

impl Cache {
    /// Starts one that keeps its files in a folder.
    pub fn start(of: &Registry, folder: &Path) -> Self {
        let (config, files, from) = (folder.join("config.yml"), folder.join("files"), of.port);
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: '127.0.0.1:0'}}\nproxy: {{remoteurl: 'http://127.0.0.1:{from}'}}\n",
            files.display()
        );
        std::fs::write(&config, text).expect("write");
        let mut serve = Command::new("docker-registry");
        serve.arg("serve").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = serve.spawn().expect("docker-registry, which tools/packages installs");
        let mut log = BufReader::new(process.stderr.take().expect("its log")).lines();
        let port = log.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, address) = line.split_once("listening on 127.0.0.1:")?;
            address.split('"').next()?.parse().ok()
        });
        // It ends when nobody reads what it writes.
        std::thread::spawn(move || log.map_while(Result::ok).for_each(|line| eprintln!("docker-registry: {line}")));
        Self { port: port.expect("it says where it listens"), process }
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn serve(
    stream: &TcpStream,
    answers: &Mutex<BTreeMap<String, Answer>>,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default().to_owned();
    let mut header = String::from("-");
    while !header.trim().is_empty() {
        header.clear();
        reader.read_line(&mut header)?;
    }
    asked.lock().expect("no panic").push(path.clone());
    let unknown = || (404, "application/json", br#"{"errors": [{"code": "MANIFEST_UNKNOWN"}]}"#.to_vec());
    let (status, kind, body) = answers.lock().expect("no panic").get(&path).cloned().unwrap_or_else(unknown);
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n", body.len())?;
    write!(stream, "Docker-Distribution-Api-Version: registry/2.0\r\nConnection: close\r\n")?;
    if status == 200 && !path.ends_with("/v2/") {
        write!(stream, "Docker-Content-Digest: {}\r\n", digest(&body))?;
    }
    stream.write_all(b"\r\n")?;
    if method == "GET" { stream.write_all(&body) } else { Ok(()) }
}
