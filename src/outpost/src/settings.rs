//! The settings: lines `key = value` in `outpost.conf`, each with a default, so that no file is needed.
//!
//! | key | default | meaning |
//! |---|---|---|
//! | `hub` | what `enroll` stored | where the hub is, `host`, or `host:port` if not 7070 |
//! | `interval` | `10s` | from tick to tick, 1s to 1h |
//! | `process_interval` | `60s` | from one walk through all processes to the next, or `off` |
//! | `batch_age` | `60s to 10m` | how much of the newest a power cut may cost: one span, or as little as the flash's budget allows |
//! | `class_critical`, `class_bulk` | a list that ships | metrics that matter most and are sent first, and that matter least and are sent last, as in `node_load*, node_up` |
//! | `sketch` | | metrics of which windows say quantiles, as in `node_load1, node_disk_io_time*`; of the first 32 series |
//! | `watch` | a list that ships | metrics of which an anomaly is told when they do what they never did, as in `node_load15, node_hwmon_temp_celsius` |
//! | `error_critical`, `error_normal`, `error_bulk` | `off` | how far values of a class may be rounded to save bytes, as in `1%` |
//! | `flash_bytes_per_day` | `45MiB` | what the journal may write to its flash |
//! | `journal_bytes_max` | `512MiB` | how much room the journal may take |
//! | `journal_shares` | `10 30 60` | what events, windows and ticks may count on of it, in percent |
//! | `keep_raw`, `keep_minute`, `keep_five_minutes`, `keep_hour`, `keep_day` | `14d`, `30d`, `90d`, `730d`, `3650d` | how long ticks and windows are kept when there is room |
//! | `keep_extract` | `90d` | how long copies of the ticks around what happened are kept |
//! | `context` | `5m 10m` | the ticks from so long before something happens to so long after it go to the hub where ticks do not, or `off` |
//! | `carrier` | `tls` | `datagram` speaks Noise over UDP: a quarter of the bytes, where UDP passes |
//! | `bearer` | whatever the system routes | an interface that may carry the link, best first, a line for [each](way) |
//! | `policy_wired`, `policy_lte`, `policy_3g`, `policy_edge`, `policy_satellite`, `policy_offline` | what [ships](agent::policy) | what is sampled and sent on [each tier](way) of a chosen bearer |
//! | `proxy` | none | `http://[user:password@]host:port`: `tls` goes through this HTTP proxy, which finds the hub's name |
//! | `budget_day`, `budget_month` | `off` | what the link may carry in a day (of UTC) and a billing month, as in `1MB`, both ways |
//! | `budget_month_day` | `1` | the day on which billing months begin |
//! | `budget_reserve` | `10%` | what of a budget is kept for events |
//! | `heartbeat` | `60s`, and up to `15m` on poorer tiers | longest pause on the link; shorter keeps a NAT open, longer saves bytes |
//! | `hostname` | the machine's | what the machine calls itself |
//! | `gnss` | none | a line on which a receiver of satellites speaks NMEA 0183, as in `/dev/ttyUSB1`; its speed is the system's to set |
//! | `time_server` | none | an SNTP server, `host`, or `host:port` if not 123, that is asked when neither the kernel nor the hub nor a receiver tells the time |
//! | `root` | `/` | where `/proc` and `/sys` are |
//!
//! `#` begins a comment. A key that is not known is an error: a setting that is silently ignored is worse than none.

mod way;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent::context::{AFTER_MAX, Around, BEFORE_MAX};
use agent::importance::Importance;
use agent::policy::Policy;
use journal::journal::Settings as JournalSettings;
use link::channel::Carrier;
use wire::class::Class;
use wire::limits::HOSTNAME_BYTES_MAX;
use wire::stream::{LANE_COUNT, Lane, SHELF_COUNT, Shelf};
use wire::time::Span;

