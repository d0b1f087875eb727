//! Messages both ways over a carrier: one connection, or datagrams that may be lost.
//!
//! ```text
//! message -> outbox -> packet ~~~~~> frames -> assembler -> message
//!               ^         |             |
//!               +- lost --+<~~ receipt -+
//! ```
//!
//! Under the messages runs a window of 1.25 times what the link carries in a round trip, so that the queues on the way stay short
//! and an alert overtakes a backlog that is being drained. Bytes on their way are freed by the other end's receipts, never by
//! time. An urgent message does not wait for the window.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use wire::frame::{self, Assembler, FrameError, Framed, Head, Splitter};
use wire::limits::{FRAME_BYTES_MAX, WINDOW_BYTES_MAX};
use wire::message::Kind;
use wire::spent::{ByUse, USE_COUNT, Use};
use wire::stream::Lane;
use wire::time::{Instant, Span};

use crate::estimator::{Estimate, Estimator, Fate, Mark};
use crate::outbox::{Kept, Label, Outbox, Tag};
use crate::receipt::{self, Number, Received};

/// The smallest packet that a slow link is cut to: below it, what stands around a packet costs a fifth.
const PACKET_BYTES_MIN: usize = 256;

/// Packets that fit the window; of fewer a receipt that is late would stop the link.
const WINDOW_PACKET_COUNT: usize = 4;

/// Bytes of a receipt and of the heads of a few frames.
const HEADS_BYTES: usize = 32;

/// How long a packet may hold a link on which nothing else is on its way: an alert behind it is still there within a second.
const ALONE: Span = Span(500);

/// Packets of a link of which nothing is known.
const PACKET_BYTES_UNKNOWN: usize = 480;

/// Packets after which a missing one counts as lost (RFC 9002 section 6.1.1).
const LOST_PACKET_COUNT: Number = 3;

/// What the urgent lane may have on its way beyond the window.
const URGENT_BYTES_MAX: usize = 4096;

/// How long a hub may take to make a batch durable before it is asked.
const COMMIT: Span = Span::seconds(2);

/// The longest that two round trips may be taken for.
const ANSWER_MAX: Span = Span::seconds(15);

/// Bytes of the first datagram, which shakes hands: 97 stand around it in 1,232 (see `identity::noise`).
pub const FIRST_BYTES_MAX: usize = 1232 - 97;

/// What stands around the first datagram more than around any other.
const FIRST_EXTRA_BYTES: usize = 97 - 22;

/// Timeouts in a row after which large packets count as too large for the path.
const BLACK_HOLE_COUNT: u32 = 2;

/// What every path carries: a datagram of 576 bytes (RFC 791 section 3.1) less what stands around.
const PACKET_BYTES_SAFE: usize = 500;

/// What carries packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Datagrams, each of which may be lost, doubled or late.
    Datagram,
    /// A stream that loses nothing as long as it lasts.
    Stream,
}

impl Carrier {
    /// Bytes around a packet over IPv4: IP and UDP, flags, connection, counter and tag; or IP, TCP with its timestamps, and a
    /// record of TLS.
    pub const fn around_bytes(self) -> usize {
        match self {
            Carrier::Datagram => 28 + 22,
            Carrier::Stream => 52 + 22,
        }
    }

    /// Bytes of the largest packet: what every path carries of datagrams, and of a stream what goes in one segment over Ethernet.
    pub const fn packet_bytes_max(self) -> usize {
        match self {
            Carrier::Datagram => FRAME_BYTES_MAX + 20,
            Carrier::Stream => 1500 - self.around_bytes(),
        }
    }

    /// Bytes that it takes to open a link, both ways, besides what the first packets take as any others do: the three packets of
    /// TCP and a handshake of TLS 1.3 with raw keys and their acks, as measured over the lab's link; or what stands around the
    /// two packets of a Noise handshake (see `identity::noise`).
    pub const fn opening_bytes(self) -> usize {
        match self {
            Carrier::Datagram => FIRST_EXTRA_BYTES + 52 - 22,
            Carrier::Stream => 1130,
        }
    }
}

/// A packet that leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it costs with all that stands around it, by what that is for.
    pub by_use: ByUse,
}

