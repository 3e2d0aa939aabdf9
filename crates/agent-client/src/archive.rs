//! Archives of caches, both ways.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use futures::Stream;
use futures::stream::BoxStream;
use kiln_wire::agent::archive::{
    ARCHIVE, LENGTH_BYTES, LOOK, LookRequest, LookResponse, PACKED_MAX_BYTES, PackRequest, PackedResponse,
    UnpackRequest,
};
use kiln_wire::agent::kiln::UnpackedResponse;
use reqwest::Method;

use crate::bulk::Body;
use crate::{Agent, AgentError, decode, send};

/// Status of what the agent could not do.
const FAILED: u16 = 500;

/// An archive that comes from an agent.
pub struct Packing {
    agent: Agent,
    body: Body,
    tail: Tail,
}

impl Packing {
    /// Returns the next bytes of the archive.
    ///
    /// # Errors
    /// When the connection broke, or the agent fell silent.
    pub async fn next(&mut self) -> Result<Option<Bytes>, AgentError> {
        loop {
            if let Some(bytes) = self.tail.pop() {
                return Ok(Some(bytes));
            }
            match self.body.next(&self.agent, ARCHIVE).await? {
                Some(bytes) => self.tail.push(bytes),
                None => return Ok(self.tail.end()),
            }
        }
    }

    /// Returns all bytes of the body: the archive, and what the agent says of it. None of them may have been taken before.
    pub fn into_body(self) -> impl Stream<Item = Result<Bytes, AgentError>> + Send + use<> {
        let Self { agent, body, tail: _ } = self;
        futures::stream::try_unfold((agent, body), |(agent, mut body)| async move {
            let bytes = body.next(&agent, ARCHIVE).await?;
            Ok(bytes.map(|bytes| (bytes, (agent, body))))
        })
    }

    /// Returns what the agent says of the archive, all bytes of which were taken.
    ///
    /// # Errors
    /// That it is not whole, and why.
    pub fn finish(self) -> Result<PackedResponse, AgentError> {
        let cut = || AgentError::Malformed {
            path: ARCHIVE,
            source: kiln_wire::Unreadable::from(<serde_json::Error as serde::de::Error>::custom("it was cut off")),
        };
        let json = self.tail.last.as_deref().ok_or_else(cut)?;
        let packed: PackedResponse = serde_json::from_slice(json)
            .map_err(|error| AgentError::Malformed { path: ARCHIVE, source: error.into() })?;
        if packed.error.is_empty() {
            return Ok(packed);
        }
        let (message, reason) = (packed.error, kiln_wire::agent::Cause::Unknown);
        Err(AgentError::Refused { path: ARCHIVE, status: FAILED, message, reason })
    }
}

/// Holds back the end of a body, which is no part of the archive.
#[derive(Default)]
struct Tail {
    held: VecDeque<Bytes>,
    bytes: usize,
    last: Option<Bytes>,
}

impl Tail {
    fn push(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        self.held.push_back(bytes);
    }

    /// Returns bytes that are surely a part of the archive, as long as more come.
    fn pop(&mut self) -> Option<Bytes> {
        let first = self.held.front()?.len();
        if self.bytes - first < PACKED_MAX_BYTES + LENGTH_BYTES {
            return None;
        }
        self.bytes -= first;
        self.held.pop_front()
    }

    /// Takes the end of the body apart, and returns the rest of the archive.
    fn end(&mut self) -> Option<Bytes> {
        let held = std::mem::take(&mut self.held);
        let mut rest = held.into_iter().fold(BytesMut::with_capacity(self.bytes), |mut all, bytes| {
            all.extend_from_slice(&bytes);
            all
        });
        self.bytes = 0;
        let length = rest.last_chunk::<LENGTH_BYTES>().map(|length| u32::from_le_bytes(*length) as usize)?;
        let begins = rest.len().checked_sub(LENGTH_BYTES)?.checked_sub(length)?;
        let mut last = rest.split_off(begins);
        last.truncate(length);
        self.last = Some(last.freeze());
        Some(rest.freeze()).filter(|rest| !rest.is_empty())
    }
}

impl Agent {
    /// Asks what lies at paths, and for digests of files.
    pub async fn look(&self, request: &LookRequest) -> Result<LookResponse, AgentError> {
        let _slot = self.bulk.slot().await;
        let request = self.request(&self.bulk.http, Method::POST, LOOK).json(request);
        let asked = async { decode(LOOK, send(LOOK, request).await?).await };
        self.unless_silent(LOOK, asked).await
    }

    /// Fetches an archive of what lies at paths.
    pub async fn pack(&self, request: &PackRequest) -> Result<Packing, AgentError> {
        let body = self.post_bulk(ARCHIVE, request).await?;
        Ok(Packing { agent: self.clone(), body, tail: Tail::default() })
    }

    /// Unpacks an archive.
    ///
    /// # Errors
    /// Status [`BROKEN`](kiln_wire::agent::archive::BROKEN) says that the archive is broken. Nothing of it is left then.
    pub async fn unpack(
        &self,
        request: &UnpackRequest,
        archive: BoxStream<'static, std::io::Result<Bytes>>,
    ) -> Result<UnpackedResponse, AgentError> {
        let _slot = self.bulk.slot().await;
        let json = serde_json::to_string(request)
            .map_err(|error| AgentError::Malformed { path: ARCHIVE, source: error.into() })?;
        let request = self.request(&self.bulk.http, Method::PUT, ARCHIVE).query(&[("request", json)]);
        let request = request.body(reqwest::Body::wrap_stream(archive));
        let sent = async { decode(ARCHIVE, send(ARCHIVE, request).await?).await };
        self.unless_silent(ARCHIVE, sent).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts a body into pieces, and returns the archive and what follows it.
    fn taken(body: &[u8], piece: usize) -> (Vec<u8>, Option<Vec<u8>>) {
        let (mut tail, mut archive) = (Tail::default(), Vec::new());
        for bytes in body.chunks(piece.max(1)) {
            tail.push(Bytes::copy_from_slice(bytes));
            while let Some(bytes) = tail.pop() {
                archive.extend_from_slice(&bytes);
            }
        }
        if let Some(rest) = tail.end() {
            archive.extend_from_slice(&rest);
        }
        (archive, tail.last.map(|last| last.to_vec()))
    }

    #[test]
    fn what_is_said_of_an_archive_is_no_part_of_it_wherever_the_body_is_cut() {
        for length in [0, 1, PACKED_MAX_BYTES, 3 * PACKED_MAX_BYTES + 7] {
            let archive: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).expect("a byte")).collect();
            let json = br#"{"entries":1}"#.as_slice();
            let body = [&archive, json, &u32::try_from(json.len()).expect("short").to_le_bytes()].concat();
            for piece in [1, 5, 4096, body.len()] {
                assert_eq!(taken(&body, piece), (archive.clone(), Some(json.to_vec())), "{length} by {piece}");
            }
        }
    }

    #[test]
    fn a_body_that_is_too_short_says_nothing_of_its_archive() {
        for body in [b"".as_slice(), b"abc", &[255, 255, 0, 0]] {
            assert_eq!(taken(body, 2).1, None);
        }
    }
}