use crate::address::{Address, AddressError};
use crate::failure::Failure;
use crate::proxy::{NoProxy, Proxy};

/// Bytes of a file of settings.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The port at which time servers listen (RFC 5905 section 7.2).
const TIME_PORT: u16 = 123;

const KEYS: [&str; 39] = [
    "batch_age",
    "bearer",
    "budget_day",
    "budget_month",
    "budget_month_day",
    "budget_reserve",
    "carrier",
    "class_bulk",
    "class_critical",
    "context",
    "error_bulk",
    "error_critical",
    "error_normal",
    "flash_bytes_per_day",
    "gnss",
    "heartbeat",
    "hostname",
    "hub",
    "interval",
    "journal_bytes_max",
    "journal_shares",
    "keep_day",
    "keep_extract",
    "keep_five_minutes",
    "keep_hour",
    "keep_minute",
    "keep_raw",
    "policy_3g",
    "policy_edge",
    "policy_lte",
    "policy_offline",
    "policy_satellite",
    "policy_wired",
    "process_interval",
    "proxy",
    "root",
    "sketch",
    "time_server",
    "watch",
];

/// What a person may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where the hub is, if the file says so.
    pub(crate) hub: Option<Address>,
    /// From tick to tick.
    pub(crate) interval: Span,
    /// From one walk through all processes to the next; `None` is never.
    pub(crate) process_interval: Option<Span>,
    /// Which series matter how much, and how far they may be rounded.
    pub(crate) importance: Box<Importance>,
    /// What the journal may write in a day.
    pub(crate) flash_bytes_per_day: u64,
    /// How much room the journal may take.
    pub(crate) journal_bytes_max: u64,
    /// What each lane may count on of it.
    pub(crate) journal_shares: [u8; LANE_COUNT],
    /// How long each stream is kept.
    pub(crate) keep: [Span; SHELF_COUNT],
    /// How much of the ticks around something that happened is sent where ticks are not.
    pub(crate) around: Around,
    /// Over what the link goes, what that may cost, and what is sampled and sent.
    pub(crate) way: Box<agent::way::Settings>,
    /// What connections to the hub go through.
    pub(crate) proxy: Option<Arc<Proxy>>,
    /// Where a receiver of satellites tells the time.
    pub(crate) gnss: Option<Box<Path>>,
    /// Who is asked for the time.
    pub(crate) time_server: Option<Box<Address>>,
    /// What the machine calls itself, if not what the kernel says.
    pub(crate) hostname: Option<String>,
    /// Where `/proc` and `/sys` are.
    pub(crate) root: PathBuf,
}

/// Why a text is no settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SettingsError {
    /// The line, counted from 1.
    pub(crate) line: usize,
    /// What is wrong with it, and what would be right.
    pub(crate) reason: String,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            hub: None,
            interval: Span::seconds(10),
            process_interval: Some(Span::seconds(60)),
            importance: Box::default(),
            flash_bytes_per_day: 45 << 20,
            journal_bytes_max: JournalSettings::DEFAULT.bytes_max,
            journal_shares: JournalSettings::DEFAULT.shares,
            keep: JournalSettings::DEFAULT.keep,
            around: Around::default(),
            way: Box::default(),
            proxy: None,
            gnss: None,
            time_server: None,
            hostname: None,
            root: PathBuf::from("/"),
        }
    }
}

