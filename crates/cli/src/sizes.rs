//! Sizes as people read them.

/// How large something is: `512 B`, `3.4 KiB`, `12 MiB`, `1.5 GiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    for (unit, name) in UNITS {
        let whole = bytes / unit;
        match whole {
            0 => {}
            1..10 => return format!("{whole}.{} {name}", bytes % unit * 10 / unit),
            _ => return format!("{whole} {name}"),
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, expected) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (12 << 20, "12 MiB"), ((1 << 30) + (1 << 29), "1.5 GiB")]
        {
            assert_eq!(size(bytes), expected);
        }
    }
}
