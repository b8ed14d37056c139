//! A real Prometheus, and what it scrapes: figures that the test sets.

use crate::{
    paths,
    sandbox::{Process, Sandbox, free_port},
    wait::eventually,
};
use anyhow::{Result, ensure};
use std::{
    fs,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A running Prometheus and its exporter.
#[derive(Debug)]
pub struct Prometheus {
    _sandbox: Sandbox,
    process: Process,
    port: u16,
    figures: Arc<Mutex<String>>,
    exporter: JoinHandle<()>,
}

impl Prometheus {
    /// Starts one that scrapes an exporter without figures.
    pub async fn start() -> Result<Self> {
        Self::scraping(&[]).await
    }

    /// Starts one that scrapes these too, `HOST:PORT`.
    pub async fn scraping(others: &[String]) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let target = listener.local_addr()?;
        let others = others.iter().map(|other| format!("'{other}'")).collect::<Vec<_>>().join(", ");
        let figures = Arc::new(Mutex::new(String::new()));
        let exporter = tokio::spawn(serve(listener, Arc::clone(&figures)));
        let sandbox = Sandbox::new()?;
        let port = free_port()?;
        let config = sandbox.path("prometheus.yml");
        fs::write(
            &config,
            format!(
                "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n\
                 scrape_configs:\n\
                 - {{job_name: test, static_configs: [{{targets: ['{target}']}}]}}\n\
                 - {{job_name: brain, static_configs: [{{targets: [{others}]}}]}}\n"
            ),
        )?;
        let data = sandbox.folder("data")?;
        let process = sandbox.start("prometheus", &paths::program("prometheus")?, |command| {
            command.arg(format!("--config.file={}", config.display()));
            command.arg(format!("--storage.tsdb.path={}", data.display()));
            command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        })?;
        let mut prometheus = Self { _sandbox: sandbox, process, port, figures, exporter };
        prometheus.process.check()?;
        let url = format!("{}/-/ready", prometheus.endpoint());
        eventually("Prometheus to be ready", || async {
            let status = crate::http::client().get(&url).send().await?.status();
            ensure!(status.is_success(), "{status}");
            Ok(())
        })
        .await?;
        Ok(prometheus)
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What the exporter tells from now on, in Prometheus's text format.
    pub fn set(&self, figures: &str) {
        figures.clone_into(&mut self.figures.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// kill -9.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.exporter.abort();
    }
}

async fn serve(listener: TcpListener, figures: Arc<Mutex<String>>) {
    while let Ok((connection, _)) = listener.accept().await {
        let text = figures.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Who does not read the answer asks again.
        let _ = answer(connection, &text).await;
    }
}

async fn answer(mut connection: TcpStream, text: &str) -> std::io::Result<()> {
    let mut request = [0; 4096];
    let _ = connection.read(&mut request).await?;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(text.as_bytes()).await
}
