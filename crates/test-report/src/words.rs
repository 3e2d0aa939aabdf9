//! Texts of a report, masked before they are cut, because half a secret must not remain.

use std::sync::Arc;

use kiln_mask::{Masker, Secrets};

/// Length after which a message is cut, in characters.
pub const MESSAGE_MAX_CHARS: usize = 2000;
/// Length after which names, classes and files are cut, in characters.
pub const NAME_MAX_CHARS: usize = 500;
/// The end of a text that was cut.
const CUT: char = '…';

/// Returns a masked text of at most this many characters.
pub(crate) fn cut(text: String, secrets: &Secrets, most_chars: usize) -> String {
    let mut text = secrets.mask(text).into_inner();
    if let Some((at, _)) = text.char_indices().nth(most_chars) {
        text.truncate(at);
        text.push(CUT);
    }
    text
}

/// Joins two texts into one of at most [`MESSAGE_MAX_CHARS`]. If the first contains the second, it is returned alone.
pub(crate) fn joined(first: String, second: &str) -> String {
    if first.contains(second) {
        return first;
    }
    if second.contains(&first) {
        return second.to_owned();
    }
    let mut text = first;
    let room = MESSAGE_MAX_CHARS.saturating_sub(text.chars().count());
    if room > 0 {
        text.push('\n');
        text.extend(second.chars().take(room));
        if second.chars().nth(room).is_some() && !text.ends_with(CUT) {
            text.push(CUT);
        }
    }
    text
}

/// A text that arrives in pieces.
pub(crate) struct Words {
    masker: Masker,
    text: String,
    room_chars: usize,
}

impl Words {
    pub(crate) fn new(secrets: &Arc<Secrets>) -> Self {
        Self { masker: Masker::new(Arc::clone(secrets)), text: String::new(), room_chars: MESSAGE_MAX_CHARS }
    }

    pub(crate) fn push(&mut self, piece: &str) {
        // Most of a long text is not kept.
        if self.room_chars > 0 {
            let Self { masker, text, room_chars } = self;
            masker.push(piece.as_bytes(), |settled| add(text, room_chars, &settled));
        }
    }

    pub(crate) fn finish(mut self) -> String {
        let Self { masker, text, room_chars } = &mut self;
        masker.finish(|settled| add(text, room_chars, &settled));
        self.text.trim().to_owned()
    }
}

fn add(text: &mut String, room_chars: &mut usize, piece: &[u8]) {
    for character in String::from_utf8_lossy(piece).chars() {
        if *room_chars == 0 {
            return;
        }
        *room_chars -= 1;
        text.push(if *room_chars == 0 { CUT } else { character });
    }
}
