//! `brain releases`: a project's tags with their images, as the seed sketches them.

use crate::{
    client::ask,
    exit::Exit,
    failure::Failure,
    name::project,
    output::{table::Rows, time},
    session::Session,
};
use brain_proto::v1::{Head, ListReleasesRequest, ListReleasesResponse, Release};
use clap::Args;

/// Releases of one page.
const PAGE: u32 = 1_000;
/// What the seed says of a tag without an image.
const NO_IMAGE: &str = "<not yet available>";

/// List a project's tags with their images, and the head of its branch
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brain releases user
  brain releases user --all                   all of them
  brain releases user -o json | jq -r '.releases[] | select(.dockerImage) | .tag'")]
pub(crate) struct Releases {
    /// Project
    project: String,
    /// All releases, not the newest alone
    #[arg(long)]
    all: bool,
    /// How many of the newest
    #[arg(long, default_value_t = 20, value_name = "COUNT", conflicts_with = "all",
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
}

impl Releases {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let parent = project(&self.project)?;
        let answer = self.list(session, &parent).await?;
        let out = session.out;
        if !out.is_for_people() {
            out.message("ListReleasesResponse", &answer)?;
            return Ok(Exit::Done);
        }
        let ListReleasesResponse { releases, next_page_token, head } = answer;
        let now = time::now();
        let mut rows = Rows::new(&["TAG", "DOCKER IMAGE", "COMMIT", "SEEN", "NOTE"]);
        for release in &releases {
            rows.add(row(release, now));
        }
        if rows.is_empty() {
            out.line("no tag and no image has been seen yet")?;
        } else {
            out.lines(rows.lines(&out))?;
        }
        if !next_page_token.is_empty() {
            out.line("… and older ones: --all")?;
        }
        out.lines(head.iter().flat_map(told))?;
        Ok(Exit::Done)
    }

    async fn list(&self, session: &Session, parent: &str) -> Result<ListReleasesResponse, Failure> {
        let mut all = ListReleasesResponse::default();
        loop {
            let request = ListReleasesRequest {
                parent: parent.to_owned(),
                page_size: if self.all { PAGE } else { self.limit },
                page_token: all.next_page_token.clone(),
            };
            let page = session.client.projects().list_releases(ask(request)).await?.into_inner();
            all.releases.extend(page.releases);
            (all.next_page_token, all.head) = (page.next_page_token, page.head);
            if !self.all || all.next_page_token.is_empty() {
                return Ok(all);
            }
        }
    }
}

fn row(release: &Release, now: jiff::Timestamp) -> [String; 5] {
    let Release { tag, version, commit, docker_image, create_time, image_move, tag_move, .. } = release;
    let image = if docker_image.is_empty() { NO_IMAGE } else { docker_image };
    let commit = commit.get(..8).unwrap_or(commit);
    let mut notes = Vec::new();
    if version.is_empty() {
        notes.push("no version".to_owned());
    }
    if let Some(moved) = image_move {
        notes.push(format!("image moved {} ago", time::age(moved.observe_time, now)));
    }
    if let Some(moved) = tag_move {
        notes.push(format!("tag moved {} ago", time::age(moved.observe_time, now)));
    }
    let seen = create_time.map(|time| format!("{} ago", time::age(Some(time), now))).unwrap_or_default();
    [tag.clone(), image.to_owned(), commit.to_owned(), seen, notes.join(", ")]
}

/// The head, and what it has that is not tagged.
pub(super) fn told(head: &Head) -> Vec<String> {
    let Head { label, ahead, commits_ahead, untagged_commits, .. } = head;
    let mut lines = vec![match (ahead, commits_ahead) {
        (false, _) => format!("head: {label}"),
        (true, Some(1)) => format!("head: {label}, 1 commit ahead of the latest tag"),
        (true, Some(count)) => format!("head: {label}, {count} commits ahead of the latest tag"),
        (true, None) => format!("head: {label}, ahead of the latest tag"),
    }];
    lines.extend(untagged_commits.iter().map(|commit| {
        let author = if commit.author.is_empty() { String::new() } else { format!(" ({})", commit.author) };
        format!("  {} {}{author}", commit.id.get(..8).unwrap_or(&commit.id), commit.title)
    }));
    lines
}
