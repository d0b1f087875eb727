//! The gateway's end of the link.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use heapless::Deque;
use wire::frame::{FrameError, Framed};
use wire::id::Seq;
use wire::limits::{IN_FLIGHT_BYTES_MAX, IN_FLIGHT_COUNT_MAX};
use wire::message::{
    About, Ack, Close, CloseReason, Fetch, Hello, HubTime, Kind, Ping, Pong, SKIPPABLE_MIN, Want, Welcome,
};
use wire::record;
use wire::spent::Use;
use wire::stream::{Lane, Stream};
use wire::time::{Instant, Span, Stamp};
use wire::version::Versions;

use crate::backoff::Backoff;
use crate::channel::{Carrier, Channel, Outgoing};
use crate::estimator::{Estimate, Fate};
use crate::outbox::{Label, Tag};
use crate::receipt::Number;
use crate::talk;

/// How long the parts of a link may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From the dial to a connection, handshakes included.
    pub dial: Span,
    /// From the hello to the welcome.
    pub greet: Span,
    /// From a batch or a ping to its answer: a link that is silent longer is half open.
    pub answer: Span,
    /// From the last word to a ping.
    pub heartbeat: Span,
}

impl Default for Timing {
    fn default() -> Self {
        // 2G answers within seconds when it answers at all; NATs forget a TCP flow after minutes.
        Timing {
            dial: Span::seconds(60),
            greet: Span::seconds(30),
            answer: Span::seconds(60),
            heartbeat: Span::seconds(60),
        }
    }
}

/// Times that nothing was heard in time, from which on the hint that the hub has forgotten the session is believed.
const FORGOTTEN_COUNT: u32 = 2;

/// The part of a heartbeat that a ping waits for a batch which would be as good a sign of life: batches that are as far apart as
/// heartbeats then need none beside them. The hub waits for two heartbeats and more.
const PING_PATIENCE: u64 = 4;

/// Bytes whose arrival is progress: a large batch over a slow link takes longer than an answer may. More than a ping has.
const PROGRESS_BYTES: u64 = 256;

/// What the world tells the client.
#[derive(Debug)]
pub enum Input<'a> {
    /// The connection stands, or datagrams can be sent.
    Connected {
        /// What carries packets.
        carrier: Carrier,
        /// What was learned of the link before.
        known: Estimate,
        /// What to say first.
        hello: &'a Hello,
    },
    /// A datagram arrived.
    Datagram(Number, &'a [u8]),
    /// The connection is gone, or never came to be.
    Disconnected,
    /// Somebody says that the hub has forgotten the session: believed when the hub says nothing else.
    Forgotten,
    /// Bytes of a stream arrived.
    Received(&'a [u8]),
}

/// What the client tells the world.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a connection to the hub.
    Dial,
    /// Send this last packet.
    Send(Box<Outgoing>),
    /// Close the connection. No [`Input::Disconnected`] is expected.
    HangUp(DownReason),
    /// The link is up.
    Up(Box<Welcome>),
    /// The hub holds these batches.
    Acked(Box<Ack>),
    /// The hub asks for ticks.
    Asked(Box<Fetch>),
    /// The hub wants a generation of the dictionary again.
    Wanted(Want),
    /// A ping is due: say how things stand with [`Client::ping`].
    PingDue,
    /// The hub told its time, in answer to a question that left at this moment.
    HubTime(HubTime, Instant),
}

