//! The forge: a git host and a registry in memory, with what a newcomer brings into them.
//!
//! Commits and images are names and nothing else: there are no files to clone and no layers to pull, for the simulated cloud
//! runs nothing. What it keeps is what brain asks real hosts for: references, tags and digests.

use super::cloud::is_bad;
use brain_core::{id::ProjectId, image::ImageRepository, version::version_of};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Repositories of either kind: as many projects as somebody tries by hand.
const REPOSITORIES_MAX: usize = 100;
/// Commits or tags of a repository.
const ENTRIES_MAX: usize = 1_000;
/// Digits of a commit's id, as git has them.
const COMMIT_DIGITS: usize = 40;

/// Repositories and images.
#[derive(Debug, Default)]
pub(super) struct Forge(Mutex<State>);

/// What it holds, as it is kept between two starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// By name, "user" for `user.git`.
    repositories: BTreeMap<String, Repository>,
    /// Manifests by image repository and tag.
    images: BTreeMap<String, BTreeMap<String, String>>,
}

/// A repository with one branch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Repository {
    /// Ids of the commits of master, oldest first.
    pub commits: Vec<String>,
    /// Commits by tag.
    pub tags: BTreeMap<String, String>,
}

/// A new version, as a build makes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Push {
    /// Git repository, "user".
    pub repository: String,
    /// Image repository, "flowcommerce/user".
    pub image_repository: String,
    /// Version, which is the tag of both.
    pub version: String,
    /// Whether its tasks crash.
    #[serde(default)]
    pub bad: bool,
}

/// What a push has brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pushed {
    /// The commit that is tagged.
    pub commit: String,
    /// Digest of the image.
    pub digest: String,
}

impl Forge {
    /// With what was kept.
    pub(super) fn with(state: State) -> Self {
        Self(Mutex::new(state))
    }

    /// What is to be kept.
    pub(super) fn state(&self) -> State {
        self.lock().clone()
    }

    /// A git repository.
    pub(super) fn repository(&self, name: &str) -> Option<Repository> {
        self.lock().repositories.get(name).cloned()
    }

    /// A commit on master; answers its id. A repository that is not there is made.
    pub(super) fn commit(&self, repository: &str) -> Result<String, String> {
        self.lock().repository(repository)?.commit(repository)
    }

    /// Tags a commit. The same tag on the same commit again is as good.
    pub(super) fn tag(&self, repository: &str, tag: &str, commit: &str) -> Result<(), String> {
        let mut state = self.lock();
        let repository = state.repositories.get_mut(repository).ok_or("there is no such repository")?;
        if !repository.commits.iter().any(|known| known == commit) {
            return Err("the commit is not there".to_owned());
        }
        repository.tag(tag, commit)
    }

    /// What a developer and a build do for a version: a commit and its tag, where the tag is not there yet, and the image.
    pub(super) fn push(&self, push: &Push) -> Result<Pushed, String> {
        let Push { repository: name, image_repository, version, bad } = push;
        if version_of(version).is_none() {
            return Err(format!("{version:?} is no version: write it as 0.0.6"));
        }
        let image_repository = ImageRepository::parse(image_repository).map_err(|error| error.to_string())?.path();
        let mut state = self.lock();
        let repository = state.repository(name)?;
        let commit = match repository.tags.get(version) {
            Some(commit) => commit.clone(),
            None => {
                let commit = repository.untagged_head().map_or_else(|| repository.commit(name), Ok)?;
                repository.tag(version, &commit)?;
                commit
            }
        };
        let manifest = manifest(&image_repository, version, &commit, *bad);
        let digest = digest(&manifest);
        bounded(&state.images, &image_repository, REPOSITORIES_MAX, "image repositories")?;
        let images = state.images.entry(image_repository).or_default();
        bounded(images, version, ENTRIES_MAX, "images")?;
        images.insert(version.clone(), manifest);
        Ok(Pushed { commit, digest })
    }

    /// Tags of an image repository; `None`: there is none of that name.
    pub(super) fn image_tags(&self, repository: &str) -> Option<Vec<String>> {
        Some(self.lock().images.get(repository)?.keys().cloned().collect())
    }

    /// The manifest that a tag or a digest names, with its digest.
    pub(super) fn manifest(&self, repository: &str, reference: &str) -> Option<(String, String)> {
        let state = self.lock();
        let images = state.images.get(repository)?;
        let named = images.get(reference).or_else(|| images.values().find(|manifest| digest(manifest) == reference))?;
        Some((named.clone(), digest(named)))
    }

