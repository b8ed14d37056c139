//! Versions, as git tags write them.

use semver::Version;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// The version that a tag's text denotes. One leading `v` is accepted. `None` for a tag that is no semantic version.
#[must_use]
pub fn version_of(tag: &str) -> Option<Version> {
    Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()
}

/// A part of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum VersionPart {
    /// 0.0.4 → 0.0.5.
    Patch,
    /// 0.0.4 → 0.1.0.
    Minor,
    /// 0.0.4 → 1.0.0.
    Major,
}

/// The tag after `latest`, or after 0.0.0 without one. A leading `v` is kept; the next patch of a pre-release is its
/// release. `None` when a part is at the end of its range.
#[must_use]
pub fn next_tag(latest: Option<&str>, part: VersionPart) -> Option<String> {
    let version = latest.and_then(version_of).unwrap_or(Version::new(0, 0, 0));
    let Version { major, minor, patch, ref pre, .. } = version;
    let next = match part {
        VersionPart::Patch if !pre.is_empty() => Version::new(major, minor, patch),
        VersionPart::Patch => Version::new(major, minor, patch.checked_add(1)?),
        VersionPart::Minor => Version::new(major, minor.checked_add(1)?, 0),
        VersionPart::Major => Version::new(major.checked_add(1)?, 0, 0),
    };
    let prefix = if latest.is_some_and(|tag| tag.starts_with('v')) { "v" } else { "" };
    Some(format!("{prefix}{next}"))
}

/// Order of tags: versions by semver, tags that are none below every version, ties and the rest by text.
#[must_use]
pub fn compare_tags(a: &str, b: &str) -> Ordering {
    version_of(a).cmp(&version_of(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_tag_follows_the_latest_one() {
        let next = |latest, part| next_tag(latest, part).unwrap();
        assert_eq!(next(Some("0.0.4"), VersionPart::Patch), "0.0.5");
        assert_eq!(next(Some("v1.2.3"), VersionPart::Minor), "v1.3.0");
        assert_eq!(next(Some("1.2.3"), VersionPart::Major), "2.0.0");
        assert_eq!(next(Some("1.2.0-rc.1"), VersionPart::Patch), "1.2.0");
        assert_eq!(next(None, VersionPart::Patch), "0.0.1");
        assert_eq!(next_tag(Some(&format!("0.0.{}", u64::MAX)), VersionPart::Patch), None);
    }

    #[test]
    fn tags_are_ordered_as_versions_and_not_as_text() {
        let mut tags = vec!["0.0.10", "latest", "v0.0.9", "0.0.9-rc.1", "1.0.0"];
        tags.sort_by(|a, b| compare_tags(a, b));
        assert_eq!(tags, ["latest", "0.0.9-rc.1", "v0.0.9", "0.0.10", "1.0.0"]);
    }
}