/// Why a link ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownReason {
    /// The connection was lost or could not be opened.
    Disconnected,
    /// The hub has forgotten the session, as after a restart.
    Forgotten,
    /// The hub holds other batches under the numbers of this journal, which goes on under another name.
    Forked,
    /// Another bearer carries the link from here on.
    Rerouted,
    /// The hub does not speak this protocol.
    Garbage(FrameError),
    /// The hub sent a message that makes no sense here.
    Unexpected(u8),
    /// The hub gave the link up and said why.
    Refused(Box<Close>),
    /// The hub sent a message of a kind that this version does not know and must not pass over.
    Unknown(u8),
    /// The hub would speak a version that this end did not offer.
    Version {
        /// Which.
        chosen: u16,
        /// What was offered.
        offered: Versions,
    },
    /// No answer in time: the link is half open, or the hub hangs.
    Silent,
    /// This end was told to stop.
    Stopped,
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DownReason::Disconnected => f.write_str("connection lost"),
            DownReason::Forked => f.write_str(
                "the hub holds other batches under this journal's numbers: was the card copied or put back?",
            ),
            DownReason::Forgotten => f.write_str("the hub has forgotten the session: was it restarted?"),
            DownReason::Garbage(error) => write!(f, "the other end is no hub: {error}"),
            DownReason::Rerouted => f.write_str("the link goes over another interface"),
            DownReason::Unexpected(kind) => write!(f, "the hub sent an unexpected message of kind {kind}"),
            DownReason::Refused(close) if close.detail.is_empty() => write!(f, "{}", close.reason),
            DownReason::Refused(close) => write!(f, "{} ({})", close.reason, close.detail),
            DownReason::Unknown(kind) => {
                write!(f, "the hub sent a message of kind {kind}, which this version does not know: upgrade the device")
            }
            DownReason::Version { chosen, offered } => {
                write!(f, "the hub speaks version {chosen}, this device speaks {offered}: upgrade the older one")
            }
            DownReason::Silent => f.write_str("no answer from the hub in time"),
            DownReason::Stopped => f.write_str("stopped"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Down { dial_at: Instant },
    Dialling { until: Instant },
    Greeting { until: Instant },
    Online { since: Instant, ping_at: Instant },
    Stopped,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    stream: Stream,
    seq: Seq,
    bytes: u32,
    tag: Tag,
    /// Bytes that have not arrived, where that is known; and since when there are none.
    left_bytes: u32,
    arrived_at: Option<Instant>,
}

/// The gateway's end of the link.
#[derive(Debug)]
pub struct Client {
    timing: Timing,
    state: State,
    backoff: Backoff,
    is_held: bool,
    is_closed: bool,
    channel: Option<Box<Channel>>,
    /// The versions of the hello, and the one that the hub chose of them.
    offered: Versions,
    version: u16,
    /// The stamp of the hello, against which records are packed.
    greeted: Stamp,
    /// The heartbeat that the hub was told.
    told_heartbeat: Span,
    /// When the question left that a welcome or a pong answers.
    asked_at: Instant,
    in_flight: heapless::Vec<InFlight, IN_FLIGHT_COUNT_MAX>,
    in_flight_bytes: usize,
    batch_count: Tag,
    is_pinged: bool,
    pinged_at: Instant,
    /// When a batch is to be expected.
    batch_at: Option<Instant>,
    /// When the hub last answered something, or took a good part of what was sent, or began to owe an answer.
    answered_at: Instant,
    /// Bytes that had arrived by then.
    arrived_bytes: u64,
    /// Messages that this version does not understand.
    skipped_count: u64,
    outputs: Deque<Output, 48>,
}

// Part of the agent, which is built on a small stack.
const _: () = assert!(size_of::<Client>() <= 6 << 10);

impl Client {
    /// A client that dials at once. `seed` differs between gateways.
    pub fn new(timing: Timing, seed: u64, now: Instant) -> Client {
        Client {
            timing,
            state: State::Down { dial_at: now },
            backoff: Backoff::new(seed),
            is_held: false,
            is_closed: false,
            channel: None,
            offered: Versions::default(),
            version: 0,
            greeted: Stamp::default(),
            told_heartbeat: timing.heartbeat,
            asked_at: now,
            in_flight: heapless::Vec::new(),
            in_flight_bytes: 0,
            batch_count: 0,
            is_pinged: false,
            pinged_at: now,
            batch_at: None,
            answered_at: now,
            arrived_bytes: 0,
            skipped_count: 0,
            outputs: Deque::new(),
        }
    }

    /// Whether the hub has welcomed this link.
    pub fn is_online(&self) -> bool {
        matches!(self.state, State::Online { .. })
    }

