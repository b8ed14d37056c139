//! Which agent serves which project: rendezvous hashing, so that a lost agent moves only its own share.

use crate::id::{AgentName, ProjectId};

/// The agent that serves `project` among `agents`; `None` when there are none. Every caller with the same agents gets the
/// same answer.
#[must_use]
pub fn agent_for<'a>(project: &ProjectId, agents: impl IntoIterator<Item = &'a AgentName>) -> Option<&'a AgentName> {
    // Equal weights are as good as impossible; the name decides, so that even then all callers agree.
    agents.into_iter().max_by_key(|agent| (weight(agent, project), *agent))
}

/// FNV-1a over both names, and a mixing of its bits, which FNV leaves uneven. Written out, because it must be the same in
/// every release, as the standard library's hasher is not, and cheap: a hundred agents and ten thousand projects make a
/// million weights whenever an agent comes or goes.
fn weight(agent: &AgentName, project: &ProjectId) -> u64 {
    let bytes = agent.as_str().bytes().chain(std::iter::once(b'\n')).chain(project.as_str().bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
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