    /// Digests of all images whose tasks crash.
    pub(super) fn bad_images(&self) -> Vec<String> {
        let state = self.lock();
        let manifests = state.images.values().flat_map(BTreeMap::values);
        manifests.filter(|manifest| is_bad(manifest)).map(|manifest| digest(manifest)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn repository(&mut self, name: &str) -> Result<&mut Repository, String> {
        ProjectId::parse(name).map_err(|error| format!("{name:?} is no name of a repository: {error}"))?;
        bounded(&self.repositories, name, REPOSITORIES_MAX, "git repositories")?;
        Ok(self.repositories.entry(name.to_owned()).or_default())
    }
}

impl Repository {
    fn commit(&mut self, name: &str) -> Result<String, String> {
        if self.commits.len() >= ENTRIES_MAX {
            return Err(format!("{name} has {ENTRIES_MAX} commits, which is all it may have"));
        }
        let mut id = hex(format!("{name} after {:?}", self.commits.last()).as_bytes());
        id.truncate(COMMIT_DIGITS);
        self.commits.push(id.clone());
        Ok(id)
    }

    fn tag(&mut self, tag: &str, commit: &str) -> Result<(), String> {
        match self.tags.get(tag) {
            Some(at) if at == commit => return Ok(()),
            Some(at) => return Err(format!("the tag is there, at {at}")),
            None => bounded(&self.tags, tag, ENTRIES_MAX, "tags")?,
        }
        self.tags.insert(tag.to_owned(), commit.to_owned());
        Ok(())
    }

    /// The newest commit, unless a tag names it.
    fn untagged_head(&self) -> Option<String> {
        self.commits.last().filter(|head| !self.tags.values().any(|commit| commit == *head)).cloned()
    }
}

fn bounded<V>(map: &BTreeMap<String, V>, key: &str, most: usize, what: &str) -> Result<(), String> {
    if map.len() >= most && !map.contains_key(key) {
        return Err(format!("there are {most} {what}, which is all there may be"));
    }
    Ok(())
}

/// The manifest of an image that has no layers. What it says of its tasks is what makes it bad.
fn manifest(repository: &str, version: &str, commit: &str, bad: bool) -> String {
    let behaviour = if bad { super::cloud::BAD } else { "well" };
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": super::registry::MANIFEST,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "size": 2, "digest": digest("{}")},
        "layers": [],
        "annotations": {
            "org.opencontainers.image.ref.name": format!("{repository}:{version}"),
            "org.opencontainers.image.revision": commit,
            "brain.dev.tasks": behaviour,
        },
    })
    .to_string()
}

fn digest(manifest: &str) -> String {
    format!("sha256:{}", hex(manifest.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(version: &str, bad: bool) -> Push {
        let (repository, image_repository) = ("user".to_owned(), "flowcommerce/user".to_owned());
        Push { repository, image_repository, version: version.to_owned(), bad }
    }

    #[test]
    fn a_push_brings_commit_tag_and_image_and_the_same_one_again_changes_nothing() {
        let forge = Forge::default();
        let pushed = forge.push(&push("0.0.5", false)).unwrap();
        let state = forge.state();
        assert_eq!(forge.repository("user").unwrap().tags["0.0.5"], pushed.commit);
        assert_eq!(forge.image_tags("flowcommerce/user"), Some(vec!["0.0.5".to_owned()]));
        let (manifest, digest) = forge.manifest("flowcommerce/user", "0.0.5").unwrap();
        assert_eq!((&digest, hex(manifest.as_bytes()).len()), (&pushed.digest, 64));
        assert_eq!(forge.manifest("flowcommerce/user", &digest), Some((manifest, digest)));
        assert_eq!(forge.push(&push("0.0.5", false)), Ok(pushed));
        assert_eq!(forge.state(), state);
    }

    #[test]
    fn a_bad_version_is_another_image_and_the_cloud_is_told_which() {
        let forge = Forge::default();
        let good = forge.push(&push("0.0.5", false)).unwrap();
        let bad = forge.push(&push("0.0.6", true)).unwrap();
        assert_ne!(good.digest, bad.digest);
        assert_eq!(forge.bad_images(), [bad.digest]);
    }

    #[test]
    fn an_untagged_head_is_what_a_push_tags() {
        let forge = Forge::default();
        let head = forge.commit("user").unwrap();
        assert_eq!(forge.push(&push("0.0.1", false)).unwrap().commit, head);
        assert_ne!(forge.push(&push("0.0.2", false)).unwrap().commit, head);
    }

    #[test]
    fn what_is_faulty_is_refused_in_words() {
        let forge = Forge::default();
        let refused = |push: Push| forge.push(&push).unwrap_err();
        assert!(refused(push("latest", false)).contains("write it as 0.0.6"));
        assert!(refused(Push { repository: "../x".to_owned(), ..push("1.0.0", false) }).contains("no name"));
        assert!(refused(Push { image_repository: "A B".to_owned(), ..push("1.0.0", false) }).contains("A B"));
        assert!(forge.tag("user", "1", "f").is_err(), "no such repository");
        forge.commit("user").unwrap();
        assert!(forge.tag("user", "1", "f").is_err(), "no such commit");
    }

    #[test]
    fn it_is_bounded() {
        let forge = Forge::default();
        for number in 0..REPOSITORIES_MAX {
            forge.commit(&format!("p{number}")).unwrap();
        }
        assert!(forge.commit("one-more").unwrap_err().contains("100"));
        for _ in 1..ENTRIES_MAX {
            forge.commit("p0").unwrap();
        }
        assert!(forge.commit("p0").unwrap_err().contains("1000"));
    }
}
