//! What goes over the link next: the journal's side of [`link::client::Client`].
//!
//! Streams go in the order of [`Stream::ALL`]: urgent ones, then windows, then ticks, and in each of these two lanes class comes before
//! age: a short time on the link carries what is critical of a whole outage. Urgent streams go in order; of windows and ticks the newest
//! run goes first, and inside a run the oldest batch, because a batch is decoded after its predecessor: fresh news never queues behind a
//! week of history. One batch of `AGEING` is of what the journal would drop next, so that what always comes last does not come to
//! nothing. What the [policy](crate::policy) does not send stays where it is, and so does what the [meter](crate::meter)
//! refuses.

use std::io;

use journal::Journal;
use link::client::Client;
use wire::id::Seq;
use wire::limits::RANGES_COUNT_MAX;
use wire::message::{Checksum, Head, Hello, progress_checksum};
use wire::stream::{Lane, Stream};
use wire::time::{Span, Stamp};
use wire::version::Versions;

use crate::meter::Meter;
use crate::policy::Policy;

/// Of so many batches one may be of what is [at risk](Journal::at_risk): an eighth of the link is no harm to what is urgent, and
/// carries all of what a week leaves behind.
const AGEING: u32 = 8;

/// The first words of a gateway with this journal, which names the streams of which something `waits`.
pub fn hello(
    journal: &Journal,
    now: Stamp,
    heartbeat: Span,
    about: Checksum,
    waits: impl Fn(&Stream) -> bool,
) -> Hello {
    let head = |stream| Head { stream, next: journal.next(stream) };
    Hello {
        versions: Versions::AGENT,
        journal: journal.id(),
        now,
        heartbeat,
        progress: progress_checksum(Stream::ALL.map(|stream| (stream, journal.done(stream)))),
        heads: Stream::ALL.into_iter().filter(waits).map(head).collect(),
        about,
    }
}

