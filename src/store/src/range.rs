//! Samples of a span of time.

use std::collections::BTreeMap;
use std::fmt;

use query::selector::Selector;
use wire::class::CLASS_COUNT;
use wire::id::DeviceId;
use wire::series::{Kind, Series, labels};
use wire::stream::Resolution;
use wire::time::{BootId, Instant, Span, UnixTime};
use wire::window::SPANS;

use crate::Store;
use crate::boot::{Calendar, place};
use crate::dictionary::Dictionaries;
use crate::error::StoreError;
use crate::fill::{self, HOLE_MIN, Held, Placed};
use crate::notes::{Notes, Unplaced, Windowed};
use crate::run::{self, Run, SeriesStream, Walker};
use crate::table::View;

/// A device that is asked, with the labels that its series bear beside their own.
///
/// As with a Prometheus target, these labels win: a series' own label of the same name is found as
/// `exported_<name>`. Call the host `instance`, as dashboards do; `device` is what node_exporter calls a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Who is asked.
    pub device: DeviceId,
    /// Its labels, name and value.
    pub labels: Vec<(String, String)>,
    /// Labels that a series bears only when it has none of that name itself.
    pub default_labels: Vec<(String, String)>,
}

/// A question about samples.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Which series.
    pub selector: &'a Selector,
    /// Who is asked; nobody else is looked at.
    pub targets: &'a [Target],
    /// The first moment that counts.
    pub from: UnixTime,
    /// The last moment that counts.
    pub to: UnixTime,
    /// Samples that the answer may hold: its memory is 16 bytes for each.
    pub samples_max: usize,
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// One for each series with a sample in the span, by device, name and labels.
    pub series: Vec<SeriesSamples>,
    /// What the answer lacks.
    pub notes: Notes,
}

/// The samples of one series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesSamples {
    /// Whose series.
    pub device: DeviceId,
    /// Which series, with its own labels only.
    pub series: Series<String>,
    /// When and what, oldest first; a value `v` stands for `v * 10^scale`.
    pub samples: Vec<(UnixTime, i64)>,
}

/// Why a question has no answer.
#[derive(Debug)]
pub enum QueryError {
    /// The store failed.
    Store(StoreError),
    /// The answer exceeds what was allowed: ask for fewer series or a shorter span.
    TooManySamples {
        /// What was allowed.
        max: usize,
    },
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueryError::Store(error) => error.fmt(f),
            QueryError::TooManySamples { max } => {
                write!(f, "more than {max} samples: ask for fewer series or a shorter span")
            }
        }
    }
}

impl std::error::Error for QueryError {}

impl<E: Into<StoreError>> From<E> for QueryError {
    fn from(error: E) -> Self {
        QueryError::Store(error.into())
    }
}

impl Store {
    /// The samples of every series that is meant, oldest first: ticks where they are, and elsewhere the finest windows that are there. The
    /// notes say where.
    ///
    /// A window is a sample at its end: of a gauge its mean, of a counter the last value. A counter that fell in one has another in the
    /// middle, so that no growth is lost.
    ///
    /// A series whose scale changed (the agent was upgraded) comes once for each scale.
    ///
    /// Errors: [`QueryError::TooManySamples`] as soon as the bound is passed, so a careless question costs no more
    /// than a careful one.
    pub fn range(&self, question: &Question<'_>) -> Result<Range, QueryError> {
        let view = self.view()?;
        let mut answer = Answer { question, range: Range::default(), sample_count: 0 };
        let mut walker = Walker::default();
        for target in question.targets {
            if question.selector.allows(pairs(&target.labels)) {
                answer.ask(&view, target, &mut walker)?;
            }
        }
        Ok(answer.finish())
    }
}

impl Target {
    /// All labels of one of its series: the target's, then the series' own, which give way under `exported_`, then
    /// the defaults.
    pub fn labels_of<T: AsRef<str>>(&self, series: &Series<T>) -> Vec<(String, String)> {
        let mut all = self.labels.clone();
        for (name, value) in labels(series.labels.as_ref()) {
            let is_taken = self.labels.iter().any(|(have, _)| have == name);
            all.push((if is_taken { format!("exported_{name}") } else { name.to_owned() }, value));
        }
        for (name, value) in &self.default_labels {
            if all.iter().all(|(have, _)| have != name) {
                all.push((name.clone(), value.clone()));
            }
        }
        all
    }
}

