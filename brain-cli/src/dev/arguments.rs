//! The words of `brain dev`.

use brain_process::log;
use clap::{Args, Subcommand};
use std::{
    io::{self, IsTerminal},
    net::SocketAddr,
    path::PathBuf,
};

/// Any free port of this machine.
const FREE: &str = "127.0.0.1:0";

/// Run brain with everything it works with, in this one process
///
/// A server, a watcher and a deployer as they ship, a simulated AWS, and a small git host and registry with a project
/// `user`. Nothing else has to be installed, nothing leaves this machine, and only this machine reaches it. It prints the
/// board's address and what to try, and ends on Ctrl-C.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  brain dev                               then open the board that it prints
  brain dev --story                       see a release reach production, and a bad one be taken back
  brain dev --data ~/brain-dev            go on there the next time
  brain dev push 0.0.6                    from another terminal: a build brings a version
  brain dev push 0.0.7 --bad              one whose tasks crash
  brain dev --aws                         on the AWS account of your environment (AWS_PROFILE, AWS_ENDPOINT_URL, …)"
)]
pub(crate) struct Dev {
    #[command(flatten)]
    pub(super) run: Run,
    #[command(subcommand)]
    pub(super) what: Option<What>,
}

/// What is started, and how.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// Play a release and tell it. Ends with 0 only if all of it was seen in the API. Afterwards everything goes on where
    /// the output is a terminal, and ends where it is not
    #[arg(long, conflicts_with = "aws")]
    pub(super) story: bool,
    /// With --story: go on afterwards, whatever the output is
    #[arg(long, requires = "story")]
    pub(super) stay: bool,
    /// Deploy to AWS and poll real git hosts and registries, as brain-deployer and brain-watcher do: credentials come from
    /// the environment. There is no project until `brain apply`, and a temporary folder forgets it: name one by --data
    #[arg(long)]
    pub(super) aws: bool,
    /// With --aws: brain-watcher's configuration, for the credentials of hosts
    #[arg(long, requires = "aws", value_name = "FILE")]
    pub(super) watcher_config: Option<PathBuf>,
    /// With --aws: brain-deployer's configuration
    #[arg(long, requires = "aws", value_name = "FILE")]
    pub(super) deployer_config: Option<PathBuf>,
    /// Folder that keeps everything [default: a temporary one, which is removed at the end]
    #[arg(long, value_name = "FOLDER")]
    pub(super) data: Option<PathBuf>,
    /// Address of the API, on this machine; 127.0.0.1:0 for any free port [default: 127.0.0.1:7443, where `brain` looks
    /// for it, or a free port if that is taken]
    #[arg(long, value_name = "ADDRESS", value_parser = loopback)]
    pub(super) listen: Option<SocketAddr>,
    /// Address of the board, on this machine [default: 127.0.0.1:7480, or a free port if that is taken]
    #[arg(long, value_name = "ADDRESS", value_parser = loopback)]
    pub(super) http_listen: Option<SocketAddr>,
    /// How the log is written, to standard error; RUST_LOG says how much of it, by default warnings
    #[arg(long, value_enum, default_value_t = log::Format::Pretty, env = "BRAIN_LOG_FORMAT", value_name = "FORMAT")]
    pub(super) log: log::Format,
}

/// What is asked of a `brain dev` that runs.
#[derive(Debug, Subcommand)]
pub(super) enum What {
    Push(Push),
    Commit(Commit),
}

/// Bring a version: a commit with its tag, where that is not there yet, and its image
///
/// What a developer and a build do. The `brain dev` is the one of the server: --server or BRAIN_SERVER.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brain dev push 0.0.6
  brain dev push 0.0.7 --bad      its tasks crash: a deployment of it is rolled back")]
pub(super) struct Push {
    /// The version
    pub(super) version: String,
    /// Its tasks crash
    #[arg(long)]
    pub(super) bad: bool,
    /// Project whose repositories they are
    #[arg(long, default_value = "user")]
    pub(super) project: String,
}

/// Commit to master, without a tag
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brain dev commit                the board tells that master is ahead
  brain tag user --bump patch     then brain tags it, and waits for the image: brain dev push")]
pub(super) struct Commit {
    /// Project whose repository it is
    #[arg(long, default_value = "user")]
    pub(super) project: String,
}

impl Run {
    /// Whether everything goes on once the story is told.
    pub(super) fn stays(&self) -> bool {
        self.stay || io::stdout().is_terminal()
    }

    /// What the log of all parts tells: of a simulated version that fails on purpose the board does.
    pub(super) fn log_filter(&self) -> &'static str {
        if self.aws { "warn" } else { "warn,brain_deployer::worker=error" }
    }
}

/// Whoever reaches the API can deploy, so nobody else shall.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| format!("write it as {FREE}"))?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err("it is reached from other machines, and `brain dev` is for this one: write 127.0.0.1, or run brain-server"
        .into())
}
