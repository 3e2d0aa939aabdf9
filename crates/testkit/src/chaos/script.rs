//! The steps' scripts and their expected results.

use std::collections::BTreeMap;

use kiln_wire::agent::{RunConfig, StartStepRequest};

use crate::sim::rng::Rng;

/// Prints where it runs, then numbered lines. Every `every` lines it notes the number in a file and pauses.
const SCRIPT: &str = r#"
place=${KILN_PROCESS_INSTANCE:-$(hostname)}
echo "on ${place##*/}"
i=0
while [ $i -lt $LINES ]; do
    i=$((i+1))
    echo "$STAGE $STEP $i the quick brown fox jumps over the lazy dog"
    if [ $((i % EVERY)) -eq 0 ]; then
        echo "${place##*/} $STEP $i" >>"$TRACE"
        sleep $PACE
    fi
done
exit $CODE
"#;

/// A step of a stage.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) id: String,
    stage: String,
    lines: u64,
    every: u64,
    pace_ms: u64,
    pub(super) code: i64,
}

impl Step {
    /// Returns a random step: some trickle, some gush, some fail.
    pub(super) fn random(stage: &str, n: usize, rng: &mut Rng) -> Self {
        let (lines, every) =
            if rng.chance(250) { (2000 + rng.below(4000), 500) } else { (10 + rng.below(90), 1 + rng.below(4)) };
        let code = if rng.chance(300) { rng.between(1, 120) } else { 0 };
        let (id, stage, pace_ms) = (format!("{stage}-step{n}"), stage.to_owned(), 5 + rng.below(25));
        Self { id, stage, lines, every, pace_ms, code }
    }

    /// Returns the request that starts it.
    pub(super) fn request(&self, trace: &str) -> StartStepRequest {
        let environment: BTreeMap<String, String> = [
            ("STAGE", self.stage.clone()),
            ("STEP", self.id.clone()),
            ("LINES", self.lines.to_string()),
            ("EVERY", self.every.to_string()),
            ("PACE", format!("{}.{:03}", self.pace_ms / 1000, self.pace_ms % 1000)),
            ("CODE", self.code.to_string()),
            ("TRACE", trace.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let run = RunConfig { commands: vec![SCRIPT.to_owned()], entrypoint: vec!["sh".to_owned(), "-c".to_owned()] };
        let (id, stage_runtime_id) = (self.id.clone(), self.stage.clone());
        StartStepRequest { id, stage_runtime_id, environment, run, ..Default::default() }
    }

    /// Returns its whole output on this instance.
    pub(super) fn output(&self, instance: &str) -> Vec<u8> {
        // The agent first shows the script, in yellow.
        let shown = std::iter::once("Executing the following command(s):").chain(SCRIPT.lines());
        let mut text: String = shown.map(|line| format!("\x1b[33;1m{line}\x1b[0m\n")).collect();
        text.push_str(&format!("on {instance}\n"));
        for i in 1..=self.lines {
            text.push_str(&format!("{} {} {i} the quick brown fox jumps over the lazy dog\n", self.stage, self.id));
        }
        text.into_bytes()
    }

    /// Returns all its notes on this instance.
    pub(super) fn trace(&self, instance: &str) -> String {
        let noted = (1..=self.lines).filter(|i| i % self.every == 0);
        noted.map(|i| format!("{instance} {} {i}\n", self.id)).collect()
    }
}

/// Returns the number of bytes of `want` that are not in their place in `got`, plus the number of excess bytes in
/// `got`.
pub(super) fn difference(want: &[u8], got: &[u8]) -> u64 {
    let wrong = want.iter().zip(got).filter(|(want, got)| want != got).count();
    (wrong + want.len().abs_diff(got.len())) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_byte_counts() {
        let check = |want: &str, got: &str, n| assert_eq!(difference(want.as_bytes(), got.as_bytes()), n, "{got}");
        check("abc", "abc", 0);
        check("abc", "ab", 1);
        check("abc", "abcd", 1);
        check("abc", "xbcde", 3);
    }
}
