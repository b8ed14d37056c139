//! Holds in sentences, with who set each, since when and why.

use super::super::line::origin;
use crate::output::time;
use brain_proto::v1::{DeployWindow, DeployWindows, HoldOrigin, Holds};

/// A line for each hold.
pub(crate) fn lines(holds: &Holds) -> Vec<String> {
    let Holds { pin, freeze, quarantines, deploy_windows, required_approvals } = holds;
    let mut lines = Vec::new();
    if let Some(pin) = pin {
        lines.push(format!("pinned to {} {}", pin.version, by(pin.origin.as_ref())));
    }
    if let Some(freeze) = freeze {
        let until = freeze.end_time.map(|time| format!(" until {}", time::date(Some(time)))).unwrap_or_default();
        lines.push(format!("frozen{until} {}", by(freeze.origin.as_ref())));
    }
    let quarantined = quarantines.iter();
    lines.extend(quarantined.map(|held| format!("{} is quarantined {}", held.version, by(held.origin.as_ref()))));
    lines.extend(deploy_windows.as_ref().map(windows));
    if let Some(approvals) = required_approvals {
        let people = if approvals.count == 1 { "approval is" } else { "approvals are" };
        lines.push(format!("{} {people} required {}", approvals.count, by(approvals.origin.as_ref())));
    }
    lines
}

/// The deploy windows in a sentence.
pub(crate) fn windows(windows: &DeployWindows) -> String {
    let told = |window: &DeployWindow| {
        let length = window.duration.map(time::length).unwrap_or_default();
        format!("\"{}\" for {length} in {}", window.cron, window.time_zone)
    };
    let all: Vec<String> = windows.windows.iter().map(told).collect();
    format!("deployments begin at {} only, {}", all.join(", "), by(windows.origin.as_ref()))
}

fn by(held: Option<&HoldOrigin>) -> String {
    held.map(origin).unwrap_or_default()
}
