//! Streams of server-sent events. Each begins with the whole page, so that one that broke needs no memory of what it had.

use super::Board;
use axum::{
    http::StatusCode,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::Stream;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

/// Messages that may wait. A reader that is slower is waited for, and then sent what is so by then.
const WAITING: usize = 4;
/// Streams at the same time, of all pages.
const STREAMS: usize = 8_192;
static OPEN: Semaphore = Semaphore::const_new(STREAMS);

/// Streams that are open.
pub(crate) fn open() -> usize {
    STREAMS - OPEN.available_permits()
}

/// How often a stream with no news shows that it lives.
const ALIVE: Duration = Duration::from_secs(15);

/// Where a stream's messages go.
#[derive(Debug)]
pub(super) struct Reader(mpsc::Sender<Message>);

#[derive(Debug)]
enum Message {
    /// A part of the page.
    Part(String),
    /// Nothing more will come, now or later.
    Gone,
}

/// The reader has left.
#[derive(Debug)]
pub(super) struct Left;

impl Reader {
    pub(super) async fn send(&self, html: String) -> Result<(), Left> {
        self.0.send(Message::Part(html)).await.map_err(|_| Left)
    }

    /// Sends the last part: the browser does not ask again.
    pub(super) async fn end(&self, html: String) -> Result<(), Left> {
        self.send(html).await?;
        self.0.send(Message::Gone).await.map_err(|_| Left)
    }
}

/// A stream that `write` fills until the reader leaves or the server ends.
pub(super) fn stream<F>(board: &Arc<Board>, write: impl FnOnce(Reader) -> F) -> Response
where
    F: Future<Output = Result<(), Left>> + Send + 'static,
{
    let Ok(place) = OPEN.try_acquire() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many pages are open\n").into_response();
    };
    let (sender, receiver) = mpsc::channel(WAITING);
    let (shutdown, gone) = (board.shared.shutdown.clone(), sender.clone());
    let written = write(Reader(sender));
    board.shared.tasks.spawn(async move {
        let _place = place;
        tokio::select! {
            _ = written => {}
            () = gone.closed() => {}
            () = shutdown.cancelled() => {}
        }
    });
    Sse::new(events(receiver)).keep_alive(KeepAlive::new().interval(ALIVE)).into_response()
}

fn events(receiver: mpsc::Receiver<Message>) -> impl Stream<Item = Result<Event, Infallible>> {
    ReceiverStream::new(receiver).map(|message| {
        Ok(match message {
            Message::Part(html) => Event::default().data(html),
            // A browser drops an event without data.
            Message::Gone => Event::default().event("gone").data("gone"),
        })
    })
}