impl Settings {
    /// Reads the file at `path`; the defaults when there is none.
    ///
    /// Errors: it cannot be read, or a line of it says nothing that is known.
    pub(crate) fn load(path: &Path) -> Result<Settings, Failure> {
        match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Settings::default()),
            Ok(file) if file.len() > FILE_BYTES_MAX => {
                return Err(Failure::Failed(format!("{} exceeds {FILE_BYTES_MAX} bytes", path.display())));
            }
            _ => {}
        }
        let text = std::fs::read_to_string(path).map_err(|error| Failure::at(path, &error))?;
        Settings::parse(&text)
            .map_err(|SettingsError { line, reason }| Failure::Failed(format!("{}:{line}: {reason}", path.display())))
    }

    /// Reads the text of a file.
    ///
    /// Errors: the first line that says nothing that is known.
    pub(crate) fn parse(text: &str) -> Result<Settings, SettingsError> {
        let mut settings = Settings::default();
        let mut seen: Vec<&str> = Vec::new();
        // What holds for one bearer or tier comes after what holds for all, wherever it stands.
        let mut special = Vec::new();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.split_once('#').map_or(line, |(before, _)| before).trim();
            if line.is_empty() {
                continue;
            }
            let wrong = |reason: String| SettingsError { line: index + 1, reason };
            let Some((key, value)) = line.split_once('=') else {
                // The rest of it may be a password.
                let word = line.split_whitespace().next().unwrap_or_default();
                return Err(wrong(format!("{word:?} begins no setting: expected `key = value`")));
            };
            let (key, value) = (key.trim(), unquoted(value.trim()));
            if seen.contains(&key) && key != "bearer" {
                return Err(wrong(format!("{key} is set twice")));
            }
            seen.push(key);
            if key == "bearer" || way::tier(key).is_some() {
                special.push((index, key, value));
            } else {
                settings.set(key, value).map_err(wrong)?;
            }
            if settings.way.bearers.carrier == Carrier::Datagram && settings.proxy.is_some() {
                return Err(wrong("datagrams pass no proxy: set either `proxy` or `carrier = datagram`".to_owned()));
            }
        }
        for (index, key, value) in special {
            let set = match way::tier(key) {
                Some(tier) => way::set_policy(&mut settings.way, key, tier, value),
                None => way::add_bearer(&mut settings.way, value),
            };
            set.map_err(|reason| SettingsError { line: index + 1, reason })?;
        }
        Ok(settings)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let span = |least, most| span_of(key, value, least, most);
        match key {
            "batch_age" => {
                let ages = way::ages(key, value)?;
                self.change_policies(|policy| policy.batch_age = ages)?;
            }
            "budget_day" => self.way.bearers.limit.day_bytes = budget(key, value)?,
            "budget_month" => self.way.bearers.limit.month_bytes = budget(key, value)?,
            "budget_month_day" => {
                let day = value.parse().ok().filter(|day| (1..=31).contains(day));
                self.way.bearers.limit.first_day =
                    day.ok_or_else(|| format!("{key} is a day of the month, 1 to 31"))?;
            }
            "budget_reserve" => {
                let per_cent = value.strip_suffix('%').and_then(|number| number.trim().parse().ok());
                let per_cent = per_cent.filter(|per_cent| *per_cent <= RESERVE_PER_CENT_MAX);
                self.way.bearers.limit.reserve_per_cent =
                    per_cent.ok_or_else(|| format!("{key} is a share up to {RESERVE_PER_CENT_MAX}%, as in 10%"))?;
            }
            "carrier" => {
                let carrier = way::carrier(value);
                self.way.bearers.carrier =
                    carrier.ok_or_else(|| format!("carrier is tls or datagram, and not {value:?}"))?;
            }
            "class_bulk" => self.importance.bulk = patterns(value),
            "class_critical" => self.importance.critical = patterns(value),
            "watch" => self.importance.watched = patterns(value),
            "context" => self.around = around(key, value)?,
            "error_critical" => self.importance.bits[Class::Critical as usize] = error_bits(key, value)?,
            "error_normal" => self.importance.bits[Class::Normal as usize] = error_bits(key, value)?,
            "error_bulk" => self.importance.bits[Class::Bulk as usize] = error_bits(key, value)?,
            "flash_bytes_per_day" => self.flash_bytes_per_day = bytes(key, value)?,
            "gnss" if Path::new(value).is_absolute() => self.gnss = Some(Path::new(value).into()),
            "gnss" => return Err("gnss is the path of a serial line from the root on, as in /dev/ttyUSB1".to_owned()),
            "heartbeat" => {
                let heartbeat = span(Span::seconds(5), Span::minutes(24 * 60))?;
                self.change_policies(|policy| policy.heartbeat = heartbeat)?;
            }
            "hostname" => {
                if value.is_empty() || value.len() > HOSTNAME_BYTES_MAX {
                    return Err(format!("hostname has 1 to {HOSTNAME_BYTES_MAX} bytes"));
                }
                self.hostname = Some(value.to_owned());
            }
            "hub" => self.hub = Some(value.parse().map_err(|error: AddressError| error.to_string())?),
            "interval" => self.interval = span(Span::seconds(1), Span::minutes(60))?,
            "journal_bytes_max" => {
                self.journal_bytes_max = bytes(key, value)?;
                if self.journal_bytes_max < JOURNAL_BYTES_MIN {
                    let least = JOURNAL_BYTES_MIN >> 20;
                    return Err(format!("{key} of {value} is too little: a journal needs {least} MiB"));
                }
            }
            "journal_shares" => self.journal_shares = shares(key, value)?,
            _ if let Some(shelf) = kept_shelf(key) => {
                self.keep[shelf.index()] = span(Span::minutes(60), Span::minutes(3650 * 24 * 60))?;
            }
            "process_interval" if value == "off" => self.process_interval = None,
            "process_interval" => self.process_interval = Some(span(Span::seconds(1), Span::minutes(24 * 60))?),
            "proxy" => {
                let proxy = value.parse().map_err(|error: NoProxy| error.to_string())?;
                self.proxy = Some(Arc::new(proxy));
            }
            "root" if Path::new(value).is_absolute() => self.root = PathBuf::from(value),
            "root" => return Err("root is the path of a folder from the root on, as in / or /host".to_owned()),
            "sketch" => self.importance.sketched = patterns(value),
            "time_server" => {
                let server = Address::parse(value, TIME_PORT);
                let server = server.map_err(|_| {
                    format!(
                        "{key} is a host, as in pool.example.com, 192.0.2.1:{TIME_PORT} or [2001:db8::1]:{TIME_PORT}"
                    )
                })?;
                self.time_server = Some(Box::new(server));
            }
            _ => {
                let near = query::suggest::near(key, KEYS.into_iter());
                let list = if near.is_empty() { KEYS.join(", ") } else { near.join(" or ") };
                let verb = if near.is_empty() { "there are" } else { "did you mean" };
                return Err(format!("{key:?} is no key of the settings; {verb} {list}"));
            }
        }
        Ok(())
    }

    /// Changes what is done on every tier.
    fn change_policies(&mut self, change: impl FnMut(&mut Policy)) -> Result<(), String> {
        self.way.policies.change(change).map_err(|error| error.to_string())
    }

    /// How large the journal may be, with the parts of it in proportion.
    pub(crate) fn journal(&self) -> JournalSettings {
        let default = JournalSettings::default();
        let done_bytes_max = default.done_bytes_max.min(self.journal_bytes_max / 4);
        JournalSettings {
            bytes_max: self.journal_bytes_max,
            done_bytes_max,
            shares: self.journal_shares,
            keep: self.keep,
            ..default
        }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// The shelf that a key such as `keep_raw` is about.
fn kept_shelf(key: &str) -> Option<Shelf> {
    let word = key.strip_prefix("keep_")?;
    Shelf::ALL.into_iter().find(|shelf| shelf.lane() != Lane::Urgent && shelf.name() == word)
}

/// Spans before and after.
fn around(key: &str, value: &str) -> Result<Around, String> {
    if value == "off" {
        return Ok(Around::NOTHING);
    }
    let (before, after) = value.split_once(' ').ok_or_else(|| format!("{key} is two spans, as in 5m 10m, or off"))?;
    let span = |value: &str, most| span_of(key, value.trim(), Span(0), most);
    Ok(Around { before: span(before, BEFORE_MAX)?, after: span(after, AFTER_MAX)? })
}

fn patterns(value: &str) -> Vec<String> {
    value.split(',').map(|pattern| pattern.trim().to_owned()).filter(|pattern| !pattern.is_empty()).collect()
}

/// The significant bits that keep a relative error such as `0.5%`.
fn error_bits(key: &str, value: &str) -> Result<u8, String> {
    if value == "off" {
        return Ok(codec::near::EXACT);
    }
    let percent: Option<f64> = value.strip_suffix('%').and_then(|percent| percent.trim().parse().ok());
    match percent {
        Some(percent) if (0.001..=50.0).contains(&percent) => Ok(codec::near::bits((100.0 / percent).ceil() as u32)),
        _ => Err(format!("{key} is off, or an error from 0.001% to 50%, as in 1%")),
    }
}

fn shares(key: &str, value: &str) -> Result<[u8; LANE_COUNT], String> {
    let numbers: Vec<u8> = value.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let sum: u32 = numbers.iter().map(|share| u32::from(*share)).sum();
    match numbers[..].try_into() {
        Ok(shares) if sum <= 100 && value.split_whitespace().count() == LANE_COUNT => Ok(shares),
        _ => Err(format!("{key} is three numbers of percent, of events, windows and ticks, as in 10 30 60")),
    }
}

fn span_of(key: &str, value: &str, least: Span, most: Span) -> Result<Span, String> {
    let bounds = || format!("{} to {}", query::duration::format(least.0), query::duration::format(most.0));
    match query::duration::parse(value) {
        Ok(span_ms) if (least.0..=most.0).contains(&span_ms) => Ok(Span(span_ms)),
        Ok(_) => Err(format!("{key} of {value} is outside {}", bounds())),
        Err(error) => Err(format!("{key}: {error}, from {}", bounds())),
    }
}

/// The least that a budget has: room for the largest of usual batches in what is not kept for events.
const BUDGET_BYTES_MIN: u64 = 50_000;

/// The most that is kept for events.
const RESERVE_PER_CENT_MAX: u8 = 50;

/// What a link may carry: bytes in units of providers (MB) or of ours (MiB), or no limit.
fn budget(key: &str, value: &str) -> Result<Option<u64>, String> {
    if value == "off" {
        return Ok(None);
    }
    let (number, unit) = [("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000)]
        .into_iter()
        .find_map(|(word, unit)| Some((value.strip_suffix(word)?.trim(), unit)))
        .unwrap_or((value, 1));
    let wrong = |_| format!("{key} is off, or a number of bytes, as in 1MB, 500MiB or 2GB");
    match bytes(key, number).map_err(wrong)?.saturating_mul(unit) {
        ..BUDGET_BYTES_MIN => {
            Err(format!("{key} of {value} is too little: a budget has {BUDGET_BYTES_MIN} bytes at least"))
        }
        count => Ok(Some(count)),
    }
}

/// The least that a journal can work in: its tail, twice, and some volumes.
const JOURNAL_BYTES_MIN: u64 = 16 << 20;

fn bytes(key: &str, value: &str) -> Result<u64, String> {
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let shift = match value[digits..].trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(format!("{key} is a number of bytes, as in 536870912, 512MiB or 2GiB")),
    };
    let count: u64 = value[..digits].parse().map_err(|_| format!("{key} is a number of bytes, as in 512MiB"))?;
    count.checked_mul(1 << shift).ok_or_else(|| format!("{key} of {value} is more than any disk has"))
}

// A journal of the least size holds its tail.
const _: () = assert!(JOURNAL_BYTES_MIN >= 4 * JournalSettings::DEFAULT.tail_bytes_max);

#[cfg(test)]
mod tests {
    use agent::budget::Limit;
    use agent::tier::Tier;

    use super::*;
    use crate::state::tests::Scratch;

    fn check_error(text: &str, line: usize, expected: &str) {
        let error = Settings::parse(text).expect_err(text);
        assert_eq!(error.line, line, "{error}");
        assert!(error.reason.contains(expected), "{error} lacks {expected:?}");
    }

    #[test]
    fn no_text_is_all_defaults() {
        assert_eq!(Settings::parse(""), Ok(Settings::default()));
        assert_eq!(Settings::parse("\u{feff}# nothing\r\n\r\n   # here\n"), Ok(Settings::default()));
    }

    #[test]
    fn every_key_is_read() {
        let text = "
            hub = hub.example.com:7070   # the one in the north
            policy_3g = run 99
            policy_edge = run 99
            policy_lte = run 99
            policy_offline = run 99
            policy_satellite = run 99
            policy_wired = run 99
            bearer = eth0 wired
            interval=1s
            process_interval = off
            batch_age = 2m to 5m
            budget_day = 1MB
            budget_month = 30 MiB
            budget_month_day = 15
            budget_reserve = 20%
            carrier = datagram
            class_bulk = node_netstat_*, node_x,
            class_critical =
            watch = node_load15
            error_critical = off
            error_normal = 0.1%
            error_bulk = 1%
            sketch = node_load*
            flash_bytes_per_day = 1MiB
            journal_bytes_max = 64 MiB
            journal_shares = 5 15 80
            context = 1m 2m
            keep_extract = 1d
            keep_raw = 2d
            keep_minute = 3d
            keep_five_minutes = 4d
            keep_hour = 5d
            keep_day = 6d
            heartbeat = 15m
            hostname = \"gw 17\"
            bearer = wwan0 cellular
            root = /host
            gnss = /dev/ttyUSB1
            time_server = ntp.example.com
        ";
        let mut keep = Settings::default().keep;
        for (index, shelf) in Shelf::ALL[2..].iter().rev().enumerate() {
            keep[shelf.index()] = Span::minutes((index as u64 + 1) * 24 * 60);
        }
        let limit =
            Limit { day_bytes: Some(1_000_000), month_bytes: Some(30 << 20), first_day: 15, reserve_per_cent: 20 };
        let mut way = agent::way::Settings::simple((Span::minutes(2), Span::minutes(5)), Span::minutes(15), limit);
        way.bearers.carrier = Carrier::Datagram;
        for line in ["eth0 wired", "wwan0 cellular"] {
            way::add_bearer(&mut way, line).unwrap();
        }
        for (tier, word) in Tier::ALL.into_iter().zip(["wired", "lte", "3g", "edge", "satellite", "offline"]) {
            way::set_policy(&mut way, word, tier, "run 99").unwrap();
        }
        let expected = Settings {
            hub: Some("hub.example.com:7070".parse().unwrap()),
            interval: Span::seconds(1),
            process_interval: None,
            importance: Box::new(Importance {
                critical: Vec::new(),
                bulk: vec!["node_netstat_*".to_owned(), "node_x".to_owned()],
                sketched: vec!["node_load*".to_owned()],
                bits: [0, 11, 8],
                watched: vec!["node_load15".to_owned()],
            }),
            flash_bytes_per_day: 1 << 20,
            journal_bytes_max: 64 << 20,
            journal_shares: [5, 15, 80],
            keep,
            around: Around { before: Span::minutes(1), after: Span::minutes(2) },
            way: Box::new(way),
            proxy: None,
            gnss: Some(Path::new("/dev/ttyUSB1").into()),
            time_server: Some(Box::new("ntp.example.com:123".parse().unwrap())),
            hostname: Some("gw 17".to_owned()),
            root: PathBuf::from("/host"),
        };
        assert_eq!(Settings::parse(text), Ok(expected));
        assert!(KEYS.iter().all(|key| text.contains(key) || *key == "proxy"));
        let proxy = Settings::parse("proxy = http://user:secret@proxy.example.com:3128").unwrap();
        assert_eq!(proxy.proxy.as_deref(), Some(&"http://user:secret@proxy.example.com:3128".parse().unwrap()));
        assert!(!format!("{proxy:?}").contains("secret"));
    }

    #[test]
    fn a_line_that_is_not_understood_is_named_with_what_would_be() {
        check_error("\nintervall = 10s", 2, "did you mean interval");
        check_error("zzzz = 1", 1, "there are batch_age, ");
        check_error("interval", 1, "`key = value`");
        check_error("interval = 10", 1, "unit of time");
        check_error("interval = 10ms", 1, "outside 1s to 1h");
        check_error("heartbeat = 1s", 1, "outside 5s to 1d");
        check_error("hub = hub.example.com:0", 1, "port");
        check_error("root = host", 1, "folder");
        check_error("hostname =", 1, "1 to 255");
        check_error("interval = 1s\ninterval = 2s", 2, "twice");
        check_error("journal_bytes_max = 1MiB", 1, "needs 16 MiB");
        check_error("journal_bytes_max = 1MB", 1, "512MiB");
        check_error("journal_bytes_max = 99999999999GiB", 1, "any disk");
        check_error("batch_age = 2m to 1m", 1, "backwards");
        check_error("batch_age = 2m to x", 1, "expected a duration");
        check_error("journal_shares = 50 40 30", 1, "percent");
        check_error("journal_shares = 10 x 30", 1, "percent");
        check_error("error_bulk = 1", 1, "as in 1%");
        check_error("error_bulk = 80%", 1, "to 50%");
        check_error("budget_day = 10kB", 1, "50000 bytes at least");
        check_error("budget_month = 1MBMiB", 1, "as in 1MB, 500MiB");
        check_error("budget_month = 1 MB/s", 1, "off, or a number");
        check_error("budget_month_day = 32", 1, "1 to 31");
        check_error("budget_reserve = 90%", 1, "up to 50%");
        check_error("context = 5m", 1, "two spans");
        check_error("context = 5m 2h", 1, "outside");
        check_error("keep_event = 3d", 1, "no key");
        check_error("keep_raw = 3s", 1, "outside 1h to");
        check_error("proxy = proxy.example.com:3128", 1, "http://host:port");
        check_error("time_server = ntp.example.com:0", 1, "is a host, as in");
        check_error("gnss = ttyUSB1", 1, "as in /dev/ttyUSB1");
        check_error("time_server =", 1, "is a host, as in");
        check_error("time_server = ntp://ntp.example.com", 1, "192.0.2.1:123");
        check_error("carrier = datagram\nproxy = http://proxy:3128", 2, "pass no proxy");
        check_error("proxy = http://proxy:3128\ncarrier = datagram", 2, "pass no proxy");
    }

    #[test]
    fn a_small_journal_keeps_its_parts_in_proportion() {
        let settings = Settings::parse("journal_bytes_max = 16MiB").unwrap();
        assert_eq!(settings.journal().done_bytes_max, 4 << 20);
        assert_eq!(Settings::default().journal(), JournalSettings::default());
    }

    #[test]
    fn a_missing_file_is_all_defaults_and_a_folder_is_none() {
        assert_eq!(Settings::load(Path::new("/nowhere/outpost.conf")), Ok(Settings::default()));
        assert!(Settings::load(Path::new("/")).is_err());
    }

    #[test]
    fn a_wrong_line_is_named_as_editors_and_compilers_do() {
        let Scratch(folder) = &Scratch::new();
        folder.write("outpost.conf", b"# settings\nintervall = 1s\n").unwrap();
        let path = folder.file("outpost.conf");
        let error = Settings::load(&path).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("{}:2: \"intervall\" is no key of the settings; did you mean interval", path.display())
        );
    }
}
