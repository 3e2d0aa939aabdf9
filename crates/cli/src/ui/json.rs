//! Events as JSON, one per line.

use std::io::Write;

use kiln_mask::Masked;
use kiln_wire::run::Event;

use super::View;

/// Prints each event as one line of JSON on standard output.
pub struct Json;

impl View for Json {
    fn show(&mut self, event: &Masked<Event>) {
        if write(&mut std::io::stdout().lock(), event).is_err() {
            // The reader went away. The run continues to its end, so that its instances are ended in order.
        }
    }
}

/// Writes an event as one line.
pub fn write(to: &mut impl Write, event: &Masked<Event>) -> std::io::Result<()> {
    serde_json::to_writer(&mut *to, event)?;
    writeln!(to)
}
