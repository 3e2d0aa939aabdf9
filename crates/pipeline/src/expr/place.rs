//! Finds the place in the file of a byte of a scalar's text.
//!
//! Only the scalar's own place and its length in the file are known. That is enough for most styles: a plain scalar of
//! one line is as long as its text, a quoted one without escapes is two quotes longer, and a literal block has its
//! indentation before each line but the first. All other styles move characters, so only the scalar as a whole can be
//! pointed at.

use kiln_document::diagnostic::Location;

/// Returns the place from a byte of the text to the end of its line, when the scalar's style keeps the text as it is.
pub(super) fn place(text: &str, scalar: &Location, offset: usize) -> Option<Location> {
    let offset = floor_boundary(text, offset);
    let extra = scalar.span.len().checked_sub(text.len())?;
    if !text.contains('\n') && (extra == 0 || extra == 2) {
        return Some(in_line(text, scalar, offset, extra / 2));
    }
    in_block(text, scalar, offset)
}

/// Returns the place in a scalar of one line that begins after `lead` quotes.
fn in_line(text: &str, scalar: &Location, offset: usize, lead: usize) -> Location {
    Location {
        line: scalar.line,
        column: scalar.column.saturating_add(count(text[..offset].chars().count() + lead)),
        span: scalar.span.start + lead + offset..scalar.span.end - lead,
    }
}

/// Returns the place in a literal block. The block's own place is its first line's first character after the
/// indentation.
fn in_block(text: &str, scalar: &Location, offset: usize) -> Option<Location> {
    let indent = usize::try_from(scalar.column).ok()?.checked_sub(1)?;
    // A smaller indentation could not be told from what folding takes away.
    if indent < 2 || text.starts_with('\n') {
        return None;
    }
    let indents = |lines: &str| lines.split('\n').skip(1).filter(|line| !line.is_empty()).count() * indent;
    // The span also holds the line end that `|-` takes away, and the indentation of whatever follows the block, which
    // is smaller; folding takes away at least one indentation more.
    let left = scalar.span.len().checked_sub(text.len() + indents(text))?;
    if left >= indent {
        return None;
    }
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[offset..].find('\n').map_or(text.len(), |at| offset + at);
    // The line that holds the offset is indented even when the offset is its first byte.
    let moved = scalar.span.start + indents(&text[..line_end]);
    Some(Location {
        line: scalar.line.saturating_add(count(before.matches('\n').count())),
        column: scalar.column.saturating_add(count(text[line_start..offset].chars().count())),
        span: moved + offset..moved + line_end,
    })
}

/// Returns the nearest character border at or before a byte.
pub(super) fn floor_boundary(text: &str, offset: usize) -> usize {
    let mut at = offset.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn count(characters: usize) -> u32 {
    u32::try_from(characters).unwrap_or(u32::MAX)
}