/// One end of a link.
#[derive(Debug)]
pub struct Channel {
    carrier: Carrier,
    outbox: Outbox,
    /// Packets on their way, oldest first.
    sent: VecDeque<Sent>,
    sent_count: Number,
    sent_bytes: u64,
    /// On a stream, those of which a receipt has spoken.
    settled_bytes: u64,
    in_flight_bytes: usize,
    estimator: Estimator,
    /// Timeouts since the last receipt.
    timeout_count: u32,
    /// The last receipt, or when something was sent after a pause.
    heard_at: Instant,
    packet_bytes_max: usize,
    /// Whether the other end has answered; until then datagrams carry nothing but the first packet, again and again.
    is_answered: bool,
    /// The first packet, while it may have to be said again.
    first: Vec<u8>,
    is_repeat_due: bool,
    /// At the hub, until the other end is shown to be there: what the only packet may have.
    confined_bytes: Option<usize>,
    /// What arrived of tagged messages since it was last asked for.
    arrived: Vec<(Tag, usize)>,
    splitter: Splitter,
    assembler: Assembler,
    received: Received,
}

#[derive(Debug)]
struct Sent {
    number: Number,
    /// The total on a stream, this packet included.
    total: u64,
    at: Instant,
    bytes: usize,
    mark: Mark,
    /// Empty on a stream.
    kept: Vec<Kept>,
}

impl Channel {
    /// A channel over a connection that stands. `known` is what was learned of the link before.
    pub fn new(now: Instant, carrier: Carrier, known: Estimate) -> Channel {
        Channel {
            carrier,
            outbox: Outbox::default(),
            sent: VecDeque::new(),
            sent_count: 0,
            sent_bytes: 0,
            settled_bytes: 0,
            in_flight_bytes: 0,
            estimator: Estimator::new(now, known),
            timeout_count: 0,
            heard_at: now,
            packet_bytes_max: carrier.packet_bytes_max(),
            is_answered: carrier == Carrier::Stream,
            first: Vec::new(),
            is_repeat_due: false,
            confined_bytes: None,
            arrived: Vec::new(),
            splitter: Splitter::default(),
            assembler: Assembler::default(),
            received: Received::default(),
        }
    }

    /// What is known of the link.
    pub fn estimate(&self) -> Estimate {
        self.estimator.estimate()
    }

    /// Puts a message behind those of its lane.
    pub fn send(&mut self, lane: Lane, kind: Kind, bytes: Vec<u8>) {
        self.outbox.push(lane, kind, bytes, Label::NONE);
    }

    /// As [`Channel::send`], of a message whose arrival is told by [`Channel::take_arrived`].
    pub fn send_labelled(&mut self, lane: Lane, kind: Kind, bytes: Vec<u8>, label: Label) {
        self.outbox.push(lane, kind, bytes, label);
    }

    /// How many bytes of which messages have arrived over datagrams since this was last asked.
    pub fn take_arrived(&mut self) -> Vec<(Tag, usize)> {
        core::mem::take(&mut self.arrived)
    }

    /// Whether there is room for more: the window is open, and less than a packet waits.
    pub fn has_room(&self, lane: Lane) -> bool {
        if lane == Lane::Urgent {
            return self.outbox.waiting_bytes(lane) < URGENT_BYTES_MAX;
        }
        self.outbox.all_waiting_bytes() < self.packet_bytes() && self.in_flight_bytes < self.window_bytes()
    }

    /// Bytes that wait.
    pub fn waiting_bytes(&self) -> usize {
        self.outbox.all_waiting_bytes()
    }

    /// Bytes that wait or are on their way.
    pub fn unsettled_bytes(&self) -> usize {
        self.outbox.all_waiting_bytes() + self.in_flight_bytes
    }

    fn window_bytes(&self) -> usize {
        let known = self.estimator.smoothed().is_some() || self.estimate().rate > 0;
        let packet_bytes = if known { PACKET_BYTES_MIN } else { PACKET_BYTES_UNKNOWN };
        let least = WINDOW_PACKET_COUNT * (packet_bytes + self.carrier.around_bytes());
        self.estimator.window_bytes(least, WINDOW_BYTES_MAX)
    }

