//! ProductionService.

use super::{Api, Watch, cut_off};
use crate::project::Project;
use brain_core::{
    event::{Change, Event},
    looks::Unobserved,
    production::Production,
    state::ProjectState,
};
use brain_proto::{
    convert::production_to_proto,
    error, name,
    v1::{
        self, GetProductionRequest, GetProductionResponse, WatchProductionRequest, WatchProductionResponse,
        production_service_server::ProductionService,
    },
};
use std::sync::Arc;
use tokio::sync::{broadcast::error::RecvError, mpsc};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl ProductionService for Api {
    async fn get_production(
        &self,
        request: Request<GetProductionRequest>,
    ) -> Result<Response<GetProductionResponse>, Status> {
        let project = self.production_named(&request.into_inner().name)?;
        let production = shown(&project, &Shown::of(&project.read().state));
        Ok(Response::new(GetProductionResponse { production: Some(production) }))
    }

    type WatchProductionStream = Watch<WatchProductionResponse>;

    async fn watch_production(
        &self,
        request: Request<WatchProductionRequest>,
    ) -> Result<Response<Self::WatchProductionStream>, Status> {
        let project = self.production_named(&request.into_inner().name)?;
        Ok(Response::new(self.watch(|sender| watch(project, sender))))
    }
}

impl Api {
    fn production_named(&self, name: &str) -> Result<Arc<Project>, Status> {
        let id = name::parse_production(name).map_err(|error| error::invalid_field("name", error))?;
        self.project(&id)
    }
}

/// A state of production.
struct Shown {
    production: Option<Production>,
    unobserved: Option<Unobserved>,
}

impl Shown {
    fn of(state: &ProjectState) -> Self {
        Self { production: state.production.clone(), unobserved: state.unobserved.clone() }
    }

    /// Goes on to what is so after `event`; answers whether that is something else.
    fn follow(&mut self, event: &Event) -> bool {
        match &event.change {
            Change::ProductionObserved { services } => {
                let production = Some(Production::new(services.clone(), event.at));
                *self = Self { production, unobserved: None };
            }
            Change::ProductionUnobserved { why, since } => {
                self.unobserved = Some(Unobserved { why: why.clone(), since: *since });
            }
            Change::ProductionObservedAgain => self.unobserved = None,
            _ => return false,
        }
        true
    }
}

fn shown(project: &Project, now: &Shown) -> v1::Production {
    let Shown { production, unobserved } = now;
    production_to_proto(&project.id, production.as_ref(), unobserved.as_ref(), project.production_seen())
}

/// Sends what runs now, then every state that production goes through, none left out.
async fn watch(project: Arc<Project>, sender: mpsc::Sender<Result<WatchProductionResponse, Status>>) {
    let mut news = project.subscribe();
    let (seen, mut now) = {
        let inner = project.read();
        (inner.version, Shown::of(&inner.state))
    };
    let message = |production| Ok(WatchProductionResponse { production: Some(production) });
    if sender.send(message(shown(&project, &now))).await.is_err() {
        return;
    }
    loop {
        let news = match news.recv().await {
            Ok(news) => news,
            Err(RecvError::Lagged(_)) => {
                let _ = sender.send(Err(cut_off(&name::production(&project.id)))).await;
                return;
            }
            // The project was deleted.
            Err(RecvError::Closed) => {
                let _ = sender.send(Err(error::not_found(&name::project(&project.id)))).await;
                return;
            }
        };
        if news.version <= seen {
            continue;
        }
        for event in &news.events {
            if !now.follow(event) {
                continue;
            }
            if sender.send(message(shown(&project, &now))).await.is_err() {
                return;
            }
        }
    }
}
