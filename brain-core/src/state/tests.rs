use super::*;
use crate::{
    line::Moment,
    project::{ProjectDraft, TargetDraft},
    status::status,
};

mod definition;
mod dry_run;
mod held;
mod left;
mod trace;
mod unobserved;

fn project() -> ProjectState {
    let draft = ProjectDraft {
        id: "user".into(),
        git_url: "https://git.example/user".into(),
        image_repository: "flowcommerce/user".into(),
        target: Some(TargetDraft {
            region: "us-east-1".into(),
            container_port: 9000,
            desired_count: 3,
            ..TargetDraft::default()
        }),
        ..ProjectDraft::default()
    };
    ProjectState::new(draft.validate(|_| Ok(6000)).unwrap(), Timestamp(1))
}

fn wish(tag: &str) -> Wish {
    Wish { tag: tag.to_owned(), ..Wish::default() }
}

fn digest(seed: u8) -> Digest {
    Digest::parse(&format!("sha256:{}", format!("{seed:02x}").repeat(32))).unwrap()
}

fn take(state: &mut ProjectState, observation: Observation) -> usize {
    let changes = state.observe(observation);
    let count = changes.len();
    for change in changes {
        state.apply(&Event { at: Timestamp(5), by: "test".into(), change }).unwrap();
    }
    count
}

fn source(complete: bool, tags: &[(&str, &str)], head: Option<&str>) -> Observation {
    Observation::Source {
        complete,
        tags: tags.iter().map(|(tag, commit)| ((*tag).into(), (*commit).into())).collect(),
        removed: vec![],
        head: head.map_or(ObservedBranch::Unchanged, |commit| {
            ObservedBranch::Head(ObservedHead { commit: commit.into(), ahead_of: None })
        }),
        moved_to: None,
    }
}

/// The seed's project: 0.0.4 with an image, 0.0.5 without, and a commit more.
fn seeds() -> ProjectState {
    let mut state = project();
    take(&mut state, source(true, &[("0.0.4", "c4"), ("0.0.5", "c5")], Some("a1234cba77")));
    let images = vec![("0.0.4".to_owned(), digest(4))];
    take(&mut state, Observation::Images { complete: true, images, removed: vec![] });
    state
}

#[test]
fn releases_and_head_read_as_in_the_seed() {
    let state = seeds();
    let read: Vec<String> =
        state.releases().iter().map(|release| release.summary(&state.spec.image_repository)).collect();
    assert_eq!(read, ["0.0.5 <not yet available>", "0.0.4 flowcommerce/user:0.0.4"]);
    assert_eq!(state.head_label().as_deref(), Some("0.0.5-a1234cba"));
    let said: Vec<String> =
        status(&state, &Moment::default()).sentences.into_iter().map(|sentence| sentence.text).collect();
    assert_eq!(
        said,
        [
            "flowcommerce/user:0.0.5 waiting on docker image",
            "flowcommerce/user has commits on master that are not yet tagged"
        ]
    );
}

#[test]
fn what_is_no_news_changes_nothing() {
    let mut state = seeds();
    assert_eq!(take(&mut state, source(true, &[("0.0.4", "c4"), ("0.0.5", "c5")], Some("a1234cba77"))), 0);
    assert_eq!(take(&mut state, source(false, &[], None)), 0);
}

#[test]
fn a_complete_observation_takes_away_what_it_does_not_list() {
    let mut state = seeds();
    assert_eq!(take(&mut state, source(true, &[("0.0.5", "moved")], None)), 2);
    assert!(!state.tags.contains_key("0.0.4") && state.tags["0.0.5"].commit == "moved");
}

#[test]
fn only_a_release_with_an_image_is_deployed_and_only_one_at_a_time() {
    let mut state = seeds();
    let image = "flowcommerce/user:0.0.5".to_owned();
    assert_eq!(state.request_deployment(wish("0.0.5"), &Moment::default()).unwrap_err(), Refusal::NoImage { image });
    assert_eq!(
        state.request_deployment(wish("0.0.9"), &Moment::default()).unwrap_err(),
        Refusal::UnknownRelease("0.0.9".into())
    );
    let request = state.request_deployment(wish("v0.0.4"), &Moment::default()).unwrap();
    assert_eq!((request.number, request.tag.as_str()), (1, "0.0.4"));
    let change = Change::DeploymentRequested(Box::new(request));
    state.apply(&Event { at: Timestamp(6), by: "test".into(), change }).unwrap();
    assert!(matches!(
        state.request_deployment(wish("0.0.4"), &Moment::default()),
        Err(Refusal::InProgress { number: 1, .. })
    ));
    assert_eq!(status(&state, &Moment::default()).sentences[0].text, "flowcommerce/user:0.0.4 deploy is in process");
}

#[test]
fn tags_that_are_no_versions_are_kept_and_listed_last() {
    let mut state = seeds();
    take(&mut state, source(false, &[("nightly", "n"), ("v0.0.10", "c10"), ("ärger", "x")], None));
    let listed: Vec<&str> = state.releases().into_iter().map(|release| release.tag).collect();
    assert_eq!(listed, ["v0.0.10", "0.0.5", "0.0.4", "nightly", "ärger"]);
}

#[test]
fn a_tag_that_moves_keeps_what_it_named_before() {
    let mut state = seeds();
    take(&mut state, source(false, &[("0.0.4", "forced")], None));
    let moved = state.tags["0.0.4"].moved.as_deref().unwrap();
    assert_eq!((moved.from.as_str(), moved.at), ("c4", Timestamp(5)));
    let images = vec![("0.0.4".to_owned(), digest(9))];
    take(&mut state, Observation::Images { complete: false, images, removed: vec![] });
    assert_eq!(state.images["0.0.4"].moved.as_deref().unwrap().from, digest(4).to_string());
    // Gone and there again is no move.
    take(&mut state, source(true, &[], None));
    take(&mut state, source(true, &[("0.0.4", "c4")], None));
    assert_eq!(state.tags["0.0.4"].moved, None);
}

#[test]
fn a_policy_wants_every_untagged_head_tagged_and_no_other() {
    let mut state = seeds();
    assert_eq!(state.wanted_tag(), None, "people tag");
    state.spec.source.auto_tag = Some(VersionPart::Patch);
    assert_eq!(state.wanted_tag(), Some(("0.0.6".into(), "a1234cba77".into())));
    let failed =
        |why: &str| Observation::TagFailed { tag: "0.0.6".into(), commit: "a1234cba77".into(), why: why.to_owned() };
    assert_eq!((take(&mut state, failed("no")), take(&mut state, failed("no"))), (1, 0));
    assert!(
        status(&state, &Moment::default())
            .sentences
            .iter()
            .any(|sentence| sentence.text.contains("cannot be tagged as 0.0.6: no"))
    );
    take(&mut state, source(false, &[("0.0.6", "a1234cba77")], None));
    assert_eq!((state.wanted_tag(), &state.tag_failure), (None, &None));
    // Set back to an older tag: nothing to tag. An empty branch: neither.
    take(&mut state, source(false, &[], Some("c4")));
    assert_eq!(state.wanted_tag(), None);
    let gone = Observation::Source {
        complete: true,
        tags: vec![],
        removed: vec![],
        head: ObservedBranch::Missing,
        moved_to: Some("https://git.example/users".into()),
    };
    take(&mut state, gone);
    assert_eq!((state.wanted_tag(), &state.head), (None, &None));
    assert!(
        status(&state, &Moment::default())
            .sentences
            .iter()
            .any(|sentence| sentence.text.contains("moved to https://git.example/users"))
    );
}