    /// The state's word, for people.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            State::Down { .. } if self.is_held => "held",
            State::Down { .. } => "down",
            State::Dialling { .. } => "dialling",
            State::Greeting { .. } => "greeting",
            State::Online { .. } => "online",
            State::Stopped => "stopped",
        }
    }

    /// What is known of the link, if there is one.
    pub fn estimate(&self) -> Option<Estimate> {
        self.channel.as_ref().map(|channel| channel.estimate())
    }

    /// Bytes that are known to have arrived at the hub on the present link.
    pub fn delivered_bytes(&self) -> u64 {
        self.channel.as_ref().map_or(0, |channel| channel.arrived_bytes())
    }

    /// What became of the packets of the present link.
    pub fn fate(&self) -> Fate {
        self.channel.as_ref().map_or(Fate::default(), |channel| channel.fate())
    }

    /// What carries the present link, if there is one.
    pub fn carrier(&self) -> Option<Carrier> {
        self.channel.as_ref().map(|channel| channel.carrier())
    }

    /// Bytes of messages that are to be sent and are in no packet yet.
    pub fn waiting_bytes(&self) -> usize {
        self.channel.as_ref().map_or(0, |channel| channel.waiting_bytes())
    }

    /// Holds back what nobody waits for, or lets it go: dials, and pings on a link that is idle.
    pub fn hold(&mut self, is_held: bool) {
        self.is_held = is_held;
    }

    /// Says whether packets are taken now. While none is, what the channel has to say wakes nobody.
    pub fn close(&mut self, is_closed: bool) {
        self.is_closed = is_closed;
    }

    /// Says when the next batch will be ready, if that is known: a ping that is due shortly before it is not sent.
    pub fn expect_batch(&mut self, at: Option<Instant>) {
        self.batch_at = at;
    }

    /// The version that both ends speak, while they are online.
    pub fn version(&self) -> Option<u16> {
        self.is_online().then_some(self.version)
    }

    /// Messages that this version does not understand and passed over, on all links.
    pub fn skipped_count(&self) -> u64 {
        self.skipped_count
    }

    /// Sets the longest pause on the link, also on the one that stands.
    pub fn set_heartbeat(&mut self, now: Instant, heartbeat: Span) {
        self.timing.heartbeat = heartbeat;
        if let State::Online { ping_at, .. } = &mut self.state
            && self.told_heartbeat != heartbeat
        {
            *ping_at = now + heartbeat;
            self.told_heartbeat = heartbeat;
            self.say(Lane::Urgent, Kind::Heartbeat, talk::body(&heartbeat));
        }
    }

    /// The longest pause on the link.
    pub fn heartbeat(&self) -> Span {
        self.timing.heartbeat
    }

    /// Whether this batch is sent and not acked.
    pub fn is_in_flight(&self, stream: Stream, seq: Seq) -> bool {
        self.in_flight.iter().any(|batch| batch.stream == stream && batch.seq == seq)
    }

    /// Counts the batches that were sent, over all links; it begins anew at 2^32.
    pub fn batch_count(&self) -> Tag {
        self.batch_count
    }

    /// Batches that are sent and not acked.
    pub fn in_flight_count(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether a batch of this lane can be sent now. Before the hub has answered, only what is urgent can, with the hello: nothing
    /// that is urgent waits for a welcome.
    pub fn can_send(&self, lane: Lane) -> bool {
        let Some(channel) = &self.channel else { return false };
        let is_time = match self.state {
            State::Greeting { .. } => lane == Lane::Urgent && !channel.has_sent(),
            _ => self.is_online(),
        };
        is_time
            && !self.in_flight.is_full()
            && (lane == Lane::Urgent || self.in_flight_bytes < IN_FLIGHT_BYTES_MAX)
            && channel.has_room(lane)
    }

    /// Sends a sealed record, whose bytes are for `purpose`.
    ///
    /// Panics: when [`Client::can_send`] is false.
    pub fn send_batch(&mut self, now: Instant, stream: Stream, seq: Seq, record: &[u8], purpose: Use) {
        assert!(self.can_send(stream.lane()), "the caller asks first");
        self.owe(now);
        self.batch_count = self.batch_count.wrapping_add(1).max(1);
        let mut packed = Vec::with_capacity(record.len());
        record::pack(record, &self.greeted, &mut packed);
        let (tag, bytes) = (self.batch_count, packed.len() as u32);
        let in_flight = InFlight { stream, seq, bytes, tag, left_bytes: bytes, arrived_at: None };
        self.in_flight.push(in_flight).expect("can_send leaves room");
        self.in_flight_bytes += packed.len();
        if let Some(channel) = &mut self.channel {
            channel.send_labelled(stream.lane(), Kind::Batch, packed, Label { tag, purpose });
        }
    }

    /// Sends a ping, the answer to [`Output::PingDue`].
    pub fn ping(&mut self, now: Instant, ping: &Ping) {
        if self.is_online() {
            let ping = Ping { wants_acks: !self.in_flight.is_empty(), ..*ping };
            self.owe(now);
            // An answer may be to any question since the last one: that to the first is the safe guess.
            if !core::mem::replace(&mut self.is_pinged, true) {
                self.asked_at = now;
            }
            self.pinged_at = now;
            self.say(Lane::Urgent, Kind::Ping, talk::body(&ping));
        }
    }

    /// Says what the hub asked for in its welcome.
    pub fn about(&mut self, about: &About) {
        self.say(Lane::Urgent, Kind::About, talk::body(about));
    }

    /// The hub owes an answer from now on, and this is a sign of life.
    fn owe(&mut self, now: Instant) {
        if !self.is_owed() {
            self.answered_at = now;
        }
        if let State::Online { ping_at, .. } = &mut self.state {
            *ping_at = now + self.timing.heartbeat;
        }
    }

    fn is_owed(&self) -> bool {
        self.is_pinged || !self.in_flight.is_empty()
    }

    fn say(&mut self, lane: Lane, kind: Kind, bytes: Vec<u8>) {
        if let Some(channel) = &mut self.channel {
            channel.send(lane, kind, bytes);
        }
    }

    /// Something happened.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        match (self.state, input) {
            (State::Dialling { .. }, Input::Connected { carrier, known, hello }) => {
                self.state = State::Greeting { until: now + self.timing.greet };
                self.channel = Some(Box::new(Channel::new(now, carrier, known)));
                self.offered = hello.versions;
                self.greeted = hello.now;
                self.told_heartbeat = hello.heartbeat;
                self.asked_at = now;
                self.say(Lane::Urgent, Kind::Hello, talk::body(hello));
            }
            (State::Greeting { .. } | State::Online { .. }, Input::Received(bytes)) => {
                self.receive(now, |channel, each| channel.receive(now, bytes, each));
            }
            (State::Greeting { .. } | State::Online { .. }, Input::Datagram(number, bytes)) => {
                self.receive(now, |channel, each| channel.receive_datagram(now, number, bytes, each));
            }
            (State::Dialling { .. } | State::Greeting { .. } | State::Online { .. }, Input::Disconnected) => {
                self.go_down(now, DownReason::Disconnected);
            }
            (State::Online { .. }, Input::Forgotten) => {
                if self.channel.as_ref().is_some_and(|channel| channel.timeout_count() >= FORGOTTEN_COUNT) {
                    self.go_down(now, DownReason::Forgotten);
                }
            }
            // A connection that was given up meanwhile: nothing it says counts any more.
            (State::Down { .. } | State::Stopped, _) => {}
            (State::Dialling { .. }, Input::Received(_) | Input::Datagram(..)) => {}
            (State::Greeting { .. } | State::Online { .. }, Input::Connected { .. }) => {}
            (State::Dialling { .. } | State::Greeting { .. }, Input::Forgotten) => {}
        }
    }

    fn receive(&mut self, now: Instant, take: impl FnOnce(&mut Channel, &mut Each<'_>) -> Result<(), DownReason>) {
        let Some(mut channel) = self.channel.take() else { return };
        let result = take(&mut channel, &mut |framed| self.hear(now, &framed));
        for (tag, bytes) in channel.take_arrived() {
            if let Some(batch) = self.in_flight.iter_mut().find(|batch| batch.tag == tag) {
                batch.left_bytes = batch.left_bytes.saturating_sub(bytes as u32);
                batch.arrived_at = (batch.left_bytes == 0).then_some(now);
            }
        }
        if channel.arrived_bytes() - self.arrived_bytes >= PROGRESS_BYTES {
            self.arrived_bytes = channel.arrived_bytes();
            self.answered_at = now;
        }
        self.channel = Some(channel);
        if let Err(reason) = result {
            self.go_down(now, reason);
        }
    }

    fn hear(&mut self, now: Instant, framed: &Framed) -> Result<(), DownReason> {
        let unexpected = DownReason::Unexpected(framed.kind);
        let bytes = &framed.bytes;
        match (self.state, Kind::from_number(framed.kind)) {
            (_, Some(Kind::Close)) => {
                let close = talk::read::<Close>(bytes).ok_or(unexpected)?;
                Err(DownReason::Refused(Box::new(close)))
            }
            (State::Greeting { .. }, Some(Kind::Welcome)) => {
                let welcome: Box<Welcome> = talk::read(bytes).map(Box::new).ok_or(unexpected.clone())?;
                if !self.offered.contains(welcome.version) {
                    return Err(DownReason::Version { chosen: welcome.version, offered: self.offered });
                }
                if welcome.progress.iter().flatten().any(|progress| !progress.held.is_valid()) {
                    return Err(unexpected);
                }
                self.state = State::Online { since: now, ping_at: now + self.timing.heartbeat };
                self.version = welcome.version;
                self.answered_at = now;
                self.tell(Output::HubTime(welcome.hub, self.asked_at));
                self.tell(Output::Up(welcome));
                Ok(())
            }
            // A datagram that was late, or came by another way.
            (State::Online { .. }, Some(Kind::Welcome)) => Ok(()),
            (State::Online { .. }, Some(Kind::Ack)) => {
                let ack: Box<Ack> = talk::read(bytes).map(Box::new).ok_or(unexpected)?;
                self.settle(now, &ack);
                self.tell(Output::Acked(ack));
                Ok(())
            }
            (State::Online { .. }, Some(Kind::Pong)) => {
                let pong: Pong = talk::read(bytes).ok_or(unexpected)?;
                let is_first = core::mem::take(&mut self.is_pinged);
                // A hub that answers pings and acks nothing is as good as none: batches in flight keep their deadline.
                if self.in_flight.is_empty() {
                    self.answered_at = now;
                }
                if is_first {
                    self.tell(Output::HubTime(pong.hub, self.asked_at));
                }
                Ok(())
            }
            (State::Online { .. }, Some(Kind::Want)) => {
                let want = talk::read(bytes).ok_or(unexpected)?;
                self.tell(Output::Wanted(want));
                Ok(())
            }
            // It may overtake the welcome. Of one that cannot be read nothing else depends.
            (State::Greeting { .. } | State::Online { .. }, Some(Kind::Fetch)) => {
                match talk::read(bytes) {
                    Some(fetch) => self.tell(Output::Asked(Box::new(fetch))),
                    None => self.skipped_count += 1,
                }
                Ok(())
            }
            (_, None) if framed.kind >= SKIPPABLE_MIN => {
                self.skipped_count += 1;
                Ok(())
            }
            (_, None) => Err(DownReason::Unknown(framed.kind)),
            _ => Err(unexpected),
        }
    }

    /// Takes acked batches out of flight. An ack for a batch never sent changes nothing here.
    fn settle(&mut self, now: Instant, ack: &Ack) {
        let is_acked =
            |seq: Seq| seq < ack.cumulative || ack.ranges.iter().any(|range| range.first <= seq && seq <= range.last);
        let before = self.in_flight.len();
        self.in_flight.retain(|batch| batch.stream != ack.stream || !is_acked(batch.seq));
        self.in_flight_bytes = self.in_flight.iter().map(|batch| batch.bytes as usize).sum();
        if self.in_flight.len() < before {
            self.answered_at = now;
        }
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(channel) = &mut self.channel {
            channel.handle_timeout(now);
        }
        match self.state {
            State::Down { dial_at } if dial_at <= now && !self.is_held => {
                self.state = State::Dialling { until: now + self.timing.dial };
                self.tell(Output::Dial);
            }
            State::Dialling { until } | State::Greeting { until } if until <= now => {
                self.go_down(now, DownReason::Silent);
            }
            State::Online { .. } if self.silent_at().is_some_and(|at| at <= now) => {
                self.go_down(now, DownReason::Silent);
            }
            State::Online { since, .. } if self.ping_at().is_some_and(|at| at <= now) => {
                self.state = State::Online { since, ping_at: now + self.timing.heartbeat };
                if self.is_owed() || !self.is_held {
                    self.tell(Output::PingDue);
                }
            }
            _ => {}
        }
    }

    /// When the link counts as half open: nothing was heard of what was sent, or all of it arrived and was not answered.
    fn silent_at(&self) -> Option<Instant> {
        let channel = self.channel.as_ref()?;
        let unanswered = self.is_owed().then_some(self.answered_at);
        let since = channel.silent_since().into_iter().chain(unanswered).chain(self.arrived_at()).min();
        since.map(|since| since + self.timing.answer)
    }

    /// When to say something: a sign of life, or over datagrams, where an answer may be lost, the question for it.
    fn ping_at(&self) -> Option<Instant> {
        let (State::Online { ping_at, .. }, Some(channel)) = (self.state, &self.channel) else { return None };
        if !self.is_owed() {
            let latest = ping_at + Span(self.timing.heartbeat.0 / PING_PATIENCE);
            return Some(if self.batch_at.is_some_and(|at| at <= latest) { latest } else { ping_at });
        }
        if channel.carrier() == Carrier::Stream {
            return None;
        }
        let pinged_at = self.is_pinged.then_some(self.pinged_at);
        let since = self.arrived_at().into_iter().chain(pinged_at).min()?.max(self.pinged_at);
        Some(since + channel.ack_patience())
    }

    /// Since when a batch has been at the hub without an ack, where that is known.
    fn arrived_at(&self) -> Option<Instant> {
        self.in_flight.iter().filter_map(|batch| batch.arrived_at).min()
    }

    /// When [`Client::handle_timeout`] or [`Client::poll_packet`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = match self.state {
            State::Down { dial_at } => (!self.is_held).then_some(dial_at),
            State::Dialling { until } | State::Greeting { until } => Some(until),
            State::Online { .. } => self.silent_at().into_iter().chain(self.ping_at()).min(),
            State::Stopped => None,
        };
        let channel = self.channel.as_ref().filter(|_| !self.is_closed).and_then(|channel| channel.poll_timeout());
        own.into_iter().chain(channel).min()
    }

    /// What to tell the world next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next packet to send, with nothing but what waits in the `open` lanes, the most urgent ones: bytes of a stream, or one
    /// datagram, the n-th of them with number n.
    pub fn poll_packet(&mut self, now: Instant, open: &[Lane]) -> Option<Outgoing> {
        self.channel.as_mut()?.poll_packet(now, open)
    }

    /// Dials at once where it would wait: what made the hub refuse has changed.
    pub fn redial(&mut self, now: Instant) {
        if let State::Down { dial_at } = &mut self.state {
            *dial_at = now;
        }
    }

    /// Gives the link up because the journal goes on under another name, and dials again at once. What the hub has said is not heard
    /// any more.
    pub fn begin_again(&mut self, now: Instant) {
        self.outputs.clear();
        self.go_down(now, DownReason::Forked);
        self.redial(now);
    }

    /// Gives the link up because another bearer is to carry it, and dials over that one at once.
    pub fn reroute(&mut self, now: Instant) {
        if self.state == State::Stopped {
            return;
        }
        if !matches!(self.state, State::Down { .. }) {
            self.go_down(now, DownReason::Rerouted);
        }
        // What failed over the other one says nothing of this one.
        self.backoff.forget();
        self.redial(now);
    }

    /// Says good-bye and never dials again.
    pub fn stop(&mut self, now: Instant) {
        if self.is_online() {
            self.say(Lane::Urgent, Kind::Close, talk::body(&talk::close(CloseReason::Shutdown, "")));
            if let Some(packet) = self.poll_packet(now, &[Lane::Urgent]) {
                self.tell(Output::Send(Box::new(packet)));
            }
        }
        if !matches!(self.state, State::Down { .. } | State::Stopped) {
            self.go_down(now, DownReason::Stopped);
        }
        self.state = State::Stopped;
    }

    fn go_down(&mut self, now: Instant, reason: DownReason) {
        if let State::Online { since, .. } = self.state {
            self.backoff.after_link(now - since);
        }
        let dial_at = match &reason {
            DownReason::Refused(close) if close.reason.is_final() => self.backoff.after_refusal(now),
            _ => self.backoff.after_failure(now),
        };
        self.state = State::Down { dial_at };
        self.channel = None;
        self.arrived_bytes = 0;
        self.in_flight.clear();
        self.in_flight_bytes = 0;
        self.is_pinged = false;
        self.tell(Output::HangUp(reason));
    }

    fn tell(&mut self, output: Output) {
        // The queue is drained after every input, and one input yields fewer outputs than it holds: a chunk of acks
        // is at most 16 KiB. A peer that manages more loses the rest of its words, never our memory.
        let _ = self.outputs.push_back(output);
    }
}

/// Takes a whole message.
type Each<'a> = dyn FnMut(Framed) -> Result<(), DownReason> + 'a;

impl From<FrameError> for DownReason {
    fn from(error: FrameError) -> DownReason {
        DownReason::Garbage(error)
    }
}
