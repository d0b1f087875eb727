//! Ports of the real machine, plain structs.

#[cfg(target_os = "linux")]
pub mod linux;