    /// Bytes of a packet, so that no packet holds the link for more than a quarter of the window. When nothing is on its way,
    /// what fits the path goes at once, and next to a ping as much as the link carries in a moment.
    fn packet_bytes(&self) -> usize {
        let waiting_bytes = self.outbox.all_waiting_bytes();
        if self.in_flight_bytes == 0 && waiting_bytes + HEADS_BYTES < self.packet_bytes_max {
            return self.packet_bytes_max;
        }
        let window_bytes = self.window_bytes();
        let mut share = window_bytes / WINDOW_PACKET_COUNT;
        if self.in_flight_bytes < PACKET_BYTES_MIN {
            // Not the whole window: the receipt of one packet waits for that of another.
            let moment_bytes = u64::from(self.estimate().rate) * ALONE.0 / 1000;
            share = share.max((moment_bytes as usize).min(window_bytes - share));
        }
        share.saturating_sub(self.carrier.around_bytes()).clamp(PACKET_BYTES_MIN, self.packet_bytes_max)
    }

    /// The next packet: what to write, or one datagram, with nothing but what waits in the `open` lanes, the most urgent ones.
    /// Datagrams count from 0; the first, which opens the link, may come again and is not counted again, until the other end has
    /// answered.
    pub fn poll_packet(&mut self, now: Instant, open: &[Lane]) -> Option<Outgoing> {
        if self.confined_bytes.is_some() && self.sent_count > 0 {
            return None;
        }
        if !self.is_answered && self.sent_count > 0 {
            return core::mem::take(&mut self.is_repeat_due).then(|| self.first_again());
        }
        let packet = self.pack(now, open);
        if !self.is_answered {
            self.first = packet.as_ref().map(|packet| packet.bytes.clone()).unwrap_or_default();
        }
        packet
    }

    fn first_again(&self) -> Outgoing {
        let mut by_use = [0; USE_COUNT];
        by_use[Use::Overhead as usize] = (self.first.len() + self.carrier.around_bytes() + FIRST_EXTRA_BYTES) as u64;
        Outgoing { bytes: self.first.clone(), by_use }
    }

    fn pack(&mut self, now: Instant, open: &[Lane]) -> Option<Outgoing> {
        let is_first = self.sent_count == 0 && self.carrier == Carrier::Datagram;
        let first_bytes = if is_first { FIRST_BYTES_MAX } else { usize::MAX };
        let bytes_max = self.packet_bytes().min(first_bytes).min(self.confined_bytes.unwrap_or(usize::MAX));
        let around = self.carrier.around_bytes();
        // To the nearest packet: of four packets a window that is a byte short would be three, and would never grow.
        let is_open =
            self.in_flight_bytes == 0 || self.in_flight_bytes + (bytes_max + around) / 2 <= self.window_bytes();
        let is_urgent =
            !self.outbox.is_empty(Lane::Urgent) && self.in_flight_bytes < self.window_bytes() + URGENT_BYTES_MAX;
        let open = match (is_open, is_urgent) {
            (true, _) => open,
            (false, true) => &open[..open.len().min(1)],
            (false, false) => &[],
        };
        let has_frames = open.iter().any(|lane| !self.outbox.is_empty(*lane));
        if !has_frames && self.received.due_at().is_none_or(|due_at| due_at > now) {
            return None;
        }
        let receipt = self.received.rides().then(|| self.received.receipt(self.carrier == Carrier::Stream));
        let first = receipt.as_deref().map(|body| (Kind::Receipt, body));
        let packet = self.outbox.packet(first, open, bytes_max, self.carrier == Carrier::Datagram);
        if packet.has_first {
            self.received.said();
        }
        let wants_receipt = packet.kept.iter().any(|kept| wants_receipt(kept.head()));
        let by_use = by_use(&packet.kept, packet.bytes.len() + around);
        let number = self.sent_count;
        self.sent_count += 1;
        self.sent_bytes += packet.bytes.len() as u64;
        if wants_receipt {
            if self.sent.is_empty() && self.timeout_count == 0 {
                self.heard_at = now;
            }
            let bytes = packet.bytes.len() + around;
            let mark = self.estimator.sent(now, self.in_flight_bytes);
            let kept = if self.carrier == Carrier::Datagram { packet.kept } else { Vec::new() };
            self.sent.push_back(Sent { number, total: self.sent_bytes, at: now, bytes, mark, kept });
            self.in_flight_bytes += bytes;
        }
        if Lane::ALL.iter().all(|lane| self.outbox.is_empty(*lane)) {
            self.estimator.limited(self.in_flight_bytes);
        }
        Some(Outgoing { bytes: packet.bytes, by_use })
    }

