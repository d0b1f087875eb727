//! What a part does to recorded data: the code that runs on the gateway, measured on its own.

pub(crate) mod codec;
pub(crate) mod detect;
pub(crate) mod trace;
