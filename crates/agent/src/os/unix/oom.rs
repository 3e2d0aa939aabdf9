//! Whether the kernel ended something for lack of memory.

/// The kernel's count of such ends since its boot. Used where no cgroup counts per step.
pub(super) fn kills_so_far() -> u64 {
    // A kernel without the counter says 0 forever: then only a cgroup can tell.
    std::fs::read_to_string("/proc/vmstat").map_or(0, |text| count(&text, "oom_kill"))
}

/// The number behind `key` in a file of `key number` lines.
pub(super) fn count(text: &str, key: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok());
    value.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn counts() {
        assert_eq!(count("oom 3\noom_kill 2\noom_group_kill 1\n", "oom_kill"), 2);
        assert_eq!(count("", "oom_kill"), 0);
    }
}
