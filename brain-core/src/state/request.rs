//! Requests to deploy and to go back, decided against a project's state.

use super::ProjectState;
use crate::{
    deployment::{
        Deployment, Fact, Phase, Request,
        control::{Control, ControlUsed},
    },
    hold::Barrier,
    image::Digest,
    line::Moment,
    names,
    plan::{self, Goal, Plan, ServiceCount},
    policy::RolloutPolicy,
};
use thiserror::Error;

/// What somebody wants deployed.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Tag or version; empty, for a rollback: the release before.
    pub tag: String,
    /// Who asks.
    pub requested_by: String,
    /// Why; may be empty.
    pub why: String,
    /// Makes the request safe to repeat; may be empty.
    pub request_id: String,
    /// The rollout policy, where it is not to be the project's.
    pub policy: Option<RolloutPolicy>,
    /// Why it may begin outside of every deploy window; `None`: it may not.
    pub outside_windows: Option<String>,
    /// Whether set-up mends what differs.
    pub repair_drift: bool,
    /// Whether resources of the right names that are not brain's become so.
    pub adopt: bool,
    /// Whether production may be other than it was last seen to be: what it was decides nothing then.
    pub unseen: bool,
}

/// How a project goes back to a release.
#[derive(Debug)]
pub enum WayBack {
    /// The deployment of that number is cancelled, and goes back by itself.
    Cancel(u64),
    /// Another deployment is made.
    Deploy {
        /// The deployment that is in progress and ends where it stands.
        cancel: Option<(u64, ControlUsed)>,
        /// The deployment.
        request: Box<Request>,
    },
}

/// What a request to deploy would do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DryRun {
    /// The plan that would be carried out.
    pub plan: Plan,
    /// All that forbids it now, what the request would be refused for first at the front.
    pub barriers: Vec<Refusal>,
}

/// Why a deployment cannot begin.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No such tag and no such image.
    #[error("there is no release {0}: neither a git tag nor an image of that name has been seen")]
    UnknownRelease(String),
    /// The tag has no image yet.
    #[error("{image} is not available yet: the deployment can begin once the image is in the registry")]
    NoImage {
        /// The image that it waits for.
        image: String,
    },
    /// Another deployment is in progress.
    #[error("deployment {number} of {tag} is in progress: wait for its end")]
    InProgress {
        /// Its number.
        number: u64,
        /// What it deploys.
        tag: String,
    },
    /// No deployment before the current one has succeeded.
    #[error("there is no release to go back to: no other one was deployed successfully")]
    NothingBefore,
    /// A person, or a failure before, forbids it.
    #[error(transparent)]
    Held(#[from] Barrier),
    /// Nothing serves that could be pinned.
    #[error("nothing serves yet: name the version to pin")]
    NothingServes,
}

impl ProjectState {
    /// Decides a request to deploy.
    pub fn request_deployment(&self, wish: Wish, moment: &Moment) -> Result<Request, Refusal> {
        if let Some(active) = self.active() {
            return Err(in_progress(active));
        }
        let (tag, digest) = self.with_image(&wish.tag)?;
        let barrier = match wish.outside_windows {
            Some(_) => self.holds.barrier_outside_windows(&tag, &digest, moment),
            None => self.holds.barrier(&tag, &digest, moment),
        };
        if let Some(barrier) = barrier {
            return Err(barrier.into());
        }
        let serving = self.serving_now(!wish.unseen);
        let mut request = self.request(Wish { tag, ..wish }, digest, &serving);
        request.awaits = self.spec.depends_on.clone();
        Ok(self.held(request))
    }

    /// Plans what a request to deploy asks for, also where something forbids it: nothing is begun. Beside a deployment in
    /// progress it is planned as if that one ended where it stands.
    pub fn dry_run(&self, wish: Wish, moment: &Moment) -> Result<DryRun, Refusal> {
        let (tag, digest) = self.with_image(&wish.tag)?;
        let active = self.active();
        let held = self.holds.barriers(&tag, &digest, moment, wish.outside_windows.is_some());
        let barriers = active.map(in_progress).into_iter().chain(held.into_iter().map(Refusal::from)).collect();
        let serving = match active.filter(|active| !active.has_not_begun()) {
            Some(active) => active.serving(),
            None => self.serving_now(!wish.unseen),
        };
        let Request { plan, .. } = self.request(Wish { tag, ..wish }, digest, &serving);
        Ok(DryRun { plan, barriers })
    }

    /// Tag and image of a release.
    fn with_image(&self, tag: &str) -> Result<(String, Digest), Refusal> {
        let release = self.release(tag).ok_or_else(|| Refusal::UnknownRelease(tag.to_owned()))?;
        match release.image {
            Some(image) => Ok((release.tag.to_owned(), image.digest.clone())),
            None => Err(Refusal::NoImage { image: self.spec.image_repository.with_tag(release.tag) }),
        }
    }

    /// A request for something new waits for what has to come first.
    fn held(&self, mut request: Request) -> Request {
        request.approvals_required = self.holds.approvals.as_ref().map_or(0, |held| held.hold);
        request.held = request.approvals_required > 0 || !request.awaits.is_empty();
        request
    }

