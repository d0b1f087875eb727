//! What there is to say, and how.

use wire::metric::DEFINITIONS;

/// What help is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Everything, shortly.
    All,
    /// `bench`
    Bench,
    /// `enroll`
    Enroll,
    /// `events`
    Events,
    /// `journal`
    Journal,
    /// `key`
    Key,
    /// `leave`
    Leave,
    /// `link`
    Link,
    /// `query`
    Query,
    /// `run`
    Run,
    /// `status`
    Status,
    /// `top`
    Top,
}

impl Topic {
    /// Every topic.
    pub(crate) const ALL: [Topic; 12] = [
        Topic::All,
        Topic::Bench,
        Topic::Enroll,
        Topic::Events,
        Topic::Journal,
        Topic::Key,
        Topic::Leave,
        Topic::Link,
        Topic::Query,
        Topic::Run,
        Topic::Status,
        Topic::Top,
    ];

    /// The command that the topic is; empty for everything.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Topic::All => "",
            Topic::Bench => "bench",
            Topic::Enroll => "enroll",
            Topic::Events => "events",
            Topic::Journal => "journal",
            Topic::Key => "key",
            Topic::Leave => "leave",
            Topic::Link => "link",
            Topic::Query => "query",
            Topic::Run => "run",
            Topic::Status => "status",
            Topic::Top => "top",
        }
    }

    /// The topic of a command.
    pub(crate) fn named(name: &str) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| topic.name() == name)
    }

    /// What to say.
    pub(crate) fn text(self) -> String {
        match self {
            Topic::Query => format!(
                "{QUERY}\nThere are {} metrics; `{{__name__=~\"node_memory.*\"}}` means many at once.\n",
                DEFINITIONS.len()
            ),
            Topic::All => ALL.to_owned(),
            Topic::Bench => BENCH.to_owned(),
            Topic::Enroll => ENROLL.to_owned(),
            Topic::Events => EVENTS.to_owned(),
            Topic::Journal => JOURNAL.to_owned(),
            Topic::Key => KEY.to_owned(),
            Topic::Leave => LEAVE.to_owned(),
            Topic::Link => LINK.to_owned(),
            Topic::Run => RUN.to_owned(),
            Topic::Status => STATUS.to_owned(),
            Topic::Top => TOP.to_owned(),
        }
    }
}

const ALL: &str = "\
outpost: watches this machine, keeps what it learned, and sends it to a hub when there is a way out

  outpost run                   runs the agent; the service does this
  outpost enroll HUB TOKEN      makes this machine a device of a hub
  outpost leave                 ends that
  outpost key rotate            gives this device a new key

  outpost status                how the agent is
  outpost top                   what the machine does now
  outpost query EXPRESSION      samples of this machine, without the hub
  outpost events                what happened
  outpost link stat             what the link costs, and what that is for

  outpost journal stat          what the journal holds, without the agent
  outpost journal verify        whether all of it is whole
  outpost journal export        all of it, as rows

  outpost bench codec TRACE     what the codec makes of a recorded trace
  outpost bench detect SERIES   what in a recorded series is an anomaly; detect-host: of a host

  --dir DIR       the state folder: /var/lib/outpost for root, otherwise ~/.local/state/outpost
  --config FILE   the settings: DIR/outpost.conf with --dir, otherwise /etc/outpost/outpost.conf for root and
                  ~/.config/outpost/outpost.conf for others; no file is needed
  --help          after a command, more about it
  --version       the release

Exit status: 0 done, 1 not done and the text says why, 2 the command line is wrong.
";

const ENROLL: &str = "\
outpost enroll HUB TOKEN [--hostname NAME]

Makes this machine a device of the hub at HUB (host, or host:port if not 7070). `outpost-hub token new` makes the TOKEN,
which also names the hub's key, so that no other hub is spoken to. A running agent connects at once. Running it again
does no harm. It goes as the link will: over UDP alone with `carrier = datagram` in the settings, or through `proxy`.

  TOKEN             `-` reads it from standard input, out of sight of `ps`
  --hostname NAME   what the machine calls itself; the hub names the device after it

Example: outpost enroll hub.example.com op1_60r2g1g0a80jasv6m0g20j10...
";

const EVENTS: &str = "\
outpost events [--since TIME] [--json]

What happened on this machine, oldest first: starts, missed ticks, losses, a disk that fails. Asks the running agent.

  --since TIME   a span (1h, 7d) or a moment (2026-01-31, 2026-01-31T12:00Z)
  --json         one JSON object a line

