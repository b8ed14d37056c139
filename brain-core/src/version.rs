//! Versions, as git tags write them.

use semver::Version;
use std::cmp::Ordering;

/// The version that a tag's text denotes. One leading `v` is accepted. `None` for a tag that is no semantic version.
#[must_use]
pub fn version_of(tag: &str) -> Option<Version> {
    Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()
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
    fn tags_are_ordered_as_versions_and_not_as_text() {
        let mut tags = vec!["0.0.10", "latest", "v0.0.9", "0.0.9-rc.1", "1.0.0"];
        tags.sort_by(|a, b| compare_tags(a, b));
        assert_eq!(tags, ["latest", "0.0.9-rc.1", "v0.0.9", "0.0.10", "1.0.0"]);
    }
}