    /// Decides a request to go back to a release, or without a tag to the one before. The images that were deployed then
    /// are deployed again, whatever their tags name now. Neither a freeze nor the line forbids it, and nothing forbids to
    /// cancel. What never was deployed is nothing to go back to: it is held like everything new.
    pub fn request_rollback(&self, wish: Wish, moment: &Moment) -> Result<WayBack, Refusal> {
        let at = moment.at;
        let active = self.active();
        let (tag, digest) = match (&*wish.tag, active) {
            // Whoever asks means what serves, which one that waits for others has not touched. Where nothing serves, it is all
            // that can be meant.
            ("", Some(active)) if active.has_not_begun() && !self.serving.is_empty() => self.release_before()?,
            ("", Some(active)) => return Ok(WayBack::Cancel(active.number)),
            ("", None) => self.release_before()?,
            (tag, _) => self.deployed_or_released(tag)?,
        };
        let back = active.filter(|active| {
            let came_from = names::service(&self.spec.id, &tag, &digest);
            let served: Vec<&ServiceCount> = active.plan.from.iter().filter(|count| count.count > 0).collect();
            matches!(&*served, [only] if only.service == came_from && only.count >= self.spec.target.desired_count)
        });
        if let Some(active) = back {
            return Ok(WayBack::Cancel(active.number));
        }
        let back = self.has_succeeded(&tag, &digest);
        let barrier =
            if back { self.holds.barrier_back(&tag, &digest) } else { self.holds.barrier(&tag, &digest, moment) };
        if let Some(barrier) = barrier {
            return Err(barrier.into());
        }
        let policy = self.spec.rollout_policy.clone().straight();
        let wish = Wish { tag, policy: Some(policy), ..wish };
        let Some(active) = active else {
            let serving = self.serving_now(!wish.unseen);
            let request = self.request_back(back, self.request(wish, digest, &serving));
            return Ok(WayBack::Deploy { cancel: None, request: Box::new(request) });
        };
        let rolled = format!("rolled back to {}", wish.tag);
        let control = ControlUsed {
            at,
            by: wish.requested_by.clone(),
            why: if wish.why.is_empty() { rolled } else { format!("{rolled}: {}", wish.why) },
            control: Control::Cancel { rollback: false },
            // The new deployment answers the request.
            request_id: String::new(),
        };
        // It is not over, so that nothing but a cancellation could be refused.
        let cancelled = active.clone().apply(&self.spec, Fact::Controlled(control.clone()), at);
        let serving = if active.has_not_begun() {
            self.serving_now(!wish.unseen)
        } else {
            cancelled.map(|(cancelled, _)| cancelled.serving()).unwrap_or_default()
        };
        let request = Box::new(self.request_back(back, self.request(wish, digest, &serving)));
        Ok(WayBack::Deploy { cancel: Some((active.number, control)), request })
    }

    fn request_back(&self, back: bool, request: Request) -> Request {
        if back { Request { back, ..request } } else { self.held(request) }
    }

    fn request(&self, wish: Wish, digest: Digest, serving: &[ServiceCount]) -> Request {
        let Wish { tag, requested_by, why, request_id, policy, outside_windows, repair_drift, adopt, unseen: _ } = wish;
        let number = self.last_number() + 1;
        let goal = Goal { deployment: number, tag: &tag, digest: &digest };
        let by_policy = policy.as_ref().unwrap_or(&self.spec.rollout_policy);
        let plan = plan::plan(&self.spec, by_policy, goal, serving).allowing(self.set_up(repair_drift), adopt);
        Request {
            number,
            tag,
            digest,
            requested_by,
            request_id,
            plan,
            policy,
            awaits: Vec::new(),
            back: false,
            held: false,
            approvals_required: 0,
            outside_windows,
            why,
        }
    }

    fn has_succeeded(&self, tag: &str, digest: &Digest) -> bool {
        let same = |known: &Deployment| known.tag == tag && known.digest == *digest;
        self.deployments.iter().any(|known| same(known) && known.phase == Phase::Succeeded)
    }

    /// What served before what serves now. Where a deployment was left halfway, that is the version which it was to replace;
    /// otherwise what was deployed before the current version first was, so that going back twice goes back two releases and
    /// not forth again. What is quarantined is passed over.
    fn release_before(&self) -> Result<(String, Digest), Refusal> {
        let service = |deployment: &Deployment| names::service(&self.spec.id, &deployment.tag, &deployment.digest);
        let serves = |deployment: &&Deployment| {
            let service = service(deployment);
            !deployment.has_not_begun() && self.serving.iter().any(|serving| serving.service == service)
        };
        let succeeded = |deployment: &&Deployment| {
            deployment.phase == Phase::Succeeded && !self.holds.quarantined(&deployment.tag, &deployment.digest)
        };
        let current = self.deployments.iter().rev().find(serves);
        let below = match current {
            Some(current) if current.phase == Phase::Succeeded => {
                let first =
                    self.deployments.iter().find(|known| succeeded(known) && service(known) == service(current));
                first.unwrap_or(current).number
            }
            _ => u64::MAX,
        };
        let mut before = self.deployments.iter().rev().filter(|deployment| deployment.number < below);
        let before = before.find(succeeded).ok_or(Refusal::NothingBefore)?;
        Ok((before.tag.clone(), before.digest.clone()))
    }

    pub(super) fn deployed_or_released(&self, tag: &str) -> Result<(String, Digest), Refusal> {
        let known = self.release(tag);
        let name = known.as_ref().map_or(tag, |release| release.tag);
        let succeeded = |deployment: &&Deployment| deployment.tag == name && deployment.phase == Phase::Succeeded;
        if let Some(deployed) = self.deployments.iter().rev().find(succeeded) {
            return Ok((deployed.tag.clone(), deployed.digest.clone()));
        }
        let release = known.ok_or_else(|| Refusal::UnknownRelease(tag.to_owned()))?;
        let image = self.spec.image_repository.with_tag(release.tag);
        release.image.map(|image| (release.tag.to_owned(), image.digest.clone())).ok_or(Refusal::NoImage { image })
    }
}

fn in_progress(active: &Deployment) -> Refusal {
    Refusal::InProgress { number: active.number, tag: active.tag.clone() }
}
