//! The trace that follows a version from its tag to its traffic, as spans of OpenTelemetry.
//!
//! Who knows what a span is about knows its id: ids are made from names and numbers, so that watchers, the server and deployers
//! write parts of one trace. Only a deployer is told where its part belongs, since it does not know what was deployed before.
//!
//! | span | is below | lasts from | to |
//! |---|---|---|---|
//! | `release` | nothing | the server is told of the tag, or the image | its first deployment ends |
//! | `image` | `release` | the server is told of the tag | and of the image |
//! | `see_tag`, `see_image` | `release` | the watcher's poll begins | it tells of what is new |
//! | `deploy` | `release`; nothing where the version was deployed before | it is asked for | it ends |
//! | `pending` | `deploy` | it is asked for | a deployer takes it |
//! | a kind of step, as `verify` | `deploy`, `roll_back` | it begins | it is done, or has failed |
//! | an action of AWS, as `UpdateService` | its step | it is sent | it is answered |
//! | `roll_back` | `deploy` | the way back begins | it is done, or begins anew |

use crate::{id::ProjectId, time::Timestamp};
use sha2::{Digest, Sha256};
use std::fmt;

mod spans;

pub use spans::spans;

/// Where a span is: in which trace, and under which id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// Id of the trace.
    pub trace: [u8; 16],
    /// Id of the span.
    pub span: [u8; 8],
}

/// One span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Where it is.
    pub place: Place,
    /// The span that it is below; `None`: it is the first of its trace.
    pub parent: Option<[u8; 8]>,
    /// What it is, one of few words.
    pub name: &'static str,
    /// Begin.
    pub from: Timestamp,
    /// End.
    pub to: Timestamp,
    /// What it is about.
    pub attributes: Vec<(&'static str, String)>,
    /// Why it went wrong; `None`: it did not.
    pub error: Option<String>,
}

impl Place {
    /// Of a version of a project, from its tag on. When the project was created tells it from one of that name elsewhere.
    #[must_use]
    pub fn release(project: &ProjectId, created: Timestamp, version: &str) -> Self {
        Self::first(&["release", project.as_str(), &created.0.to_string(), version])
    }

    /// Of a deployment whose version was deployed before.
    #[must_use]
    pub fn deployment(project: &ProjectId, created: Timestamp, number: u64) -> Self {
        Self::first(&["deployment", project.as_str(), &created.0.to_string(), &number.to_string()])
    }

    /// Of what is below it and is called so.
    #[must_use]
    pub fn child(self, what: &str) -> Self {
        let hash = hash(&[&self.trace, &self.span, what.as_bytes()]);
        Self { trace: self.trace, span: eight(&hash) }
    }

    /// Of a step of a plan that is here.
    #[must_use]
    pub fn step(self, index: usize) -> Self {
        self.child(&format!("step {index}"))
    }

    fn first(names: &[&str]) -> Self {
        let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
        let hash = hash(&names);
        let mut trace = [0; 16];
        trace.copy_from_slice(&hash[..16]);
        Self { trace, span: eight(&hash[16..]) }
    }

    /// Reads W3C's `traceparent`, of any version that says no less than the first.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (_, trace, span, _) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let bytes = |text: &str, count: usize| -> Option<Vec<u8>> {
            let hexadecimal = text.len() == 2 * count && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let bytes = (0..count).map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok());
            if hexadecimal { bytes.collect() } else { None }
        };
        Some(Self { trace: bytes(trace, 16)?.try_into().ok()?, span: bytes(span, 8)?.try_into().ok()? })
    }
}

/// As W3C's `traceparent`, sampled.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        write!(f, "00-{}-{}-01", hex(&self.trace), hex(&self.span))
    }
}

/// Of texts that cannot be mistaken for others: each with its length.
fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn eight(bytes: &[u8]) -> [u8; 8] {
    let mut first = [0; 8];
    first.copy_from_slice(&bytes[..8]);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_the_same_for_all_who_know_the_names_and_others_for_other_names() {
        let user = ProjectId::parse("user").unwrap();
        let created = Timestamp(7);
        let release = Place::release(&user, created, "0.0.5");
        assert_eq!(release, Place::release(&user, created, "0.0.5"));
        let others = [
            Place::release(&user, created, "0.0.6"),
            Place::release(&user, Timestamp(8), "0.0.5"),
            Place::release(&ProjectId::parse("user7").unwrap(), Timestamp(0), ".0.5"),
            Place::deployment(&user, created, 5),
            release.child("image"),
            release.step(1),
            release.step(1).step(1),
        ];
        let spans: std::collections::HashSet<[u8; 8]> =
            others.iter().chain([&release]).map(|place| place.span).collect();
        assert_eq!(spans.len(), others.len() + 1);
        assert_eq!(release.step(3).trace, release.trace);
    }

    #[test]
    fn a_place_is_written_as_traceparent_and_read_again() {
        let place = Place::deployment(&ProjectId::parse("user").unwrap(), Timestamp(7), 2).step(7);
        assert_eq!(Place::parse(&place.to_string()), Some(place));
        assert_eq!((place.to_string().len(), &place.to_string()[..3]), (55, "00-"));
        for odd in ["", "00-1-2-01", "00-zz-zz-01", &place.to_string()[..50], &"é".repeat(30)] {
            assert_eq!(Place::parse(odd), None, "{odd}");
        }
    }
}
