//! `brain tag`: tags a commit of a project's git repository.

use crate::{client::ask, exit::Exit, failure::Failure, name::project, session::Session};
use brain_proto::v1::{CreateTagRequest, VersionPart, create_tag_request::Version};
use clap::{Args, ValueEnum};

/// Tag the head of a project's branch with its next version, or a commit with a given one
///
/// Through a watcher whose credential may write to the repository. The same tag on the same commit again succeeds.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brain tag user --bump patch           0.0.4 → 0.0.5
  brain tag user 1.0.0
  brain tag user 0.0.6 --commit b06a6d0e1f2a3b4c5d6e7f8091a2b3c4d5e6f708")]
pub(crate) struct Tag {
    /// Project
    project: String,
    /// The tag: a semantic version
    #[arg(required_unless_present = "bump", conflicts_with = "bump")]
    version: Option<String>,
    /// The part of the latest tag's version to raise
    #[arg(long, value_enum)]
    bump: Option<Part>,
    /// Full id of the commit [default: the head of the branch]
    #[arg(long, default_value = "", hide_default_value = true)]
    commit: String,
}

/// A part of a version.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Part {
    /// 0.0.4 → 0.0.5
    Patch,
    /// 0.0.4 → 0.1.0
    Minor,
    /// 0.0.4 → 1.0.0
    Major,
}

impl Tag {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let version = match (self.version, self.bump) {
            (Some(tag), _) => Version::Tag(tag),
            (None, Some(Part::Major)) => Version::Next(VersionPart::Major.into()),
            (None, Some(Part::Minor)) => Version::Next(VersionPart::Minor.into()),
            (None, Some(Part::Patch) | None) => Version::Next(VersionPart::Patch.into()),
        };
        let request = CreateTagRequest {
            parent: project(&self.project)?,
            version: Some(version),
            commit: self.commit,
            requested_by: session.who.clone(),
        };
        let answer = session.client.projects().create_tag(ask(request)).await?.into_inner();
        if !session.out.is_for_people() {
            session.out.message("CreateTagResponse", &answer)?;
            return Ok(Exit::Done);
        }
        let release = answer.release.ok_or_else(|| Failure::odd("release"))?;
        let commit = release.commit.get(..8).unwrap_or(&release.commit);
        session.out.line(format!("{} is tagged {}; its image is awaited", commit, release.tag))?;
        Ok(Exit::Done)
    }
}
