//! From what was polled to what is told: the whole of it first, then only what changed. Pure.

use crate::source::git::{Head, Refs};
use brain_core::{image::Digest, release::Commit};
use brain_proto::v1::{
    CommitObservation, HeadObservation, ImageObservation, ImageTagObservation, PollOutcome, PollTarget,
    SourceObservation, TagObservation, observation::What,
};
use std::collections::BTreeMap;

/// What the server was last told of a project's git repository, images and failures.
#[derive(Debug, Default)]
pub struct Told {
    refs: Option<Refs>,
    images: Option<BTreeMap<String, Digest>>,
    failures: BTreeMap<i32, String>,
}

impl Told {
    /// What to tell of these refs; `None` when nothing changed.
    pub fn refs(&mut self, refs: Refs) -> Option<What> {
        let moved_to = refs.moved_to.clone().unwrap_or_default();
        let observation = match &self.refs {
            None => SourceObservation {
                complete: true,
                tags: refs.tags.iter().map(tag).collect(),
                removed_tags: Vec::new(),
                head: refs.head.as_ref().map(head),
                moved_to,
                no_head: refs.head.is_none(),
            },
            Some(told) => SourceObservation {
                complete: false,
                tags: news(&told.tags, &refs.tags).map(tag).collect(),
                removed_tags: gone(&told.tags, &refs.tags),
                head: refs.head.as_ref().filter(|head| told.head.as_ref() != Some(head)).map(head),
                no_head: refs.head.is_none() && told.head.is_some(),
                moved_to,
            },
        };
        let moved = self.refs.as_ref().is_some_and(|told| told.moved_to != refs.moved_to);
        self.refs = Some(refs);
        let SourceObservation { complete, tags, removed_tags, head, moved_to: _, no_head } = &observation;
        let news = *complete || !tags.is_empty() || !removed_tags.is_empty() || head.is_some() || *no_head || moved;
        news.then_some(What::Source(observation))
    }

    /// What to tell of these images; `None` when nothing changed.
    pub fn images(&mut self, images: BTreeMap<String, Digest>) -> Option<What> {
        let image =
            |(tag, digest): (&String, &Digest)| ImageTagObservation { tag: tag.clone(), digest: digest.to_string() };
        let observation = match &self.images {
            None => ImageObservation {
                complete: true,
                images: images.iter().map(image).collect(),
                removed_tags: Vec::new(),
            },
            Some(told) => ImageObservation {
                complete: false,
                images: news(told, &images).map(image).collect(),
                removed_tags: gone(told, &images),
            },
        };
        self.images = Some(images);
        let ImageObservation { complete, images, removed_tags } = &observation;
        let news = *complete || !images.is_empty() || !removed_tags.is_empty();
        news.then_some(What::Images(observation))
    }

    /// What to tell of a poll's failure, or that it works (an empty text); `None` when that was told.
    ///
    /// The first poll that works is told too: an earlier watcher may have told of a failure.
    pub fn poll(&mut self, target: PollTarget, failure: &str) -> Option<What> {
        let told = self.failures.insert(target.into(), failure.to_owned());
        let news = told.as_deref() != Some(failure);
        news.then(|| What::Poll(PollOutcome { target: target.into(), failure: failure.to_owned() }))
    }
}

fn tag((name, commit): (&String, &String)) -> TagObservation {
    TagObservation { name: name.clone(), commit: commit.clone() }
}

fn head(head: &Head) -> HeadObservation {
    let (ahead_of_tag, commits_ahead) = head.ahead_of.clone().unzip();
    let commit = |commit: &Commit| {
        let Commit { id, title, author } = commit.clone();
        CommitObservation { id, title, author }
    };
    HeadObservation {
        commit: head.commit.clone(),
        ahead_of_tag: ahead_of_tag.unwrap_or_default(),
        commits_ahead,
        commits: head.newest.iter().map(commit).collect(),
    }
}

fn news<'a, V: PartialEq>(
    told: &'a BTreeMap<String, V>,
    now: &'a BTreeMap<String, V>,
) -> impl Iterator<Item = (&'a String, &'a V)> {
    now.iter().filter(|(name, value)| told.get(*name) != Some(value))
}

fn gone<V>(told: &BTreeMap<String, V>, now: &BTreeMap<String, V>) -> Vec<String> {
    told.keys().filter(|name| !now.contains_key(*name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refs(tags: &[(&str, &str)], commit: &str) -> Refs {
        Refs {
            tags: tags.iter().map(|(name, commit)| ((*name).to_owned(), (*commit).to_owned())).collect(),
            head: Some(Head { commit: commit.to_owned(), ahead_of: None, newest: vec![] }),
            moved_to: None,
        }
    }

    #[test]
    fn everything_is_told_once_and_then_only_what_changed() {
        let mut told = Told::default();
        let Some(What::Source(first)) = told.refs(refs(&[("1", "a"), ("2", "b")], "h")) else { panic!("nothing told") };
        assert!(first.complete && first.tags.len() == 2 && first.head.is_some());
        assert_eq!(told.refs(refs(&[("1", "a"), ("2", "b")], "h")), None);
        let Some(What::Source(next)) = told.refs(refs(&[("2", "moved"), ("3", "c")], "h")) else {
            panic!("nothing told")
        };
        assert!(!next.complete && next.head.is_none());
        assert_eq!(next.tags.iter().map(|tag| tag.name.as_str()).collect::<Vec<_>>(), ["2", "3"]);
        assert_eq!(next.removed_tags, ["1"]);
    }

    #[test]
    fn a_branch_that_is_gone_and_a_move_are_told_once() {
        let mut told = Told::default();
        assert!(told.refs(refs(&[], "h")).is_some());
        let gone = Refs { head: None, moved_to: Some("https://elsewhere.example/user".into()), ..Refs::default() };
        let Some(What::Source(next)) = told.refs(gone.clone()) else { panic!("nothing told") };
        assert!(next.no_head && next.moved_to == "https://elsewhere.example/user");
        assert_eq!(told.refs(gone), None);
    }

    #[test]
    fn a_failure_is_told_when_its_reason_changes() {
        let mut told = Told::default();
        let target = PollTarget::Images;
        assert!(told.poll(target, "answers 401").is_some());
        assert!(told.poll(target, "answers 401").is_none());
        assert!(told.poll(target, "answers 500").is_some());
        assert!(told.poll(target, "").is_some());
        assert!(told.poll(target, "").is_none());
    }
}
