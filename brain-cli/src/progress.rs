//! A deployment on its way, watched until it ends: drawn in place in a terminal, a line for each change elsewhere, a message
//! for each change for programs. Whoever stops watching stops nothing else.

use crate::{
    exit::Exit,
    failure::Failure,
    name::short_deployment,
    output::{
        Output,
        screen::{Screen, TICK},
        time,
    },
    session::Session,
    watch::{self, News},
};
use brain_proto::{
    name::parse_deployment,
    v1::{
        Deployment, DeploymentPhase, Production, WatchDeploymentRequest, WatchDeploymentResponse,
        WatchProductionRequest, WatchProductionResponse,
    },
};
use std::time::Duration;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::Receiver,
    time::interval,
};

mod changes;
mod frame;

/// What is known of a deployment and of what runs meanwhile.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// As it was last told.
    pub deployment: Deployment,
    /// What runs; absent before it is known.
    pub production: Option<Production>,
    /// Why nothing new is known; absent while connected.
    pub lost: Option<String>,
}

/// Whether a deployment has ended.
pub(crate) fn has_ended(deployment: &Deployment) -> bool {
    let ends = [DeploymentPhase::Succeeded, DeploymentPhase::Failed, DeploymentPhase::Cancelled];
    ends.contains(&deployment.phase())
}

/// The exit code of a deployment that has ended.
pub(crate) fn exit_of(deployment: &Deployment) -> Exit {
    if deployment.phase() == DeploymentPhase::Succeeded { Exit::Done } else { Exit::DeploymentFailed }
}

/// Watches a deployment until it ends; answers its exit code.
pub(crate) async fn follow(session: &Session, name: &str, patience: Duration) -> Result<Exit, Failure> {
    let (project, _) = parse_deployment(name).map_err(|error| Failure::usage(format!("{name:?} {error}")))?;
    let mut deployments = deployment_news(session, name, patience);
    let mut productions = production_news(session, format!("projects/{project}/production"), patience);
    let mut view = View::new(session.out);
    let mut tick = interval(TICK);
    let mut observed = true;
    let mut interrupt = interrupts()?;
    loop {
        tokio::select! {
            biased;
            _ = interrupt.recv() => {
                view.clear()?;
                return Err(detached(name));
            }
            news = productions.recv(), if observed => match news {
                Some(News::Message(WatchProductionResponse { production })) => view.production(production)?,
                Some(News::Lost(_) | News::Back) => {}
                // The deployment's own stream tells of trouble.
                Some(News::Ended | News::Failed(_)) | None => observed = false,
            },
            news = deployments.recv() => match news {
                Some(News::Message(WatchDeploymentResponse { deployment: Some(deployment) })) => {
                    view.deployment(deployment)?;
                }
                Some(News::Message(_)) => {}
                Some(News::Lost(why)) => view.lost(Some(why))?,
                Some(News::Back) => view.lost(None)?,
                Some(News::Ended) => return view.end(),
                Some(News::Failed(failure)) => {
                    view.clear()?;
                    return Err(given_up(name, failure));
                }
                None => return Err(Failure::odd("end")),
            },
            _ = tick.tick() => view.draw(),
        }
    }
}

/// Waits for the answer to a request for a deployment. Whoever ends that by Ctrl-C learns that the request may have come
/// through, and how to find out; `id` is the request's.
pub(crate) async fn answered<T>(answer: impl Future<Output = Result<T, Failure>>, id: &str) -> Result<T, Failure> {
    let mut interrupt = interrupts()?;
    let text = format!(
        "ended before the server answered: the deployment may have been accepted, and then it goes on\n  next: brain status \
         tells; the same command with --request-id {id} answers that deployment, or asks for it now"
    );
    tokio::select! {
        biased;
        _ = interrupt.recv() => Err(Failure::new(Exit::Detached, text)),
        answer = answer => answer,
    }
}

/// Ctrl-C, which from now on ends nothing by itself.
pub(crate) fn interrupts() -> Result<Signal, Failure> {
    let cannot = |error| Failure::new(Exit::Unavailable, format!("cannot wait for Ctrl-C: {error}"));
    signal(SignalKind::interrupt()).map_err(cannot)
}

fn deployment_news(session: &Session, name: &str, patience: Duration) -> Receiver<News<WatchDeploymentResponse>> {
    let (client, name) = (session.client.clone(), name.to_owned());
    let open = move || {
        let (client, request) = (client.clone(), WatchDeploymentRequest { name: name.clone() });
        async move { client.deployments().watch_deployment(request).await }
    };
    watch::follow(open, |message| message.deployment.as_ref().is_some_and(has_ended), patience)
}

fn production_news(session: &Session, name: String, patience: Duration) -> Receiver<News<WatchProductionResponse>> {
    let client = session.client.clone();
    let open = move || {
        let (client, request) = (client.clone(), WatchProductionRequest { name: name.clone() });
        async move { client.production().watch_production(request).await }
    };
    watch::follow(open, |_| false, patience)
}

fn detached(name: &str) -> Failure {
    let short = short_deployment(name);
    let text = format!(
        "detached: deployment {short} goes on\n  watch it again: brain status {short} --watch\n  end it: brain cancel {short} --rollback"
    );
    Failure::new(Exit::Detached, text)
}

fn given_up(name: &str, failure: Failure) -> Failure {
    let Failure { exit, text } = failure;
    if exit != Exit::Unavailable {
        return Failure { exit, text };
    }
    let short = short_deployment(name);
    Failure::new(
        exit,
        format!("{text}: deployment {short} goes on without being watched\n  next: brain status {short} --watch"),
    )
}

/// The form in which progress is shown.
#[derive(Debug)]
struct View {
    out: Output,
    screen: Option<Screen>,
    now: Progress,
}

impl View {
    fn new(out: Output) -> Self {
        let screen = (out.terminal && out.is_for_people()).then(Screen::new);
        Self { out, screen, now: Progress::default() }
    }

    fn deployment(&mut self, deployment: Deployment) -> Result<(), Failure> {
        if !self.out.is_for_people() {
            let message = WatchDeploymentResponse { deployment: Some(deployment.clone()) };
            self.out.next_message("WatchDeploymentResponse", &message)?;
        }
        self.change(|progress| progress.deployment = deployment)
    }

    fn production(&mut self, production: Option<Production>) -> Result<(), Failure> {
        self.change(|progress| progress.production = production)
    }

    fn lost(&mut self, why: Option<String>) -> Result<(), Failure> {
        self.change(|progress| progress.lost = why)
    }

    fn change(&mut self, apply: impl FnOnce(&mut Progress)) -> Result<(), Failure> {
        let before = self.now.clone();
        apply(&mut self.now);
        if !self.out.is_for_people() {
            return Ok(());
        }
        match &self.screen {
            Some(screen) => {
                for line in changes::for_terminal(&before, &self.now) {
                    screen.print(&line);
                }
                self.draw();
                Ok(())
            }
            None => {
                let clock = time::clock(time::now());
                self.out.lines(changes::lines(&before, &self.now).iter().map(|line| format!("{clock} {line}")))
            }
        }
    }

    fn draw(&self) {
        if let Some(screen) = &self.screen {
            screen.show(&frame::lines(&self.now, time::now()));
        }
    }

    fn clear(&self) -> Result<(), Failure> {
        self.screen.as_ref().map_or(Ok(()), Screen::clear)
    }

    fn end(&self) -> Result<Exit, Failure> {
        self.clear()?;
        if self.out.is_for_people() {
            self.out.lines(changes::end(&self.now))?;
        }
        Ok(exit_of(&self.now.deployment))
    }
}
