//! Releases and the head of the branch.

use crate::{
    image::{Digest, ImageRepository},
    time::Timestamp,
    version::version_of,
};
use serde::{Deserialize, Serialize};

/// What stands in an image's place while there is none (the seed's wording).
pub const NOT_YET_AVAILABLE: &str = "<not yet available>";
/// Digits of a commit in the head's label.
const SHORT_COMMIT: usize = 8;

/// A git tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// Commit, annotated tags peeled.
    pub commit: String,
    /// When it was first seen at this commit.
    pub since: Timestamp,
    /// Its latest move; boxed, since few of a million tags have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<Box<Moved>>,
}

/// An image of the project's repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Digest of the manifest.
    pub digest: Digest,
    /// When it was first seen with this digest.
    pub since: Timestamp,
    /// Its tag's latest move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<Box<Moved>>,
}

/// A move of a tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// What the tag named before: a commit, or a digest.
    pub from: String,
    /// When the move was seen.
    pub at: Timestamp,
}

/// What the branch points at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Commit.
    pub commit: String,
    /// When it was first seen.
    pub since: Timestamp,
    /// Tag and count of the commits ahead of it, where the watcher could tell.
    pub ahead_of: Option<AheadOf>,
}

/// How far the head is ahead of a tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AheadOf {
    /// The tag.
    pub tag: String,
    /// Commits that the branch has and the tag has not.
    pub commits: u32,
    /// The newest of them, newest first, where the host lists them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub newest: Vec<Commit>,
}

/// A commit that is not tagged yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Commit id.
    pub id: String,
    /// First line of its message.
    pub title: String,
    /// Name of its author.
    pub author: String,
}

/// A tag with its image, or without one yet.
#[derive(Debug, Clone, Copy)]
pub struct Release<'a> {
    /// The tag's text.
    pub tag: &'a str,
    /// The git tag; `None` when only the image has been seen.
    pub git: Option<&'a Tag>,
    /// The image.
    pub image: Option<&'a Image>,
}

impl Release<'_> {
    /// When the tag or its image was first seen.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        let times = [self.git.map(|tag| tag.since), self.image.map(|image| image.since)];
        times.into_iter().flatten().min().unwrap_or_default()
    }

    /// `0.0.4 flowcommerce/user:0.0.4` or `0.0.5 <not yet available>`.
    #[must_use]
    pub fn summary(&self, repository: &ImageRepository) -> String {
        match self.image {
            Some(_) => format!("{} {}", self.tag, repository.with_tag(self.tag)),
            None => format!("{} {NOT_YET_AVAILABLE}", self.tag),
        }
    }

    /// Whether the tag is a version.
    #[must_use]
    pub fn is_version(&self) -> bool {
        version_of(self.tag).is_some()
    }
}

impl Head {
    /// `0.0.5-a1234cba`; the tag alone when the head is tagged, the commit's digits alone without a version tag.
    #[must_use]
    pub fn label(&self, latest: Option<(&str, &Tag)>) -> String {
        let short: String = self.commit.chars().take(SHORT_COMMIT).collect();
        match latest {
            Some((name, tag)) if tag.commit == self.commit => name.to_owned(),
            Some((name, _)) => format!("{name}-{short}"),
            None => short,
        }
    }

    /// The newest commits ahead of the latest tag, where they are known.
    #[must_use]
    pub fn untagged_commits(&self, latest: Option<(&str, &Tag)>) -> &[Commit] {
        match (&self.ahead_of, latest) {
            (Some(ahead), Some((name, _))) if ahead.tag == name => &ahead.newest,
            _ => &[],
        }
    }

    /// Commits ahead of the latest tag, where that is known.
    #[must_use]
    pub fn commits_ahead(&self, latest: Option<(&str, &Tag)>) -> Option<u32> {
        let (name, tag) = latest?;
        if tag.commit == self.commit {
            return Some(0);
        }
        self.ahead_of.as_ref().filter(|ahead| ahead.tag == name).map(|ahead| ahead.commits)
    }

    /// Whether the branch has commits that the latest tag has not. Without a count, another commit than the tag's is taken
    /// to be ahead: that a branch falls behind its own latest tag is rare, and a poll that can count corrects it.
    #[must_use]
    pub fn is_ahead(&self, latest: Option<(&str, &Tag)>) -> bool {
        latest.is_some() && self.commits_ahead(latest) != Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_labelled_after_the_latest_tag() {
        let commit = "a1234cba99887766554433221100ffeeddccbbaa".to_owned();
        let head = Head { commit: commit.clone(), since: Timestamp(0), ahead_of: None };
        let older = Tag { commit: "b".repeat(40), since: Timestamp(0), moved: None };
        let same = Tag { commit, since: Timestamp(0), moved: None };
        assert_eq!(head.label(Some(("0.0.5", &older))), "0.0.5-a1234cba");
        assert_eq!(head.label(Some(("0.0.5", &same))), "0.0.5");
        assert_eq!(head.label(None), "a1234cba");
        assert!(head.is_ahead(Some(("0.0.5", &older))) && !head.is_ahead(Some(("0.0.5", &same))));
    }
}
