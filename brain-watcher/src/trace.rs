//! What a poll saw of a release, as spans of the release's trace. Pure.

use brain_core::{
    id::ProjectId,
    time::Timestamp,
    trace::{Place, Span},
    version::version_of,
};
use brain_proto::v1::{ImageObservation, SourceObservation, observation::What};

/// Most spans of one poll: a repository that is pushed as a whole is no release.
const SPANS_MAX: usize = 100;

/// The spans of what is new since an earlier poll, which began at `from` and was told of at `to`. What the first poll finds may
/// be years old. A tag that is no version, as `latest`, is no release.
pub(crate) fn seen(
    project: &ProjectId,
    release_of: impl Fn(&str) -> Place,
    what: &What,
    from: Timestamp,
    to: Timestamp,
) -> Vec<Span> {
    let span = |name: &'static str, tag: &str| {
        version_of(tag)?;
        let release = release_of(tag);
        let attributes = vec![("brain.project", project.to_string()), ("brain.version", tag.to_owned())];
        Some(Span {
            // A tag may be made, moved and made again.
            place: release.child(&format!("{name} {}", from.0)),
            parent: Some(release.span),
            name,
            from,
            to,
            attributes,
            error: None,
        })
    };
    match what {
        What::Source(SourceObservation { complete: false, tags, .. }) => {
            tags.iter().filter_map(|tag| span("see_tag", &tag.name)).take(SPANS_MAX).collect()
        }
        What::Images(ImageObservation { complete: false, images, .. }) => {
            images.iter().filter_map(|image| span("see_image", &image.tag)).take(SPANS_MAX).collect()
        }
        What::Source(_) | What::Images(_) | What::Poll(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use brain_proto::v1::{ImageTagObservation, TagObservation};

    #[test]
    fn what_is_new_is_a_part_of_its_release_and_what_was_there_before_is_not() {
        let user = ProjectId::parse("user").unwrap();
        let tag = |name: &str| TagObservation { name: name.into(), commit: "c5".into() };
        let image = |tag: &str| ImageTagObservation { tag: tag.into(), digest: "sha256:5".into() };
        let (tags, images) = (vec![tag("0.0.5"), tag("nightly")], vec![image("latest"), image("0.0.5")]);
        let release_of = |tag: &str| Place::release(&user, Timestamp(7), tag);
        let told = |complete| {
            [
                What::Source(SourceObservation { complete, tags: tags.clone(), ..SourceObservation::default() }),
                What::Images(ImageObservation { complete, images: images.clone(), removed_tags: vec![] }),
            ]
        };
        let spans = |complete| -> Vec<Span> {
            told(complete).iter().flat_map(|what| seen(&user, release_of, what, Timestamp(1), Timestamp(2))).collect()
        };
        assert_eq!(spans(true), []);
        let release = release_of("0.0.5");
        let parts: Vec<_> = spans(false).iter().map(|span| (span.name, span.place.trace, span.parent)).collect();
        let part = |name| (name, release.trace, Some(release.span));
        assert_eq!(parts, [part("see_tag"), part("see_image")]);
    }
}
