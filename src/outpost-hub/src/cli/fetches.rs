//! `fetch`: ask a device for what it has not sent, and see what became of it.

use std::path::Path;

use hub::fetches::{Asked, EXPIRES_IN, Standing};
use hub::request::{Reply, Request};
use query::{duration, time};
use serde::Serialize;
use wire::time::UnixTime;

use crate::args::Fetch;
use crate::cli::{admin, nonsense, show, show_json};
use crate::table::table;

/// Carries out one of the forms of the command.
pub fn fetch(folder: &Path, now: UnixTime, fetch: Fetch) -> Result<(), String> {
    match fetch {
        Fetch::Ask { device, selector, from, to } => ask(folder, device, selector, (from, to)),
        Fetch::List { is_json } => list(folder, now, is_json),
        Fetch::Withdraw { number } => match admin(folder, Request::FetchWithdraw { number })? {
            Reply::Done => Ok(()),
            _ => Err(nonsense()),
        },
    }
}

fn ask(folder: &Path, device: String, selector: String, (from, to): (UnixTime, UnixTime)) -> Result<(), String> {
    let request = Request::Fetch { device: device.clone(), selector, from, to };
    let Reply::Fetch { number, is_online } = admin(folder, request)? else { return Err(nonsense()) };
    let state = if is_online {
        format!("{device} is asked; `outpost-hub fetch` shows what it answers")
    } else {
        format!("{device} is asked when it connects, within {}", duration::format(EXPIRES_IN.0))
    };
    show(&format!("request {number}: {state}\n"))
}

fn list(folder: &Path, now: UnixTime, is_json: bool) -> Result<(), String> {
    let Reply::Fetches(all) = admin(folder, Request::Fetches)? else { return Err(nonsense()) };
    if is_json {
        return show_json(&all.iter().map(|(asked, name)| Shown::of(asked, name, now)).collect::<Vec<_>>());
    }
    show(&text(&all, now))
}

fn text(all: &[(Asked, String)], now: UnixTime) -> String {
    if all.is_empty() {
        return "nothing was asked for: `outpost-hub fetch --help`\n".into();
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|(asked, name)| {
            let moment = |at: UnixTime| time::format(at.0 / 1000 * 1000);
            let fetch = &asked.fetch;
            let (number, selector) = (fetch.number.to_string(), fetch.selector.to_string());
            vec![number, name.clone(), selector, moment(fetch.from), moment(fetch.to), state(asked, now)]
        })
        .collect();
    table(&["NUMBER", "DEVICE", "SERIES", "FROM", "TO", "STATE"], &rows)
}

fn state(asked: &Asked, now: UnixTime) -> String {
    match asked.standing {
        Standing::Open if asked.is_open(now) => "open".into(),
        Standing::Open => "expired: it did not connect in time".into(),
        Standing::Answered(None) => "it makes no sense to the device: is its agent older than the hub?".into(),
        Standing::Answered(Some(0)) => "the device holds nothing of it".into(),
        Standing::Answered(Some(1)) => "1 batch was copied".into(),
        Standing::Answered(Some(count)) => format!("{count} batches were copied"),
        Standing::Withdrawn => "withdrawn".into(),
    }
}

/// A request as JSON shows it. Moments are milliseconds since 1970.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    number: u64,
    device: &'a str,
    selector: &'a str,
    from_ms: u64,
    to_ms: u64,
    made_ms: u64,
    ends_ms: u64,
    state: &'static str,
    batches: Option<u32>,
}

impl Shown<'_> {
    fn of<'a>(asked: &'a Asked, device: &'a str, now: UnixTime) -> Shown<'a> {
        Shown {
            number: asked.fetch.number,
            device,
            selector: &asked.fetch.selector,
            from_ms: asked.fetch.from.0,
            to_ms: asked.fetch.to.0,
            made_ms: asked.made.0,
            ends_ms: asked.ends.0,
            state: match asked.standing {
                Standing::Open if asked.is_open(now) => "open",
                Standing::Open => "expired",
                Standing::Answered(None) => "refused",
                Standing::Answered(Some(_)) => "answered",
                Standing::Withdrawn => "withdrawn",
            },
            batches: match asked.standing {
                Standing::Answered(count) => count,
                Standing::Open | Standing::Withdrawn => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::id::DeviceId;

    use super::*;

    const NOW: UnixTime = UnixTime(1_767_225_600_000);

    fn asked(number: u64, standing: Standing) -> (Asked, String) {
        let (from, to) = (UnixTime(NOW.0 - 3_600_000), UnixTime(NOW.0 - 1_800_000));
        let fetch = wire::message::Fetch { number, selector: "node_load1".try_into().unwrap(), from, to };
        let ends = UnixTime(NOW.0 + EXPIRES_IN.0);
        (Asked { fetch, device: DeviceId(7), made: NOW, ends, standing }, "gw-1".into())
    }

    #[test]
    fn requests_are_a_table_with_what_became_of_them() {
        let answered = |count| Standing::Answered(Some(count));
        let all = [asked(1, answered(12)), asked(2, answered(0)), asked(3, Standing::Open)];
        assert_eq!(
            text(&all, NOW),
            "\
NUMBER  DEVICE  SERIES      FROM                  TO                    STATE
1       gw-1    node_load1  2025-12-31T23:00:00Z  2025-12-31T23:30:00Z  12 batches were copied
2       gw-1    node_load1  2025-12-31T23:00:00Z  2025-12-31T23:30:00Z  the device holds nothing of it
3       gw-1    node_load1  2025-12-31T23:00:00Z  2025-12-31T23:30:00Z  open
"
        );
        assert!(text(&all[2..], UnixTime(NOW.0 + EXPIRES_IN.0)).contains("expired"));
        assert!(text(&[], NOW).contains("--help"));
    }

    #[test]
    fn a_request_is_json_in_a_fixed_order() {
        let (asked, name) = asked(3, Standing::Answered(Some(2)));
        let line = serde_json::to_string(&Shown::of(&asked, &name, NOW)).unwrap();
        assert_eq!(
            line,
            "{\"number\":3,\"device\":\"gw-1\",\"selector\":\"node_load1\",\"from_ms\":1767222000000,\
             \"to_ms\":1767223800000,\"made_ms\":1767225600000,\"ends_ms\":1767830400000,\"state\":\"answered\",\
             \"batches\":2}"
        );
    }
}
