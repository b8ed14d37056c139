//! BoardService.

use super::{
    Api, Watch, page,
    project::{after_project, next_token},
};
use crate::{
    directory::Directory,
    project::{Project, Shared},
};
use brain_core::{id::ProjectId, status::status};
use brain_proto::{
    convert::status_to_proto,
    name,
    v1::{
        GetBoardRequest, GetBoardResponse, ProjectStatus, WatchBoardRequest, WatchBoardResponse,
        board_service_server::BoardService,
    },
};
use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::{
    broadcast::{
        self,
        error::{RecvError, TryRecvError},
    },
    mpsc,
};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl BoardService for Api {
    async fn get_board(&self, request: Request<GetBoardRequest>) -> Result<Response<GetBoardResponse>, Status> {
        let GetBoardRequest { page_size, page_token } = request.into_inner();
        let size = page::size(page_size, 100, 1_000)?;
        let after = after_project(&page_token)?;
        let page = self.directory.page(after.as_ref(), size + 1);
        let next_page_token = next_token(&page, size);
        let projects = page.iter().take(size).map(|project| project_status(project, &self.shared)).collect();
        Ok(Response::new(GetBoardResponse { projects, next_page_token }))
    }

    type WatchBoardStream = Watch<WatchBoardResponse>;

    async fn watch_board(&self, _: Request<WatchBoardRequest>) -> Result<Response<Self::WatchBoardStream>, Status> {
        let (directory, shared) = (Arc::clone(&self.directory), Arc::clone(&self.shared));
        let changed = self.shared.changed.subscribe();
        Ok(Response::new(self.watch(|sender| watch(directory, shared, changed, sender))))
    }
}

fn project_status(project: &Project, shared: &Shared) -> ProjectStatus {
    let state = &project.read().state;
    status_to_proto(state, status(state, &shared.moment()))
}

/// Sends every project's status, then that of those that change. A slow reader gets fewer, never older ones: what changed
/// meanwhile is sent as it is when its turn comes.
async fn watch(
    directory: Arc<Directory>,
    shared: Arc<Shared>,
    mut changed: broadcast::Receiver<ProjectId>,
    sender: mpsc::Sender<Result<WatchBoardResponse, Status>>,
) {
    let all = || directory.all().into_iter().map(|project| project.id.clone());
    let mut due: BTreeSet<ProjectId> = all().collect();
    // Projects that the reader knows, and is to be told of when they are gone.
    let mut told = BTreeSet::new();
    loop {
        for id in std::mem::take(&mut due) {
            let status = match directory.get(&id) {
                Some(project) => {
                    told.insert(id);
                    project_status(&project, &shared)
                }
                None if told.remove(&id) => ProjectStatus { project: name::project(&id), ..Default::default() },
                None => continue,
            };
            if sender.send(Ok(WatchBoardResponse { project: Some(status) })).await.is_err() {
                return;
            }
        }
        match changed.recv().await {
            Ok(id) => drop(due.insert(id)),
            Err(RecvError::Lagged(_)) => due.extend(all().chain(told.iter().cloned())),
            Err(RecvError::Closed) => return,
        }
        loop {
            match changed.try_recv() {
                Ok(id) => drop(due.insert(id)),
                Err(TryRecvError::Lagged(_)) => due.extend(all().chain(told.iter().cloned())),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
    }
}
