//! Generates the code of `brain/v1` with a pure-Rust compiler, so that cargo alone builds everything.

use prost::Message;
use std::{env, error::Error, fs, path::PathBuf};

const FILES: [&str; 14] = [
    "brain/v1/agent.proto",
    "brain/v1/board.proto",
    "brain/v1/deployer.proto",
    "brain/v1/deployment.proto",
    "brain/v1/drift.proto",
    "brain/v1/event.proto",
    "brain/v1/hold.proto",
    "brain/v1/line.proto",
    "brain/v1/plan.proto",
    "brain/v1/production.proto",
    "brain/v1/project.proto",
    "brain/v1/project_holds.proto",
    "brain/v1/project_service.proto",
    "brain/v1/watcher.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=brain");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("brain.bin"), descriptors.encode_to_vec())?;
    // Without its `connect` helper, whose name the agents' own Connect would double.
    tonic_prost_build::configure().build_transport(false).bytes(".").compile_fds(descriptors)?;
    Ok(())
}
