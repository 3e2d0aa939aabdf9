//! A PostgreSQL server for tests, from the operating system's package, in a folder of its own.
//!
//! It ends with the process that started it, even after a crash: a shell beside it waits for the end of a pipe that
//! only that process holds.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Folder in which Debian and Ubuntu put the programs, by version.
const PROGRAMS: &str = "/usr/lib/postgresql";
/// The port that names the socket.
const PORT: u16 = 5432;
/// Users that the server may run as: PostgreSQL refuses to run as root.
const USERS: &[&str] = &["postgres", "nobody"];

/// Script that makes a cluster, serves it on a socket in this folder until its input ends, and removes everything.
const SERVE: &str = r#"
dir=$1
shift
initdb --pgdata "$dir/data" --auth trust --no-sync --locale C --encoding UTF8 --username kiln >"$dir/log" 2>&1 ||
    { cat "$dir/log"; exit 1; }
postgres -D "$dir/data" -k "$dir" -h '' -c fsync=off -c max_connections=200 -c shared_buffers=64MB "$@" \
    >>"$dir/log" 2>&1 &
server=$!
until pg_isready --quiet --host "$dir" --username kiln --dbname postgres; do
    kill -0 "$server" 2>/dev/null || { cat "$dir/log"; exit 1; }
    sleep 0.05
done
echo ready
cat >/dev/null
kill -INT "$server"
wait "$server"
rm -rf "$dir"
"#;

/// A running server. It stops when this is dropped, and at the latest when the process ends.
#[derive(Debug)]
pub struct PostgresForTests {
    folder: tempfile::TempDir,
    programs: PathBuf,
    shell: Child,
    life: Option<ChildStdin>,
    databases: AtomicU32,
    port: u16,
}

/// Starts a server that also listens on TCP on loopback, with TLS and this certificate and key (PEM). Returns it and
/// its port.
///
/// # Errors
/// As [`start`].
pub fn start_with_tls(cert_pem: &str, key_pem: &str) -> Result<(PostgresForTests, u16), String> {
    let said = |error: std::io::Error| format!("cannot start PostgreSQL: {error}");
    let files = tempfile::Builder::new().prefix("kiln-postgres-tls-").tempdir_in("/tmp").map_err(said)?;
    // The listener is dropped here, so the server can take the port.
    let port =
        std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).map_err(said)?.port();
    let mut arguments = vec!["-h".to_owned(), "127.0.0.1".to_owned(), "-c".to_owned(), "ssl=on".to_owned()];
    for (name, pem) in [("ssl_cert_file", cert_pem), ("ssl_key_file", key_pem)] {
        let file = files.path().join(name);
        std::fs::write(&file, pem).map_err(said)?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).map_err(said)?;
        if let Some((_, uid, gid)) = unprivileged() {
            chown(&file, Some(uid), Some(gid)).map_err(said)?;
            chown(files.path(), Some(uid), Some(gid)).map_err(said)?;
        }
        arguments.extend(["-c".to_owned(), format!("{name}={}", file.display())]);
    }
    // The server has read the files at its start, so they may go now.
    start_as(port, &arguments).map(|server| (server, port))
}

/// Starts a server.
///
/// # Errors
/// When the package is not installed or the server does not start. The message says what to do.
pub fn start() -> Result<PostgresForTests, String> {
    start_as(PORT, &[])
}

fn start_as(port: u16, arguments: &[String]) -> Result<PostgresForTests, String> {
    let programs = programs()?;
    let said = |error: std::io::Error| format!("cannot start PostgreSQL: {error}");
    // TMPDIR is not used, because a socket's path may have only about 100 bytes.
    let folder = tempfile::Builder::new().prefix("kiln-postgres-").tempdir_in("/tmp").map_err(said)?;
    let mut command = match unprivileged() {
        Some((user, uid, gid)) => {
            chown(folder.path(), Some(uid), Some(gid)).map_err(said)?;
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).map_err(said)?;
            let mut command = Command::new("setpriv");
            command.args(["--reuid", &user, "--regid", &gid.to_string(), "--clear-groups", "sh"]);
            command
        }
        None => Command::new("sh"),
    };
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = command
        .args(["-c", SERVE, "sh"])
        .arg(folder.path())
        .args(arguments)
        .env("PGPORT", port.to_string())
        .env("PATH", format!("{}:{path}", programs.display()))
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(said)?;
    let life = shell.stdin.take();
    let mut output = BufReader::new(shell.stdout.take().ok_or("no output of the shell")?);
    let mut first = String::new();
    output.read_line(&mut first).map_err(said)?;
    if first != "ready\n" {
        let mut rest = String::new();
        output.read_to_string(&mut rest).map_err(said)?;
        return Err(format!("PostgreSQL did not start:\n{first}{rest}"));
    }
    Ok(PostgresForTests { folder, programs, shell, life, databases: AtomicU32::new(0), port })
}

impl PostgresForTests {
    /// Creates an empty database and returns its URL.
    ///
    /// # Errors
    /// When the server refuses, with its message.
    pub fn database(&self) -> Result<String, String> {
        let name = format!("kiln{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let made = Command::new(self.programs.join("createdb"))
            .args(["--port", &self.port.to_string()])
            .args(["--username", "kiln", "--maintenance-db", "postgres", "--host"])
            .arg(self.folder.path())
            .arg(&name)
            .output()
            .map_err(|error| format!("cannot run createdb: {error}"))?;
        if !made.status.success() {
            return Err(format!("createdb failed: {}", String::from_utf8_lossy(&made.stderr)));
        }
        Ok(format!("postgres://kiln@localhost:{}/{name}?host={}", self.port, self.folder.path().display()))
    }
}

impl Drop for PostgresForTests {
    fn drop(&mut self) {
        drop(self.life.take());
        // The folder is removed next, so a server that did not stop could only complain.
        let _ = self.shell.wait();
    }
}

/// Returns the folder with the newest version's programs.
fn programs() -> Result<PathBuf, String> {
    let version =
        |path: &Path| path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<f32>().ok());
    let mut found: Vec<_> = std::fs::read_dir(PROGRAMS)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((version(&path)?, path.join("bin")))
        })
        .filter(|(_, programs)| programs.join("initdb").exists())
        .collect();
    found.sort_by(|one, other| one.0.total_cmp(&other.0));
    let newest = found.pop().ok_or_else(|| {
        format!(
            "there is no PostgreSQL under {PROGRAMS}: install the package postgresql (tools/packages does), the tests \
             start their own server from it"
        )
    })?;
    Ok(newest.1)
}

/// Returns the user to switch to, with uid and gid; none where this process is not root.
fn unprivileged() -> Option<(String, u32, u32)> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    };
    if id(&["-u"])? != 0 {
        return None;
    }
    USERS.iter().find_map(|user| Some(((*user).to_owned(), id(&["-u", user])?, id(&["-g", user])?)))
}
