//! The rules of a gate's figures of tasks.

use super::{Faults, duration};
use crate::{
    gate::{
        Condition, Expression,
        tasks::{NAMES, Tasks, WINDOW_DEFAULT, WINDOW_MAX},
    },
    project::TasksDraft,
};
use std::time::Duration;

/// Checks what is counted of tasks under this condition, whose field is `path`; `None` for a condition that is at fault itself.
pub(super) fn check(faults: &mut Faults, path: &str, draft: TasksDraft, condition: Option<Condition>) -> Option<Tasks> {
    let TasksDraft { figure, window_ms } = draft;
    let field = |name: &str| format!("{path}.{name}");
    let figure = if figure.is_empty() {
        faults
            .add(&field("figure"), format!("is required: an expression over {}, such as \"exits\"", NAMES.join(", ")));
        None
    } else {
        Expression::parse(&figure, &NAMES).map_err(|why| faults.add(&field("figure"), why)).ok()
    };
    let window = window_ms.map_or(WINDOW_DEFAULT, duration);
    let ok = window >= Duration::from_secs(1) && window <= WINDOW_MAX && window.subsec_nanos() == 0;
    faults.require(
        ok,
        &field("window"),
        "must be 1 s to 20 min, in whole seconds: ECS forgets tasks that have stopped",
    );
    Some(Tasks { figure: figure?, window, condition: condition? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        gate::Check,
        project::{GateDraft, GateSourceDraft, rules::policy::gate::check_gate},
    };

    fn checked(figure: &str, window_ms: Option<i64>) -> (Option<Check>, Vec<String>) {
        let source = GateSourceDraft::Tasks(TasksDraft { figure: figure.into(), window_ms });
        let draft =
            GateDraft { name: "exits".into(), source: Some(source), condition: "new <= old".into(), failures: 0 };
        let mut faults = Faults::under("");
        let gate = check_gate(&mut faults, "gate", draft);
        (gate.map(|gate| gate.check), faults.found.into_iter().map(|fault| fault.field).collect())
    }

    #[test]
    fn a_figure_of_tasks_is_an_expression_over_what_is_counted() {
        let (check, faults) = checked("exits / desired", None);
        assert!(faults.is_empty(), "{faults:?}");
        assert!(matches!(check, Some(Check::Tasks(Tasks { window, .. })) if window == WINDOW_DEFAULT), "{check:?}");
        assert_eq!(checked("", Some(500)).1, ["gate.tasks.figure", "gate.tasks.window"]);
        assert_eq!(checked("crashes", Some(3_600_000)).1, ["gate.tasks.figure", "gate.tasks.window"]);
        assert_eq!(checked("exits < 1", Some(-1)).1, ["gate.tasks.figure", "gate.tasks.window"]);
    }
}
