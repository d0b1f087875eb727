//! What the gateway must not forget.
//!
//! ```text
//! append(batch) ->  tail log A, sync  ->  tail log B, sync  ->  durable      two preallocated files of checked entries
//! fold          ->  volume.tmp (one redb transaction, closed, synced) -> rename -> sync folder -> next generation of the tail
//! open          ->  tail, slots, names and the newest volume of each shelf are checked; other volumes when first read
//! ```
//!
//! Cards lie about power: a block in flight may garble its synced neighbours. So the newest batches live twice, in
//! two files of which only one is ever in flight, and everything older lives in immutable [`volume`]s that nothing
//! writes near again. Damage stays in one volume; retention is removing a file, which works on a full disk.
//!
//! | module | what |
//! |---|---|
//! | [`entry`] | the checked unit of the tail log and the volumes, and the scan that finds it anywhere |
//! | [`tail`] | the mirrored log: commit, recovery, next generation |
//! | [`volume`] | immutable redb files: write once, read guarded, carve when damaged |
//! | [`guard`] | the only place where a panic is caught |
//! | [`journal`] | the policy over them: numbers, progress, slots, fold, evict, quarantine |
//! | [`inspect`] | the same folder for whoever only looks, beside an agent that runs |
//!
//! The journal keeps no clock: whoever calls says what time it is.
#![forbid(unsafe_code)]

pub mod entry;
pub mod guard;
pub mod inspect;
pub mod journal;
mod page;
pub mod tail;
pub mod volume;
pub mod wear;
mod withheld;

pub use journal::Journal;
