//! What only several crates, or the real binaries, can show.
//!
//! | module | what |
//! |---|---|
//! | [`floors`] | who may import whom |
//! | [`fuzz`] | every parser of outside bytes over a corpus and seeded mutations of it |
//! | [`golden`] | the bytes of each version of the protocol |
//! | [`loss`] | what could not be taken or kept is said |
//! | [`memory`] | a collection allocates nothing in the cores, a link that drains holds little |
//! | [`process`] | both real binaries: killed, cut off, cut off again, and everything is there once |
//! | [`question`] | what a person on site is answered |

mod floors;
mod fuzz;
mod golden;
mod loss;
mod memory;
mod process;
mod question;