Example: outpost events --since 1d
";

const JOURNAL: &str = "\
outpost journal stat [--json]
outpost journal verify [--json]
outpost journal export [--lane LANE] [--since TIME] [--csv | --json]

Reads the journal in the state folder itself, whether an agent runs with it or not, and never writes to it or locks it.
A copy is read as well: --dir names the copied state folder, or the copied journal.

  stat     how many batches of each stream there are, and what they take
  verify   reads and decodes all of it; what is damaged is named, and then the exit status is 1
  export   rows, oldest first: samples have the columns of `outpost query --csv`

  --lane LANE    raw (samples; the default), urgent (events) or summary (windows)
  --since TIME   a span (1h, 7d) or a moment (2026-01-31T12:00Z); everything without it
  --csv, --json  a line a value (the default), or a JSON object a batch (raw) or event (urgent)

Examples: outpost journal verify --dir /mnt/card/var/lib/outpost
          outpost journal export --since 1d > samples.csv
";

const KEY: &str = "\
outpost key rotate

Makes a new key for this device and tells the hub, with the old one. It may be cut off anywhere and run again; a running
agent goes on with the new key at once. The hub must be reached over TCP for it, whatever the link's carrier.

Example: outpost key rotate
";

const LEAVE: &str = "\
outpost leave [--force]

Tells the hub that this device will not come back, and forgets the hub. What was sampled stays on this machine. The hub
must be reached over TCP for it, whatever the link's carrier.

  --force   forget the hub even if it cannot be told

Example: outpost leave
";

const LINK: &str = "\
outpost link stat [--json]

How the link is, what it carries, and what it costs: bytes of today and of this billing month by what they were for, as
whole IP packets in both directions with handshakes and what was sent again; the budgets of the settings and what is
expected; the last days as bars; with lines `bearer` in the settings how each of them is, how good the one in use is,
and what is sampled and sent over it. Asks the running agent.

  urgent     events, and the list of series       backlog    what could not be sent while it was new
  summary    windows                              overhead   handshakes, acks, heartbeats, what was sent again
  raw        ticks                                other      other programs, where the interface is counted

With a budget (`budget_day`, `budget_month`), less is sent the more of it is used. What waits is kept in the journal:
  from 70 %  bulk waits (`class_bulk`)   from 95 %  windows of a minute and history wait, too
  from 85 %  ticks wait, too             at 100 %   only events go, from what is kept for them (`budget_reserve`)

  --json   every number, for programs

Example: outpost link stat
";

const BENCH: &str = "\
outpost bench codec TRACE.csv[.gz] [--ticks-per-batch N] [--warmup-rows N] [--columns FILE.json]
outpost bench detect SERIES.csv --out SCORES.csv
outpost bench detect-host HOST.csv --out SCORES.csv
outpost bench detect | detect-host --print-threshold

Runs a part as it runs on the gateway over what was recorded, and prints one JSON object of what it costs.

  codec         codes a trace as the journal does and reads it back: bytes and nanoseconds a sample over the rows after
                the warm-up. The first column is timestamp_ms; decimals are scaled exactly
  detect        scores a series: from timestamp,value to timestamp,value,anomaly_score; times are RFC 3339 or seconds,
                and may repeat or leave gaps
  detect-host   scores a host: from t in seconds and a column for each metric to row,score,top

  --ticks-per-batch N   6 without it
  --warmup-rows N       rows that are coded and not counted; 0 without it
  --columns FILE.json   kinds and units of the columns; the codec needs none
  --out FILE            where the scores go
  --print-threshold     the score from which on it is an alarm

Examples: outpost bench codec trace.csv.gz --ticks-per-batch 1 --warmup-rows 150
          outpost bench detect series.csv --out scores.csv
";

const QUERY: &str = "\
outpost query EXPRESSION [--since TIME] [--step SPAN] [--json | --csv]

Samples of this machine from its own journal, without the hub. Asks the running agent. EXPRESSION is a selector of
PromQL, or `rate` over one; quote it.

  --since TIME   a span (1h, 7d) or a moment (2026-01-31T12:00Z); 1h without it
  --step SPAN    one value each SPAN (1m); without it, as sampled
  --json, --csv  for programs

Examples: outpost query node_load1
          outpost query 'node_filesystem_avail_bytes{mountpoint=\"/\"}' --since 7d --step 6h
          outpost query 'rate(node_network_receive_bytes_total{device=\"eth0\"}[5m])' --since 1d --csv
