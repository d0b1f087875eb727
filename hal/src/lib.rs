//! Ports of the real machine, plain structs.
