//! A resource under the eyes of a set-up step: whether it is brain's, and what is done where it differs.

use super::{Context, Findings, Observed};
use crate::{
    cloud::{Result, TAG_PROJECT, Tagged, Tags},
    difference::difference,
};
use brain_core::drift::{Drift, Remedy, SetUp};

/// A resource of the project.
pub(super) struct Resource<'a> {
    context: &'a Context,
    /// Kind and name: "load balancer user-ecs-lb".
    name: String,
    told: Vec<Drift>,
}

impl<'a> Resource<'a> {
    pub(super) fn new(context: &'a Context, kind: &str, name: &str) -> Self {
        Self { context, name: format!("{kind} {name}"), told: Vec::new() }
    }

    /// The same resource, of which nothing is told yet.
    pub(super) fn again(&self) -> Self {
        Self { context: self.context, name: self.name.clone(), told: Vec::new() }
    }

    /// The resource is missing. Once it is seen to be made again, all of it is, whatever else set-up may do.
    pub(super) fn make<F>(self, act: impl FnOnce(Context) -> F) -> Observed
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let drift = match self.mode() {
            SetUp::Make => Vec::new(),
            SetUp::Check | SetUp::Repair => vec![self.drift("missing".to_owned(), Remedy::Made)],
        };
        self.context.ready(format!("create {}", self.name), act).telling(drift)
    }

    /// What is to be done about a resource that has these `tags` before it may be touched; `None`: it is the project's.
    /// `wanted` are the tags that it would get.
    pub(super) fn claim(&self, tags: &Tags, tagged: Tagged, wanted: Tags) -> Option<Observed> {
        let (name, project) = (&self.name, self.context.spec.id.as_str());
        match tags.get(TAG_PROJECT) {
            Some(owner) if owner == project => None,
            Some(owner) => Some(blocked(format!(
                "the {name} is tagged {TAG_PROJECT}={owner} and is that project's: remove it, or name this project otherwise"
            ))),
            None if self.context.adopt => {
                let drift = self.drift(difference(TAG_PROJECT, "none", project), Remedy::Adopted);
                let adopted = self.context.ready(format!("adopt {name}"), move |context| async move {
                    context.cloud.tag(&tagged, &wanted).await
                });
                Some(adopted.telling(vec![drift]))
            }
            None => Some(blocked(format!(
                "the {name} exists and is not tagged {TAG_PROJECT}={project}: deploy with adopt to let brain have it, or \
                 remove it"
            ))),
        }
    }

    /// Whether differences are to be mended now, and what is then told of them. Otherwise they are told at the end.
    pub(super) fn mends(&mut self, differences: impl IntoIterator<Item = String>) -> Option<Vec<Drift>> {
        let differences = differences.into_iter();
        match self.mode() {
            SetUp::Make => Some(Vec::new()),
            SetUp::Repair => Some(differences.map(|difference| self.drift(difference, Remedy::Repaired)).collect()),
            SetUp::Check => {
                let told: Vec<Drift> = differences.map(|difference| self.drift(difference, Remedy::Told)).collect();
                self.told.extend(told);
                None
            }
        }
    }

    /// Whether what others have added is to be taken away now, and what is then told of that. Only a person who asks for the
    /// repair has it taken away: a set-up is complete without that.
    pub(super) fn removes(&mut self, differences: impl IntoIterator<Item = String>) -> Option<Vec<Drift>> {
        let repairs = self.context.set_up == SetUp::Repair;
        let remedy = if repairs { Remedy::Repaired } else { Remedy::Told };
        let told: Vec<Drift> = differences.into_iter().map(|difference| self.drift(difference, remedy)).collect();
        if repairs {
            return Some(told);
        }
        self.told.extend(told);
        None
    }

    /// What is told of what a deployment sets in any case, since it is what it is there for.
    pub(super) fn sets(&self, difference: String) -> Vec<Drift> {
        match self.mode() {
            SetUp::Make => Vec::new(),
            SetUp::Check | SetUp::Repair => vec![self.drift(difference, Remedy::Repaired)],
        }
    }

    /// Tells a difference, and leaves it whatever set-up may do.
    pub(super) fn leaves(&mut self, difference: String) {
        let told = self.drift(difference, Remedy::Told);
        self.told.push(told);
    }

    /// What is told of a setting that this deployer's own configuration has changed. It is followed whatever set-up may do,
    /// to its end: who changed it there meant it.
    pub(super) fn follows(&self, difference: String) -> Vec<Drift> {
        vec![self.drift(difference, Remedy::Followed)]
    }

    /// Whether it is made in this deployment, or its making may have been broken off in one before.
    pub(super) fn is_being_made(&self) -> bool {
        self.mode() == SetUp::Make
    }

    /// Whether what differs becomes as the definition has it.
    pub(super) fn is_mended(&self) -> bool {
        self.mode() != SetUp::Check
    }

    /// Tells what was to be told of another one too.
    pub(super) fn absorb(&mut self, other: Self) {
        self.told.extend(other.told);
    }

    /// The resource is as it has to be, or what differs is told.
    pub(super) fn done(self) -> Observed {
        if self.told.is_empty() { Observed::Done(Findings::default()) } else { Observed::Told(self.told) }
    }

    fn mode(&self) -> SetUp {
        if self.context.made.contains(&self.name) { SetUp::Make } else { self.context.set_up }
    }

    fn drift(&self, difference: String, remedy: Remedy) -> Drift {
        Drift { resource: self.name.clone(), difference, remedy }
    }
}

fn blocked(why: String) -> Observed {
    Observed::Blocked(why, Findings::default())
}
