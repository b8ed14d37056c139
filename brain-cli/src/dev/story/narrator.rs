//! Who tells the story: follows the board, prints it whenever it says something else, and knows what it has said.

use crate::{
    client::Client,
    dev::project::NAME,
    exit::Exit,
    failure::Failure,
    output::Output,
    watch::{self, News},
};
use brain_proto::v1::{ProjectStatus, WatchBoardRequest, WatchBoardResponse};
use std::time::Duration;
use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, timeout_at},
};

/// Time for which a server that is away is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Narrator {
    out: Output,
    begun: Instant,
    deadline: Instant,
    news: Receiver<News<WatchBoardResponse>>,
    board: Board,
    /// What the board has said since the chapter began.
    shown: Vec<Board>,
    chapters: u32,
}

/// What the board says of the project, as far as people read it in a story.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Board {
    title: String,
    production: String,
    sentences: Vec<String>,
}

impl Narrator {
    /// Begins to follow the board. Everything is to be told by `deadline`.
    pub(super) fn new(client: &Client, out: Output, deadline: Instant) -> Self {
        let client = client.clone();
        let open = move || {
            let client = client.clone();
            async move { client.board().watch_board(WatchBoardRequest {}).await }
        };
        let news = watch::follow(open, |_| false, PATIENCE);
        let (board, shown) = (Board::default(), Vec::new());
        Self { out, begun: Instant::now(), deadline, news, board, shown, chapters: 0 }
    }

    /// Begins a chapter.
    pub(super) fn chapter(&mut self, text: &str) -> Result<(), Failure> {
        self.chapters += 1;
        self.shown.clear();
        self.out.line(format!("\n{}. {text}", self.chapters))
    }

    /// Tells a line.
    pub(super) fn line(&self, text: &str) -> Result<(), Failure> {
        self.out.line(format!("         {text}"))
    }

    /// Looks on until the board is so.
    pub(super) async fn until(&mut self, what: &str, is_so: impl Fn(&Board) -> bool) -> Result<(), Failure> {
        while !is_so(&self.board) {
            self.next(what, self.deadline).await?;
        }
        Ok(())
    }

    /// Looks on for a while.
    pub(super) async fn look_on(&mut self, what: &str, time: Duration) -> Result<(), Failure> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.next(what, until).await?;
        }
        Ok(())
    }

    /// Tells what the board says next, if it says something by then.
    async fn next(&mut self, what: &str, until: Instant) -> Result<(), Failure> {
        match timeout_at(until.min(self.deadline), self.news.recv()).await {
            Err(_) if Instant::now() >= self.deadline => self.must(false, what),
            Ok(Some(News::Message(WatchBoardResponse { project: Some(project) }))) if project.project == NAME => {
                self.tell(Board::of(project))
            }
            Ok(Some(News::Failed(failure))) => Err(failure),
            Ok(Some(News::Ended) | None) => self.must(false, "the board to be followed"),
            Ok(Some(News::Message(_) | News::Lost(_) | News::Back)) | Err(_) => Ok(()),
        }
    }

    fn tell(&mut self, board: Board) -> Result<(), Failure> {
        if board == self.board {
            return Ok(());
        }
        let mut lines = board.lines().into_iter();
        let first = lines.next().unwrap_or_default();
        self.out.line(format!("{:>6.1}s  {first}", self.begun.elapsed().as_secs_f32()))?;
        lines.try_for_each(|line| self.line(&line))?;
        self.shown.push(board.clone());
        self.board = board;
        Ok(())
    }

    /// Fails unless it is so.
    pub(super) fn must(&self, is_so: bool, what: &str) -> Result<(), Failure> {
        if is_so {
            return Ok(());
        }
        let board = self.board.lines().join("\n  ");
        let after = self.begun.elapsed().as_secs();
        let text = format!("the story failed after {after} s: it waited for {what}; the board says\n  {board}");
        Err(Failure::new(Exit::DeploymentFailed, text))
    }

    /// Fails unless production was so in this chapter.
    pub(super) fn must_have_shown(&self, production: &str) -> Result<(), Failure> {
        let shown = self.shown.iter().any(|board| board.production == production);
        self.must(shown, &format!("production to be {production}, and it never was"))
    }

    /// Fails unless the board has said this in this chapter.
    pub(super) fn must_have_said(&self, start: &str) -> Result<(), Failure> {
        let said = self.shown.iter().any(|board| board.says(start));
        self.must(said, &format!("the board to say \"{start}\", and it never did"))
    }

    /// Fails if a version had a share in this chapter.
    pub(super) fn must_never_have_served(&self, version: &str) -> Result<(), Failure> {
        let served = self.shown.iter().any(|board| board.production.contains(&format!("{version}:")));
        self.must(!served, &format!("no request to reach {version}, and some did"))
    }

    /// Ends the story.
    pub(super) fn end(&self) -> Result<(), Failure> {
        self.out.line(format!(
            "\nThe end, after {} s: 0.0.5 serves, and all of this was seen in the API.",
            self.begun.elapsed().as_secs()
        ))
    }
}

impl Board {
    fn of(project: ProjectStatus) -> Self {
        let ProjectStatus { title, production, sentences, .. } = project;
        Self { title, production, sentences: sentences.into_iter().map(|sentence| sentence.text).collect() }
    }

    /// Shares: "0.0.4: 67% 0.0.5: 33%".
    pub(super) fn production(&self) -> &str {
        &self.production
    }

    /// Whether a sentence begins so.
    pub(super) fn says(&self, start: &str) -> bool {
        self.sentences.iter().any(|sentence| sentence.starts_with(start))
    }

    /// As the seed draws it.
    fn lines(&self) -> Vec<String> {
        let Self { title, production, sentences } = self;
        let shares = if production.is_empty() { "nothing serves" } else { production };
        let mut lines = vec![format!("{title}     {}", shares.replace("% ", "%   "))];
        lines.extend(sentences.iter().map(|sentence| format!("  {sentence}")));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_board_reads_as_in_the_seed() {
        let board = Board {
            title: "flowcommerce/user".to_owned(),
            production: "0.0.4: 67% 0.0.5: 33%".to_owned(),
            sentences: vec!["flowcommerce/user:0.0.5 deploy is in process".to_owned()],
        };
        let expected =
            ["flowcommerce/user     0.0.4: 67%   0.0.5: 33%", "  flowcommerce/user:0.0.5 deploy is in process"];
        assert_eq!(board.lines(), expected);
        assert!(board.says("flowcommerce/user:0.0.5 deploy") && !board.says("deploy"));
    }
}
