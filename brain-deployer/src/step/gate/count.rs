//! What is counted of the tasks of services.

use super::super::{Context, failures::failures, health};
use crate::cloud::{Result, ServiceStatus};
use async_trait::async_trait;
use brain_core::{
    gate::tasks::{Counted, Present},
    time::Timestamp,
};

/// What is asked for: the less, the fewer calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// Whether the services are there, and their tasks are counted.
    pub(super) present: bool,
    /// Healthy ones too.
    pub(super) healthy: bool,
    /// Tasks that ended by themselves.
    pub(super) exits: Option<Within>,
}

/// A time in which exits are counted, both ends in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Within {
    pub(super) from: Timestamp,
    /// `None`: now. Clocks differ, and what AWS tells has happened.
    pub(super) to: Option<Timestamp>,
}

/// Where tasks are counted.
#[async_trait]
pub(super) trait CountPort: Send + Sync {
    /// The tasks of all of these services; `None`: one of them does not show, or was deleted.
    async fn count(&self, services: &[String], asked: Asked) -> Result<Option<Counted>>;
}

#[async_trait]
impl CountPort for Context {
    async fn count(&self, services: &[String], asked: Asked) -> Result<Option<Counted>> {
        let mut counted = Counted { present: None, exits: 0 };
        if asked.present {
            counted.present = self.present(services, asked.healthy).await?;
            if counted.present.is_none() {
                return Ok(None);
            }
        }
        if let Some(Within { from, to }) = asked.exits {
            for service in services {
                let mut stopped = self.cloud.tasks(&self.names.cluster, Some(service), true).await?;
                stopped.retain(|task| {
                    task.stopped.as_ref().is_some_and(|stopped| to.is_none_or(|to| stopped.at_ms <= to.0))
                });
                counted.exits += u32::try_from(failures(from.0, &stopped).len()).unwrap_or(u32::MAX);
            }
        }
        Ok(Some(counted))
    }
}

impl Context {
    async fn present(&self, names: &[String], healthy: bool) -> Result<Option<Present>> {
        let mut present = Present::default();
        for name in names {
            // The first look is shared with the others.
            let (began, services) = self.services(name).await?;
            let service = services.iter().find(|service| service.name == *name);
            let Some(service) = service.filter(|service| service.status == ServiceStatus::Active) else {
                return Ok(None);
            };
            present.desired += service.desired;
            present.running += service.running;
            if healthy {
                present.healthy += health::health(self, began, &services).await?.of(name).1;
            }
        }
        Ok(Some(present))
    }
}
