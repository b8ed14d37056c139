//! What people intend, decided against a project's state: holds that are set and lifted, and deployments by policy.

use super::{ProjectState, Refusal, Wish};
use crate::{
    deployment::{Cause, Deployment, Fact, Phase},
    event::Change,
    hold::{Barrier, Hold, HoldWish, Lifted, Pinned, Quarantined},
    image::Digest,
    line::Moment,
    names,
    version::{compare_tags, version_of},
};
use std::cmp::Ordering;

#[cfg(test)]
mod tests;

/// Who is named in the log for deployments by policy.
pub const AUTO_DEPLOY: &str = "policy auto_deploy";

impl ProjectState {
    /// Decides a request to hold or to lift; `None` when it is so already.
    pub fn request_hold(&self, wish: HoldWish, why: String) -> Result<Option<Change>, Refusal> {
        let hold = match wish {
            HoldWish::Unpin => return Ok(self.lift(Lifted::Pin, why)),
            HoldWish::Thaw => return Ok(self.lift(Lifted::Freeze, why)),
            HoldWish::Windows(windows) if windows.is_empty() => return Ok(self.lift(Lifted::Windows, why)),
            HoldWish::Approvals(0) => return Ok(self.lift(Lifted::Approvals, why)),
            HoldWish::Windows(windows) => Hold::Windows(windows),
            HoldWish::Approvals(count) => Hold::Approvals(count),
            HoldWish::LiftQuarantine(tag) => {
                let waits = |known: &Deployment| known.tag == tag && known.failed_by_surroundings() && !known.pardoned;
                let in_vain = self.deployments.iter().any(waits);
                let lifted = Lifted::Quarantine { tag };
                let news = in_vain || self.holds.has_to_lift(&lifted);
                return Ok(news.then_some(Change::HoldLifted { lifted, why }));
            }
            HoldWish::Pin(version) => {
                let (tag, digest) = if version.is_empty() {
                    let serving = self.serving_deployment().ok_or(Refusal::NothingServes)?;
                    (serving.tag.clone(), serving.digest.clone())
                } else {
                    self.deployed_or_released(&version)?
                };
                let pin = Pinned { tag, digest };
                // Who pinned the other one, and why, is not to be lost by the way.
                if let Some(other) = self.holds.pin.as_ref().filter(|held| held.hold != pin) {
                    return Err(Barrier::Pinned(other.clone()).into());
                }
                Hold::Pin(pin)
            }
            HoldWish::Quarantine(tag) => {
                let release = self.release(&tag).ok_or(Refusal::UnknownRelease(tag))?;
                let image = self.spec.image_repository.with_tag(release.tag);
                let digest = release.image.ok_or(Refusal::NoImage { image })?.digest.clone();
                Hold::Quarantine(Quarantined { tag: release.tag.to_owned(), digest })
            }
            // It is frozen for as long already, and whoever froze it for longer had a reason.
            HoldWish::Freeze(freeze) if self.holds.freeze.as_ref().is_some_and(|held| held.hold.lasts(&freeze)) => {
                return Ok(None);
            }
            HoldWish::Freeze(freeze) => Hold::Freeze(freeze),
        };
        Ok((!self.holds.has(&hold)).then_some(Change::HoldSet { hold, why }))
    }

    fn lift(&self, lifted: Lifted, why: String) -> Option<Change> {
        self.holds.has_to_lift(&lifted).then_some(Change::HoldLifted { lifted, why })
    }

    /// What follows by itself when a deployment has become `after`: an image that failed is quarantined, unless what is
    /// around it was at fault.
    #[must_use]
    pub fn quarantine_of(&self, after: &Deployment) -> Option<Change> {
        if after.phase != Phase::Failed || self.deployment(after.number).is_none_or(|known| known.phase.is_final()) {
            return None;
        }
        if after.cause == Some(Cause::Surroundings) {
            return None;
        }
        let hold = Hold::Quarantine(Quarantined { tag: after.tag.clone(), digest: after.digest.clone() });
        let why = format!("deployment {} failed: {}", after.number, after.reason.clone().unwrap_or_default());
        (!self.holds.has(&hold)).then_some(Change::HoldSet { hold, why })
    }

