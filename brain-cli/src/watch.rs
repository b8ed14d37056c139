//! Streams of the server that are opened again when they break: over a restart of the server, for a bounded time.

use crate::failure::Failure;
use crate::{exit::Exit, failure};
use brain_proto::channel::Pauses;
use std::time::Duration;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tonic::{Response, Status, Streaming};

/// Messages that may wait for being shown. A reader that is slower makes the server wait, or be cut off and read anew.
const WAITING: usize = 64;

/// What a watch tells.
#[derive(Debug)]
pub(crate) enum News<T> {
    /// A message.
    Message(T),
    /// The stream broke, and is opened again.
    Lost(String),
    /// It is open again: what is known now follows.
    Back,
    /// The last message has been read.
    Ended,
    /// It is given up.
    Failed(Failure),
}

/// Follows a stream in a task that ends with the receiver. `open` opens it; after a message that `is_last` nothing follows.
/// A stream that breaks is opened again for as long as `patience` lasts.
pub(crate) fn follow<T, O, F>(open: O, is_last: fn(&T) -> bool, patience: Duration) -> mpsc::Receiver<News<T>>
where
    T: Send + 'static,
    O: Fn() -> F + Send + 'static,
    F: Future<Output = Result<Response<Streaming<T>>, Status>> + Send,
{
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let mut pauses = Pauses::default();
        let mut alive = Instant::now();
        let mut lost = false;
        loop {
            let opened = Instant::now();
            let broken = match open().await {
                Ok(stream) => {
                    if std::mem::take(&mut lost) && sender.send(News::Back).await.is_err() {
                        return;
                    }
                    match read(stream.into_inner(), &sender, is_last, &mut alive).await {
                        Some(broken) => broken,
                        None => return,
                    }
                }
                Err(status) => status,
            };
            if !failure::is_passing(&broken) {
                let _ = sender.send(News::Failed(broken.into())).await;
                return;
            }
            if alive.elapsed() >= patience {
                let text = format!("the server has not answered for {} s", patience.as_secs());
                let _ = sender.send(News::Failed(Failure::new(Exit::Unavailable, text))).await;
                return;
            }
            if !lost && sender.send(News::Lost(why(&broken))).await.is_err() {
                return;
            }
            lost = true;
            sleep(pauses.after(opened.elapsed())).await;
            if sender.is_closed() {
                return;
            }
        }
    });
    receiver
}

/// Hands messages on; answers how the stream broke, or nothing when there is no more to do.
async fn read<T>(
    mut stream: Streaming<T>,
    sender: &mpsc::Sender<News<T>>,
    is_last: fn(&T) -> bool,
    alive: &mut Instant,
) -> Option<Status> {
    loop {
        let message = stream.message().await;
        *alive = Instant::now();
        match message {
            Ok(Some(message)) => {
                let last = is_last(&message);
                sender.send(News::Message(message)).await.ok()?;
                if last {
                    let _ = sender.send(News::Ended).await;
                    return None;
                }
            }
            Ok(None) => return Some(Status::unavailable("the server ended the stream")),
            Err(status) => return Some(status),
        }
    }
}

/// Why a stream broke, for people: the first line of what is known.
fn why(status: &Status) -> String {
    let known = status.message().lines().next().unwrap_or_default();
    // Tonic's words for a connection that broke under a stream.
    let broken = known.is_empty() || known.contains("h2 protocol error") || known.contains("transport error");
    if broken { "the connection broke".to_owned() } else { known.to_owned() }
}
