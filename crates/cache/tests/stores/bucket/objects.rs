//! What a bucket holds, and what requests do with it.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, Method, StatusCode};
use bytes::Bytes;

use super::signature::{Query, hex_sum};
use super::text;

/// Fewest bytes of a part that is not the last one.
const PART_MIN_BYTES: usize = 5 << 20;
/// Objects of one page of a list.
const PAGE: usize = 2;

/// What is answered.
pub(super) enum Answer {
    Refused(StatusCode, &'static str),
    Done { status: StatusCode, headers: Vec<(&'static str, String)>, body: Bytes },
}

impl Answer {
    fn done(body: impl Into<Bytes>) -> Self {
        Self::Done { status: StatusCode::OK, headers: Vec::new(), body: body.into() }
    }

    fn tagged(bytes: &[u8]) -> Self {
        Self::Done { status: StatusCode::OK, headers: vec![("etag", tag(bytes))], body: Bytes::new() }
    }
}

#[derive(Default)]
pub(super) struct Objects {
    objects: BTreeMap<String, Bytes>,
    /// Name and parts, by id.
    uploads: BTreeMap<String, (String, BTreeMap<usize, Bytes>)>,
    ids: usize,
}

impl Objects {
    pub(super) fn names(&self) -> Vec<String> {
        self.objects.keys().cloned().collect()
    }

    pub(super) fn unfinished(&self) -> usize {
        self.uploads.len()
    }

    pub(super) fn change(&mut self, name: &str, change: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>) {
        let bytes = self.objects.remove(name).expect("an object");
        if let Some(changed) = change(bytes.to_vec()) {
            self.objects.insert(name.to_owned(), changed.into());
        }
    }

    pub(super) fn carry_out(
        &mut self,
        method: &Method,
        name: &str,
        query: &Query,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Answer {
        let (upload, part) = (query.get("uploadId"), query.get("partNumber"));
        match (method.as_str(), name, upload, part) {
            ("GET", "", None, None) if query.get("list-type") == Some("2") => self.list(query),
            ("GET" | "HEAD", name, None, None) => self.get(method, name, text(headers, "range")),
            ("PUT", name, None, None) => self.put(name, text(headers, "if-none-match"), body),
            ("PUT", _, Some(id), Some(part)) => self.put_part(id, part, body),
            ("POST", name, None, None) if query.get("uploads").is_some() => self.begin(name),
            ("POST", name, Some(id), None) => self.complete(name, id, &body),
            ("DELETE", _, Some(id), None) => match self.uploads.remove(id) {
                Some(_) => no_content(),
                None => Answer::Refused(StatusCode::NOT_FOUND, "NoSuchUpload"),
            },
            ("DELETE", name, None, None) => {
                self.objects.remove(name);
                no_content()
            }
            _ => Answer::Refused(StatusCode::BAD_REQUEST, "InvalidRequest"),
        }
    }

    fn get(&self, method: &Method, name: &str, range: &str) -> Answer {
        let Some(bytes) = self.objects.get(name) else { return Answer::Refused(StatusCode::NOT_FOUND, "NoSuchKey") };
        let time = "Wed, 01 Jan 2020 00:00:00 GMT".to_owned();
        let mut headers = vec![("etag", tag(bytes)), ("last-modified", time), ("accept-ranges", "bytes".to_owned())];
        if method == Method::HEAD {
            headers.push(("content-length", bytes.len().to_string()));
            return Answer::Done { status: StatusCode::OK, headers, body: Bytes::new() };
        }
        let Some(range) = range.strip_prefix("bytes=") else {
            return Answer::Done { status: StatusCode::OK, headers, body: bytes.clone() };
        };
        let ends = range.split_once('-').and_then(|(from, to)| Some((from.parse().ok()?, to.parse::<usize>().ok()?)));
        let Some((from, to)) = ends.filter(|(from, to): &(usize, usize)| from <= to && *to < bytes.len()) else {
            return Answer::Refused(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange");
        };
        headers.push(("content-range", format!("bytes {from}-{to}/{}", bytes.len())));
        Answer::Done { status: StatusCode::PARTIAL_CONTENT, headers, body: bytes.slice(from..=to) }
    }

    fn put(&mut self, name: &str, unless: &str, body: Bytes) -> Answer {
        if unless == "*" && self.objects.contains_key(name) {
            return Answer::Refused(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
        }
        let answer = Answer::tagged(&body);
        self.objects.insert(name.to_owned(), body);
        answer
    }

    fn begin(&mut self, name: &str) -> Answer {
        self.ids += 1;
        let id = format!("id/{}+", self.ids);
        self.uploads.insert(id.clone(), (name.to_owned(), BTreeMap::new()));
        Answer::done(format!(
            "<?xml version=\"1.0\"?><InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
        ))
    }

    fn put_part(&mut self, id: &str, number: &str, body: Bytes) -> Answer {
        let number = number.parse().ok().filter(|number| (1..=10_000).contains(number));
        let Some(number) = number else { return Answer::Refused(StatusCode::BAD_REQUEST, "InvalidPart") };
        let Some((_, parts)) = self.uploads.get_mut(id) else {
            return Answer::Refused(StatusCode::NOT_FOUND, "NoSuchUpload");
        };
        let answer = Answer::tagged(&body);
        parts.insert(number, body);
        answer
    }

    fn complete(&mut self, name: &str, id: &str, body: &[u8]) -> Answer {
        let Some((of, parts)) = self.uploads.get(id).filter(|(of, _)| of == name) else {
            return Answer::Refused(StatusCode::NOT_FOUND, "NoSuchUpload");
        };
        let body = String::from_utf8_lossy(body).replace("&quot;", "\"");
        let told: Vec<(String, String)> =
            body.split("<Part>").skip(1).map(|part| (within(part, "PartNumber"), within(part, "ETag"))).collect();
        let there: Vec<_> = parts.iter().map(|(number, bytes)| (number.to_string(), tag(bytes))).collect();
        if told != there || parts.keys().copied().ne(1..=parts.len()) {
            return Answer::Refused(StatusCode::BAD_REQUEST, "InvalidPart");
        }
        let sizes: Vec<usize> = parts.values().map(Bytes::len).collect();
        let (last, others) = sizes.split_last().expect("a part");
        if others.iter().any(|size| *size != others[0] || *size < PART_MIN_BYTES)
            || others.iter().any(|size| last > size)
        {
            return Answer::Refused(StatusCode::BAD_REQUEST, "EntityTooSmall");
        }
        let whole: Bytes = parts.values().flatten().copied().collect();
        let etag = tag(&whole);
        self.objects.insert(of.clone(), whole);
        self.uploads.remove(id);
        Answer::done(format!(
            "<?xml version=\"1.0\"?><CompleteMultipartUploadResult><ETag>{}</ETag></CompleteMultipartUploadResult>",
            etag.replace('"', "&quot;")
        ))
    }

    /// One page of a list; the token is the name that the next one begins after.
    fn list(&self, query: &Query) -> Answer {
        let (prefix, after) = (query.get("prefix").unwrap_or(""), query.get("continuation-token").unwrap_or(""));
        let mut found = self.objects.iter().filter(|(name, _)| name.starts_with(prefix) && name.as_str() > after);
        let page: Vec<_> = found.by_ref().take(PAGE).collect();
        let next = found.next().and_then(|_| page.last());
        let contents: String = page
            .iter()
            .map(|(name, bytes)| {
                let (size, tag) = (bytes.len(), tag(bytes).replace('"', "&quot;"));
                format!(
                    "<Contents><Key>{name}</Key><LastModified>2020-01-01T00:00:00.000Z</LastModified>\
                     <ETag>{tag}</ETag><Size>{size}</Size></Contents>"
                )
            })
            .collect();
        let next =
            next.map_or(String::new(), |(name, _)| format!("<NextContinuationToken>{name}</NextContinuationToken>"));
        let is_cut = !next.is_empty();
        Answer::done(format!(
            "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>{is_cut}</IsTruncated>{contents}{next}</ListBucketResult>"
        ))
    }
}

fn no_content() -> Answer {
    Answer::Done { status: StatusCode::NO_CONTENT, headers: Vec::new(), body: Bytes::new() }
}

fn tag(bytes: &[u8]) -> String {
    format!("\"{}\"", &hex_sum(bytes)[..32])
}

/// The text within an element.
fn within(xml: &str, name: &str) -> String {
    let (_, rest) = xml.split_once(&format!("<{name}>")).expect("an element");
    rest.split_once(&format!("</{name}>")).expect("its end").0.to_owned()
}
