//! What gates have read.

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
