//! Image repositories, references and digests, as Docker writes them.

use oci_spec::distribution::Reference;
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// Longest repository that is accepted, in characters.
pub const REPOSITORY_MAX: usize = 255;

/// Why a text is no image repository, reference or digest.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InvalidImage {
    /// Not of Docker's reference grammar.
    #[error("{0:?} is no image reference: {1}")]
    Grammar(String, String),
    /// A tag or digest where a bare repository is wanted.
    #[error("{0:?} must be a repository without tag or digest, such as \"flowcommerce/user\"")]
    NotBare(String),
    /// No tag where one is wanted.
    #[error("{0:?} must name a tag, such as \"flowcommerce/user:0.0.5\"")]
    NoTag(String),
    /// Not a digest.
    #[error("{0:?} is no digest: it must be \"sha256:\" and 64 hexadecimal digits")]
    Digest(String),
}

/// A repository of images, kept as it was written: `flowcommerce/user`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageRepository(String);

impl ImageRepository {
    /// Checks and takes the text.
    pub fn parse(text: &str) -> Result<Self, InvalidImage> {
        let reference = parse_reference(text)?;
        // The parser fills in the tag "latest", so a bare repository is told by what follows its last component.
        let last = text.rsplit('/').next().unwrap_or(text);
        if reference.digest().is_some() || last.contains(':') {
            return Err(InvalidImage::NotBare(shorten(text)));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `flowcommerce/user:0.0.5`.
    #[must_use]
    pub fn with_tag(&self, tag: &str) -> String {
        format!("{}:{tag}", self.0)
    }

    /// `flowcommerce/user@sha256:…`.
    #[must_use]
    pub fn with_digest(&self, digest: &Digest) -> String {
        format!("{}@{digest}", self.0)
    }
}

impl ImageRepository {
    /// Host of the registry: "docker.io" where none is written.
    #[must_use]
    pub fn registry(&self) -> String {
        parse_reference(&self.0).map(|reference| reference.registry().to_owned()).unwrap_or_default()
    }

    /// Path in the registry, as the registry's own notifications name it: "flowcommerce/user", "library/nginx".
    #[must_use]
    pub fn path(&self) -> String {
        // What was checked when it was made parses again.
        parse_reference(&self.0).map(|reference| reference.repository().to_owned()).unwrap_or_default()
    }
}

impl TryFrom<String> for ImageRepository {
    type Error = InvalidImage;
    fn try_from(text: String) -> Result<Self, InvalidImage> {
        Self::parse(&text)
    }
}

impl From<ImageRepository> for String {
    fn from(repository: ImageRepository) -> Self {
        repository.0
    }
}

impl fmt::Display for ImageRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Digest of an image's manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// Checks and takes the text.
    pub fn parse(text: &str) -> Result<Self, InvalidImage> {
        let hex = text.strip_prefix("sha256:").unwrap_or("");
        if hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidImage::Digest(shorten(text)))
        }
    }

    /// First eight hexadecimal digits.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0["sha256:".len()..][..8]
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidImage;
    fn try_from(text: String) -> Result<Self, InvalidImage> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Splits a reference with a tag, `flowcommerce/user:0.0.5`, into repository and tag.
pub fn parse_tagged(text: &str) -> Result<(ImageRepository, String), InvalidImage> {
    let reference = parse_reference(text)?;
    let (repository, tag) = match text.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') && reference.digest().is_none() => (repository, tag),
        _ => return Err(InvalidImage::NoTag(shorten(text))),
    };
    Ok((ImageRepository::parse(repository)?, tag.to_owned()))
}

fn parse_reference(text: &str) -> Result<Reference, InvalidImage> {
    if text.len() > REPOSITORY_MAX + 200 {
        return Err(InvalidImage::Grammar(shorten(text), "it is too long".to_owned()));
    }
    text.parse::<Reference>().map_err(|error| InvalidImage::Grammar(shorten(text), error.to_string()))
}

/// The text, cut to what fits an error message.
fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_split_into_repository_and_tag() {
        let (repository, tag) = parse_tagged("127.0.0.1:5000/flowcommerce/user:0.0.5").unwrap();
        assert_eq!((repository.as_str(), tag.as_str()), ("127.0.0.1:5000/flowcommerce/user", "0.0.5"));
        assert_eq!(parse_tagged("flowcommerce/user:0.0.5").unwrap().0.with_tag("0.0.5"), "flowcommerce/user:0.0.5");
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for bad in ["", "flowcommerce/user", "Flow/User:1", "a b:1", "u:", "h:5000/user", &"a".repeat(900)] {
            assert!(parse_tagged(bad).is_err(), "{bad:?} was accepted");
        }
        for bad in ["flowcommerce/user:0.0.5", "", "flow/UPPER", "u@sha256:00"] {
            assert!(ImageRepository::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(Digest::parse("sha256:abc").is_err());
    }
}