/// Gives the client what it has room for, from the journal.
///
/// Errors: the disk refused to read; try again later.
pub fn fill(
    journal: &mut Journal,
    client: &mut Client,
    meter: &mut Meter,
    policy: &Policy,
    now: Stamp,
    record: &mut Vec<u8>,
) -> io::Result<()> {
    while let Some((stream, seq)) = next(journal, client, meter, (policy, is_turn(client)), now)? {
        if journal.read(now, stream, seq, record)? {
            let purpose = meter.purpose(stream, seq);
            if meter.lets_in(now, purpose, record.len() as u64, client.waiting_bytes()) {
                client.send_batch(now.uptime, stream, seq, record, purpose);
            }
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

/// Whether what is at risk is asked for before all else.
fn is_turn(client: &Client) -> bool {
    client.batch_count().is_multiple_of(AGEING)
}

/// Whether something urgent waits for the hub's word, sent or not.
pub fn is_urgent(journal: &Journal) -> bool {
    let urgent = Stream::ALL.into_iter().filter(|stream| stream.lane() == Lane::Urgent);
    urgent.into_iter().any(|stream| journal.done(stream).first_missing(Seq(0)) < journal.durable(stream))
}

fn next(
    journal: &mut Journal,
    client: &Client,
    meter: &mut Meter,
    (policy, is_turn): (&Policy, bool),
    now: Stamp,
) -> io::Result<Option<(Stream, Seq)>> {
    if is_turn
        && client.can_send(Lane::Raw)
        && !is_urgent(journal)
        && let Some((stream, seq)) = journal.at_risk()
        && let Some(seq) = oldest_unsent(journal, client, stream, seq)
        && policy.is_sent_of(meter.part(stream, seq), stream)
        && meter.is_open(now, stream, seq, client.waiting_bytes())
    {
        return Ok(Some((stream, seq)));
    }
    for stream in Stream::ALL.into_iter().filter(|stream| client.can_send(stream.lane())) {
        // Each hole that newest-first leaves is a range at both ends; when they run out of them, the oldest hole is closed first.
        let is_in_order = stream.lane() == Lane::Urgent || journal.done(stream).iter().count() + 4 >= RANGES_COUNT_MAX;
        let mut from = Seq(0);
        if !is_in_order {
            let Some(newest) = newest_unsent(journal, client, stream) else { continue };
            from = journal.run_of(now, stream, newest)?.unwrap_or(newest);
        }
        if let Some(seq) = oldest_unsent(journal, client, stream, from)
            && policy.is_sent_of(meter.part(stream, seq), stream)
            && meter.is_open(now, stream, seq, client.waiting_bytes())
        {
            return Ok(Some((stream, seq)));
        }
    }
    Ok(None)
}

/// The lowest durable number from `from` on that is neither done nor in flight.
fn oldest_unsent(journal: &Journal, client: &Client, stream: Stream, from: Seq) -> Option<Seq> {
    let mut seq = journal.done(stream).first_missing(from);
    while client.is_in_flight(stream, seq) || journal.is_withheld(stream, seq) {
        seq = journal.done(stream).first_missing(Seq(seq.0 + 1));
    }
    (seq < journal.durable(stream)).then_some(seq)
}

/// The highest durable number that is neither done nor in flight.
fn newest_unsent(journal: &Journal, client: &Client, stream: Stream) -> Option<Seq> {
    let mut seq = journal.done(stream).last_missing_below(journal.durable(stream))?;
    while client.is_in_flight(stream, seq) || journal.is_withheld(stream, seq) {
        seq = journal.done(stream).last_missing_below(seq)?;
    }
    Some(seq)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use disk::memory::Memory;
    use journal::journal::Settings;
    use link::channel::Carrier;
    use link::client::{Input, Timing};
    use link::estimator::Estimate;
    use link::server::Server;
    use wire::class::Class;
    use wire::message::Welcome;
    use wire::ranges::SeqRange;
    use wire::stream::Resolution;
    use wire::version::VERSION;

    use super::*;
    use crate::policy::{Policies, Pressure};
    use crate::tier::Tier;

    /// A client that a hub has welcomed.
    fn online(now: Stamp) -> Client {
        let mut client = Client::new(Timing::default(), 1, now.uptime);
        client.handle_timeout(now.uptime);
        let hello = Hello { versions: Versions::AGENT, ..Hello::default() };
        let (carrier, known) = (Carrier::Stream, Estimate::default());
        client.handle_input(now.uptime, Input::Connected { carrier, known, hello: &hello });
        let mut server = Server::new(now.uptime, carrier, Versions::HUB);
        let hello = client.poll_packet(now.uptime, &Lane::ALL).unwrap();
        server.receive(now.uptime, None, &hello.bytes, |_| {}).unwrap();
        server.welcome(&Welcome { version: VERSION, ..Welcome::default() });
        client.handle_input(now.uptime, Input::Received(&server.poll_packet(now.uptime).unwrap()));
        assert!(client.is_online());
        client
    }

    #[test]
    fn what_is_dropped_next_gets_its_turn() {
        let (mut now, bulk) = (Stamp::default(), Stream::raw(Class::Bulk));
        let settings =
            Settings { bytes_max: 16 << 20, tail_bytes_max: 1 << 20, fold_bytes_min: 400 << 10, ..Settings::DEFAULT };
        let mut journal = Journal::open(Arc::new(Memory::new(64 << 20)), settings, 1, now).unwrap();
        while journal.at_risk().is_none() {
            now.uptime = now.uptime + Span::minutes(1);
            journal.append(now, bulk, None, now, &[7; 16 << 10], false).unwrap();
            journal.commit(now).unwrap();
        }
        assert_eq!(journal.at_risk(), Some((bulk, Seq(0))));
        for _ in 0..64 {
            journal.append(now, Stream::Series(Resolution::Hour, Class::Critical), None, now, b"hour", false).unwrap();
        }
        journal.commit(now).unwrap();
        let (client, mut meter) = (online(now), Meter::open(&journal, now));
        let mut sent = |tier, turns: &[bool]| {
            let policy = Policies::default().policy(tier, Pressure::None);
            let mut sent = |is_turn: &bool| {
                let (stream, seq) = next(&mut journal, &client, &mut meter, (&policy, *is_turn), now).unwrap().unwrap();
                journal.ack(stream, SeqRange { first: seq, last: seq });
                (stream == bulk).then_some(seq)
            };
            turns.iter().map(&mut sent).collect::<Vec<_>>()
        };
        assert_eq!(sent(Tier::Wired, &[false, true, false, true]), [None, Some(Seq(0)), None, Some(Seq(1))]);
        // Where ticks are not sent, they are not sent for this either.
        assert_eq!(sent(Tier::Edge, &[true, true]), [None, None]);
    }

    #[test]
    fn all_that_is_critical_goes_before_all_that_is_not() {
        let now = Stamp::default();
        let mut journal = Journal::open(Arc::new(Memory::default()), Settings::DEFAULT, 1, now).unwrap();
        // Two runs of two batches in each stream, the fine and the bulk first.
        for stream in Stream::ALL.into_iter().rev() {
            for run in [None, Some(Seq(0)), None, Some(Seq(2))] {
                journal.append(now, stream, run, now, b"batch", false).unwrap();
            }
        }
        journal.commit(now).unwrap();
        let (client, mut sent) = (online(now), Vec::new());
        let mut meter = Meter::open(&journal, now);
        let policy = Policies::default().policy(Tier::Wired, Pressure::None);
        while let Some((stream, seq)) = next(&mut journal, &client, &mut meter, (&policy, true), now).unwrap() {
            journal.ack(stream, SeqRange { first: seq, last: seq });
            sent.push((stream, seq.0));
        }
        let order = |stream: Stream| if stream.lane() == Lane::Urgent { [0, 1, 2, 3] } else { [2, 3, 0, 1] };
        let expected = Stream::ALL.into_iter().flat_map(|stream| order(stream).map(|seq| (stream, seq)));
        assert_eq!(sent, expected.collect::<Vec<_>>());
    }
}
