//! The simulated network: connections in memory, each through a pump that can be held in either direction or cut.

use futures::future::join;
use hyper_util::rt::TokioIo;
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Error};
use tower::service_fn;

/// Bytes under way in each direction.
const WINDOW: usize = 64 << 10;
/// Time that bytes take.
const DELAY: Duration = Duration::from_millis(1);

type Accepted = io::Result<DuplexStream>;

/// All lines to the server, by the name of who is at their other end.
#[derive(Debug, Default)]
pub struct Wires {
    server: Mutex<Option<mpsc::Sender<Accepted>>>,
    lines: Mutex<BTreeMap<String, Line>>,
}

#[derive(Debug)]
struct Line {
    to_server: watch::Sender<bool>,
    to_client: watch::Sender<bool>,
    cut: CancellationToken,
}

impl Default for Line {
    fn default() -> Self {
        Self { to_server: watch::Sender::new(true), to_client: watch::Sender::new(true), cut: CancellationToken::new() }
    }
}

impl Wires {
    /// Connections of a server that begins now.
    pub fn serve(&self) -> ReceiverStream<Accepted> {
        let (sender, receiver) = mpsc::channel(16);
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        ReceiverStream::new(receiver)
    }

    /// The server is gone: every connection breaks, and new ones are refused.
    pub fn server_gone(&self) {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let names: Vec<String> = self.lines().keys().cloned().collect();
        for name in names {
            self.cut(&name);
        }
    }

    /// Breaks the connections of a line; new ones may be made.
    pub fn cut(&self, name: &str) {
        if let Some(line) = self.lines().get_mut(name) {
            std::mem::take(&mut line.cut).cancel();
        }
    }

    /// Lets bytes through, or holds them, in each direction.
    pub fn hold(&self, name: &str, to_server: bool, to_client: bool) {
        if let Some(line) = self.lines().get(name) {
            line.to_server.send_replace(!to_server);
            line.to_client.send_replace(!to_client);
        }
    }

    /// Opens a channel.
    pub async fn connect(self: Arc<Self>, name: String, endpoint: &Endpoint) -> Result<Channel, Error> {
        endpoint.connect_with_connector(self.connector(name)).await
    }

    /// A channel that is opened when it is used, and again when it broke.
    pub fn connect_lazily(self: Arc<Self>, name: String, endpoint: &Endpoint) -> Channel {
        endpoint.connect_with_connector_lazy(self.connector(name))
    }

    fn connector(
        self: Arc<Self>,
        name: String,
    ) -> impl tower::Service<
        tonic::transport::Uri,
        Response = TokioIo<DuplexStream>,
        Error = io::Error,
        Future = impl Future<Output = io::Result<TokioIo<DuplexStream>>> + Send,
    > + Send
    + 'static {
        service_fn(move |_| {
            let (wires, name) = (Arc::clone(&self), name.clone());
            async move { wires.open(name).await.map(TokioIo::new) }
        })
    }

    async fn open(&self, name: String) -> io::Result<DuplexStream> {
        let (mut out, mut back, cut) = {
            let mut lines = self.lines();
            let line = lines.entry(name).or_default();
            (line.to_server.subscribe(), line.to_client.subscribe(), line.cut.clone())
        };
        // Nobody hears of it until it gets through.
        let _ = out.wait_for(|open| *open).await;
        let _ = back.wait_for(|open| *open).await;
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let server = server.ok_or(io::ErrorKind::ConnectionRefused)?;
        let (client, near) = duplex(WINDOW);
        let (far, accepted) = duplex(WINDOW);
        server.send(Ok(accepted)).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
        let ((near_out, near_in), (far_out, far_in)) = (split(near), split(far));
        tokio::spawn(async move {
            cut.run_until_cancelled(join(pump(near_out, far_in, out), pump(far_out, near_in, back))).await;
        });
        Ok(client)
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<String, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pump(mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>, mut open: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let Ok(read) = from.read(&mut buffer).await else { return };
        if open.wait_for(|open| *open).await.is_err() {
            return;
        }
        sleep(DELAY).await;
        if read == 0 {
            let _ = to.shutdown().await;
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
