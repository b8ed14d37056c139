//! A rollout policy for one deployment, from options: a preset, steps in short, or a file.

use crate::{definition, failure::Failure};
use brain_proto::v1::{RolloutPolicy, RolloutPreset, RolloutStep, rollout_step::Size};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Options that replace the project's rollout policy.
#[derive(Debug, Args)]
#[command(next_help_heading = "Rollout policy, instead of the project's")]
pub(crate) struct Policy {
    /// A policy by name
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    /// How far traffic moves: sizes with a bake and a hold, such as "10%:5m,50%:10m:hold" or "1,2:90s"
    #[arg(long, value_name = "STEPS", value_delimiter = ',', value_parser = step)]
    steps: Vec<RolloutStep>,
    /// A TOML file with the fields of RolloutPolicy, gates included
    #[arg(long, value_name = "FILE", conflicts_with_all = ["preset", "steps"])]
    policy: Option<PathBuf>,
}

/// Rollout policies by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Preset {
    /// One instance at a time
    OneByOne,
    /// A tenth, then a half, each watched for five minutes, then the rest
    Canary,
    /// All of the new version beside the old one
    BlueGreen,
    /// The old version goes and the new one comes: an interruption
    AllAtOnce,
}

impl Policy {
    /// The policy; nothing where the project's own holds.
    pub(crate) fn read(&self) -> Result<Option<RolloutPolicy>, Failure> {
        if let Some(path) = &self.policy {
            return definition::read_policy(path).map(Some);
        }
        if self.preset.is_none() && self.steps.is_empty() {
            return Ok(None);
        }
        let preset = match self.preset {
            None => RolloutPreset::Unspecified,
            Some(Preset::OneByOne) => RolloutPreset::OneByOne,
            Some(Preset::Canary) => RolloutPreset::Canary,
            Some(Preset::BlueGreen) => RolloutPreset::BlueGreen,
            Some(Preset::AllAtOnce) => RolloutPreset::AllAtOnce,
        };
        Ok(Some(RolloutPolicy { preset: preset.into(), steps: self.steps.clone(), ..Default::default() }))
    }
}

/// `10%:5m:hold`: a size, then in any order a bake and "hold".
fn step(text: &str) -> Result<RolloutStep, String> {
    let mut parts = text.trim().split(':');
    let size = parts.next().unwrap_or_default();
    let number = |digits: &str| {
        digits.parse::<u32>().map_err(|_| format!("{size:?} is no size: write 10% of the tasks, or 2 for so many"))
    };
    let size = match size.strip_suffix('%') {
        Some(percent) => Size::Percent(number(percent)?),
        None => Size::Count(number(size)?),
    };
    let mut step = RolloutStep { size: Some(size), ..Default::default() };
    for part in parts {
        match part {
            "hold" => step.hold = true,
            bake => {
                let seconds =
                    seconds(bake).ok_or_else(|| format!("{bake:?} is neither \"hold\" nor a time as 90s, 5m or 1h"))?;
                step.bake = Some(prost_types::Duration { seconds, nanos: 0 });
            }
        }
    }
    Ok(step)
}

/// Seconds of `90s`, `5m`, `1h` or `7d`.
pub(crate) fn seconds(text: &str) -> Option<i64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    i64::from(digits.parse::<u32>().ok()?).checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_a_size_and_may_have_a_bake_and_a_hold() {
        let read = step("10%:5m:hold").unwrap();
        assert_eq!((read.size, read.hold), (Some(Size::Percent(10)), true));
        assert_eq!(read.bake.map(|bake| bake.seconds), Some(300));
        assert_eq!(step("2").unwrap().size, Some(Size::Count(2)));
        for faulty in ["", "x%", "10%:soon", "10%:5"] {
            assert!(step(faulty).is_err(), "{faulty:?} was taken");
        }
    }
}
