//! Throughput of masking, and its memory, by the number of secrets.
//!
//! `cargo bench -p kiln-mask` prints the table.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_mask::{Masker, Secrets};

const CHUNK_BYTES: usize = 64 << 10;
const TEXT_BYTES: usize = 8 << 20;
const ROUNDS: usize = 5;

fn main() {
    let log = text("2026-11-30T08:00:00Z INFO compiling crate number {} of the workspace, took 12 ms, 0 warnings\n");
    let dense = text("Zm9vYmFyYmF6cXV4{}ZGVhZGJlZWZjYWZlYmFiZTAxMjM0NTY3ODk");
    println!("{:>8} {:>10} {:>12} {:>12} {:>12}", "secrets", "build ms", "memory KiB", "log MB/s", "base64 MB/s");
    for count in [0, 1, 10, 100, 1000] {
        let secrets = Arc::new(Secrets::default());
        secrets.add((0..count).map(secret));
        let began = Instant::now();
        let memory = secrets.memory_bytes();
        let build = began.elapsed();
        let (log, dense) = (throughput(&secrets, &log), throughput(&secrets, &dense));
        let build_ms = build.as_secs_f64() * 1000.0;
        println!("{count:>8} {build_ms:>10.1} {:>12} {log:>12.0} {dense:>12.0}", memory >> 10);
    }
}

/// Returns a token of 40 characters that differs from the others from its first character on.
fn secret(number: u64) -> String {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x1234_5678_9ABC_DEF1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"[(state % 64) as usize])
    };
    (0..40).map(|_| next()).collect()
}

fn text(line: &str) -> Vec<u8> {
    (0..).flat_map(|n: u64| line.replace("{}", &n.to_string()).into_bytes()).take(TEXT_BYTES).collect()
}

/// Returns the best throughput of a few rounds, in MB/s.
fn throughput(secrets: &Arc<Secrets>, text: &[u8]) -> f64 {
    let round = || {
        let mut masker = Masker::new(Arc::clone(secrets));
        let began = Instant::now();
        for chunk in text.chunks(CHUNK_BYTES) {
            masker.push(chunk, |settled| {
                black_box(settled);
            });
        }
        began.elapsed()
    };
    let best = (0..ROUNDS).map(|_| round()).min().unwrap_or(Duration::MAX);
    text.len() as f64 / 1e6 / best.as_secs_f64()
}
