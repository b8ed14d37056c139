//! `brain board`: every project in a few sentences.

use crate::{
    client::ask,
    exit::Exit,
    failure::Failure,
    output::{
        screen::{Screen, TICK},
        time,
    },
    progress,
    session::Session,
    watch::{self, News},
};
use brain_proto::v1::{
    GetBoardRequest, GetBoardResponse, ProjectStatus, Sentence, WatchBoardRequest, WatchBoardResponse,
};
use clap::Args;
use console::Style;
use jiff::Timestamp;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::interval;

/// Projects of one page.
const PAGE: u32 = 1_000;

/// Show every project: what serves, what is going on, what it waits for and who can free it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brain board
  brain board --watch              redraw it as things change; a line for each change in a pipe
  brain board -o json | jq -r '.projects[] | .title + \" \" + .production'")]
pub(crate) struct Board {
    /// Follow it, until Ctrl-C
    #[arg(long, short)]
    watch: bool,
    /// With --watch: seconds for which a server that is away is waited for
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    patience: u64,
}

impl Board {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        if self.watch {
            return follow(session, Duration::from_secs(self.patience)).await;
        }
        let projects = all(session).await?;
        let out = session.out;
        if !out.is_for_people() {
            out.message("GetBoardResponse", &GetBoardResponse { projects, next_page_token: String::new() })?;
        } else if projects.is_empty() {
            out.line("no project yet\n  next: brain apply -f user.toml, or brain project create --help")?;
        } else {
            out.lines(lines(projects.iter(), time::now()))?;
        }
        Ok(Exit::Done)
    }
}

/// Every project, page after page.
pub(super) async fn all(session: &Session) -> Result<Vec<ProjectStatus>, Failure> {
    let mut projects = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ask(GetBoardRequest { page_size: PAGE, page_token });
        let answer = session.client.board().get_board(request).await?.into_inner();
        projects.extend(answer.projects);
        if answer.next_page_token.is_empty() {
            return Ok(projects);
        }
        page_token = answer.next_page_token;
    }
}

/// The board as the lines of the seed's sketch, with since when, what is waited for and who can free it.
pub(super) fn lines<'a>(projects: impl Iterator<Item = &'a ProjectStatus>, now: Timestamp) -> Vec<String> {
    let projects: Vec<&ProjectStatus> = projects.collect();
    let widest = projects.iter().map(|project| project.title.chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for project in projects {
        let title = format!("{:widest$}", project.title);
        let shares = if project.production.is_empty() { "nothing serves" } else { &project.production };
        let shares = match (&project.production_unobserved, project.production.is_empty()) {
            (Some(_), _) => Style::new().yellow().apply_to(shares),
            (None, true) => Style::new().dim().apply_to(shares),
            (None, false) => Style::new().green().apply_to(shares),
        };
        lines.push(format!("{}  {shares}", Style::new().bold().apply_to(title)));
        lines.extend(project.sentences.iter().map(|told| format!("  {}", sentence(told, now))));
    }
    lines
}

/// A sentence, extended.
pub(super) fn sentence(told: &Sentence, now: Timestamp) -> String {
    let Sentence { text, since, waits_for, freed_by } = told;
    let mut more = Vec::new();
    if since.is_some() {
        more.push(format!("for {}", time::age(*since, now)));
    }
    if !waits_for.is_empty() {
        more.push(format!("waits for {waits_for}"));
    }
    if !freed_by.is_empty() {
        more.push(format!("freed by {freed_by}"));
    }
    if more.is_empty() {
        return text.clone();
    }
    format!("{text} {}", Style::new().dim().apply_to(format!("({})", more.join("; "))))
}

async fn follow(session: &Session, patience: Duration) -> Result<Exit, Failure> {
    let client = session.client.clone();
    let open = move || {
        let client = client.clone();
        async move { client.board().watch_board(WatchBoardRequest {}).await }
    };
    let mut news = watch::follow(open, |_| false, patience);
    let mut view = View { session, screen: None, projects: BTreeMap::new(), lost: None };
    view.screen = (session.out.terminal && session.out.is_for_people()).then(Screen::new);
    let mut tick = interval(TICK);
    let mut interrupt = progress::interrupts()?;
    loop {
        tokio::select! {
            biased;
            _ = interrupt.recv() => {
                view.clear()?;
                return Err(Failure::new(Exit::Detached, "no longer watching the board"));
            }
            news = news.recv() => match news {
                Some(News::Message(WatchBoardResponse { project: Some(project) })) => view.put(project)?,
                Some(News::Message(_)) => {}
                Some(News::Lost(why)) => view.lose(why)?,
                Some(News::Back) => view.back().await?,
                Some(News::Failed(failure)) => {
                    view.clear()?;
                    return Err(failure);
                }
                Some(News::Ended) | None => return Ok(Exit::Done),
            },
            _ = tick.tick() => view.draw(),
        }
    }
}

/// The board as it is shown while it is followed.
#[derive(Debug)]
struct View<'a> {
    session: &'a Session,
    screen: Option<Screen>,
    projects: BTreeMap<String, ProjectStatus>,
    lost: Option<String>,
}

