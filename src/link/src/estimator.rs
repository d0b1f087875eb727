//! What the link bears: delivery rate, smallest round trip, loss, from receipts alone. No byte is sent to find out.
//!
//! A sample of the rate is what was delivered between the sending of a packet and its receipt, over the longer of the time that took
//! to send and the time it took to be received, so that receipts that come in a bunch do not look like a fast link. A sample that was
//! taken while there was too little to send says how little that was, and counts only when it is above what is known.
//!
//! Source: Cardwell et al., "BBR: Congestion-Based Congestion Control" (2016) and draft-cheng-iccrg-delivery-rate-estimation;
//! the retransmission timer is that of RFC 6298 and RFC 9002 section 6.2.

use wire::time::{Instant, Span};

/// The window over delivery rate times smallest round trip, in eighths: 1.25 keeps the link busy over the jitter of receipts and
/// leaves a quarter of a round trip of queue before an alert; measured over 20 kbit/s and 600 ms, 1.5 doubles that wait and
/// carries no more.
const GAIN: u64 = 10;

/// While nothing is known about the link, each round may show twice the rate of the one before.
const GAIN_START: u64 = 16;

/// While the queue is emptied to see the smallest round trip.
const GAIN_DRAIN: u64 = 6;

/// Rounds without a quarter more of rate after which the rate is known (BBR: full pipe).
const FLAT_ROUND_COUNT: u8 = 3;

/// How many round trips a sample of the rate counts.
const RATE_ROUND_COUNT: u64 = 10;

/// And how long at least: a slow link has few samples.
const RATE_SPAN_MIN: Span = Span::seconds(10);

/// How long the smallest round trip counts. Our own queue hides the true one, so then it is emptied for a moment.
const ROUND_TRIP_SPAN: Span = Span::seconds(60);

/// The retransmission timer of a link of which nothing is known: 2G answers within three seconds (RFC 6298 section 2.1 has one).
const TIMEOUT_UNKNOWN: Span = Span::seconds(3);

/// The shortest and the longest timer, the latter also after doubling.
const TIMEOUT_MIN: Span = Span(100);
const TIMEOUT_MAX: Span = Span::seconds(8);

/// How long the other end may wait before it says what it received.
pub const RECEIPT_DELAY: Span = Span(20);

/// What is known of a link, for the next one over the same way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Bytes a second, whole packets.
    pub rate: u32,
    /// The smallest round trip; zero when it is not known.
    pub round_trip: Span,
    /// Packets that were lost, of 1024.
    pub loss: u16,
}

/// What became of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// So many arrived.
    pub received_count: u64,
    /// And so many did not.
    pub lost_count: u64,
}

/// What is noted when a packet is sent, for its receipt.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    sent_at: Instant,
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    is_limited: bool,
    /// Whether nothing else was on its way.
    is_alone: bool,
}

/// Estimates one direction of one link.
#[derive(Debug)]
pub struct Estimator {
    rate: Maximum,
    round_trip: Option<(Span, Instant)>,
    smoothed: Option<(Span, Span)>,
    loss_1024: u32,
    fate: Fate,
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    /// How long nothing was on its way, all pauses together.
    idle: Span,
    /// Up to here what is delivered was sent while there was too little to send.
    limited_to: u64,
    round_end: u64,
    start: Option<Start>,
    drain_until: Option<Instant>,
}

/// The search for the rate.
#[derive(Clone, Copy, Debug, Default)]
struct Start {
    rate: u64,
    flat_count: u8,
}

impl Estimator {
    /// Begins with what was known of the last link over the same way.
    pub fn new(now: Instant, known: Estimate) -> Estimator {
        let mut rate = Maximum::default();
        let mut start = Some(Start::default());
        if known.rate > 0 && known.round_trip.0 > 0 {
            rate.add(now, Span(0), known.rate.into());
            start = None;
        }
        let round_trip = (known.round_trip.0 > 0).then_some((known.round_trip, now));
        Estimator {
            rate,
            round_trip,
            smoothed: None,
            loss_1024: u32::from(known.loss),
            fate: Fate::default(),
            delivered: 0,
            delivered_at: now,
            first_sent_at: now,
            idle: Span(0),
            limited_to: 0,
            round_end: 0,
            start,
            drain_until: None,
        }
    }

    /// What is known now.
    pub fn estimate(&self) -> Estimate {
        Estimate {
            rate: self.rate.value().try_into().unwrap_or(u32::MAX),
            round_trip: self.round_trip.map_or(Span(0), |(span, _)| span),
            loss: self.loss_1024 as u16,
        }
    }

    /// What became of the packets of this link.
    pub fn fate(&self) -> Fate {
        self.fate
    }

    /// Bytes that were received.
    pub fn delivered_bytes(&self) -> u64 {
        self.delivered
    }

