//! A repository on this machine: git's own programs, spoken to as a git host is, over their pipes.

use super::super::{BODY_MAX, PollError, REQUEST_TIMEOUT};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
    time::timeout,
};
use url::Url;

#[derive(Debug)]
pub(super) struct Local(PathBuf);

impl Local {
    /// The repository at a `file:` address, if it is below the folder that is allowed: whoever defines projects shall not
    /// read what else is on the watcher's machine.
    pub(super) fn new(url: &Url, folder: Option<&Path>) -> Result<Self, PollError> {
        let refused =
            || PollError::new("local repositories are read only below the git_folder of the watcher's configuration");
        let folder = folder.and_then(|folder| folder.canonicalize().ok()).ok_or_else(refused)?;
        let path = url.to_file_path().ok().and_then(|path| path.canonicalize().ok()).ok_or_else(refused)?;
        if path.starts_with(folder) { Ok(Self(path)) } else { Err(refused()) }
    }

    pub(super) async fn capabilities(&self) -> Result<Vec<u8>, PollError> {
        self.run(&["upload-pack", "--stateless-rpc", "--http-backend-info-refs"], Vec::new()).await
    }

    pub(super) async fn serve(&self, service: &str, request: Vec<u8>) -> Result<Vec<u8>, PollError> {
        self.run(&[service, "--stateless-rpc"], request).await
    }

    async fn run(&self, arguments: &[&str], request: Vec<u8>) -> Result<Vec<u8>, PollError> {
        let exchanged = timeout(REQUEST_TIMEOUT, self.exchange(arguments, request)).await;
        let exchanged = exchanged.map_err(|_| PollError::new("git does not answer in time"))?;
        exchanged.map_err(|error| PollError::new(format!("git {} fails: {error}", arguments[0])))
    }

    async fn exchange(&self, arguments: &[&str], request: Vec<u8>) -> std::io::Result<Vec<u8>> {
        let mut command = Command::new("git");
        command.args(arguments).arg(&self.0).env("GIT_PROTOCOL", "version=2").kill_on_drop(true);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let write = async {
            if let Some(mut stdin) = stdin {
                // A git that ends before it has read everything says why on its other pipe.
                let _ = stdin.write_all(&request).await;
            }
        };
        let most = BODY_MAX as u64;
        let (mut answer, mut trouble) = (Vec::new(), String::new());
        let read = async {
            if let Some(stdout) = stdout {
                stdout.take(most + 1).read_to_end(&mut answer).await?;
            }
            Ok::<_, std::io::Error>(())
        };
        let complain = async {
            if let Some(stderr) = stderr {
                let _ = stderr.take(10_000).read_to_string(&mut trouble).await;
            }
        };
        let ((), done, ()) = tokio::join!(write, read, complain);
        done?;
        if answer.len() > BODY_MAX {
            return Err(std::io::Error::other(format!("it answers with more than {} MiB", BODY_MAX >> 20)));
        }
        if !child.wait().await?.success() {
            return Err(std::io::Error::other(trouble.lines().next().unwrap_or("without a word").to_owned()));
        }
        Ok(answer)
    }
}
