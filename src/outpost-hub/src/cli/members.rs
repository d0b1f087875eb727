//! `fleet`: who there is, and how each stands.

use std::collections::BTreeMap;
use std::path::Path;

use hub::fleet::Standing;
use hub::request::{Member, Reply, Request};
use serde::Serialize;
use wire::time::{Span, UnixTime};

use crate::cli::{admin, nonsense, show, show_json};
use crate::table::{ago, offset, table};

/// Shows the fleet.
pub fn fleet(folder: &Path, now: UnixTime, is_all: bool, is_json: bool) -> Result<(), String> {
    let Reply::Fleet(mut members) = admin(folder, Request::Fleet)? else { return Err(nonsense()) };
    let count = members.len();
    members.retain(|member| is_all || member.device.standing == Standing::Active);
    if is_json {
        return show_json(&members.iter().map(|member| Shown::of(member, now)).collect::<Vec<_>>());
    }
    let hidden_count = count - members.len();
    show(&text(&members, hidden_count, now))
}

fn text(members: &[Member], hidden_count: usize, now: UnixTime) -> String {
    let hidden = match hidden_count {
        0 => String::new(),
        1 => "1 retired or revoked device is not shown: --all\n".into(),
        count => format!("{count} retired or revoked devices are not shown: --all\n"),
    };
    if members.is_empty() {
        return format!("no devices: `outpost-hub token new` makes what lets one in\n{hidden}");
    }
    let rows: Vec<Vec<String>> = members.iter().map(|member| row(member, now)).collect();
    table(&["NAME", "STATE", "HEARD", "BACKLOG", "CLOCK", "VERSION", "GROUP", "TAGS"], &rows) + &hidden
}

fn row(member: &Member, now: UnixTime) -> Vec<String> {
    let device = &member.device;
    let tags: Vec<String> = device.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    vec![
        device.name.clone(),
        state(member, now).into(),
        member.silence(now).map_or("never".into(), |silence| ago(silence.0)),
        device.backlog_count.to_string(),
        device.clock_offset_ms.map_or("?".into(), offset),
        device.version.clone(),
        device.group.clone().unwrap_or_default(),
        tags.join(" "),
    ]
}

/// For so long a device is said to be cloned after its second machine was last seen.
const CLONED: Span = Span::minutes(7 * 24 * 60);

fn is_cloned(member: &Member, now: UnixTime) -> bool {
    member.device.cloned.is_some_and(|seen| now.0.saturating_sub(seen.0) < CLONED.0)
}

fn state(member: &Member, now: UnixTime) -> &'static str {
    match member.device.standing {
        Standing::Active if is_cloned(member, now) => "cloned",
        Standing::Active if member.is_online => "online",
        Standing::Active => "offline",
        Standing::Retired => "retired",
        Standing::Revoked => "revoked",
    }
}

/// A member as JSON shows it. Moments are milliseconds since 1970.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    name: &'a str,
    id: String,
    standing: &'static str,
    online: bool,
    cloned: bool,
    heard_ms: Option<u64>,
    silence_ms: Option<u64>,
    backlog: u64,
    clock_offset_ms: Option<i64>,
    version: &'a str,
    hostname: &'a str,
    group: Option<&'a str>,
    tags: &'a BTreeMap<String, String>,
    enrolled_ms: u64,
    knows_next_key: bool,
}

impl Shown<'_> {
    fn of(member: &Member, now: UnixTime) -> Shown<'_> {
        let device = &member.device;
        Shown {
            name: &device.name,
            id: device.id.to_string(),
            standing: match device.standing {
                Standing::Active => "active",
                Standing::Retired => "retired",
                Standing::Revoked => "revoked",
            },
            online: member.is_online,
            cloned: is_cloned(member, now),
            heard_ms: device.heard.map(|heard| heard.0),
            silence_ms: member.silence(now).map(|silence| silence.0),
            backlog: device.backlog_count,
            clock_offset_ms: device.clock_offset_ms,
            version: &device.version,
            hostname: &device.hostname,
            group: device.group.as_deref(),
            tags: &device.tags,
            enrolled_ms: device.enrolled.0,
            knows_next_key: member.knows_next_key,
        }
    }
}

#[cfg(test)]
mod tests {
    use hub::fleet::Device;
    use wire::id::DeviceId;

    use super::*;

    const NOW: UnixTime = UnixTime(1_767_225_600_000);

    fn member(name: &str, standing: Standing) -> Member {
        let device = Device {
            id: DeviceId(7),
            name: name.into(),
            group: Some("pumps".into()),
            tags: BTreeMap::from([("site".into(), "north".into()), ("x".into(), "y".into())]),
            keys: Vec::new(),
            datagram_keys: BTreeMap::new(),
            told_key: None,
            standing,
            enrolled: NOW,
            heard: Some(UnixTime(NOW.0 - 12_345)),
            journal: None,
            backlog_count: 3,
            clock_offset_ms: Some(-40),
            about: None,
            former_journal: None,
            cloned: None,
            version: "0.1.0".into(),
            hostname: name.into(),
        };
        Member { device, is_online: standing == Standing::Active, knows_next_key: true, skipped_count: 0 }
    }

    #[test]
    fn a_fleet_is_a_table() {
        let mut silent = member("gw-20", Standing::Active);
        silent.is_online = false;
        (silent.device.heard, silent.device.clock_offset_ms, silent.device.group) = (None, None, None);
        silent.device.tags.clear();
        let text = text(&[member("gw-1", Standing::Active), silent], 1, NOW);
        assert_eq!(
            text,
            "\
NAME   STATE    HEARD     BACKLOG  CLOCK   VERSION  GROUP  TAGS
gw-1   online   12 s ago  3        -40 ms  0.1.0    pumps  site=north x=y
gw-20  offline  never     3        ?       0.1.0
1 retired or revoked device is not shown: --all
"
        );
    }

    #[test]
    fn a_fleet_of_none_says_how_to_begin() {
        assert!(text(&[], 0, NOW).contains("token new"));
    }

    #[test]
    fn a_member_is_json_in_a_fixed_order() {
        let line = serde_json::to_string(&Shown::of(&member("gw-1", Standing::Retired), NOW)).unwrap();
        assert_eq!(
            line,
            "{\"name\":\"gw-1\",\"id\":\"0000000000000007\",\"standing\":\"retired\",\"online\":false,\"cloned\":false,\
             \"heard_ms\":1767225587655,\"silence_ms\":12345,\"backlog\":3,\"clock_offset_ms\":-40,\
             \"version\":\"0.1.0\",\"hostname\":\"gw-1\",\"group\":\"pumps\",\"tags\":{\"site\":\"north\",\"x\":\"y\"},\
             \"enrolled_ms\":1767225600000,\"knows_next_key\":true}"
        );
    }
}
