//! Importing images: what is taken, what is refused, and that a refusal leaves nothing. No VM is started.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use kiln_driver_qemu::{Images, Layout, Settings, Source};
use sha2::{Digest as _, Sha256};

struct Store {
    dir: tempfile::TempDir,
    images: Images,
}

impl Store {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout { cache: dir.path().join("cache"), state: dir.path().join("state") };
        Self { images: Images::new(layout, Settings::default(), Arc::new(|_| {})), dir }
    }

    fn with(&self, settings: Settings) -> Images {
        let layout = Layout { cache: self.path("cache"), state: self.path("state") };
        Images::new(layout, settings, Arc::new(|_| {}))
    }

    /// A program.
    fn script(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let (draft, path) = (self.path("draft"), self.path(name));
        std::fs::write(&draft, format!("#!/bin/sh\n{text}\n")).expect("write");
        std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        // By another process: a file that this one has written may still be open in a child of another test.
        assert!(Command::new("cp").arg(&draft).arg(&path).status().expect("cp").success());
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn qemu_img(&self, args: &[&str]) {
        let status = Command::new("qemu-img").args(args).current_dir(self.dir.path()).status().expect("qemu-img");
        assert!(status.success(), "qemu-img {args:?}");
    }

    /// What the store says about an import, and what it holds afterwards besides its lock.
    async fn import(&self, source: &str, sha256: Option<&str>) -> (String, Vec<String>) {
        let source =
            if source.starts_with("http") { source.to_owned() } else { self.path(source).display().to_string() };
        let said = match Source::parse(&source, sha256) {
            Ok(source) => {
                self.images.import("it", &source).await.map_or_else(|e| e.to_string(), |_| "taken".to_owned())
            }
            Err(error) => error.to_string(),
        };
        let left = std::fs::read_dir(self.path("cache/images")).into_iter().flatten().flatten();
        let mut left: Vec<String> = left.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        left.retain(|name| name != ".it.lock");
        (said, left)
    }
}

#[tokio::test]
async fn only_disks_that_stand_alone_are_taken() {
    let store = Store::new();
    store.qemu_img(&["create", "-q", "-f", "qcow2", "good.qcow2", "64M"]);
    store.qemu_img(&["create", "-q", "-f", "raw", "good.raw", "64M"]);
    store.qemu_img(&["create", "-q", "-f", "qcow2", "-b", "good.raw", "-F", "raw", "overlay.qcow2"]);
    store.qemu_img(&["create", "-q", "-f", "qcow2", "-o", "data_file=outside.raw", "outside.qcow2", "64M"]);
    store.qemu_img(&["create", "-q", "-f", "vmdk", "other.vmdk", "64M"]);
    std::fs::write(store.path("tiny.raw"), b"no disk").expect("write");
    let check = async |file: &str, expect: &str| {
        let (said, left) = store.import(file, None).await;
        assert!(said.contains(expect), "{file}: {said}");
        if expect == "taken" {
            assert_eq!(left, ["it"]);
            store.images.remove("it").await.expect("remove");
        } else {
            assert_eq!(left, Vec::<String>::new(), "{file} left something");
        }
    };
    check("good.qcow2", "taken").await;
    check("good.raw", "taken").await;
    check("overlay.qcow2", "it is an overlay on another file").await;
    check("outside.qcow2", "it keeps its data in another file").await;
    check("other.vmdk", "its format is vmdk").await;
    check("tiny.raw", "smaller than 1 MiB").await;
    check("missing.raw", "cannot read").await;
}

#[tokio::test]
async fn a_digest_that_does_not_fit_stops_an_import() {
    let store = Store::new();
    store.qemu_img(&["create", "-q", "-f", "qcow2", "i.qcow2", "64M"]);
    let bytes = std::fs::read(store.path("i.qcow2")).expect("read");
    let digest: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    let url = serve(bytes);
    let wrong = "0".repeat(64);
    let check = async |source: &str, sha256: &str, expect: &str| {
        let (said, left) = store.import(source, Some(sha256)).await;
        assert!(said.contains(expect), "{source}: {said}");
        assert_eq!(left.len(), usize::from(expect == "taken"), "{source}: {left:?}");
        if expect == "taken" {
            let (said, _) = store.import(source, Some(sha256)).await;
            assert!(said.contains("exists already"), "{said}");
            store.images.remove("it").await.expect("remove");
        }
    };
    check("i.qcow2", &wrong, "not the expected").await;
    check("i.qcow2", &digest, "taken").await;
    check(&url, &wrong, "not the expected").await;
    check(&url, &digest, "taken").await;
    check(&format!("{url}/missing"), &digest, "404").await;
}

/// Somebody replaces the file after it was looked at: what is converted is what had the digest.
#[tokio::test]
async fn a_file_that_is_replaced_meanwhile_is_not_taken_under_its_digest() {
    let mut store = Store::new();
    let (good, bad) = (vec![b'g'; 2 << 20], vec![b'b'; 2 << 20]);
    std::fs::write(store.path("i.raw"), &good).expect("write");
    std::fs::write(store.path("bad.raw"), &bad).expect("write");
    let digest: String = Sha256::digest(&good).iter().map(|b| format!("{b:02x}")).collect();
    let (from, to) = (store.path("bad.raw"), store.path("i.raw"));
    // It stands in for qemu-img, and replaces the file at its first call.
    let swap = format!("cp '{}' '{}'", from.display(), to.display());
    let tool = store.script("swap", &format!("{swap}\nPATH=$PATH:/usr/local/bin:/usr/bin:/bin exec qemu-img \"$@\""));
    store.images = store.with(Settings { qemu_img: tool, ..Settings::default() });
    let (said, left) = store.import("i.raw", Some(&digest)).await;
    assert_eq!((&*said, &*left), ("taken", &["it".to_owned()][..]));
    assert_eq!(std::fs::read(store.path("i.raw")).expect("read"), bad, "nothing was replaced");
    store.qemu_img(&["convert", "-O", "raw", "cache/images/it/disk.qcow2", "taken.raw"]);
    assert!(std::fs::read(store.path("taken.raw")).expect("read") == good, "another disk was taken");
    store.images.remove("it").await.expect("remove");
    let (said, left) = store.import("i.raw", Some(&digest)).await;
    assert!(said.contains("not the expected") && left.is_empty(), "{said} {left:?}");
}

/// Serves the bytes at `/` on loopback as long as the test runs.
fn serve(bytes: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = [0; 4096];
            let read = stream.read(&mut request).expect("a request");
            let found = request[..read].starts_with(b"GET / ");
            let (status, body): (_, &[u8]) = if found { ("200 OK", &bytes) } else { ("404 Not Found", b"") };
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            // A client that refuses what it reads goes away early.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    url
}

#[tokio::test]
async fn a_half_made_image_of_a_killed_process_is_no_image() {
    let store = Store::new();
    let half: &Path = &store.path("cache/images/.it.half");
    std::fs::create_dir_all(half).expect("create");
    std::fs::write(half.join("disk.qcow2"), b"half").expect("write");
    assert_eq!(store.images.list().expect("list"), []);
    store.qemu_img(&["create", "-q", "-f", "qcow2", "good.qcow2", "64M"]);
    assert_eq!(store.import("good.qcow2", None).await, ("taken".to_owned(), vec!["it".to_owned()]));
}
