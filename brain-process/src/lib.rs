//! What brain's programs have in common as processes: how they are told to end, and what they show to those who operate them,
//! in logs, in metrics, in traces, and on the port that agents serve these on.
//!
//! The recorder of metrics is one for the whole process, and only a program's `main` installs it. Where it is not installed, as in
//! a simulation, every figure is dropped at no cost.

pub mod log;
pub mod metrics;
pub mod port;
pub mod stop;
pub mod trace;
