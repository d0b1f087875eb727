//! `outpost events`: what happened on this gateway, oldest first.

use std::fmt::Write as _;

use agent::question::{Answer, Question};
use query::render::json::put_text;
use query::time;
use wire::event::Event;
use wire::time::{Span, Stamp};

use crate::ask::{ask, unexpected};
use crate::failure::Failure;
use crate::moment::{rough, unix_of};
use crate::state::StateFolder;

/// Events that are asked for.
const EVENT_COUNT_MAX: u32 = 1000;

/// The newest events, oldest first; those since `since`, if it says so.
pub(crate) fn asked(folder: &StateFolder, now: Stamp, since: Option<Span>) -> Result<Vec<(Stamp, Event)>, Failure> {
    let Answer::Events(mut events) = ask(folder, Question::Events { count_max: EVENT_COUNT_MAX })? else {
        return Err(unexpected());
    };
    events.reverse();
    if let Some(since) = since {
        events.retain(|(stamp, _)| is_within(*stamp, now, since));
    }
    Ok(events)
}

/// Whether a moment is at most `since` ago. One that cannot be placed is better shown than hidden.
pub(crate) fn is_within(stamp: Stamp, now: Stamp, since: Span) -> bool {
    if stamp.boot == now.boot {
        return now.uptime - stamp.uptime <= since;
    }
    match (stamp.unix, now.unix) {
        (Some(at), Some(now)) => now.0.saturating_sub(at.0) <= since.0,
        _ => true,
    }
}

/// Events for people, a line each.
pub(crate) fn lines(events: &[(Stamp, Event)], now: Stamp) -> String {
    let mut out = String::new();
    if events.len() == EVENT_COUNT_MAX as usize {
        out.push_str("older ones are left out\n");
    }
    for (stamp, event) in events {
        let when = match unix_of(*stamp, now) {
            Some(unix) => time::format(unix.0 / 1000 * 1000),
            None => format!("boot {} + {}", stamp.boot, rough(Span(stamp.uptime.0))),
        };
        // Writing to a string does not fail.
        let _ = writeln!(out, "{when:<20}  {}", printable(&event.to_string()));
    }
    if out.is_empty() {
        out.push_str("nothing happened\n");
    }
    out
}

/// Events for programs: a line of JSON each.
pub(crate) fn json(events: &[(Stamp, Event)], now: Stamp) -> String {
    let mut out = String::new();
    for (stamp, event) in events {
        let unix_ms = unix_of(*stamp, now).map_or("null".to_owned(), |unix| unix.0.to_string());
        // Writing to a string does not fail.
        let _ = write!(out, "{{\"unix_ms\":{unix_ms},\"boot\":\"{}\",\"uptime_ms\":{}", stamp.boot, stamp.uptime.0);
        out.push_str(",\"kind\":");
        put_text(&mut out, kind(event));
        out.push_str(",\"text\":");
        put_text(&mut out, &event.to_string());
        out.push_str("}\n");
    }
    out
}

/// What the fields of [`csv`] are.
pub(crate) const CSV_HEADER: &str = "time,unix_ms,boot,uptime_ms,kind,text\r\n";

/// Events as CSV (RFC 4180), a line each. The first two fields of one that cannot be placed are empty.
pub(crate) fn csv(events: &[(Stamp, Event)], now: Stamp) -> String {
    let mut out = String::new();
    for (stamp, event) in events {
        let unix_ms = unix_of(*stamp, now).map(|unix| unix.0);
        let when = unix_ms.map_or(",".to_owned(), |unix_ms| format!("{},{unix_ms}", time::format(unix_ms)));
        let text = event.to_string().replace('"', "\"\"");
        // A spreadsheet takes some texts for formulas; one that follows an apostrophe stays text.
        let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
        // Writing to a string does not fail.
        let _ = write!(out, "{when},{},{},{},\"{guard}{text}\"\r\n", stamp.boot, stamp.uptime.0, kind(event));
    }
    out
}

