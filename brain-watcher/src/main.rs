//! `brain-watcher`: reads its configuration and watches.

use anyhow::Context;
use brain_process::{log, metrics, port, stop, trace};
use brain_watcher::{
    config::{Config, Settings},
    once::Subject,
    outside::Outside,
};
use clap::Parser;
use std::{fs, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};

/// Watches git hosts and registries, and tells the brain server what is there.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// TOML file with the server's address, the watcher's name, and the credentials of hosts
    #[arg(long, env = "BRAIN_WATCHER_CONFIG")]
    config: Option<PathBuf>,
    /// Address of the server [default: http://127.0.0.1:7443]
    #[arg(long, env = "BRAIN_SERVER")]
    server: Option<String>,
    /// Name of this watcher, unique among watchers [default: watcher]
    #[arg(long, env = "BRAIN_AGENT")]
    agent: Option<String>,
    /// Print what would be observed of this project ("projects/user", as the server defines it) and exit; without a name,
    /// of the addresses given below. The exit code is 1 when something cannot be read
    #[arg(long, value_name = "PROJECT", num_args = 0..=1, default_missing_value = "")]
    once: Option<String>,
    /// With --once: clone address of the git repository
    #[arg(long, requires = "once", default_value = "")]
    git_url: String,
    /// With --once: branch of the git repository
    #[arg(long, requires = "once", default_value = "master")]
    branch: String,
    /// With --once: image repository
    #[arg(long, requires = "once", default_value = "")]
    image_repository: String,
    /// Address at which /metrics and /healthz are served, as 127.0.0.1:9464 [default: they are not]
    #[arg(long, value_name = "HOST:PORT", env = "BRAIN_METRICS_LISTEN")]
    metrics_listen: Option<SocketAddr>,
    /// How the log is written
    #[arg(long, visible_alias = "log-format", value_enum, default_value_t = log::Format::Pretty, env = "BRAIN_LOG_FORMAT")]
    log: log::Format,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::start(arguments.log, "info");
    match run(arguments).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("brain-watcher: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    // The one TLS provider; a second call would fail, and there is none.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut settings = match &arguments.config {
        None => Settings::default(),
        Some(path) => {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            toml::from_str(&text).with_context(|| format!("{} is faulty", path.display()))?
        }
    };
    settings.server = arguments.server.or(settings.server);
    settings.agent = arguments.agent.or(settings.agent);
    let config = settings.check()?;
    if let Some(project) = arguments.once {
        let Arguments { git_url, branch, image_repository, .. } = arguments;
        let given = Subject { git_url, branch, image_repository };
        return once(&config, &project, given).await;
    }
    let shutdown = stop::signalled()?;
    let _spans = trace::install("brain-watcher");
    if let Some(address) = arguments.metrics_listen {
        metrics::install(brain_watcher::metrics::MEASURED)?;
        port::open(address, shutdown.clone()).await?;
    }
    let config = Arc::new(config);
    let outside = Outside::real(&config).context("no HTTP client")?;
    brain_watcher::run(config, outside, shutdown).await?;
    Ok(ExitCode::SUCCESS)
}

async fn once(config: &Config, project: &str, given: Subject) -> anyhow::Result<ExitCode> {
    let addressed = !given.git_url.is_empty() || !given.image_repository.is_empty();
    let subject = match (project.is_empty(), addressed) {
        (false, false) => brain_watcher::once::subject(config, project).await?,
        (true, true) => given,
        _ => anyhow::bail!("--once takes a project's name, or --git-url and --image-repository, one or both"),
    };
    let (text, whole) = brain_watcher::once::once(config, &subject).await?;
    print!("{text}");
    Ok(ExitCode::from(u8::from(!whole)))
}