    /// The round trip as it is now, smoothed.
    pub fn smoothed(&self) -> Option<Span> {
        self.smoothed.map(|(smoothed, _)| smoothed)
    }

    /// A packet is sent while so many bytes were on their way.
    pub fn sent(&mut self, now: Instant, in_flight_bytes: usize) -> Mark {
        if in_flight_bytes == 0 {
            // A pause says nothing of the rate, so what was seen before it does not grow old in it.
            self.idle = self.idle + (now - self.delivered_at);
            self.first_sent_at = now;
            self.delivered_at = now;
        }
        Mark {
            sent_at: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            is_limited: self.limited_to > 0,
            is_alone: in_flight_bytes == 0,
        }
    }

    /// There is nothing more to send than what is on its way.
    pub fn limited(&mut self, in_flight_bytes: usize) {
        self.limited_to = (self.delivered + in_flight_bytes as u64).max(1);
    }

    /// A packet of so many bytes was received; `is_timed` when it is the one whose receipt this is.
    pub fn received(&mut self, now: Instant, mark: &Mark, bytes: usize, is_timed: bool) {
        self.delivered += bytes as u64;
        self.fate.received_count += 1;
        self.loss_1024 -= self.loss_1024 / 64;
        if self.limited_to > 0 && self.delivered > self.limited_to {
            self.limited_to = 0;
        }
        if !is_timed {
            return;
        }
        let took = (mark.sent_at - mark.first_sent_at).max(now - mark.delivered_at).max(Span(1));
        let rate = (self.delivered - mark.delivered) * 1000 / took.0;
        self.delivered_at = now;
        self.first_sent_at = mark.sent_at;
        self.time(now, now - mark.sent_at, mark.is_alone);
        if !mark.is_limited || rate > self.rate.value() {
            // The smallest round trip, not the present one: on a link that became slow the old rate must not count for as long as
            // the queue that it made.
            let span = Span(RATE_ROUND_COUNT * self.round_trip.map_or(0, |(span, _)| span.0)).max(RATE_SPAN_MIN);
            self.rate.add(Instant(now.0 - self.idle.0), span, rate);
        }
        if mark.delivered >= self.round_end {
            self.round_end = self.delivered;
            self.end_round(mark.is_limited);
        }
    }

    fn end_round(&mut self, is_limited: bool) {
        let Some(start) = &mut self.start else { return };
        let rate = self.rate.value();
        if rate * 4 >= start.rate * 5 {
            *start = Start { rate, flat_count: 0 };
        } else if !is_limited {
            start.flat_count += 1;
        }
        if start.flat_count >= FLAT_ROUND_COUNT {
            self.start = None;
        }
    }

    fn time(&mut self, now: Instant, round_trip: Span, is_alone: bool) {
        let round_trip = round_trip.max(Span(1));
        self.smoothed = Some(match self.smoothed {
            None => (round_trip, Span(round_trip.0 / 2)),
            Some((smoothed, variation)) => {
                let difference = smoothed.0.abs_diff(round_trip.0);
                (Span((7 * smoothed.0 + round_trip.0) / 8), Span((3 * variation.0 + difference) / 4))
            }
        });
        // What was alone on its way has seen the link without a queue of ours: after a pause there is none to be let go.
        let is_old = self.round_trip.is_some_and(|(_, since)| now - since >= ROUND_TRIP_SPAN);
        let is_drained = is_alone && is_old || self.drain_until.is_some_and(|until| until <= now);
        match self.round_trip {
            Some((smallest, _)) if round_trip > smallest && !is_drained => {}
            _ => self.round_trip = Some((round_trip, now)),
        }
        if is_drained {
            self.drain_until = None;
        }
        if let Some((smallest, since)) = self.round_trip
            && self.drain_until.is_none()
            && now - since >= ROUND_TRIP_SPAN
        {
            // One round trip to let the queue go, and one to see the link without it.
            self.drain_until = Some(now + Span(2 * smallest.0));
        }
    }

    /// Packets were lost.
    pub fn lost(&mut self, count: usize) {
        self.fate.lost_count += count as u64;
        for _ in 0..count {
            self.loss_1024 += (1024 - self.loss_1024) / 64;
        }
    }

    /// How many bytes may be on their way, at least `least` and at most `most`.
    pub fn window_bytes(&self, least: usize, most: usize) -> usize {
        let Some((round_trip, _)) = self.round_trip else { return least };
        let gain = match (self.start, self.drain_until) {
            (Some(_), _) => GAIN_START,
            (None, Some(_)) => GAIN_DRAIN,
            (None, None) => GAIN,
        };
        let product = self.rate.value().saturating_mul(round_trip.0) / 1000;
        usize::try_from(product.saturating_mul(gain) / 8).unwrap_or(usize::MAX).clamp(least, most)
    }

