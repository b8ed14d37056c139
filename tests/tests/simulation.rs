//! The proof by simulation: seeds, an interruption at every call, and agents that are wrong on purpose and are caught.
//!
//! `SEED=123` runs one seed and tells its history; `SEEDS=1000..2000` runs others than the first ones; `EVERY=1` interrupts all
//! plans at each place, and not only the default one.

use anyhow::{Context, Result, bail, ensure};
use brain_deployer::simulated::Behaviour;
use brain_tests::simulation::{
    Setting, Way,
    faults::{Chosen, Deliberate},
    mishaps::Mishap,
    run, unharmed,
};
use std::collections::BTreeMap;

/// Seeds of every run of the tests.
const SEEDS: u64 = 200;
/// Among so many seeds there is every mishap.
const MANY: u64 = 100;
/// Seeds within which a deployer that is wrong on purpose is caught.
const CAUGHT_WITHIN: u64 = 200;

#[test]
fn no_seed_violates_an_invariant() -> Result<()> {
    if let Ok(seed) = std::env::var("SEED") {
        let ended = unharmed(Setting { seed: seed.parse()?, chaos: true, ..Setting::default() })?;
        println!("{}", ended.history.join("\n"));
        return Ok(());
    }
    let seeds = match std::env::var("SEEDS") {
        Err(_) => 0..SEEDS,
        Ok(text) => {
            let (first, end) = text.split_once("..").context("SEEDS is written as 1000..2000")?;
            first.parse()?..end.parse()?
        }
    };
    let many = seeds.end.saturating_sub(seeds.start);
    let mut happened: BTreeMap<Mishap, u64> = Mishap::ALL.map(|mishap| (mishap, 0)).into();
    for seed in seeds {
        for mishap in unharmed(Setting { seed, chaos: true, ..Setting::default() })?.mishaps {
            *happened.entry(mishap).or_default() += 1;
        }
    }
    println!("in {many} seeds: {happened:?}");
    ensure!(many < MANY || happened.values().all(|times| *times > 0), "in {many} seeds one never was: {happened:?}");
    Ok(())
}

#[test]
fn a_seed_runs_the_same_way_twice() -> Result<()> {
    for seed in 0..5 {
        let setting = Setting { seed, chaos: true, ..Setting::default() };
        let (first, second) = (run(setting)?.history, run(setting)?.history);
        let differs = first.iter().zip(&second).find(|(one, other)| one != other);
        ensure!(differs.is_none() && first.len() == second.len(), "seed {seed}: {differs:?}");
    }
    Ok(())
}

/// Places at which a plan other than the default one is interrupted, spread over it, unless all are asked for.
const PLACES: usize = 10;

/// The places of a plan that are tried, of `count`.
fn places(plain: Setting, count: usize) -> impl Iterator<Item = usize> {
    let all = plain.way == Some(Way::OneByOne) && plain.behaviour == Some(Behaviour::Good);
    let stride = if all || std::env::var_os("EVERY").is_some() { 1 } else { count.div_ceil(PLACES).max(1) };
    (1..=count).step_by(stride)
}

/// Every plan there is: each policy, there and back. A version that crashes is rolled back.
fn every_plan() -> impl Iterator<Item = Setting> {
    let ways = [Way::OneByOne, Way::Canary, Way::BlueGreen, Way::AllAtOnce, Way::Weighted];
    ways.into_iter().flat_map(|way| {
        [Behaviour::Good, Behaviour::Crashes].map(|behaviour| Setting {
            behaviour: Some(behaviour),
            way: Some(way),
            ..Setting::default()
        })
    })
}

#[test]
fn a_deployer_killed_after_any_call_leaves_the_same_cloud() -> Result<()> {
    for plain in every_plan() {
        let whole = unharmed(plain)?;
        for call in places(plain, whole.calls) {
            same_in_the_end(&whole.world, Setting { chosen: Some(Chosen::CrashAfterCall(call)), ..plain })?;
        }
    }
    Ok(())
}

#[test]
fn a_server_killed_after_any_commit_leaves_the_same_cloud() -> Result<()> {
    for plain in every_plan() {
        let whole = unharmed(plain)?;
        for commit in places(plain, whole.commits) {
            same_in_the_end(&whole.world, Setting { chosen: Some(Chosen::KillServerAfterCommit(commit)), ..plain })?;
        }
    }
    Ok(())
}

#[test]
fn an_act_that_is_refused_or_whose_answer_is_lost_leaves_the_same_cloud() -> Result<()> {
    for plain in every_plan() {
        let whole = unharmed(plain)?;
        for act in 1..=whole.acts {
            same_in_the_end(&whole.world, Setting { chosen: Some(Chosen::RefuseAct(act)), ..plain })?;
            same_in_the_end(&whole.world, Setting { chosen: Some(Chosen::LoseAct(act)), ..plain })?;
        }
    }
    Ok(())
}

fn same_in_the_end(whole: &str, setting: Setting) -> Result<()> {
    let ended = unharmed(setting)?;
    if ended.world != whole {
        bail!("{}\n{setting:?} ends with\n{}\nand uninterrupted with\n{whole}", ended.history.join("\n"), ended.world);
    }
    Ok(())
}

