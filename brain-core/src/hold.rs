//! Holds: what people, and the server after a failure, have said must not be deployed. No policy overrides one.
//!
//! | hold | refuses | lifted by |
//! |---|---|---|
//! | pin | every image but the pinned one | a person |
//! | quarantine | one image that failed | a person |
//! | freeze | everything new; going back is allowed | a person, or its end |
//! | deploy windows | everything new outside of them, unless a person says why; going back is allowed | a person |
//! | required approvals | nothing: everything new waits for them; going back does not | a person |
//! | the line, of all projects | everything new; going back is allowed | a person |
//!
//! A deployment under way is not touched: what it does after a failure, or when a person cancels it, is never held back.

use crate::{
    image::Digest,
    line::{Moment, Stop},
    time::Timestamp,
    window::{self, Window},
};
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// Quarantined images that a project may have; beyond that the oldest is let go.
pub const QUARANTINES_MAX: usize = 1_000;

/// All holds of a project.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Holds {
    /// The image that the project stays on.
    pub pin: Option<Held<Pinned>>,
    /// Nothing new is deployed.
    pub freeze: Option<Held<Frozen>>,
    /// Images that are not deployed, oldest first.
    pub quarantines: Vec<Held<Quarantined>>,
    /// Nothing new begins outside of these, of which there is at least one.
    #[serde(default)]
    pub windows: Option<Held<Vec<Window>>>,
    /// How many people other than who asks have to approve a deployment, at least one.
    #[serde(default)]
    pub approvals: Option<Held<u32>>,
}

/// A hold, with who set it, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held<T> {
    /// The hold.
    pub hold: T,
    /// Who set it.
    pub by: String,
    /// Why; may be empty.
    pub why: String,
    /// Since when.
    pub since: Timestamp,
}

/// The image that a project stays on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// Tag.
    pub tag: String,
    /// Digest: a tag that moves names another image.
    pub digest: Digest,
}

/// An image that is not deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Tag.
    pub tag: String,
    /// Digest: another image under the same tag is free.
    pub digest: Digest,
}

/// Nothing new is deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// When it ends by itself; `None`: when a person ends it.
    pub until: Option<Timestamp>,
}

/// A hold that is set, as the log keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the variants are those of `Holds`")]
pub enum Hold {
    Pin(Pinned),
    Quarantine(Quarantined),
    Freeze(Frozen),
    Windows(Vec<Window>),
    Approvals(u32),
}

/// A hold that is lifted, as the log keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifted {
    /// The pin.
    Pin,
    /// The quarantine of every image of a tag.
    Quarantine {
        /// Tag.
        tag: String,
    },
    /// The freeze.
    Freeze,
    /// The deploy windows.
    Windows,
    /// The required approvals.
    Approvals,
}

/// What somebody wants held or lifted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldWish {
    /// Stay on that version; on what serves when it is empty.
    Pin(String),
    /// Move again.
    Unpin,
    /// Do not deploy the image that the release has now.
    Quarantine(String),
    /// Deploy the release again.
    LiftQuarantine(String),
    /// Deploy nothing new.
    Freeze(Frozen),
    /// Deploy again.
    Thaw,
    /// Deploy inside of these windows only; at any time when there are none.
    Windows(Vec<Window>),
    /// Deploy once so many others have approved; without approval when it is 0.
    Approvals(u32),
}

/// Why something must not be deployed. The message says how it is lifted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Barrier {
    /// Another image is pinned.
    #[error("the project is pinned to {}, {}; UnpinProject lifts it", .0.hold.tag, .0.whence())]
    Pinned(Held<Pinned>),
    /// The image is quarantined.
    #[error("{} is quarantined, {}; LiftQuarantine lifts it", .0.hold.tag, .0.whence())]
    Quarantined(Held<Quarantined>),
    /// The project is frozen.
    #[error("the project is frozen{}, {}; ThawProject lifts it", .0.hold, .0.whence())]
    Frozen(Held<Frozen>),
    /// The line is stopped.
    #[error("the line is stopped, {}; ReleaseLine lifts it", .0.whence())]
    LineStopped(Held<Stop>),
    /// No deploy window is open.
    #[error(
        "no deploy window is open, set {}; {}; SetDeployWindows changes them, and outside_windows with a reason passes them \
         over", .windows.whence(), opening(*.opens)
    )]
    Windows {
        /// The windows.
        windows: Held<Vec<Window>>,
        /// When the next one opens.
        opens: Option<Timestamp>,
    },
}

fn opening(opens: Option<Timestamp>) -> String {
    opens.map_or_else(|| "none opens any more".to_owned(), |opens| format!("the next one opens at {opens}"))
}

impl<T> Held<T> {
    /// `by ann since 2026-11-25T00:50:00Z: the reason`.
    #[must_use]
    pub fn whence(&self) -> String {
        let why = if self.why.is_empty() { String::new() } else { format!(": {}", self.why) };
        format!("by {} since {}{why}", self.by, self.since)
    }
}

impl Frozen {
    /// Whether it lasts as long as another one.
    #[must_use]
    pub fn lasts(&self, other: &Self) -> bool {
        self.until.is_none_or(|until| other.until.is_some_and(|other| other <= until))
    }
}

impl fmt::Display for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.until.map_or(Ok(()), |until| write!(f, " until {until}"))
    }
}

impl Holds {
    /// What forbids a deployment of that image. A freeze holds until it is lifted: the server lifts one whose end has come.
    #[must_use]
    pub fn barrier(&self, tag: &str, digest: &Digest, moment: &Moment) -> Option<Barrier> {
        self.barrier_outside_windows(tag, digest, moment).or_else(|| self.window_barrier(moment.at))
    }

