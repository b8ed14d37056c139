//! The gRPC API: requests are checked whole, decided by projects, and answered in the API's own words.

use crate::{directory::Directory, http::hooks::Hooks, project::CommandError, project::Project, project::Shared};
use brain_core::id::ProjectId;
use brain_proto::{error, name};
use futures::stream::BoxStream;
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::Status;

mod agent;
mod board;
mod deployer;
mod deployment;
pub(crate) mod event;
mod line;
mod page;
mod production;
mod project;
mod watcher;

/// Messages of a watch that may wait in its stream.
const WATCH_BUFFER: usize = 16;
/// Pause that callers are asked to make when the store is not available.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// All services of the API.
#[derive(Debug, Clone)]
pub struct Api {
    directory: Arc<Directory>,
    shared: Arc<Shared>,
    hooks: Arc<Hooks>,
}

/// Stream of a server-streaming call.
pub(crate) type Watch<T> = BoxStream<'static, Result<T, Status>>;

impl Api {
    /// The API over these projects.
    #[must_use]
    pub fn new(directory: Arc<Directory>, shared: Arc<Shared>, hooks: Arc<Hooks>) -> Self {
        Self { directory, shared, hooks }
    }

    fn project(&self, id: &ProjectId) -> Result<Arc<Project>, Status> {
        self.directory.get(id).ok_or_else(|| error::not_found(&name::project(id)))
    }

    fn project_named(&self, field: &str, name: &str) -> Result<Arc<Project>, Status> {
        let id = name::parse_project(name).map_err(|error| error::invalid_field(field, error))?;
        self.project(&id)
    }

    /// Runs a watch until its reader leaves or the server ends.
    fn watch<T, F>(&self, run: impl FnOnce(mpsc::Sender<Result<T, Status>>) -> F) -> Watch<T>
    where
        T: Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(WATCH_BUFFER);
        let ended = sender.clone();
        let shutdown = self.shared.shutdown.clone();
        let watch = run(sender);
        self.shared.tasks.spawn(async move {
            tokio::select! {
                () = watch => {}
                () = ended.closed() => {}
                () = shutdown.cancelled() => {
                    let _ = ended.try_send(Err(shutting_down()));
                }
            }
        });
        ReceiverStream::new(receiver).boxed_stream()
    }
}

trait BoxedStream: Sized {
    fn boxed_stream<T>(self) -> Watch<T>
    where
        Self: tokio_stream::Stream<Item = Result<T, Status>> + Send + 'static,
    {
        Box::pin(self.fuse())
    }
}
impl<S> BoxedStream for S {}

fn shutting_down() -> Status {
    error::unavailable("SHUTTING_DOWN", "the server is shutting down: connect again", RETRY_AFTER)
}

/// A watcher of changes that read too slowly.
fn cut_off(what: &str) -> Status {
    let message =
        format!("the reader fell too far behind the changes of {what}: watch again, from the state as it is then");
    error::plain(tonic::Code::Aborted, "READER_TOO_SLOW", message)
}

/// A command that was not carried out, apart from refusals that need words of their own.
fn command_status(error: CommandError) -> Status {
    match error {
        CommandError::Store(message) => error::unavailable("STORE_UNAVAILABLE", message, RETRY_AFTER),
        CommandError::ShuttingDown => shutting_down(),
        CommandError::Deleted => error::plain(tonic::Code::NotFound, "NOT_FOUND", "the project was deleted"),
        CommandError::Definition(refusal) => error::precondition("REFUSED", "project", refusal.to_string()),
        CommandError::Refused(refusal) => error::precondition("REFUSED", "deployment", refusal.to_string()),
        CommandError::Misfit(misfit) => error::plain(tonic::Code::Aborted, "STATE_CHANGED", misfit.to_string()),
    }
}
