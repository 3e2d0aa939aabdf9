//! Rows of a runner's database that it cannot read and therefore cannot list.

use kiln_wire::runner::kiln::UnreadableRow;

use crate::args::Format;
use crate::table::clean;

/// Reports each of them on standard error, below a list for people. The answer for programs contains them.
pub fn tell(format: Format, rows: &[UnreadableRow]) {
    if format == Format::Text {
        rows.iter().for_each(|row| eprintln!("{}", note(row)));
    }
}

fn note(UnreadableRow { subject, id, why }: &UnreadableRow) -> String {
    format!("note: {} {} cannot be shown, and is left alone:  {}", subject.as_str(), clean(id), clean(why))
}
