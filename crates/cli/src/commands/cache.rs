//! `kiln cache`: what runs have kept for later ones.

use std::time::Duration;

use anyhow::ensure;
use kiln_cache::{Limits, Listed, Store};
use serde_json::json;

use crate::ages;
use crate::args::Format;
use crate::args::cache::CacheCommand;
use crate::exit::{Exit, Usage};
use crate::sizes::size;
use crate::table::{Side, Table, terminal_width};
use crate::{print, stores};

/// Carries out one of the commands.
pub async fn cache(command: CacheCommand) -> anyhow::Result<Exit> {
    match command {
        CacheCommand::List { store, format } => list(&stores::caches(&store)?, format).await?,
        CacheCommand::Prune { store, unused_for, format } => {
            prune(&stores::caches(&store)?, unused_for, format).await?
        }
        CacheCommand::Rm { store, owner, keys } => remove(&stores::caches(&store)?, owner.as_deref(), &keys).await?,
    }
    Ok(Exit::Ok)
}

async fn prune(store: &Store, unused_for: Option<Duration>, format: Format) -> anyhow::Result<()> {
    let pruned = store.prune(&Limits { bytes: store.limit_bytes(), unused_for }).await?;
    if format == Format::Json {
        let removed: Vec<_> = pruned.removed.iter().map(json_of).collect();
        print::line(json!({
            "removed": removed, "leftovers": pruned.leftovers, "removed_bytes": pruned.bytes,
            "kept": pruned.kept, "kept_bytes": pruned.kept_bytes,
        }));
        return Ok(());
    }
    for removed in &pruned.removed {
        print::line(format!("removed {} of {}", removed.entry.key, removed.entry.scope));
    }
    let leftovers = match pruned.leftovers {
        0 => String::new(),
        count => format!(" and {count} unfinished ones"),
    };
    let (removed, bytes) = (pruned.removed.len(), size(pruned.bytes));
    print::line(format!("removed {}{leftovers}, {bytes}", caches(removed)));
    print::line(format!("kept {}, {}", caches(pruned.kept), size(pruned.kept_bytes)));
    Ok(())
}

/// Returns a cache as one object.
fn json_of(Listed { entry, used_unix_ms }: &Listed) -> serde_json::Value {
    json!({
        "owner": entry.scope.owner, "bucket": entry.scope.bucket, "key": entry.key, "paths": entry.paths,
        "format": entry.format, "bytes": entry.bytes, "sha256": entry.sha256, "saved_unix_s": entry.saved_unix_s,
        "used_unix_s": used_unix_ms / 1000,
    })
}

async fn list(store: &Store, format: Format) -> anyhow::Result<()> {
    let listed = store.list().await?;
    if format == Format::Json {
        listed.iter().map(json_of).for_each(print::line);
        return Ok(());
    }
    if listed.is_empty() {
        eprintln!("no caches in {}", store.name());
        return Ok(());
    }
    let columns = [
        ("KEY", Side::Left),
        ("OWNER", Side::Left),
        ("SIZE", Side::Right),
        ("USED", Side::Right),
        ("PATHS", Side::Left),
    ];
    let mut table = Table::new(&columns);
    for Listed { entry, used_unix_ms } in &listed {
        let used = i64::try_from(*used_unix_ms).unwrap_or(i64::MAX);
        let used = ages::age(ages::now_ms().saturating_sub(used));
        table.row([
            (&entry.key).into(),
            entry.scope.to_string().into(),
            size(entry.bytes).into(),
            used.into(),
            entry.paths.join(", ").into(),
        ]);
    }
    print::text(table.text(terminal_width()));
    let bytes = listed.iter().map(|listed| listed.entry.bytes).sum();
    eprintln!("{} in {}, {}", caches(listed.len()), store.name(), size(bytes));
    Ok(())
}

/// Returns a number of caches, as people say it.
fn caches(count: usize) -> String {
    format!("{count} {}", if count == 1 { "cache" } else { "caches" })
}

/// Removes the caches of keys, or nothing when one of the keys is not there.
async fn remove(store: &Store, owner: Option<&str>, keys: &[String]) -> anyhow::Result<()> {
    let listed = store.list().await?;
    let mut found = Vec::new();
    for key in keys {
        let is_owned = |listed: &Listed| owner.is_none_or(|owner| owner == listed.entry.scope.owner);
        let of_key = |listed: &&Listed| listed.entry.key == *key && is_owned(listed);
        let of_key: Vec<_> = listed.iter().filter(of_key).collect();
        let hint = "nothing was removed; the keys are shown by: kiln cache list";
        ensure!(!of_key.is_empty(), Usage(format!("{key}: there is no such cache in {}; {hint}", store.name())));
        found.extend(of_key);
    }
    for Listed { entry, .. } in found {
        store.remove(&entry.name()).await?;
        print::line(format!("removed {} of {}", entry.key, entry.scope));
    }
    Ok(())
}
