//! Amounts of memory and of processor time, as the dialects write them.

/// Returns an amount of memory in bytes, in the words of Kubernetes: `500Mi`, `1G`, `1073741824`.
#[must_use]
pub fn kubernetes_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split(text);
    let factor = match unit {
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => f64::from(1 << 10),
        "Mi" => f64::from(1 << 20),
        "Gi" => f64::from(1 << 30),
        "Ti" => f64::from(1 << 20) * f64::from(1 << 20),
        _ => return None,
    };
    whole(number, factor)
}

/// Returns an amount of memory in bytes, in the words of Docker, whose units are powers of 1024: `512m`, `1GB`, `2gib`.
#[must_use]
pub fn docker_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split(text);
    let unit = unit.to_ascii_lowercase();
    let factor = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit) {
        "" => 1.0,
        "k" => f64::from(1 << 10),
        "m" => f64::from(1 << 20),
        "g" => f64::from(1 << 30),
        "t" => f64::from(1 << 20) * f64::from(1 << 20),
        _ => return None,
    };
    whole(number, factor)
}

/// Returns an amount of processors in thousandths, in the words of Kubernetes: `400m`, `0.5`, `2`.
#[must_use]
pub fn millicpus(text: &str) -> Option<u64> {
    let (number, unit) = split(text);
    match unit {
        "m" => whole(number, 1.0),
        "" => whole(number, 1000.0),
        _ => None,
    }
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// Returns a product as a whole number, rounded up. Nothing and what no machine has is none.
fn whole(number: &str, factor: f64) -> Option<u64> {
    /// Larger than any machine, and exact in a floating point number.
    const MOST: f64 = (1_u64 << 53) as f64;
    let product = (number.parse::<f64>().ok()? * factor).ceil();
    // Within these bounds the number is exact.
    (1.0..=MOST).contains(&product).then_some(product as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        let check = |read: fn(&str) -> Option<u64>, text: &str, expect: Option<u64>| {
            assert_eq!(read(text), expect, "{text}");
        };
        check(kubernetes_bytes, "500Mi", Some(524_288_000));
        check(kubernetes_bytes, "1.5Gi", Some(1_610_612_736));
        check(kubernetes_bytes, "500M", Some(500_000_000));
        check(kubernetes_bytes, "128974848", Some(128_974_848));
        check(kubernetes_bytes, "500MB", None);
        check(kubernetes_bytes, "Mi", None);
        check(kubernetes_bytes, "-1", None);
        check(kubernetes_bytes, "0", None);
        check(kubernetes_bytes, "99999999999Ti", None);
        check(docker_bytes, "512m", Some(536_870_912));
        check(docker_bytes, "1GB", Some(1_073_741_824));
        check(docker_bytes, "2 gib", Some(2_147_483_648));
        check(docker_bytes, "64", Some(64));
        check(docker_bytes, "1x", None);
        check(millicpus, "400m", Some(400));
        check(millicpus, "0.5", Some(500));
        check(millicpus, "2", Some(2000));
        check(millicpus, "2c", None);
    }
}