";

const RUN: &str = "\
outpost run

Runs the agent until SIGTERM or SIGINT; the service does this. SIGHUP reads the settings again. The log goes to standard
error. One agent runs with a state folder at a time.

Settings, in outpost.conf, one `key = value` a line, all optional:
  hub                where the hub is (host, or host:port if not 7070), if not where this machine was enrolled
  interval           from tick to tick, 1s to 1h (10s)
  process_interval   from one walk through all processes to the next, or off (60s)
  batch_age          how much of the newest a power cut may cost, 1s to 1h; of two spans as
                     little as flash_bytes_per_day allows (60s to 10m)
  class_critical, class_bulk
                     metrics that matter most and are sent first, and that matter least and are
                     sent last, as in node_load*, node_up
  watch              metrics of which an anomaly is told when they do what they never did, as in
                     node_load15, node_hwmon_temp_celsius (memory that is available, load15, room on
                     file systems, connections, temperature)
  error_critical, error_normal, error_bulk
                     how far values of a class may be rounded to save bytes, as in 1% (off)
  sketch             metrics of which windows say quantiles too, as in node_load*, for up to 32
                     series (none)
  flash_bytes_per_day  what the journal may write to its flash (45MiB)
  journal_bytes_max  how much room the journal may take, from 16MiB on (512MiB)
  journal_shares     what events, windows and ticks may count on of it, in percent (10 30 60)
  keep_raw, keep_minute, keep_five_minutes, keep_hour, keep_day
                     how long ticks and windows are kept, if there is room (14d, 30d, 90d,
                     730d, 3650d)
  keep_extract       how long copies of the ticks around what happened are kept (90d)
  context            the ticks from so long before something happens to so long after it go to the hub where
                     ticks do not, or off (5m 10m)
  bearer             an interface that may carry the link, best first, a line for each: its name, wired, wlan,
                     cellular or satellite, and what differs from the rest: tls, datagram, metered, unmetered,
                     budget_day=1MB, budget_month=30MB; as in `wwan* cellular datagram` (what the system routes)
  policy_wired, policy_lte, policy_3g, policy_edge, policy_satellite, policy_offline
                     what is sampled and sent over a bearer of that quality, as in `sampling 2, live
                     five_minutes hour none, past hour, batch_age 1m to 5m, run 120, heartbeat 15m`;
                     `outpost link stat` shows what holds
  carrier            tls or datagram, which takes a quarter of the bytes where UDP passes (tls)
  proxy              http://[user:password@]host:port, an HTTP proxy that tls goes through; it finds the
                     hub's name, and the hub may have to listen at 443, which most proxies allow
  budget_day, budget_month
                     what the link may carry in a day and a billing month, as in 1MB or 500MiB (off)
  budget_month_day   the day on which billing months begin, 1 to 31 (1)
  budget_reserve     what of it is kept for events (10%)
  heartbeat          longest pause on the link, 5s to 1d (60s, and up to 15m over poorer bearers)
  hostname           what the machine calls itself, if not what the kernel says
  gnss               a line on which a receiver of satellites speaks NMEA 0183, as in /dev/ttyUSB1 (none)
  time_server        host, or host:port if not 123: asked over SNTP while neither the kernel nor the hub
                     tells the time; 152 bytes each time, after pauses of 64s to 1h (none)
  root               where /proc and /sys are (/)

Example: outpost run --dir /tmp/outpost
";

const STATUS: &str = "\
outpost status [--json]

How the running agent is: its link, what waits for the hub, its clock, ticks taken and missed, its journal.

  --json   every number, for programs

Example: outpost status
";

const TOP: &str = "\
outpost top [--once]

What the machine does now, each second: load, CPUs, memory, disks, network, processes. Reads the machine itself, with
the same eyes as the agent, and needs no running one. Tables are cut to fit the terminal; Ctrl-C ends it.

  --once   one screen and no more; so is everything that does not go to a terminal

Example: outpost top --once
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_an_example_and_no_line_is_too_long() {
        for topic in Topic::ALL {
            let text = topic.text();
            assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
            assert!(topic == Topic::All || text.contains(&format!("outpost {}", topic.name())), "{text}");
            assert!(topic == Topic::All || text.contains("Example"), "{text}");
            assert_eq!(Topic::named(topic.name()), Some(topic));
        }
    }
}
