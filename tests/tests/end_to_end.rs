//! Brain from outside: the programs as they ship, against real git hosts, registries and peers, and the AWS lab.
//!
//! One binary, because each links all of brain and the AWS SDK, and because tests that wait then wait beside each other. What
//! needs the machine to itself, or a name of its own, has its own.

mod accounts;
mod alb;
mod approvals;
mod assignments;
mod bad_input;
mod calls;
mod cli;
mod credentials;
mod definitions;
mod dependencies;
mod drift;
mod events;
mod faults;
mod gates;
mod holds;
mod housekeeping;
mod knowledge;
mod line;
mod metrics;
mod notifications;
mod peers;
mod planning;
mod server;
mod sharing;
mod steering;
mod traces;
mod unobserved;
mod windows;
