//! `outpost status`: one screen that says whether all is well, and what is not.

use std::fmt::Write as _;

use agent::question::{Answer, Question, Status};
use query::render::json::put_text;
use query::time;
use query::unit::{Shown, Unit};
use wire::time::Instant;

use crate::address::Address;
use crate::ask::{ask, unexpected};
use crate::failure::Failure;
use crate::moment::rough;
use crate::state::StateFolder;

/// Clocks that differ by less are said to agree: the hub's answer was under way for some of it.
const CLOCK_TOLERANCE_MS: u64 = 1000;

/// The link's state where there is no hub to dial.
const NO_HUB: &str = "no hub";

/// Asks the agent how it is.
pub(crate) fn asked(folder: &StateFolder) -> Result<Status, Failure> {
    match ask(folder, Question::Status)? {
        Answer::Status(status) => Ok(*status),
        _ => Err(unexpected()),
    }
}

/// A status for people. `hub` is where the hub is, if the device is enrolled.
pub(crate) fn screen(status: &Status, hub: Option<&Address>) -> String {
    let bytes = |count: u64| Shown { unit: Unit::Bytes, is_per_second: false }.format(count as f64);
    let mut out = String::new();
    let mut row = |name: &str, value: String| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{name:<10}{value}");
    };
    row("agent", format!("{}, running for {}", status.version, rough(status.now.uptime - status.started)));
    match hub {
        Some(hub) => row("device", format!("{} at {hub}", status.device)),
        None => row("device", "not enrolled; `outpost enroll HUB TOKEN` does that".to_owned()),
    }
    row("link", link(status));
    if status.skipped_count > 0 {
        row("skipped", skipped(status.skipped_count));
    }
    row("backlog", backlog(status));
    row("clock", clock(status));
    let ticks = match status.missed_count {
        0 => format!("{} taken, none missed", status.tick_count),
        missed => format!("{} taken, {missed} MISSED; `outpost events` says when", status.tick_count),
    };
    row("ticks", format!("{ticks}, {} series in the last", status.series_count));
    let written = bytes(status.written_bytes);
    let (volumes, tail) = (bytes(status.volume_bytes), bytes(status.tail_bytes));
    row("journal", format!("{volumes} in volumes, {tail} in the tail, {written} written since the start"));
    if let Some(error) = &status.storage_error {
        row("storage", format!("CANNOT WRITE, ticks are kept in memory: {error}"));
    }
    out
}

fn link(status: &Status) -> String {
    let ago = |at: Instant| rough(status.now.uptime - at);
    let acked = status.acked_at.map_or("nothing acked yet".to_owned(), |at| format!("last ack {} ago", ago(at)));
    let ended = status.link_ended.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
    match status.link.as_str() {
        NO_HUB => "none; everything is kept here".to_owned(),
        "online" => format!("up, {acked}"),
        "down" => format!("DOWN, {acked}{ended}"),
        "no network" => format!("DOWN, no interface has a network, {acked}"),
        "held" => format!("down to keep its budget, {acked}; `outpost link stat` says more"),
        state => format!("{state}, {acked}{ended}"),
    }
}

/// What of the hub's words was passed over, for people.
pub(crate) fn skipped(count: u64) -> String {
    format!("{count} messages that this version does not know: the hub is newer")
}

fn backlog(status: &Status) -> String {
    let waiting = match status.backlog_count {
        0 if status.kept_count > 0 => {
            return format!("nothing waits; {} batches are for a better link", status.kept_count);
        }
        0 => return "nothing waits".to_owned(),
        1 => "1 batch waits".to_owned(),
        count => format!("{count} batches wait"),
    };
    if status.link == NO_HUB {
        return format!("{waiting} until there is a hub");
    }
    match status.in_flight_count {
        0 => waiting,
        count => format!("{waiting}, {count} under way"),
    }
}

fn clock(status: &Status) -> String {
    let now = match (status.now.unix, &status.belief) {
        (Some(unix), Some((source, uncertainty))) => {
            let within = if uncertainty.0 < 1000 { format!("{} ms", uncertainty.0) } else { rough(*uncertainty) };
            format!("{} by the {source}, to {within}", time::format(unix.0 / 1000 * 1000))
        }
        (Some(unix), None) => time::format(unix.0 / 1000 * 1000),
        (None, _) => "the date is not known".to_owned(),
    };
    match status.hub_offset_ms {
        None => now,
        Some(offset_ms) if offset_ms.unsigned_abs() < CLOCK_TOLERANCE_MS => format!("{now}, as the hub's"),
        Some(offset_ms) => {
            let way = if offset_ms > 0 { "behind" } else { "ahead of" };
            format!("{now}, {} {way} the hub's", rough(wire::time::Span(offset_ms.unsigned_abs())))
        }
    }
}

