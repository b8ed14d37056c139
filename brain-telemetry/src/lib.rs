//! What brain's programs show of themselves to those who operate them: logs, metrics, and the port that agents serve them on.
//!
//! The recorder of metrics is one for the whole process, and only a program's `main` installs it. Where it is not installed, as in
//! a simulation, every figure is dropped at no cost.

pub mod log;
pub mod metrics;
pub mod port;
