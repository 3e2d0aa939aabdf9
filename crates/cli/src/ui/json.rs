//! Events as JSON, one per line.

use std::io::Write as _;

use kiln_mask::Masked;
use kiln_wire::run::Event;

use super::View;

/// Prints each event as one line of JSON on standard output.
pub struct Json;

impl View for Json {
    fn show(&mut self, event: &Masked<Event>) {
        let mut out = std::io::stdout().lock();
        let written = serde_json::to_writer(&mut out, event).map_err(std::io::Error::from).and_then(|()| writeln!(out));
        if written.is_err() {
            // The reader went away. The run goes on to its end, so that its instances are ended in order.
        }
    }
}
