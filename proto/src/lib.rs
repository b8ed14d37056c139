//! The wire: generated code of `brain/v1`, conversions between it and the domain, and rich errors.
//!
//! Generated types stop here and in the API handlers and agents' streams: everything else speaks `brain_core`.

pub mod channel;
pub mod convert;
pub mod error;
pub mod name;
pub mod reflect;

/// Generated code of package `brain.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod v1 {
    tonic::include_proto!("brain.v1");
}

/// Descriptors of `brain.v1`, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/brain.bin"));