#[test]
fn what_a_person_leaves_in_the_midst_does_not_stand_in_the_way_of_the_next_version() -> Result<()> {
    for seed in 0..24 {
        brain_tests::simulation::left::mended(seed)?;
    }
    Ok(())
}

#[test]
fn on_a_way_back_to_a_service_that_somebody_deleted_what_serves_is_kept() -> Result<()> {
    brain_tests::simulation::gone::kept()
}

/// Runs seeds until the fault is caught by a violation that says so.
fn caught(deliberate: Deliberate, says: &str) -> Result<()> {
    for seed in 0..CAUGHT_WITHIN {
        let ended = run(Setting { seed, chaos: true, deliberate: Some(deliberate), ..Setting::default() })?;
        if ended.violations.iter().any(|violation| violation.contains(says)) {
            return Ok(());
        }
    }
    bail!("{CAUGHT_WITHIN} seeds do not catch {deliberate:?}")
}

#[test]
fn a_deployer_that_acts_after_its_lease_is_caught() -> Result<()> {
    caught(Deliberate::ActsLate, "acts on deployment")
}

#[test]
fn a_deployer_that_goes_on_with_what_was_withdrawn_is_caught() -> Result<()> {
    caught(Deliberate::IgnoresWithdraw, "was withdrawn")
}

#[test]
fn a_deployer_whose_looks_at_production_are_never_answered_is_caught() -> Result<()> {
    caught(Deliberate::SeesNothing, "can be observed, and the board says")
}

#[test]
fn a_deployer_that_shows_what_production_once_was_is_caught() -> Result<()> {
    caught(Deliberate::SeesTheFirst, "and the board says [")
}

#[test]
fn a_version_whose_tasks_exit_stays_before_its_gate_and_a_deployer_that_sees_none_is_caught() -> Result<()> {
    let leaks = Setting { behaviour: Some(Behaviour::Leaks), way: Some(Way::Gated), ..Setting::default() };
    let history = unharmed(leaks)?.history.join("\n");
    ensure!(history.contains("0.0.5: Some((2, Failed, "), "{history}");
    let blind = run(Setting { deliberate: Some(Deliberate::SeesNoExits), ..leaks })?;
    let caught = blind.violations.iter().any(|violation| violation.contains("has passed its gate on exits"));
    ensure!(caught, "{}", blind.history.join("\n"));
    Ok(())
}

#[test]
fn a_scale_that_ignores_the_floor_is_caught() -> Result<()> {
    caught(Deliberate::IgnoresFloor, "floor")
}

#[test]
fn capacity_that_is_returned_without_draining_is_caught() -> Result<()> {
    caught(Deliberate::EndsUndrained, "is ended with")
}

#[test]
fn a_rollback_that_does_not_restore_is_caught() -> Result<()> {
    caught(Deliberate::ForgetsToRestore, "healthy tasks of")
}

#[test]
fn a_repair_that_nobody_asked_for_is_caught() -> Result<()> {
    caught(Deliberate::RepairsUnasked, "though nobody asked")
}

#[test]
fn housekeeping_that_removes_without_a_look_is_caught() -> Result<()> {
    caught(Deliberate::RemovesUnseen, "is removed and lives")
}

#[test]
fn a_task_definition_that_is_registered_twice_is_caught() -> Result<()> {
    caught(Deliberate::RegistersTwice, "task definitions for")
}

#[test]
fn what_begins_or_goes_on_against_what_people_intend_is_caught() -> Result<()> {
    let violations = brain_tests::simulation::intent::against_intent()?;
    for says in [
        "though the line is stopped",
        "though the project is frozen",
        "with 0 approvals of 1",
        "goes on though",
        "lets a deployer take deployment 1 though the project is frozen",
    ] {
        ensure!(violations.iter().any(|violation| violation.contains(says)), "{says} is missing: {violations:?}");
    }
    Ok(())
}

#[test]
fn a_deployer_that_counts_running_tasks_for_healthy_ones_is_caught() -> Result<()> {
    caught(Deliberate::TakesRunningForHealthy, "floor")
}

#[test]
fn requests_that_are_sent_to_tasks_which_are_not_healthy_are_caught() -> Result<()> {
    caught(Deliberate::WeighsUnseen, "no healthy task")
}

#[test]
fn a_deployer_that_gives_sick_tasks_no_time_to_recover_is_caught() -> Result<()> {
    caught(Deliberate::IgnoresRecovery, "its sick tasks had no minute to recover")
}

#[test]
fn a_deployer_that_replaces_an_instance_which_has_joined_is_caught() -> Result<()> {
    caught(Deliberate::ReplacesJoined, "is replaced, and it has joined")
}

#[test]
fn a_watcher_that_loses_what_it_is_handed_anew_is_caught() -> Result<()> {
    caught(Deliberate::LosesShare, "and the server knows")
}

#[test]
fn a_store_that_acknowledges_what_it_does_not_keep_is_caught() -> Result<()> {
    caught(Deliberate::AcknowledgesEarly, "is stored, and it is not")
}

#[test]
fn a_deployment_that_is_handed_out_twice_is_caught() -> Result<()> {
    caught(Deliberate::SharedInstance, "acts on deployment")
}