impl View<'_> {
    fn put(&mut self, project: ProjectStatus) -> Result<(), Failure> {
        let out = self.session.out;
        if !out.is_for_people() {
            out.next_message("WatchBoardResponse", &WatchBoardResponse { project: Some(project) })?;
        } else if project.title.is_empty() {
            // Of a project that is gone only the name is told.
            self.projects.remove(&project.project);
            self.tell(&format!("{} is gone", project.project))?;
        } else {
            let before = self.projects.insert(project.project.clone(), project.clone());
            for line in news_of(before.as_ref(), &project, time::now()) {
                self.tell(&line)?;
            }
        }
        Ok(())
    }

    /// A line for each change, where nothing is drawn in place.
    fn tell(&self, line: &str) -> Result<(), Failure> {
        if self.screen.is_some() || !self.session.out.is_for_people() {
            return Ok(());
        }
        self.session.out.line(format!("{} {line}", time::clock(time::now())))
    }

    fn lose(&mut self, why: String) -> Result<(), Failure> {
        self.tell(&format!("lost: {why}; trying again"))?;
        self.lost = Some(why);
        Ok(())
    }

    /// What vanished meanwhile is not told by the stream, which begins with what there is.
    async fn back(&mut self) -> Result<(), Failure> {
        self.lost = None;
        self.tell("connected again")?;
        let there = all(self.session).await?;
        self.projects.retain(|name, _| there.iter().any(|project| project.project == *name));
        Ok(())
    }

    fn draw(&self) {
        let Some(screen) = &self.screen else { return };
        let mut lines = lines(self.projects.values(), time::now());
        // The last line stays free for the cursor, the one before for what was left out.
        let room = usize::from(console::Term::stdout().size().0).saturating_sub(3).max(1);
        if lines.len() > room {
            let more = lines.len() - room;
            lines.truncate(room);
            lines.push(Style::new().dim().apply_to(format!("… and {more} lines more: brain board")).to_string());
        }
        if let Some(why) = &self.lost {
            lines.push(Style::new().yellow().apply_to(format!("lost: {why}; trying again")).to_string());
        }
        screen.show(&lines);
    }

    fn clear(&self) -> Result<(), Failure> {
        // What was last seen stays readable above the prompt.
        match &self.screen {
            Some(screen) => {
                screen.clear()?;
                self.session.out.lines(lines(self.projects.values(), time::now()))
            }
            None => Ok(()),
        }
    }
}

/// What is new about a project, a line each.
fn news_of(before: Option<&ProjectStatus>, now: &ProjectStatus, at: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    if before.is_none_or(|before| before.production != now.production) {
        let shares = if now.production.is_empty() { "nothing serves" } else { &now.production };
        lines.push(format!("{} {shares}", now.title));
    }
    let known = |told: &Sentence| before.is_some_and(|before| before.sentences.iter().any(|old| old.text == told.text));
    lines.extend(
        now.sentences.iter().filter(|told| !known(told)).map(|told| format!("{}: {}", now.title, sentence(told, at))),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(production: &str, texts: &[&str]) -> ProjectStatus {
        let sentence = |text: &&str| Sentence { text: (*text).to_owned(), ..Default::default() };
        ProjectStatus {
            project: "projects/user".to_owned(),
            title: "flowcommerce/user".to_owned(),
            production: production.to_owned(),
            sentences: texts.iter().map(sentence).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn the_board_reads_as_in_the_seed() {
        console::set_colors_enabled(false);
        let mut user = status("0.0.4: 67% 0.0.5: 33%", &["flowcommerce/user:0.0.5 deploy is in process"]);
        user.sentences[0].since = Some(prost_types::Timestamp { seconds: 100, nanos: 0 });
        user.sentences[0].waits_for = "step 9 of 17".to_owned();
        let other = ProjectStatus { title: "acme/web".to_owned(), ..status("", &[]) };
        let expected = [
            "flowcommerce/user  0.0.4: 67% 0.0.5: 33%",
            "  flowcommerce/user:0.0.5 deploy is in process (for 12 s; waits for step 9 of 17)",
            "acme/web           nothing serves",
        ];
        assert_eq!(lines([&user, &other].into_iter(), Timestamp::from_second(112).unwrap()), expected);
    }

    #[test]
    fn only_what_is_new_is_told() {
        let (before, now) = (status("0.0.4: 100%", &["a"]), status("0.0.4: 100%", &["a", "b"]));
        assert_eq!(news_of(Some(&before), &now, Timestamp::UNIX_EPOCH), ["flowcommerce/user: b"]);
        assert_eq!(news_of(None, &before, Timestamp::UNIX_EPOCH).len(), 2);
    }
}
