//! Which agent serves which project: rendezvous hashing, so that a lost agent moves only its own share.

use crate::{
    id::{AgentName, ProjectId},
    names::hash_hex,
};

/// The agent that serves `project` among `agents`; `None` when there are none. Every caller with the same agents gets the
/// same answer.
#[must_use]
pub fn agent_for<'a>(project: &ProjectId, agents: impl IntoIterator<Item = &'a AgentName>) -> Option<&'a AgentName> {
    agents.into_iter().max_by_key(|agent| hash_hex(&format!("{agent}\n{project}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losing_an_agent_moves_only_its_own_projects() {
        let agents: Vec<AgentName> = (0..4).map(|i| AgentName::parse(&format!("watcher-{i}")).unwrap()).collect();
        let mut moved = 0;
        for i in 0..400 {
            let project = ProjectId::parse(&format!("p{i}")).unwrap();
            let before = agent_for(&project, &agents).unwrap();
            let after = agent_for(&project, &agents[1..]).unwrap();
            if before == &agents[0] {
                moved += 1;
            } else {
                assert_eq!(before, after);
            }
        }
        assert!((50..150).contains(&moved), "a fair share is about 100, this agent had {moved}");
    }
}
