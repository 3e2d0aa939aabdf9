//! The agent's answers about archives.

use kiln_wire::agent::archive::{Digest, LookResponse, PackedResponse};

use crate::Texts;

type Mask<'a> = dyn FnMut(&mut String) + 'a;

impl Texts for LookResponse {
    fn texts(&mut self, _: &mut Mask<'_>) {
        let Self { digests, found: _ } = self;
        for Digest { files: _, sha256: _ } in digests {}
    }
}

impl Texts for PackedResponse {
    fn texts(&mut self, mask: &mut Mask<'_>) {
        let Self { entries: _, bytes: _, error } = self;
        mask(error);
    }
}
