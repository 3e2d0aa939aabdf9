//! Walks the elements of a report.
//!
//! quick-xml reads the tags. Text, comments and the like are read here piece by piece, because quick-xml would hold
//! each of them in memory as a whole.

use std::borrow::Cow;
use std::io::Read;

use quick_xml::Reader;
use quick_xml::errors::{Error, SyntaxError};
use quick_xml::events::{BytesStart, Event};

use crate::entity::{self, REFERENCE_MAX_BYTES};
use crate::fault::{DEPTH_MAX, Fault, Kind};
use crate::source::{Source, Stop};

/// Most attributes of an element that are read.
const ATTRIBUTES_MAX: usize = 256;

const CDATA: (&str, &str) = ("<![CDATA[", "]]>");
const COMMENT: (&str, &str) = ("<!--", "-->");
const INSTRUCTION: (&str, &str) = ("<?", "?>");

/// Receives the contents of a report in their order.
pub(crate) trait Visitor {
    /// An element begins in this line.
    fn open(&mut self, tag: &Tag<'_>, line: u64) -> Result<(), Kind>;
    /// A piece of text, decoded.
    fn text(&mut self, piece: &str);
    /// The innermost open element ends.
    fn close(&mut self) -> Result<(), Kind>;
}

/// The beginning of an element. Names have no prefixes.
pub(crate) struct Tag<'a> {
    pub name: &'a str,
    attributes: Vec<(&'a str, Cow<'a, str>)>,
}

impl<'a> Tag<'a> {
    fn of(start: &'a BytesStart<'_>) -> Self {
        let mut all = start.attributes();
        // A fault in one attribute does not affect the others.
        let well_formed = all.with_checks(false).filter_map(Result::ok).take(ATTRIBUTES_MAX);
        let attributes = well_formed.map(|attribute| (local(attribute.key.into_inner()), attribute.value)).collect();
        Self { name: local(start.name().into_inner()), attributes }
    }

    /// Returns the value of an attribute, decoded, unless it is missing or empty.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let (_, value) = self.attributes.iter().find(|(own, value)| *own == name && !value.is_empty())?;
        Some(entity::decode(value).into_owned())
    }
}

fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// Walks a report to its end or to the first fault. Everything visited before that is as the report says.
pub(crate) fn walk(input: impl Read, visitor: &mut dyn Visitor) -> Result<(), Fault> {
    let mut reader = Reader::from_reader(Source::new(input));
    let config = reader.config_mut();
    // The names are compared here, for a better message.
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    let mut walk = Walk { reader, buffer: Vec::new(), open: Vec::new(), any: false };
    while walk.next(visitor)? {}
    let source = walk.reader.get_ref();
    match (walk.open.last(), walk.any) {
        (Some((name, line)), _) => Err(Fault { line: Some(*line), kind: Kind::Cut { within: format!("<{name}>") } }),
        (None, true) => Ok(()),
        (None, false) if source.was_empty() => Err(Fault { line: None, kind: Kind::Empty }),
        (None, false) => Err(Fault { line: Some(1), kind: Kind::NoElement }),
    }
}

struct Walk<R> {
    reader: Reader<Source<R>>,
    buffer: Vec<u8>,
    /// The open elements, with their lines.
    open: Vec<(String, u64)>,
    /// Whether there was an element.
    any: bool,
}

impl<R: Read> Walk<R> {
    /// Takes the next piece, and returns whether there was one.
    fn next(&mut self, visitor: &mut dyn Visitor) -> Result<bool, Fault> {
        let source = self.reader.get_mut();
        source.mark();
        let line = source.line();
        let next = source.rest(CDATA.0.len()).unwrap_or_default();
        if next.is_empty() {
            return match source.stop() {
                Some(stop) => Err(stopped(stop, line)),
                None => Ok(false),
            };
        }
        let begins = |(begin, _): (&str, &str)| next.starts_with(begin);
        if begins(CDATA) {
            self.until(CDATA, |piece| visitor.text(piece))?;
        } else if begins(COMMENT) {
            self.until(COMMENT, |_| {})?;
        } else if begins(INSTRUCTION) {
            self.until(INSTRUCTION, |_| {})?;
        } else if next.starts_with('<') {
            self.tag(line, visitor)?;
        } else {
            self.text(visitor)?;
        }
        Ok(true)
    }

