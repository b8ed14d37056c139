//! What `brain dev` tells first: where everything is, and what to try.

use crate::failure::Failure;
use std::net::SocketAddr;
use tonic::transport::Uri;

/// Where everything is.
#[derive(Debug, Clone)]
pub(super) struct Addresses {
    /// The program, as it was called.
    pub program: String,
    /// The API.
    pub api: SocketAddr,
    /// The board.
    pub board: SocketAddr,
    /// Git host and registry; `None` with --aws.
    pub hosts: Option<SocketAddr>,
    /// The folder.
    pub data: String,
    /// Whether that is removed in the end.
    pub is_temporary: bool,
}

impl Addresses {
    /// The server, for a client.
    pub(super) fn server(&self) -> Result<Uri, Failure> {
        format!("http://{}", self.api).parse().map_err(|_| Failure::usage(format!("{} is no address", self.api)))
    }
}

/// Where everything is.
pub(super) fn addresses(at: &Addresses) -> Vec<String> {
    let Addresses { program: _, api, board, hosts, data, is_temporary } = at;
    let with =
        if hosts.is_some() { "a simulated AWS, a git host and a registry" } else { "AWS as your environment says" };
    let kept = if *is_temporary { "removed at the end; --data FOLDER keeps it" } else { "kept" };
    let mut lines = vec![
        format!("brain runs, with {with}"),
        String::new(),
        format!("  board     http://{board}/"),
        format!("  API       {api} (gRPC)"),
    ];
    if let Some(hosts) = hosts {
        lines.push(format!("  git       http://{hosts}/user.git"));
        lines.push(format!("  registry  http://{hosts}/v2/flowcommerce/user/tags/list"));
    }
    lines.push(format!("  data      {data} ({kept})"));
    lines
}

/// What to try. `after_the_story`: its versions are there already.
pub(super) fn commands(at: &Addresses, after_the_story: bool) -> Vec<String> {
    let Addresses { program, api, hosts, .. } = at;
    // Said in any case: what the environment or a file names may be another server.
    let mut tries: Vec<(String, &str)> = vec![(format!("export BRAIN_SERVER=http://{api}"), "")];
    let mut brain = |words: &str, what: &'static str| tries.push((format!("{program} {words}"), what));
    match (hosts, after_the_story) {
        (Some(_), false) => {
            brain("deploy user 0.0.4 --watch", "the only version with an image yet");
            brain("dev push 0.0.5", "a build brings the image of 0.0.5");
            brain("deploy user 0.0.5 --watch", "traffic moves task by task");
            brain("dev push 0.0.6 --bad", "a version whose tasks crash");
            brain("deploy user 0.0.6 --watch", "it is rolled back");
        }
        (Some(_), true) => {
            brain("dev push 0.0.7", "a build brings a version that is mended");
            brain("deploy user 0.0.7 --watch", "traffic moves task by task");
            brain("dev commit", "somebody commits to master");
            brain("tag user --bump patch", "brain tags it, and waits for the image");
        }
        (None, _) => brain("apply -f user.toml", "a project; `brain apply --help` shows such a file"),
    }
    brain("status", "what runs");
    brain("board --watch", "the board, in a terminal");
    tries.push((format!("grpcurl -plaintext {api} brain.v1.BoardService/GetBoard"), "any gRPC client"));
    let widest = tries.iter().filter(|(_, what)| !what.is_empty()).map(|(command, _)| command.len()).max().unwrap_or(0);
    let mut lines = vec![String::new(), "Try, in another terminal:".to_owned(), String::new()];
    lines.extend(tries.iter().map(|(command, what)| match *what {
        "" => format!("  {command}"),
        what => format!("  {command:widest$}  # {what}"),
    }));
    lines.push(String::new());
    lines.push("Ctrl-C ends it.".to_owned());
    lines
}