    /// Bytes of a stream arrived. Each whole message goes to `each`, until it says stop with an error.
    ///
    /// Errors: the peer does not speak this protocol, or what `each` says.
    pub fn receive<E: From<FrameError>>(
        &mut self,
        now: Instant,
        bytes: &[u8],
        mut each: impl FnMut(Framed) -> Result<(), E>,
    ) -> Result<(), E> {
        self.splitter.push(bytes);
        let mut receipts = Vec::new();
        let mut wants = false;
        while let Some(frame) = self.splitter.poll_frame()? {
            wants |= wants_receipt(&frame.head);
            if frame.head.kind == Kind::Receipt as u8 {
                receipts.push(receipt::bytes(frame.payload).ok_or(FrameError::Malformed)?);
            } else if let Some(message) = self.assembler.take(frame)? {
                each(message)?;
            }
        }
        self.received.bytes(now, self.splitter.taken(), wants);
        receipts.into_iter().try_for_each(|bytes| self.settle_stream(now, bytes)).map_err(E::from)
    }

    /// The other end may be a recording: what is sent until more comes of it is one packet of at most so many bytes.
    pub fn confine(&mut self, bytes: usize) {
        self.confined_bytes = Some(bytes);
    }

    /// The other end is shown to be there.
    pub fn release(&mut self) {
        self.confined_bytes = None;
    }

    /// A datagram arrived. Each whole message goes to `each`, until it says stop with an error. One that came before changes
    /// nothing.
    ///
    /// Errors: the peer does not speak this protocol, or what `each` says.
    pub fn receive_datagram<E: From<FrameError>>(
        &mut self,
        now: Instant,
        number: Number,
        datagram: &[u8],
        mut each: impl FnMut(Framed) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.received.is_new(number) {
            return Ok(());
        }
        if !self.is_answered {
            self.answered(now);
        }
        let mut wants = false;
        for frame in frame::frames(datagram) {
            let frame = frame?;
            wants |= wants_receipt(&frame.head);
            if frame.head.kind == Kind::Receipt as u8 {
                let ranges = receipt::ranges(frame.payload).ok_or(FrameError::Malformed)?;
                self.settle_datagrams(now, &ranges);
            } else if let Some(message) = self.assembler.take(frame)? {
                each(message)?;
            }
        }
        self.received.packet(now, number, wants);
        Ok(())
    }

    fn settle_stream(&mut self, now: Instant, bytes: u64) -> Result<(), FrameError> {
        let total = self.settled_bytes.checked_add(bytes).filter(|total| *total <= self.sent_bytes);
        self.settled_bytes = total.ok_or(FrameError::Malformed)?;
        let count = self.sent.iter().take_while(|sent| sent.total <= self.settled_bytes).count();
        let received: Vec<Sent> = self.sent.drain(..count).collect();
        let highest = received.last().map_or(0, |sent| sent.number);
        self.settle(now, received, highest);
        Ok(())
    }

    fn settle_datagrams(&mut self, now: Instant, ranges: &[(Number, Number)]) {
        let is_received = |number| ranges.iter().any(|(first, last)| (*first..=*last).contains(&number));
        let (received, left): (Vec<Sent>, VecDeque<Sent>) = {
            let (received, left): (VecDeque<Sent>, _) =
                core::mem::take(&mut self.sent).into_iter().partition(|sent| is_received(sent.number));
            (received.into(), left)
        };
        self.sent = left;
        let highest = ranges.first().map_or(0, |(_, last)| *last);
        self.settle(now, received, highest);
        let patience = self.patience();
        self.lose(|sent| {
            sent.number + LOST_PACKET_COUNT <= highest || sent.number < highest && sent.at + patience <= now
        });
    }

    /// The other end has shown that the first packet has arrived.
    fn answered(&mut self, now: Instant) {
        self.is_answered = true;
        self.first = Vec::new();
        let sent: Vec<Sent> = self.sent.drain(..).collect();
        if self.timeout_count == 0 {
            return self.settle(now, sent, 0);
        }
        // Which attempt arrived is not known, so it times nothing (RFC 6298 section 3).
        sent.iter().for_each(|sent| self.note_arrived(sent));
        self.in_flight_bytes = 0;
        self.timeout_count = 0;
        self.heard_at = now;
    }

    fn note_arrived(&mut self, sent: &Sent) {
        self.arrived.extend(sent.kept.iter().map(Kept::tagged_bytes).filter(|(tag, _)| *tag != 0));
    }