    /// What forbids a deployment of that image that a person wants outside of every deploy window too.
    #[must_use]
    pub fn barrier_outside_windows(&self, tag: &str, digest: &Digest, moment: &Moment) -> Option<Barrier> {
        let line = moment.line.barrier().or_else(|| self.barrier_back(tag, digest));
        line.or_else(|| self.freeze.clone().map(Barrier::Frozen))
    }

    /// All that forbids a deployment of that image, what it is refused for first at the front.
    #[must_use]
    pub fn barriers(&self, tag: &str, digest: &Digest, moment: &Moment, outside_windows: bool) -> Vec<Barrier> {
        let windows = if outside_windows { None } else { self.window_barrier(moment.at) };
        let frozen = self.freeze.clone().map(Barrier::Frozen);
        let (pinned, quarantined) = (self.pin_barrier(tag, digest), self.quarantine_barrier(tag, digest));
        [moment.line.barrier(), pinned, quarantined, frozen, windows].into_iter().flatten().collect()
    }

    fn window_barrier(&self, at: Timestamp) -> Option<Barrier> {
        let windows = self.windows.as_ref().filter(|held| !window::is_open(&held.hold, at))?;
        Some(Barrier::Windows { windows: windows.clone(), opens: window::next_opening(&windows.hold, at) })
    }

    /// When a deploy window next opens or closes after `at`.
    #[must_use]
    pub fn next_window_change(&self, at: Timestamp) -> Option<Timestamp> {
        window::next_change(&self.windows.as_ref()?.hold, at)
    }

    /// What forbids going back to that image.
    #[must_use]
    pub fn barrier_back(&self, tag: &str, digest: &Digest) -> Option<Barrier> {
        self.pin_barrier(tag, digest).or_else(|| self.quarantine_barrier(tag, digest))
    }

    fn pin_barrier(&self, tag: &str, digest: &Digest) -> Option<Barrier> {
        let other = |pin: &&Held<Pinned>| pin.hold.tag != tag || pin.hold.digest != *digest;
        self.pin.as_ref().filter(other).cloned().map(Barrier::Pinned)
    }

    fn quarantine_barrier(&self, tag: &str, digest: &Digest) -> Option<Barrier> {
        self.quarantine(tag, digest).cloned().map(Barrier::Quarantined)
    }

    /// Whether that image is quarantined.
    #[must_use]
    pub fn quarantined(&self, tag: &str, digest: &Digest) -> bool {
        self.quarantine(tag, digest).is_some()
    }

    fn quarantine(&self, tag: &str, digest: &Digest) -> Option<&Held<Quarantined>> {
        self.quarantines.iter().find(|held| held.hold.tag == tag && held.hold.digest == *digest)
    }

    /// Whether the freeze has an end that has come.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.thaws().is_some_and(|until| until <= now)
    }

    /// When the freeze ends by itself.
    #[must_use]
    pub fn thaws(&self) -> Option<Timestamp> {
        self.freeze.as_ref()?.hold.until
    }

    pub(crate) fn set(&mut self, hold: &Hold, by: &str, why: &str, since: Timestamp) {
        let (by, why) = (by.to_owned(), why.to_owned());
        match hold.clone() {
            Hold::Pin(hold) => self.pin = Some(Held { hold, by, why, since }),
            Hold::Freeze(hold) => self.freeze = Some(Held { hold, by, why, since }),
            Hold::Windows(hold) => self.windows = Some(Held { hold, by, why, since }),
            Hold::Approvals(hold) => self.approvals = Some(Held { hold, by, why, since }),
            Hold::Quarantine(hold) => {
                self.quarantines.retain(|held| held.hold != hold);
                self.quarantines.push(Held { hold, by, why, since });
                if self.quarantines.len() > QUARANTINES_MAX {
                    self.quarantines.remove(0);
                }
            }
        }
    }

    pub(crate) fn lift(&mut self, lifted: &Lifted) {
        match lifted {
            Lifted::Pin => self.pin = None,
            Lifted::Freeze => self.freeze = None,
            Lifted::Windows => self.windows = None,
            Lifted::Approvals => self.approvals = None,
            Lifted::Quarantine { tag } => self.quarantines.retain(|held| held.hold.tag != *tag),
        }
    }

    /// Whether that hold is set already.
    pub(crate) fn has(&self, hold: &Hold) -> bool {
        match hold {
            Hold::Pin(pin) => self.pin.as_ref().is_some_and(|held| held.hold == *pin),
            Hold::Freeze(freeze) => self.freeze.as_ref().is_some_and(|held| held.hold == *freeze),
            Hold::Windows(windows) => self.windows.as_ref().is_some_and(|held| held.hold == *windows),
            Hold::Approvals(count) => self.approvals.as_ref().is_some_and(|held| held.hold == *count),
            Hold::Quarantine(image) => self.quarantines.iter().any(|held| held.hold == *image),
        }
    }

    /// Whether there is anything to lift.
    pub(crate) fn has_to_lift(&self, lifted: &Lifted) -> bool {
        match lifted {
            Lifted::Pin => self.pin.is_some(),
            Lifted::Freeze => self.freeze.is_some(),
            Lifted::Windows => self.windows.is_some(),
            Lifted::Approvals => self.approvals.is_some(),
            Lifted::Quarantine { tag } => self.quarantines.iter().any(|held| held.hold.tag == *tag),
        }
    }
}
