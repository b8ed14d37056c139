//! A deployment that both the line and people pause.

use super::*;

fn stop() -> Fact {
    Fact::LineStopped { by: "ann".into(), why: "an outage".into() }
}

fn used(by: &str, control: Control, at: i64) -> Fact {
    let (why, request_id) = ("to look".to_owned(), String::new());
    Fact::Controlled(ControlUsed { at: Timestamp(at), by: by.into(), why, control, request_id })
}

/// Paused by the line at 1 s, by bob at 3 s and by eve at 4 s.
fn paused_by_all(spec: &ProjectSpec, running: Deployment) -> Deployment {
    let stopped = running.apply(spec, stop(), Timestamp(1_000)).unwrap().0;
    let by_bob = stopped.apply(spec, used("bob", Control::Pause, 3_000), Timestamp(3_000)).unwrap().0;
    by_bob.apply(spec, used("eve", Control::Pause, 4_000), Timestamp(4_000)).unwrap().0
}

#[test]
fn a_persons_pause_on_top_of_the_lines_outlasts_it_until_they_resume() {
    let spec = spec();
    let paused = paused_by_all(&spec, running(&spec));
    assert_eq!(paused.paused.as_ref().map(|pause| (&*pause.by, pause.line)), Some(("ann", true)));
    let (released, effects) = paused.apply(&spec, Fact::LineReleased, Timestamp(9_000)).unwrap();
    assert_eq!((effects, released.wants_deployer()), (vec![], false));
    let (by, why, since) = ("bob".to_owned(), "to look".to_owned(), Timestamp(3_000));
    assert_eq!(released.paused, Some(Pause { by, why, since, failed: false, line: false }));
    let again = apply(&spec, apply(&spec, released.clone(), stop()), Fact::LineReleased);
    assert_eq!(again, released, "it is a person's to end");
    let resume = used("bob", Control::Resume, 10_000);
    let (resumed, effects) = released.apply(&spec, resume, Timestamp(10_000)).unwrap();
    assert_eq!((effects, resumed.paused.as_ref()), (vec![Effect::HandOut], None));
    let passed = Duration::from_millis(10_020 - 10 - 9_000);
    assert_eq!(resumed.step_elapsed(Timestamp(10_020)), passed, "neither pause counts, and none twice");
    let stopped = apply(&spec, resumed, stop());
    assert_eq!(apply(&spec, stopped, Fact::LineReleased).paused, None, "bob's pause is over");
}

#[test]
fn a_deployment_of_an_earlier_edition_goes_on_with_the_line_as_it_did() {
    let spec = spec();
    let mut earlier = running(&spec);
    earlier.plan.edition = 1;
    let paused = paused_by_all(&spec, earlier);
    let (released, effects) = paused.apply(&spec, Fact::LineReleased, Timestamp(9_000)).unwrap();
    assert_eq!((effects, released.paused), (vec![Effect::HandOut], None));
}
