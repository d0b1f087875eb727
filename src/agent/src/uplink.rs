//! What goes over the link next: the journal's side of [`link::client::Client`].
//!
//! Urgent streams go first and in order, then windows, the coarse before the fine, then ticks. Of windows and ticks the newest run
//! goes first, and inside a run the oldest batch, because a batch is decoded after its predecessor: fresh news never queues
//! behind a week of history.

use std::io;

use journal::Journal;
use link::client::Client;
use wire::id::Seq;
use wire::limits::RANGES_COUNT_MAX;
use wire::stream::{Lane, Stream};
use wire::time::Stamp;

/// Gives the client what it has room for, from the journal.
///
/// Errors: the disk refused to read; try again later.
pub fn fill(journal: &mut Journal, client: &mut Client, now: Stamp, record: &mut Vec<u8>) -> io::Result<()> {
    while let Some((stream, seq)) = next(journal, client, now)? {
        if journal.read(now, stream, seq, record)? {
            client.send_batch(now.uptime, stream, seq, record);
        } else if !journal.done(stream).contains(seq) {
            // No room to say that it is lost: after the next commit there is.
            return Ok(());
        }
    }
    if client.can_send(Lane::Raw) {
        journal.rest();
    }
    Ok(())
}

fn next(journal: &mut Journal, client: &Client, now: Stamp) -> io::Result<Option<(Stream, Seq)>> {
    for stream in Stream::ALL.into_iter().filter(|stream| client.can_send(stream.lane())) {
        // Each hole that newest-first leaves is a range at both ends; when they run out of them, the oldest hole is closed first.
        let is_in_order = stream.lane() == Lane::Urgent || journal.done(stream).iter().count() + 4 >= RANGES_COUNT_MAX;
        let mut from = Seq(0);
        if !is_in_order {
            let Some(newest) = newest_unsent(journal, client, stream) else { continue };
            from = journal.run_of(now, stream, newest)?.unwrap_or(newest);
        }
        if let Some(seq) = oldest_unsent(journal, client, stream, from) {
            return Ok(Some((stream, seq)));
        }
    }
    Ok(None)
}

/// The lowest durable number from `from` on that is neither done nor in flight.
fn oldest_unsent(journal: &Journal, client: &Client, stream: Stream, from: Seq) -> Option<Seq> {
    let mut seq = journal.done(stream).first_missing(from);
    while client.is_in_flight(stream, seq) {
        seq = journal.done(stream).first_missing(Seq(seq.0 + 1));
    }
    (seq < journal.durable(stream)).then_some(seq)
}

/// The highest durable number that is neither done nor in flight.
fn newest_unsent(journal: &Journal, client: &Client, stream: Stream) -> Option<Seq> {
    let mut seq = journal.done(stream).last_missing_below(journal.durable(stream))?;
    while client.is_in_flight(stream, seq) {
        seq = journal.done(stream).last_missing_below(seq)?;
    }
    Some(seq)
}