/// The event's word, for programs that look for one kind.
fn kind(event: &Event) -> &'static str {
    match event {
        Event::Anomaly { .. } => "anomaly",
        Event::BudgetUsed { .. } => "budget_used",
        Event::ClockStepped { .. } => "clock_stepped",
        Event::DataUsed { .. } => "data_used",
        Event::Fetched { .. } => "fetched",
        Event::HostAnomaly { .. } => "host_anomaly",
        Event::LinkChanged { .. } => "link_changed",
        Event::Lost { .. } => "lost",
        Event::Withheld { .. } => "withheld",
        Event::PartsUnread { .. } => "parts_unread",
        Event::ProcessesSkipped { .. } => "processes_skipped",
        Event::ClocksDisagree { .. } => "clocks_disagree",
        Event::TimeLearned { .. } => "time_learned",
        Event::TimeRefused { .. } => "time_refused",
        Event::JournalRenamed { .. } => "journal_renamed",
        Event::WindowsRefused { .. } => "windows_refused",
        Event::Quarantined { .. } => "quarantined",
        Event::SeriesRefused { .. } => "series_refused",
        Event::Started { .. } => "started",
        Event::Stopped => "stopped",
        Event::StorageFailed { .. } => "storage_failed",
        Event::StorageRecovered => "storage_recovered",
        Event::TicksMissed { .. } => "ticks_missed",
        Event::Trouble { trouble } => trouble.word(),
        Event::TroubleOver { .. } => "trouble_over",
        Event::Unsaid { .. } => "unsaid",
    }
}

/// What the system said may hold anything; a terminal obeys control characters.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use wire::time::{BootId, Instant, UnixTime};

    use super::*;

    const NOW: Stamp = Stamp { boot: BootId(7), uptime: Instant(100_000), unix: Some(UnixTime(1_767_225_600_123)) };

    fn events() -> Vec<(Stamp, Event)> {
        let at = |boot, uptime_ms, unix_ms: Option<u64>| Stamp {
            boot: BootId(boot),
            uptime: Instant(uptime_ms),
            unix: unix_ms.map(UnixTime),
        };
        vec![
            (at(5, 3_600_000, None), Event::Stopped),
            (at(6, 40_000, Some(1_767_220_000_000)), Event::TicksMissed { count: 3 }),
            (at(7, 40_000, None), Event::StorageFailed { error: wire::event::text("a\u{1b}[2Jb") }),
        ]
    }

    #[test]
    fn every_event_is_a_line_that_moves_no_cursor() {
        assert_eq!(
            lines(&events(), NOW),
            "\
boot 00000005 + 1h    agent stopped
2025-12-31T22:26:40Z  3 ticks were due and not taken
2025-12-31T23:59:00Z  journal cannot write, keeping ticks in memory: a\u{fffd}[2Jb
"
        );
        assert_eq!(lines(&[], NOW), "nothing happened\n");
        let many = vec![(NOW, Event::Stopped); EVENT_COUNT_MAX as usize];
        assert!(lines(&many, NOW).starts_with("older ones are left out\n2026-"));
    }

    #[test]
    fn programs_get_a_line_of_json_each() {
        let json = json(&events(), NOW);
        let first = r#"{"unix_ms":null,"boot":"00000005","uptime_ms":3600000,"kind":"stopped","text":"agent stopped"}"#;
        assert_eq!(json.lines().next(), Some(first));
        assert_eq!(json.lines().count(), 3);
    }

    #[test]
    fn spreadsheets_get_a_line_each_with_its_text_in_quotes() {
        let expected = concat!(
            ",,00000005,3600000,stopped,\"agent stopped\"\r\n",
            "2025-12-31T22:26:40Z,1767220000000,00000006,40000,ticks_missed,\"3 ticks were due and not taken\"\r\n",
        );
        assert_eq!(csv(&events()[..2], NOW), expected);
    }

    #[test]
    fn what_cannot_be_placed_is_shown_whatever_is_asked_for() {
        let shown = |since_s| events().iter().filter(|(at, _)| is_within(*at, NOW, Span::seconds(since_s))).count();
        assert_eq!((shown(59), shown(60), shown(6000)), (1, 2, 3));
    }
}