    /// Packets have arrived. The `highest` that the receipt names is timed, when it is news: it is the one that made the other
    /// end speak (RFC 9002 section 5.1).
    fn settle(&mut self, now: Instant, received: Vec<Sent>, highest: Number) {
        let count = received.len();
        for sent in received {
            self.in_flight_bytes -= sent.bytes;
            self.note_arrived(&sent);
            self.estimator.received(now, &sent.mark, sent.bytes, sent.number == highest);
        }
        if count > 0 {
            self.timeout_count = 0;
            self.heard_at = now;
        }
    }

    /// How long a packet may be overtaken by others before it counts as lost (RFC 9002 section 6.1.2).
    fn patience(&self) -> Span {
        Span(self.estimator.smoothed().unwrap_or(Span(0)).0 * 9 / 8 + 1)
    }

    fn lose(&mut self, is_lost: impl Fn(&Sent) -> bool) {
        let (lost, left) =
            core::mem::take(&mut self.sent).into_iter().partition::<VecDeque<_>, _>(|sent| is_lost(sent));
        self.sent = left;
        self.estimator.lost(lost.len());
        for sent in lost.into_iter().rev() {
            self.in_flight_bytes -= sent.bytes;
            self.outbox.put_back(sent.kept);
        }
    }

    /// Time passed: what has been on its way for too long is lost. Poll packets afterwards.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.carrier == Carrier::Stream || self.timer().is_none_or(|timer| timer > now) {
            return;
        }
        self.timeout_count += 1;
        if !self.is_answered {
            self.is_repeat_due = true;
            self.sent.iter_mut().for_each(|sent| sent.at = now);
            return;
        }
        let is_large =
            self.sent.front().is_some_and(|sent| sent.bytes > PACKET_BYTES_SAFE + self.carrier.around_bytes());
        if is_large && self.timeout_count >= BLACK_HOLE_COUNT {
            // Small packets pass and large ones do not: a path that swallows what it cannot cut.
            self.packet_bytes_max = self.packet_bytes_max.min(PACKET_BYTES_SAFE);
        }
        // One goes again. Its receipt says what became of the others: a 2G link may hold everything for seconds and lose nothing.
        let first = self.sent.front().map(|sent| sent.number);
        self.lose(|sent| Some(sent.number) == first);
    }

    fn timer(&self) -> Option<Instant> {
        let last = self.sent.back()?;
        Some(last.at + self.estimator.timeout(self.timeout_count, self.in_flight_bytes))
    }

    /// When [`Channel::handle_timeout`] or [`Channel::poll_packet`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timer = self.timer().filter(|_| self.carrier == Carrier::Datagram);
        timer.into_iter().chain(self.received.due_at()).min()
    }

    /// What carries its packets.
    pub fn carrier(&self) -> Carrier {
        self.carrier
    }

    /// Whether a packet was ever handed out.
    pub fn has_sent(&self) -> bool {
        self.sent_count > 0
    }

    /// What became of the packets of this link.
    pub fn fate(&self) -> Fate {
        self.estimator.fate()
    }

    /// Bytes of packets that the other end has received.
    pub fn arrived_bytes(&self) -> u64 {
        self.estimator.delivered_bytes()
    }

    /// When the other end was last heard to have received something, or something was sent after a pause.
    pub fn heard_at(&self) -> Instant {
        self.heard_at
    }

    /// How long after a batch has arrived its ack is missed: the hub commits meanwhile.
    pub fn ack_patience(&self) -> Span {
        Span(2 * self.estimator.timeout(0, 0).0).min(ANSWER_MAX) + COMMIT
    }

    /// How often in a row nothing was heard of what was sent in time.
    pub fn timeout_count(&self) -> u32 {
        self.timeout_count
    }

    /// Since when something is on its way and nothing was heard of it.
    pub fn silent_since(&self) -> Option<Instant> {
        let waits = !self.sent.is_empty() || self.timeout_count > 0;
        waits.then_some(self.heard_at)
    }
}

/// What a packet of so many bytes costs. What stands around its frames is for the first of them.
fn by_use(kept: &[Kept], packet_bytes: usize) -> ByUse {
    let mut by_use = [0; USE_COUNT];
    let mut around = packet_bytes as u64;
    for (purpose, bytes) in kept.iter().map(Kept::cost) {
        by_use[purpose as usize] += bytes as u64;
        around -= bytes as u64;
    }
    by_use[kept.first().map_or(Use::Overhead, |first| first.cost().0) as usize] += around;
    by_use
}

fn wants_receipt(head: &Head) -> bool {
    head.part.is_some() || Kind::from_number(head.kind).is_none_or(Kind::wants_receipt)
}
