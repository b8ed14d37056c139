//! `brain-server`: reads its configuration, opens the store and serves.

use anyhow::Context;
use brain_process::{log, metrics, stop, trace};
use brain_server::{
    Incoming,
    clock::Clock,
    config::{Config, Settings},
    store::{Store, sled::SledStore},
};
use clap::Parser;
use std::{fs, path::PathBuf, process::ExitCode, sync::Arc};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tracing::info;

/// Actors allocate on one thread and free on another all the time, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Keeps the state of all projects, hands work to watchers and deployers, and answers the API.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// TOML file with the settings below, in the form `poll_interval = "60s"`; flags win over it
    #[arg(long, env = "BRAIN_SERVER_CONFIG")]
    config: Option<PathBuf>,
    /// How the log is written
    #[arg(long, visible_alias = "log-format", value_enum, default_value_t = log::Format::Pretty, env = "BRAIN_LOG_FORMAT")]
    log: log::Format,
    /// File that is written with the addresses of the API and of the HTTP port, a line each, once they are served, for scripts
    #[arg(long)]
    ready_file: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::start(arguments.log, "info");
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("brain-server: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    // The one TLS provider; a second call would fail, and there is none.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let file = match &arguments.config {
        None => Settings::default(),
        Some(path) => {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            toml::from_str(&text).with_context(|| format!("{} is faulty", path.display()))?
        }
    };
    let config = arguments.settings.or(file).check()?;
    metrics::install(brain_server::metrics::MEASURED)?;
    let _spans = trace::install("brain-server");
    let incoming =
        TcpListener::bind(config.listen).await.with_context(|| format!("cannot listen on {}", config.listen))?;
    let http = TcpListener::bind(config.http_listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.http_listen))?;
    let data = config.data.clone();
    let begun = std::time::Instant::now();
    let store: Arc<dyn Store> = Arc::new(tokio::task::spawn_blocking(move || SledStore::open(&data)).await??);
    info!("store loaded in {} ms", begun.elapsed().as_millis());
    if let Some(path) = &arguments.ready_file {
        let addresses = format!("{}\n{}\n", incoming.local_addr()?, http.local_addr()?);
        fs::write(path, addresses).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let config = Config { listen: incoming.local_addr()?, ..config };
    let incoming = Incoming { api: TcpListenerStream::new(incoming), http: Some(http) };
    brain_server::run(config, store, Clock::system(), incoming, stop::signalled()?).await
}
