//! What gates have read, and what came with the time that steps may take.

use super::*;
use brain_core::gate::{Condition, Figures, Judgement, Reading, Verdict};

pub(super) fn readings() -> Transition {
    let condition = Condition::parse("new <= old").unwrap();
    let judged = |new, old| Judgement::of(&condition, Figures { new, old });
    let alarms = Verdict::Hold("alarm a has not enough data".into());
    let judgements = [judged(0.02, Some(0.25)), judged(3.5, Some(2.0)), judged(1.0, None), alarms.into()];
    let read = |judgement: Judgement| {
        let reading = Reading::new(Timestamp(1_700_000_000_789), judgement);
        let (why, cause) = match &reading.verdict {
            Verdict::Pass => (String::new(), Cause::Version),
            Verdict::Fail(why) => (why.clone(), Cause::Version),
            Verdict::Hold(why) => (why.clone(), Cause::Surroundings),
        };
        let outcome = Outcome::Read { why, cause, reading };
        Change::DeploymentChanged {
            number: 1,
            fact: Fact::Reported { generation: 1, rollback: false, step: 2, outcome },
        }
    };
    transition(judgements.map(read).to_vec())
}

pub(super) fn away() -> Transition {
    let mut request = request_of(&spec());
    let verify = Step::Verify { service: "s".into(), healthy: 2, max_task_failures: 0, at_most: true };
    (request.plan.settles, request.plan.edition) = (true, 2);
    request.plan.steps.push(verify);
    let hold = Verdict::Hold("alarm a has to look at 900 s".into());
    let judgement = Judgement { looks_back: Duration::from_mins(15), ..hold.into() };
    let reading = Reading::new(Timestamp(1_700_000_000_789), judgement);
    let outcome = Outcome::Read { why: "w".into(), cause: Cause::Surroundings, reading };
    let facts = [
        Fact::Reported { generation: 1, rollback: false, step: 2, outcome },
        Fact::Unattended { since: Timestamp(1_700_000_000_456) },
    ];
    let mut changes = vec![Change::DeploymentRequested(Box::new(request))];
    changes.extend(facts.map(|fact| Change::DeploymentChanged { number: 1, fact }));
    transition(changes)
}