    /// Takes text up to the next `<`, or as much as has been read.
    fn text(&mut self, visitor: &mut dyn Visitor) -> Result<(), Fault> {
        let source = self.reader.get_mut();
        let line = source.line();
        let Ok(rest) = source.rest(REFERENCE_MAX_BYTES) else { return Err(self.stopped(line)) };
        let taken = match memchr::memchr2(b'<', b'&', rest.as_bytes()) {
            Some(0) => match entity::reference(rest) {
                Some((character, bytes)) => {
                    visitor.text(&character);
                    bytes
                }
                None => {
                    visitor.text("&");
                    1
                }
            },
            found => {
                let bytes = found.unwrap_or(rest.len());
                visitor.text(&rest[..bytes]);
                bytes
            }
        };
        source.advance(taken);
        Ok(())
    }

    /// Takes the text between two marks.
    fn until(&mut self, (begin, end): (&str, &str), mut each: impl FnMut(&str)) -> Result<(), Fault> {
        let source = self.reader.get_mut();
        let line = source.line();
        source.advance(begin.len());
        let mut least_bytes = end.len();
        loop {
            let Ok(rest) = source.rest(least_bytes) else { return Err(self.stopped(line)) };
            if let Some(at) = memchr::memmem::find(rest.as_bytes(), end.as_bytes()) {
                each(&rest[..at]);
                source.advance(at + end.len());
                return Ok(());
            }
            if rest.len() < least_bytes {
                return Err(Fault { line: Some(line), kind: Kind::Cut { within: format!("`{begin}`") } });
            }
            // The end mark may have begun.
            let bytes = rest.floor_char_boundary(rest.len() - (end.len() - 1));
            least_bytes = if bytes == 0 { rest.len() + 1 } else { end.len() };
            each(&rest[..bytes]);
            source.advance(bytes);
        }
    }

    fn tag(&mut self, line: u64, visitor: &mut dyn Visitor) -> Result<(), Fault> {
        self.buffer.clear();
        let at = |kind| Fault { line: Some(line), kind };
        let event = match self.reader.read_event_into(&mut self.buffer) {
            Ok(event) => event,
            Err(error) => {
                return Err(self
                    .reader
                    .get_ref()
                    .stop()
                    .map_or_else(|| wrong(&error, line), |stop| stopped(stop, line)));
            }
        };
        match event {
            Event::Start(start) => {
                self.any = true;
                if self.open.len() == DEPTH_MAX {
                    return Err(at(Kind::TooDeep));
                }
                visitor.open(&Tag::of(&start), line).map_err(at)?;
                self.open.push((start.name().into_inner().to_owned(), line));
            }
            Event::Empty(start) => {
                self.any = true;
                let tag = Tag::of(&start);
                visitor.open(&tag, line).map_err(at)?;
                visitor.close().map_err(at)?;
            }
            Event::End(end) => {
                let found = end.name().into_inner().to_owned();
                match self.open.pop() {
                    Some((name, _)) if name == found => visitor.close().map_err(at)?,
                    open => return Err(at(Kind::Crossed { found, open })),
                }
            }
            // The others are handled before quick-xml sees them, or have no meaning here.
            Event::Text(_)
            | Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_)
            | Event::GeneralRef(_)
            | Event::Eof => {}
        }
        Ok(())
    }

    fn stopped(&self, line: u64) -> Fault {
        let unread = Stop::Unread(String::new());
        stopped(self.reader.get_ref().stop().unwrap_or(&unread), line)
    }
}

fn stopped(stop: &Stop, line: u64) -> Fault {
    let (line, kind) = match stop {
        Stop::ReportTooLarge => (None, Kind::ReportTooLarge),
        Stop::TagTooLarge => (Some(line), Kind::TagTooLarge),
        Stop::Unread(why) => (Some(line), Kind::Unread(why.clone())),
    };
    Fault { line, kind }
}

fn wrong(error: &Error, line: u64) -> Fault {
    let kind = match error {
        Error::Syntax(SyntaxError::InvalidBangMarkup) => {
            Kind::Malformed("`<!` begins nothing that XML knows".to_owned())
        }
        Error::Syntax(_) => Kind::Cut { within: "a tag".to_owned() },
        other => Kind::Malformed(other.to_string()),
    };
    Fault { line: Some(line), kind }
}