    /// What is to be told to a deployment that may begin as soon as nothing forbids it; `None`: there is none, or no news.
    #[must_use]
    pub fn admission(&self, moment: &Moment) -> Option<(u64, Fact)> {
        let ready = self.active().filter(|active| active.is_ready_to_begin())?;
        let Some(barrier) = self.barrier_of(ready, moment) else { return Some((ready.number, Fact::Admitted)) };
        let why = barrier.to_string();
        (ready.waiting.as_ref() != Some(&why)).then_some((ready.number, Fact::HeldBack { why }))
    }

    /// What forbids a deployment to begin that was accepted, and that no deployer has had yet: people may have held it since.
    #[must_use]
    pub fn forbidden_since(&self, number: u64, moment: &Moment) -> Option<Barrier> {
        let waits = self.deployment(number).filter(|deployment| deployment.awaits_its_first_lease())?;
        self.barrier_of(waits, moment)
    }

    fn barrier_of(&self, deployment: &Deployment, moment: &Moment) -> Option<Barrier> {
        let (tag, digest) = (&deployment.tag, &deployment.digest);
        match deployment.outside_windows {
            Some(_) => self.holds.barrier_outside_windows(tag, digest, moment),
            None => self.holds.barrier(tag, digest, moment),
        }
    }

    /// The newest deployment whose version serves.
    fn serving_deployment(&self) -> Option<&Deployment> {
        self.deployments.iter().rev().find(|deployment| {
            let service = names::service(&self.spec.id, &deployment.tag, &deployment.digest);
            self.serving.iter().any(|serving| serving.service == service)
        })
    }

    /// The image that the policy would deploy if nothing held it and it was not tried in vain: the newest version that has
    /// one, when it is newer than all that serves. Pre-releases are for people. An image that was deployed before and did
    /// not fail was taken back by a person, and stays so; one that failed by itself is quarantined until a person lifts that.
    fn newest_by_policy(&self) -> Option<(&str, &Digest)> {
        if !self.spec.deploy.automatic || self.active().is_some() {
            return None;
        }
        let versions =
            self.images.iter().filter(|(tag, _)| version_of(tag).is_some_and(|version| version.pre.is_empty()));
        let (tag, image) = versions.max_by(|a, b| compare_tags(a.0, b.0))?;
        let newer = |served: &str| compare_tags(tag, served) == Ordering::Greater;
        if !self.serving.iter().all(|serving| newer(&serving.version)) {
            return None;
        }
        let before = |deployment: &Deployment| deployment.tag == *tag && deployment.digest == image.digest;
        let taken_back = self.deployments.iter().any(|known| before(known) && known.phase != Phase::Failed);
        (!taken_back).then_some((tag.as_str(), &image.digest))
    }

    /// The latest deployment of that image, where its surroundings failed it and nobody has let policy try again.
    fn tried_in_vain(&self, tag: &str, digest: &Digest) -> Option<&Deployment> {
        let latest = self.deployments.iter().rev().find(|known| known.tag == tag && known.digest == *digest)?;
        (latest.failed_by_surroundings() && !latest.pardoned).then_some(latest)
    }

    /// What the policy would deploy, had its surroundings not failed it before: it is not deployed in a loop, but waits for
    /// a person.
    #[must_use]
    pub fn given_up(&self) -> Option<&Deployment> {
        let (tag, digest) = self.newest_by_policy()?;
        self.tried_in_vain(tag, digest)
    }

    /// Lets policy try again what failed under that tag.
    pub(super) fn pardon(&mut self, tag: &str) {
        for failed in self.deployments.iter_mut().filter(|known| known.tag == tag && known.phase == Phase::Failed) {
            failed.pardoned = true;
        }
    }

    /// The deployment that the policy asks for now.
    #[must_use]
    pub fn wanted_deployment(&self, moment: &Moment) -> Option<Wish> {
        let (tag, digest) = self.newest_by_policy()?;
        if self.holds.barrier(tag, digest, moment).is_some() || self.tried_in_vain(tag, digest).is_some() {
            return None;
        }
        Some(Wish { tag: tag.to_owned(), requested_by: AUTO_DEPLOY.to_owned(), ..Wish::default() })
    }

    /// The tag that the policy would deploy, and what forbids it.
    #[must_use]
    pub fn held_back(&self, moment: &Moment) -> Option<(&str, Barrier)> {
        let (tag, digest) = self.newest_by_policy()?;
        Some((tag, self.holds.barrier(tag, digest, moment)?))
    }
}
