//! What the end-to-end tests and the benchmark share: real peers, each a process of its own in a folder of its own
//! on a free loopback port, and the story that is played on them.

pub mod brain;
pub mod browser;
pub mod calls;
pub mod command;
pub mod figures;
pub mod git_host;
pub mod http;
pub mod image;
pub mod intent;
pub mod lab;
pub mod load;
pub mod many;
pub mod paths;
pub mod planned;
pub mod prometheus;
pub mod registry;
pub mod sandbox;
pub mod simulation;
pub mod spans;
pub mod terminal;
pub mod trigger;
pub mod wait;
pub mod webhook;
pub mod world;