    /// How long to wait for a receipt before what was sent is sent again, after so many attempts in a row: never less than the link
    /// takes to carry the bytes that are on their way.
    pub fn timeout(&self, attempt_count: u32, in_flight_bytes: usize) -> Span {
        let usual = match (self.smoothed, self.round_trip) {
            (Some((smoothed, variation)), _) => Span(smoothed.0 + (4 * variation.0).max(10) + RECEIPT_DELAY.0),
            (None, Some((known, _))) => Span(3 * known.0),
            (None, None) => TIMEOUT_UNKNOWN,
        };
        let carried = match (self.round_trip, self.rate.value()) {
            (Some((smallest, _)), rate @ 1..) => smallest + Span(in_flight_bytes as u64 * 1000 / rate) + RECEIPT_DELAY,
            _ => Span(0),
        };
        let once = usual.max(carried);
        Span(once.max(TIMEOUT_MIN).0 << attempt_count.min(8)).min(TIMEOUT_MAX)
    }
}

/// The greatest of what was seen lately: the best, and the best of what came after it and after that (Linux, `lib/win_minmax.c`).
#[derive(Clone, Copy, Debug, Default)]
struct Maximum {
    best: [(u64, Instant); 3],
}

impl Maximum {
    fn value(&self) -> u64 {
        self.best[0].0
    }