/// Labels as a selector takes them.
pub(crate) fn pairs(labels: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> + Clone {
    labels.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

struct Answer<'q> {
    question: &'q Question<'q>,
    range: Range,
    sample_count: usize,
}

/// Where the meant slots of one list go: slot, and place in [`Range::series`].
type Wanted = Vec<(usize, usize)>;

/// What a question knows of one device.
struct Asked<'a> {
    view: &'a View,
    target: &'a Target,
    calendar: Calendar,
    dictionaries: Dictionaries,
    places: BTreeMap<Series<String>, usize>,
    unplaced: BTreeMap<BootId, [u64; CLASS_COUNT]>,
}

/// What is meant of one list.
struct Meant {
    generation: u32,
    slots: Wanted,
    kinds: Vec<Kind>,
}

/// A run that has a part in the answer.
struct Part<'a> {
    run: &'a Run,
    /// When its boot began, and the one after that.
    began: UnixTime,
    ended: Option<UnixTime>,
    meant: &'a Meant,
}

impl Answer<'_> {
    fn ask(&mut self, view: &View, target: &Target, walker: &mut Walker) -> Result<(), QueryError> {
        let device = target.device;
        let mut asked = Asked {
            view,
            target,
            calendar: Calendar::of(view, device)?,
            dictionaries: Dictionaries::new(device),
            places: BTreeMap::new(),
            unplaced: BTreeMap::new(),
        };
        let mut of_windows = Vec::new();
        for (resolution, span) in SPANS {
            of_windows.push((resolution, span, run::journals_of_windows(view, device, resolution)?));
        }
        let has_windows = of_windows.iter().any(|(.., streams)| !streams.is_empty());
        let Question { from, to, .. } = *self.question;
        // Whether there is a hole at the beginning depends on what is held before it.
        let from = if has_windows { fill::before(from, HOLE_MIN) } else { from };
        for stream in run::journals_of_ticks(view, device)? {
            self.each_run(&mut asked, stream, (from, to), walker, |answer, part, walker| {
                answer.read_ticks(view, part, from, walker)
            })?;
        }
        if has_windows {
            self.fill(&mut asked, from, of_windows, walker)?;
        }
        // A tick has a part in each class.
        let boots = asked.unplaced.into_iter().map(|(boot, of_classes)| {
            let tick_count = of_classes.into_iter().max().unwrap_or(0);
            Unplaced { device, boot, tick_count }
        });
        self.range.notes.unplaced.extend(boots);
        Ok(())
    }

    /// Hands each run of a stream that has a part in the answer to `each`.
    fn each_run(
        &mut self,
        asked: &mut Asked<'_>,
        (journal, stream, class): SeriesStream,
        (from, to): (UnixTime, UnixTime),
        walker: &mut Walker,
        mut each: impl FnMut(&mut Self, &Part<'_>, &mut Walker) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let Asked { view, target, calendar, dictionaries, places, unplaced } = asked;
        let mut meant: Option<Meant> = None;
        for run in run::runs(view, target.device, journal, stream)? {
            let run = run?;
            let Some(began) = calendar.began(run.row.boot) else {
                // What was copied counts with the ticks that it was copied from.
                let tick_count = if stream.is_copy() { 0 } else { run.row.tick_count };
                unplaced.entry(run.row.boot).or_default()[class.index()] += tick_count;
                continue;
            };
            if !run.overlaps(began, from, to) {
                continue;
            }
            let Some(mark) = run.row.mark() else {
                // Without its keyframe nothing of it reads; the walk counts what waits.
                walker.ticks(view, &run, &mut self.range.notes, |_, _| true)?;
                continue;
            };
            let Some(names) = dictionaries.of(view, journal, mark.generation)?.named(&mark, class) else {
                self.range.notes.nameless_run_count += 1;
                continue;
            };
            if meant.as_ref().is_none_or(|meant| meant.generation != mark.generation) {
                let slots = self.wanted(target, names, places);
                let kinds = names.iter().map(Series::kind).collect();
                meant = Some(Meant { generation: mark.generation, slots, kinds });
            }
            let meant = meant.as_ref().expect("it was set above");
            if !meant.slots.is_empty() {
                each(self, &Part { run: &run, began, ended: calendar.next(began), meant }, walker)?;
            }
        }
        Ok(())
    }

    fn wanted(
        &mut self,
        target: &Target,
        names: &[Series<String>],
        places: &mut BTreeMap<Series<String>, usize>,
    ) -> Wanted {
        let selector = self.question.selector;
        let mut wanted = Vec::new();
        for (slot, series) in names.iter().enumerate() {
            // Most selectors name a metric, and most series are others: their labels need not be unpacked.
            let is_named = selector.name().is_none_or(|name| name == series.name);
            if is_named && selector.matches(&series.name, pairs(&target.labels_of(series))) {
                let place = *places.entry(series.clone()).or_insert_with(|| {
                    let device = target.device;
                    self.range.series.push(SeriesSamples { device, series: series.clone(), samples: Vec::new() });
                    self.range.series.len() - 1
                });
                wanted.push((slot, place));
            }
        }
        wanted
    }

    fn read_ticks(
        &mut self,
        view: &View,
        part: &Part<'_>,
        from: UnixTime,
        walker: &mut Walker,
    ) -> Result<(), QueryError> {
        let Question { to, samples_max, .. } = *self.question;
        let Range { series, notes } = &mut self.range;
        let count = &mut self.sample_count;
        walker.ticks(view, part.run, notes, |tick, values| {
            let at = place(part.began, Instant(tick.at_ms));
            if at < from {
                return true;
            }
            if at > to {
                return false;
            }
            for (slot, index) in &part.meant.slots {
                if let Some(Some(value)) = values.get(*slot) {
                    *count += 1;
                    if *count > samples_max {
                        return false;
                    }
                    series[*index].samples.push((at, *value));
                }
            }
            true
        })?;
        self.check_room()
    }

    /// Puts windows where no ticks are, the finest first.
    fn fill(
        &mut self,
        asked: &mut Asked<'_>,
        from: UnixTime,
        of_windows: Vec<(Resolution, Span, Vec<SeriesStream>)>,
        walker: &mut Walker,
    ) -> Result<(), QueryError> {
        let (view, device, question) = (asked.view, asked.target.device, self.question);
        let mut held: BTreeMap<usize, Held> = BTreeMap::new();
        for (resolution, span, streams) in of_windows {
            let mut placed: BTreeMap<usize, Vec<Placed>> = BTreeMap::new();
            let sample_count = self.sample_count;
            for stream in streams {
                // A window may end after the next run begins.
                let around = (fill::before(from, span), question.to);
                self.each_run(asked, stream, around, walker, |answer, part, walker| {
                    answer.read_windows(view, part, span, &mut placed, walker)
                })?;
            }
            self.sample_count = sample_count;
            let mut range: Option<(UnixTime, UnixTime)> = None;
            for (index, placed) in placed {
                let SeriesSamples { series, samples, .. } = &mut self.range.series[index];
                let held =
                    held.entry(index).or_insert_with(|| Held::new(series.kind(), samples, question.from, question.to));
                let before = samples.len();
                if let Some((from, to)) = held.fill(samples, placed) {
                    range = Some(range.map_or((from, to), |(first, last)| (first.min(from), last.max(to))));
                }
                self.sample_count += samples.len() - before;
            }
            self.check_room()?;
            let windowed = range.map(|(from, to)| Windowed { device, resolution, from, to });
            self.range.notes.windowed.extend(windowed);
        }
        Ok(())
    }

    fn read_windows(
        &mut self,
        view: &View,
        part: &Part<'_>,
        span: Span,
        placed: &mut BTreeMap<usize, Vec<Placed>>,
        walker: &mut Walker,
    ) -> Result<(), QueryError> {
        let Question { to, samples_max, .. } = *self.question;
        let Part { run, began, ended, meant } = part;
        let mut places = vec![None; meant.kinds.len()];
        meant.slots.iter().for_each(|(slot, index)| places[*slot] = Some(*index));
        let count = &mut self.sample_count;
        walker.windows(view, run, &meant.kinds, &mut self.range.notes, |at, slot, window| {
            let from = place(*began, at);
            let Some(index) = places[slot].filter(|_| window.count > 0) else { return true };
            if from > to {
                return false;
            }
            let end = UnixTime(from.0.saturating_add(span.0));
            let end = ended.filter(|ended| *ended > from).map_or(end, |ended| ended.min(end));
            *count += size_of::<Placed>().div_ceil(size_of::<(UnixTime, i64)>());
            let next = Placed { boot: run.row.boot, from, to: end, window: *window };
            fill::push(placed.entry(index).or_default(), next, span);
            *count <= samples_max
        })?;
        self.check_room()
    }

    fn check_room(&self) -> Result<(), QueryError> {
        let max = self.question.samples_max;
        if self.sample_count > max { Err(QueryError::TooManySamples { max }) } else { Ok(()) }
    }

    fn finish(self) -> Range {
        let mut range = self.range;
        let Question { from, to, .. } = *self.question;
        for series in &mut range.series {
            // Some more was read, to tell where holes are, and a window may end later.
            series.samples.retain(|(at, _)| (from..=to).contains(at));
        }
        range.series.retain(|series| !series.samples.is_empty());
        for series in &mut range.series {
            // Journals and boots are read in the order of their numbers. What is in order already costs one pass.
            series.samples.sort_by_key(|(at, _)| *at);
            // What an extract copied may have come with its run as well.
            series.samples.dedup();
        }
        range.series.sort_by(|a, b| (a.device, &a.series).cmp(&(b.device, &b.series)));
        range
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Change;
    use crate::gateway::{BEGAN, Gateway, Random, ask, reseal, store, store_of, target, value};
    use crate::notes::Unreadable;
    use wire::class::Class;
    use wire::id::Seq;
    use wire::ranges::SeqRange;
    use wire::stream::Stream;

    /// The samples of the only series of an answer, as uptimes of the first boot and values.
    fn only(range: &Range) -> Vec<(u64, i64)> {
        assert_eq!(range.series.len(), 1, "{:?}", range.series);
        range.series[0].samples.iter().map(|(at, value)| (at.0 - BEGAN, *value)).collect()
    }

    fn expected(slot: usize, uptimes: std::ops::Range<u64>) -> Vec<(u64, i64)> {
        uptimes.step_by(10_000).map(|at_ms| (at_ms, value(slot, at_ms))).collect()
    }

    #[test]
    fn every_sample_comes_back_at_its_time() {
        let mut gateway = Gateway::new(1);
        let names = gateway.names(&[("node_load1", ""), ("node_cpu", "mode=\"idle\""), ("node_cpu", "mode=\"user\"")]);
        let store = store_of(&[vec![names], gateway.run(50_000, 60, 7), gateway.run(650_000, 60, 60)].concat());
        let range = ask(&store, "node_cpu{mode=\"user\",instance=\"gw-1\"}");
        assert_eq!(only(&range), expected(2, 50_000..1_250_000));
        assert_eq!((range.series[0].series.scale, &range.notes), (-2, &Notes::default()));
        assert_eq!(ask(&store, "{__name__=~\"node_.*\"}").series.len(), 3);
        assert_eq!(ask(&store, "node_cpu{instance=\"gw-2\"}"), Range::default());
    }

    #[test]
    fn series_of_every_class_come_back_under_their_names() {
        let mut gateway = Gateway::new(1);
        // In the list the classes stand in any order.
        let lists = [(Class::Bulk, "a"), (Class::Critical, "b"), (Class::Bulk, "c"), (Class::Normal, "d")];
        let mut changes = lists.map(|(class, name)| gateway.names_of(class, &[(name, "")])).to_vec();
        Class::ALL.iter().for_each(|class| changes.extend(gateway.run_of(*class, 0, 6, 2)));
        let store = store_of(&changes);
        for (name, slot) in [("a", 0), ("b", 0), ("c", 1), ("d", 0)] {
            assert_eq!(only(&ask(&store, name)), expected(slot, 0..60_000));
        }
        assert_eq!(store.missing_dictionaries(gateway.device).unwrap(), []);
    }

    #[test]
    fn a_span_cuts_at_both_ends_and_reads_no_run_outside_it() {
        let mut gateway = Gateway::new(1);
        let names = gateway.names(&[("up", "")]);
        let store = store_of(&[vec![names], gateway.run(0, 6, 2), gateway.run(60_000, 6, 2)].concat());
        let selector = Selector::parse("up").unwrap();
        let (from, to) = (UnixTime(BEGAN + 30_000), UnixTime(BEGAN + 70_000));
        let question = Question { selector: &selector, targets: &[target(1)], from, to, samples_max: 5 };
        assert_eq!(only(&store.range(&question).unwrap()), expected(0, 30_000..80_000));
        let error = store.range(&Question { samples_max: 4, ..question }).unwrap_err();
        assert_eq!(error.to_string(), "more than 4 samples: ask for fewer series or a shorter span");
    }

    #[test]
    fn a_default_label_gives_way_to_a_series_own() {
        let host = |name: &str| vec![("device".to_owned(), name.to_owned())];
        let target = Target { device: DeviceId(1), labels: Vec::new(), default_labels: host("gw-1") };
        let series = |labels| Series { name: "up", labels, kind: 1, scale: 0 };
        assert_eq!(target.labels_of(&series("")), host("gw-1"));
        assert_eq!(target.labels_of(&series("device=\"sda\"")), host("sda"));
    }

    #[test]
    fn the_labels_of_the_target_win() {
        let mut gateway = Gateway::new(1);
        let names = gateway.names(&[("disk", "device=\"sda\",instance=\"x\"")]);
        let store = store_of(&[vec![names], gateway.run(0, 1, 1)].concat());
        assert_eq!(ask(&store, "disk{device=\"sda\",exported_instance=\"x\",instance=\"gw-1\"}").series.len(), 1);
        assert_eq!(ask(&store, "disk{instance=\"x\"}").series.len(), 0);
    }

    #[test]
    fn any_order_with_repeats_gives_the_same_answer() {
        let mut gateway = Gateway::new(1);
        let mut changes = vec![gateway.names(&[("up", ""), ("load", "")])];
        changes.extend(gateway.run(0, 40, 5));
        changes.push(gateway.names(&[("late", "")]));
        changes.extend(gateway.run(400_000, 40, 9));
        gateway.boot = BootId(2);
        gateway.began = UnixTime(BEGAN + 3_600_000);
        changes.extend(gateway.run(10_000, 20, 3));
        gateway.next_generation();
        changes.push(gateway.names(&[("load", "")]));
        changes.extend(gateway.run(210_000, 20, 3));
        let all = "{__name__=~\".+\"}";
        let in_order = store_of(&changes);
        let (answer, audit) = (ask(&in_order, all), in_order.audit(gateway.device).unwrap());
        assert_eq!(answer.series.len(), 3);
        assert_eq!((audit.sample_count, audit.duplicate_count, audit.gap_count), (40 * 2 + 40 * 3 + 20 * 3 + 20, 0, 0));
        let mut random = Random(1);
        for _ in 0..40 {
            let mut shuffled = changes.clone();
            (0..10).for_each(|_| shuffled.push(changes[random.below(changes.len())].clone()));
            random.shuffle(&mut shuffled);
            let store = store();
            for part in shuffled.chunks(1 + random.below(20)) {
                assert_eq!(store.commit(part).unwrap(), []);
            }
            assert_eq!(ask(&store, all), answer);
            assert_eq!(store.audit(gateway.device).unwrap(), audit);
        }
    }

    #[test]
    fn a_boot_without_a_clock_is_placed_as_soon_as_one_of_its_stamps_has_one() {
        let mut gateway = Gateway::new(1);
        gateway.has_clock = false;
        let mut changes = vec![gateway.names(&[("up", "")])];
        changes.extend(gateway.run(0, 6, 2));
        let store = store_of(&changes);
        let range = ask(&store, "up");
        let unplaced = Unplaced { device: gateway.device, boot: gateway.boot, tick_count: 6 };
        assert_eq!((range.series.len(), &range.notes.unplaced[..]), (0, &[unplaced][..]));

        gateway.has_clock = true;
        store.commit(&gateway.run(60_000, 6, 2)).unwrap();
        assert_eq!(only(&ask(&store, "up")), expected(0, 0..120_000));
        assert_eq!(ask(&store, "up").notes, Notes::default());
    }

    #[test]
    fn the_clock_of_the_latest_batch_counts_and_a_clock_never_set_is_none() {
        let mut gateway = Gateway::new(1);
        let mut changes = vec![];
        gateway.began = UnixTime(1_000);
        changes.push(gateway.names(&[("up", "")]));
        changes.extend(gateway.run(0, 3, 3));
        assert_eq!(ask(&store_of(&changes), "up").notes.unplaced.len(), 1);
        gateway.began = UnixTime(BEGAN - 7_000);
        changes.extend(gateway.run(30_000, 3, 3));
        gateway.began = UnixTime(BEGAN);
        changes.extend(gateway.run(60_000, 3, 3));
        changes.reverse();
        assert_eq!(only(&ask(&store_of(&changes), "up")), expected(0, 0..90_000));
    }

    #[test]
    fn two_boots_and_two_lives_of_a_journal_stand_in_the_order_of_time() {
        let mut gateway = Gateway::new(1);
        let mut changes = vec![gateway.names(&[("up", "")])];
        changes.extend(gateway.run(0, 3, 2));
        (gateway.boot, gateway.began) = (BootId(0), UnixTime(BEGAN + 100_000));
        changes.extend(gateway.run(0, 3, 2));
        gateway.reimage(3, 9);
        gateway.began = UnixTime(BEGAN + 200_000);
        changes.push(gateway.names(&[("other", ""), ("up", "")]));
        changes.extend(gateway.run(0, 3, 2));
        let range = ask(&store_of(&changes), "up");
        let values = |slot, began: u64| expected(slot, 0..30_000).into_iter().map(move |(at, v)| (at + began, v));
        let expected: Vec<_> = values(0, 0).chain(values(0, 100_000)).chain(values(1, 200_000)).collect();
        assert_eq!(only(&range), expected);
    }

    #[test]
    fn a_hole_costs_the_rest_of_its_run_and_no_other() {
        let mut gateway = Gateway::new(1);
        let names = gateway.names(&[("up", "")]);
        let (first, second) = (gateway.run(0, 10, 2), gateway.run(100_000, 10, 2));
        let lost = Change::Lost {
            device: gateway.device,
            journal: gateway.journal,
            stream: Stream::raw(Class::Normal),
            range: SeqRange { first: Seq(2), last: Seq(2) },
            is_elsewhere: false,
        };
        let store = store_of(&[vec![names, lost], first[..2].to_vec(), first[3..].to_vec(), second].concat());
        let range = ask(&store, "up");
        assert_eq!(only(&range), [expected(0, 0..40_000), expected(0, 100_000..200_000)].concat());
        assert_eq!(range.notes, Notes { waiting_count: 2, ..Notes::default() });
    }

    #[test]
    fn a_run_whose_keyframe_has_not_come_waits() {
        let mut gateway = Gateway::new(1);
        let names = gateway.names(&[("up", "")]);
        let run = gateway.run(0, 10, 2);
        let store = store_of(&[vec![names], run[1..].to_vec()].concat());
        assert_eq!(ask(&store, "up").notes.waiting_count, 4);
        store.commit(&run[..1]).unwrap();
        assert_eq!(only(&ask(&store, "up")), expected(0, 0..100_000));
    }

    #[test]
    fn hostile_payloads_are_counted_and_hide_no_neighbour() {
        let mut gateway = Gateway::new(1);
        let names = gateway.names(&[("up", ""), ("load", "")]);
        let (victim, neighbour) = (gateway.run(0, 30, 10), gateway.run(300_000, 30, 10));
        let mut random = Random(5);
        for _ in 0..200 {
            let at = random.below(victim.len());
            let mut changes = [vec![names.clone()], victim.clone(), neighbour.clone()].concat();
            let (place, byte, is_cut) = (random.below(4096), random.below(256) as u8, random.below(4) == 0);
            changes[1 + at] = reseal(&victim[at], |payload| {
                let place = place % payload.len();
                payload[place] = byte;
                if is_cut {
                    payload.truncate(place);
                }
            });
            let store = store_of(&changes);
            let range = ask(&store, "up");
            let all: Vec<_> = range.series[0].samples.iter().map(|(at, v)| (at.0.wrapping_sub(BEGAN), *v)).collect();
            assert!(expected(0, 300_000..600_000).iter().all(|sample| all.contains(sample)));
            store.audit(gateway.device).unwrap();
        }
    }

    #[test]
    fn damage_at_rest_is_named() {
        let mut gateway = Gateway::new(1);
        let names = gateway.names(&[("up", "")]);
        let run = gateway.run(0, 30, 10);
        let store = store_of(&[vec![names], run].concat());
        let transaction = store.database.begin_write().unwrap();
        let key = (1, gateway.journal.0, u8::from(Stream::raw(Class::Normal)), 1);
        transaction.open_table(crate::table::RECORD).unwrap().insert(key, &b"no longer a record"[..]).unwrap();
        transaction.commit().unwrap();
        let range = ask(&store, "up");
        assert_eq!(only(&range), expected(0, 0..100_000));
        let unreadable = Unreadable {
            device: gateway.device,
            journal: gateway.journal,
            stream: Stream::raw(Class::Normal),
            seq: Seq(1),
        };
        let notes = Notes { unreadable: vec![unreadable], unreadable_count: 1, waiting_count: 1, ..Notes::default() };
        assert_eq!(range.notes, notes);
    }
}