/// A status for programs, in one line. What is not known is `null`.
pub(crate) fn json(status: &Status, hub: Option<&Address>) -> String {
    let mut out = String::from("{");
    let mut put = |key: &str, value: String| {
        if out.len() > 1 {
            out.push(',');
        }
        put_text(&mut out, key);
        out.push(':');
        out.push_str(&value);
    };
    let text = |text: &str| {
        let mut quoted = String::new();
        put_text(&mut quoted, text);
        quoted
    };
    let or_null = |value: Option<String>| value.unwrap_or_else(|| "null".to_owned());
    put("version", text(&status.version));
    put("device", or_null(hub.map(|_| text(&status.device.to_string()))));
    put("hub", or_null(hub.map(|hub| text(&hub.to_string()))));
    put("journal", text(&status.journal.to_string()));
    put("boot", text(&status.now.boot.to_string()));
    put("uptime_ms", status.now.uptime.0.to_string());
    put("unix_ms", or_null(status.now.unix.map(|unix| unix.0.to_string())));
    put("running_ms", (status.now.uptime - status.started).0.to_string());
    put("link", text(&status.link));
    put("link_ended", or_null(status.link_ended.as_deref().map(text)));
    put("acked_ago_ms", or_null(status.acked_at.map(|at| (status.now.uptime - at).0.to_string())));
    let belief = status.belief.as_ref();
    put("time_source", or_null(belief.map(|(source, _)| format!("\"{source}\""))));
    put("time_uncertainty_ms", or_null(belief.map(|(_, uncertainty)| uncertainty.0.to_string())));
    put("hub_offset_ms", or_null(status.hub_offset_ms.map(|offset_ms| offset_ms.to_string())));
    put("tick_count", status.tick_count.to_string());
    put("missed_count", status.missed_count.to_string());
    put("series_count", status.series_count.to_string());
    put("backlog_count", status.backlog_count.to_string());
    put("kept_count", status.kept_count.to_string());
    put("in_flight_count", status.in_flight_count.to_string());
    put("skipped_count", status.skipped_count.to_string());
    put("volume_bytes", status.volume_bytes.to_string());
    put("tail_bytes", status.tail_bytes.to_string());
    put("written_bytes", status.written_bytes.to_string());
    put("storage_error", or_null(status.storage_error.as_deref().map(text)));
    out.push_str("}\n");
    out
}

#[cfg(test)]
mod tests {
    use wire::id::{DeviceId, JournalId};
    use wire::time::{BootId, Stamp, UnixTime};

    use super::*;

    fn status() -> Status {
        Status {
            version: "0.1.0".to_owned(),
            device: DeviceId(0xa5),
            journal: JournalId(0x11),
            now: Stamp { boot: BootId(7), uptime: Instant(100_000), unix: Some(UnixTime(1_767_225_600_123)) },
            started: Instant(40_000),
            link: "online".to_owned(),
            link_ended: None,
            acked_at: Some(Instant(96_000)),
            hub_offset_ms: Some(-2500),
            belief: Some(("kernel".to_owned(), wire::time::Span(12))),
            tick_count: 6,
            missed_count: 0,
            series_count: 312,
            backlog_count: 3,
            kept_count: 0,
            in_flight_count: 1,
            skipped_count: 0,
            volume_bytes: 3 << 20,
            tail_bytes: 12_345,
            written_bytes: 1 << 20,
            storage_error: None,
        }
    }

    fn hub() -> Address {
        "hub.example.com:7070".parse().unwrap()
    }

    #[test]
    fn all_is_well_on_one_screen() {
        assert_eq!(
            screen(&status(), Some(&hub())),
            "\
agent     0.1.0, running for 1m
device    00000000000000a5 at hub.example.com:7070
link      up, last ack 4s ago
backlog   3 batches wait, 1 under way
clock     2026-01-01T00:00:00Z by the kernel, to 12 ms, 2s ahead of the hub's
ticks     6 taken, none missed, 312 series in the last
journal   3.00 MiB in volumes, 12.1 KiB in the tail, 1.00 MiB written since the start
"
        );
    }

    #[test]
    fn what_is_not_well_is_said() {
        let status = Status {
            link: "down".to_owned(),
            link_ended: Some("connection lost".to_owned()),
            acked_at: None,
            now: Stamp { unix: None, ..status().now },
            hub_offset_ms: None,
            belief: None,
            missed_count: 4,
            skipped_count: 2,
            storage_error: Some("No space left on device".to_owned()),
            ..status()
        };
        let screen = screen(&status, Some(&hub()));
        for expected in [
            "link      DOWN, nothing acked yet: connection lost\n",
            "skipped   2 messages that this version does not know: the hub is newer\n",
            "clock     the date is not known\n",
            "ticks     6 taken, 4 MISSED",
            "storage   CANNOT WRITE, ticks are kept in memory: No space left on device\n",
        ] {
            assert!(screen.contains(expected), "{screen}");
        }
    }

    #[test]
    fn a_device_that_is_not_enrolled_is_told_how_to() {
        let status = Status { link: "no hub".to_owned(), ..status() };
        let screen = screen(&status, None);
        assert!(screen.contains("device    not enrolled; `outpost enroll HUB TOKEN` does that\n"), "{screen}");
        assert!(screen.contains("backlog   3 batches wait until there is a hub\n"), "{screen}");
        assert!(json(&status, None).contains("\"device\":null,\"hub\":null,"));
    }

    #[test]
    fn programs_get_every_number() {
        assert_eq!(
            json(&status(), Some(&hub())),
            concat!(
                r#"{"version":"0.1.0","device":"00000000000000a5","hub":"hub.example.com:7070","journal":"00000011","#,
                r#""boot":"00000007","uptime_ms":100000,"unix_ms":1767225600123,"running_ms":60000,"link":"online","#,
                r#""link_ended":null,"acked_ago_ms":4000,"time_source":"kernel","time_uncertainty_ms":12,"hub_offset_ms":-2500,"tick_count":6,"missed_count":0,"#,
                r#""series_count":312,"backlog_count":3,"kept_count":0,"in_flight_count":1,"skipped_count":0,"volume_bytes":3145728,"tail_bytes":12345,"#,
                r#""written_bytes":1048576,"storage_error":null}"#,
                "\n"
            )
        );
    }
}
