//! `brain-deployer`: reads its configuration and deploys.

use anyhow::Context;
use brain_deployer::{config::Settings, outside::Outside};
use brain_process::{log, metrics, port, stop, trace};
use clap::Parser;
use std::{fs, net::SocketAddr, path::PathBuf, process::ExitCode};

/// Carries out deployments on AWS, and tells the brain server what runs in production.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// TOML file with the server's address, the deployer's name, and registry credentials
    #[arg(long, env = "BRAIN_DEPLOYER_CONFIG")]
    config: Option<PathBuf>,
    /// Address of the server [default: http://127.0.0.1:7443]
    #[arg(long, env = "BRAIN_SERVER")]
    server: Option<String>,
    /// Name of this deployer, unique among deployers [default: deployer]
    #[arg(long, env = "BRAIN_AGENT")]
    agent: Option<String>,
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
    log::start(arguments.log, "info,aws_smithy_runtime_api=warn");
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("brain-deployer: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
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
    let shutdown = stop::signalled()?;
    let _spans = trace::install("brain-deployer");
    if let Some(address) = arguments.metrics_listen {
        metrics::install(brain_deployer::metrics::MEASURED)?;
        port::open(address, shutdown.clone()).await?;
    }
    let outside = Outside::real(config.aws_limits);
    brain_deployer::run(config, outside, uuid::Uuid::now_v7().to_string(), shutdown).await
}
