//! `brain` in a terminal: a pseudo-terminal of util-linux's `script`, and what a person would see on its screen.

use crate::{command::Person, paths, wait::eventually};
use anyhow::{Context, Result, ensure};
use std::{
    borrow::Cow,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, Command},
    task::JoinHandle,
};

/// Lines of the terminal.
const ROWS: u16 = 30;
/// How a picture of it looks.
const STYLE: &str = "body { margin: 0; background: #15171a; } pre { display: inline-block; margin: 0; padding: 18px 22px; \
                     color: #e8e8e4; font: 15px/1.35 monospace; } b { color: #fff; } .dim { color: #8b9097; } \
                     .c1 { color: #ff938b; } .c2 { color: #74c98b; } .c3 { color: #f0b95a; } .c6 { color: #7dc4e8; }";

/// A terminal in which `brain` runs.
pub struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: Arc<Mutex<vt100::Parser>>,
    reading: JoinHandle<()>,
}

impl Terminal {
    /// Runs `brain` with these words, which need no quotes, in a terminal of so many columns.
    pub fn start(person: &Person, words: &str, columns: u16) -> Result<Self> {
        let brain = paths::binary("brain")?;
        let line = format!("stty rows {ROWS} cols {columns} && exec {} {words}", brain.display());
        let mut command = Command::new(paths::program("script")?);
        person.be(&mut command).args(["--quiet", "--flush", "--return", "--command", &line, "/dev/null"]);
        command.env("SHELL", "/bin/sh").env("TERM", "xterm-256color");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn()?;
        let keys = child.stdin.take().context("no keyboard")?;
        let mut output = child.stdout.take().context("no output")?;
        let screen = Arc::new(Mutex::new(vt100::Parser::new(ROWS, columns, 0)));
        let drawn = Arc::clone(&screen);
        let reading = tokio::spawn(async move {
            let mut bytes = vec![0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes).await {
                drawn.lock().unwrap_or_else(PoisonError::into_inner).process(&bytes[..count]);
            }
        });
        Ok(Self { child, keys, screen, reading })
    }

    fn parser(&self) -> MutexGuard<'_, vt100::Parser> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The text on the screen.
    #[must_use]
    pub fn screen(&self) -> String {
        self.parser().screen().contents()
    }

    /// Waits until the screen has all of this on it; answers it.
    pub async fn shows(&self, texts: &[&str]) -> Result<String> {
        eventually(&format!("a screen with {texts:?}"), || async {
            let screen = self.screen();
            ensure!(texts.iter().all(|text| screen.contains(text)), "{screen}");
            Ok(screen)
        })
        .await
    }

    /// The screen as a page, with its colours, for a picture of it.
    #[must_use]
    pub fn page(&self) -> String {
        let parser = self.parser();
        let screen = parser.screen();
        let (rows, columns) = screen.size();
        let lines = (0..rows).map(|row| {
            let cells = (0..columns).filter_map(|column| screen.cell(row, column));
            let cells: String = cells.filter(|cell| !cell.is_wide_continuation()).map(drawn).collect();
            cells.trim_end().to_owned()
        });
        let lines: Vec<String> = lines.collect();
        let shown = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
        format!("<!doctype html><meta charset=\"utf-8\"><style>{STYLE}</style><pre>{}</pre>", lines[..shown].join("\n"))
    }

    /// Presses keys.
    pub async fn press(&mut self, keys: &[u8]) -> Result<()> {
        self.keys.write_all(keys).await?;
        Ok(self.keys.flush().await?)
    }

    /// Waits for the end; answers how it ended, and what is left on the screen.
    pub async fn end(mut self) -> Result<(ExitStatus, String)> {
        let status = self.child.wait().await?;
        self.reading.await?;
        let parser = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((status, parser.screen().contents()))
    }
}

/// A cell as a part of a page.
fn drawn(cell: &vt100::Cell) -> Cow<'static, str> {
    let text = match cell.contents() {
        "" | " " => return Cow::Borrowed(" "),
        text => text.replace('&', "&amp;").replace('<', "&lt;"),
    };
    Cow::Owned(match (cell.fgcolor(), cell.bold(), cell.dim()) {
        (vt100::Color::Idx(color), ..) => format!("<span class=\"c{color}\">{text}</span>"),
        (_, true, _) => format!("<b>{text}</b>"),
        (_, _, true) => format!("<span class=\"dim\">{text}</span>"),
        _ => text,
    })
}