    fn add(&mut self, now: Instant, span: Span, value: u64) {
        let sample = (value, now);
        if value >= self.best[0].0 || now - self.best[2].1 > span {
            self.best = [sample; 3];
            return;
        }
        if value >= self.best[1].0 {
            self.best[1] = sample;
            self.best[2] = sample;
        } else if value >= self.best[2].0 {
            self.best[2] = sample;
        }
        while now - self.best[0].1 > span {
            self.best = [self.best[1], self.best[2], sample];
        }
        if self.best[1].1 == self.best[0].1 && now - self.best[1].1 > Span(span.0 / 4) {
            self.best[1] = sample;
            self.best[2] = sample;
        } else if self.best[2].1 == self.best[1].1 && now - self.best[2].1 > Span(span.0 / 2) {
            self.best[2] = sample;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::VecDeque;
    use alloc::vec::Vec;

    use super::*;

    /// A link that carries `rate` bytes a second and answers after `delay`, with the sender's window over it, for some time.
    struct Pipe {
        now: Instant,
        estimator: Estimator,
        on_way: VecDeque<(Instant, Mark)>,
        free_at: Instant,
    }

    const PACKET: usize = 500;

    impl Pipe {
        fn new(known: Estimate) -> Pipe {
            let now = Instant(5000);
            Pipe { now, estimator: Estimator::new(now, known), on_way: VecDeque::new(), free_at: now }
        }

        fn window(&self) -> usize {
            self.estimator.window_bytes(4 * PACKET, 1 << 20)
        }

        /// Runs for a while; returns the longest queue, in ms.
        fn run(&mut self, rate: u64, delay: u64, span: Span) -> u64 {
            let (end, mut queue) = (self.now + span, 0);
            while self.now < end {
                while self.on_way.len() * PACKET + PACKET / 2 <= self.window() {
                    let mark = self.estimator.sent(self.now, self.on_way.len() * PACKET);
                    self.free_at = self.free_at.max(self.now) + Span(PACKET as u64 * 1000 / rate);
                    self.on_way.push_back((self.free_at + Span(delay), mark));
                    queue = queue.max((self.free_at - self.now).0);
                }
                let (at, mark) = self.on_way.pop_front().expect("four packets are always on their way");
                self.now = at;
                self.estimator.received(self.now, &mark, PACKET, true);
            }
            queue
        }
    }

    #[test]
    fn rate_and_round_trip_are_found_and_the_queue_stays_short() {
        for (rate, delay) in [(300, 2000), (2500, 600), (25_000, 300), (125_000, 600), (250_000, 20)] {
            let mut pipe = Pipe::new(Estimate::default());
            pipe.run(rate, delay, Span::seconds(60));
            let queue = pipe.run(rate, delay, Span::seconds(300));
            let Estimate { rate: found, round_trip, .. } = pipe.estimator.estimate();
            assert!((rate * 9 / 10..=rate * 21 / 20).contains(&found.into()), "{found} of {rate}");
            let floor = 4 * PACKET as u64 * 1000 / rate;
            let least = (delay + PACKET as u64 * 1000 / rate).max(floor);
            assert!((least - 2..=least * 5 / 4 + 2).contains(&round_trip.0), "{round_trip:?} of {least}");
            // Half a round trip when the window opens again after the queue was emptied.
            assert!(queue <= floor.max(least * 2 / 3), "{queue} ms of queue over {rate} B/s and {delay} ms");
        }
    }

    #[test]
    fn a_link_that_becomes_slow_is_noticed_within_ten_round_trips() {
        let mut pipe = Pipe::new(Estimate::default());
        pipe.run(50_000, 300, Span::seconds(60));
        pipe.run(2500, 300, Span::seconds(60));
        assert!(pipe.estimator.estimate().rate < 3000, "{:?}", pipe.estimator.estimate());
        pipe.run(50_000, 300, Span::seconds(60));
        assert!(pipe.estimator.estimate().rate > 40_000, "{:?}", pipe.estimator.estimate());
    }

    #[test]
    fn a_route_that_becomes_longer_is_noticed() {
        let mut pipe = Pipe::new(Estimate::default());
        pipe.run(25_000, 50, Span::seconds(30));
        pipe.run(25_000, 600, Span::seconds(200));
        let round_trip = pipe.estimator.estimate().round_trip;
        assert!((600..=800).contains(&round_trip.0), "{round_trip:?}");
    }

    #[test]
    fn a_trickle_says_nothing_of_the_rate() {
        let known = Estimate { rate: 2500, round_trip: Span(600), loss: 0 };
        let mut estimator = Estimator::new(Instant(0), known);
        for minute in 0..60 {
            let at = Instant(minute * 60_000);
            let mark = estimator.sent(at, 0);
            estimator.limited(100);
            estimator.received(at + Span(700), &mark, 100, true);
            let first = mark.is_limited;
            assert!(first || minute == 0);
        }
        assert!(estimator.estimate().rate >= 2000, "{:?}", estimator.estimate());
    }

    #[test]
    fn a_pause_does_not_make_the_rate_old() {
        let known = Estimate { rate: 2500, round_trip: Span(600), loss: 0 };
        let mut estimator = Estimator::new(Instant(0), known);
        for minute in [30, 60, 90] {
            // Four packets open the window, and what is sent after them shows what the window lets through, not the link.
            let at = Instant(minute * 60_000);
            let marks: Vec<Mark> = (0..4).map(|index| estimator.sent(at, index * 300)).collect();
            let fifth = estimator.sent(at + Span(720), 900);
            marks.iter().zip(0..).for_each(|(mark, index)| {
                estimator.received(at + Span(720 + index * 120), mark, 300, true);
            });
            estimator.received(at + Span(1440), &fifth, 300, true);
            estimator.limited(0);
        }
        assert_eq!(estimator.estimate().rate, 2500);
    }

    #[test]
    fn a_link_with_pauses_needs_no_smaller_window_to_see_its_round_trip() {
        let mut pipe = Pipe::new(Estimate::default());
        pipe.run(2500, 600, Span::seconds(60));
        let window = |pipe: &mut Pipe| {
            pipe.now = pipe.now + Span::minutes(30);
            let mark = pipe.estimator.sent(pipe.now, 0);
            pipe.estimator.limited(PACKET);
            pipe.now = pipe.now + Span(800);
            pipe.estimator.received(pipe.now, &mark, PACKET, true);
            pipe.window()
        };
        let windows = [window(&mut pipe), window(&mut pipe), window(&mut pipe)];
        assert!(windows.iter().all(|window| *window >= 2500 * 8 / 10 * 5 / 4), "{windows:?}");
    }

    #[test]
    fn the_timer_follows_the_link_and_backs_off() {
        let mut estimator = Estimator::new(Instant(0), Estimate::default());
        assert_eq!(estimator.timeout(0, 0), Span::seconds(3));
        assert_eq!(estimator.timeout(99, 0), Span::seconds(8));
        for index in 0..50 {
            let mark = estimator.sent(Instant(index * 1000), 0);
            estimator.received(Instant(index * 1000 + 600), &mark, 100, true);
        }
        assert_eq!(estimator.timeout(0, 0), Span(630));
        assert_eq!(estimator.timeout(2, 0), Span(2520));
        let known = Estimate { rate: 2500, round_trip: Span(700), loss: 0 };
        let estimator = Estimator::new(Instant(0), known);
        assert_eq!(estimator.timeout(0, 0), Span(2100));
        // Five seconds on the way, and the delays of link and receipt.
        assert_eq!(estimator.timeout(0, 12_500), Span(5720));
    }

    #[test]
    fn loss_is_counted_in_packets() {
        let mut estimator = Estimator::new(Instant(0), Estimate::default());
        for index in 0..5000u64 {
            let mark = estimator.sent(Instant(index), 0);
            if index % 5 == 0 {
                estimator.lost(1);
            } else {
                estimator.received(Instant(index), &mark, 100, true);
            }
        }
        let loss = estimator.estimate().loss;
        assert!((150..=260).contains(&loss), "{loss}");
    }
}
