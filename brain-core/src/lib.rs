//! The domain of brain, pure: projects, releases, plans, deployments and the sentences of the board.
//!
//! Nothing here waits, reads a clock or the environment, or knows of gRPC, a store or AWS. Time is an argument; what is to
//! be done is returned, never done. The main story: a [`project::ProjectDraft`] becomes a [`project::ProjectSpec`];
//! watchers' [`observation`]s and people's requests become [`event::Event`]s of a [`state::ProjectState`]; a request to
//! deploy becomes a [`plan::Plan`], carried out step by step under a [`deployment::Deployment`]; [`status`] says it all in
//! sentences.

pub mod assignment;
pub mod capacity;
pub mod dependency;
pub mod deployment;
pub mod drift;
pub mod event;
pub mod gate;
pub mod hold;
pub mod housekeeping;
pub mod id;
pub mod image;
pub mod line;
pub mod looks;
pub mod names;
pub mod observation;
pub mod plan;
pub mod policy;
pub mod production;
pub mod project;
pub mod release;
pub mod shift;
pub mod state;
pub mod status;
pub mod stream;
pub mod time;
pub mod trace;
pub mod traffic;
pub mod version;
pub mod window;
pub mod words;
