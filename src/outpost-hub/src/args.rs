//! The command line, read.
//!
//! Errors are usage errors: they name what was not understood and say where the help is.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use hub::request::Request;
use query::duration;
use query::selector::{Expression, Selector};
use query::step::Grid;
use wire::limits::EXTRACT_SPAN_MAX;
use wire::time::{Span, UnixTime};

use crate::call::{EventsCall, SamplesCall, UsageCall};
use crate::options::{Word, Words, too_many, unknown};
use crate::server::LISTEN_DEFAULT;
use crate::usage::{self, DAY_COUNT_MAX};

/// Steps of an answer when none is asked for: what a line of blocks has room for.
const STEP_COUNT: u64 = 60;

const SINCE_DEFAULT_MS: u64 = 3_600_000;

const EVENT_COUNT: u32 = 1000;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    /// The hub's folder, when it was named.
    pub folder: Option<PathBuf>,
    /// What is to be done there.
    pub command: Command,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Tell what links carried.
    Data {
        /// Of what.
        call: UsageCall,
        /// How.
        format: UsageFormat,
    },
    /// Change a device.
    Device(Request),
    /// Tell what happened.
    Events {
        /// Of what.
        call: EventsCall,
        /// How.
        is_json: bool,
    },
    /// Ask a device for ticks, or tell what was asked for.
    Fetch(Fetch),
    /// Tell who is in the fleet.
    Fleet {
        /// Those included that left.
        is_all: bool,
        /// How.
        is_json: bool,
    },
    /// Explain a command.
    Help(Topic),
    /// Make the folder and the key.
    Init,
    /// Change to the next key.
    KeyActivate {
        /// Also when devices would be left behind.
        is_forced: bool,
    },
    /// Make the next key and tell the fleet.
    KeyRotate,
    /// Print the key's fingerprint.
    KeyShow,
    /// Tell what was measured.
    Query {
        /// Of what.
        call: SamplesCall,
        /// How.
        format: Format,
    },
    /// Be the hub.
    Serve {
        /// Where it listens.
        listen: String,
    },
    /// Tell how much there is.
    Stat {
        /// How.
        is_json: bool,
    },
    /// Withdraw a token.
    TokenDelete {
        /// The token itself, or the first digits of its hash.
        token: String,
    },
    /// Tell which tokens there are.
    TokenList {
        /// How.
        is_json: bool,
    },
    /// Make a token.
    TokenNew(TokenNew),
    /// Print the version.
    Version,
}

/// What is asked of a device, or about what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// Ask a device.
    Ask {
        /// Which.
        device: String,
        /// For which series, as a selector.
        selector: String,
        /// The first moment that is meant.
        from: UnixTime,
        /// The last.
        to: UnixTime,
    },
    /// Tell what was asked for.
    List {
        /// How.
        is_json: bool,
    },
    /// Ask no more.
    Withdraw {
        /// The request's number.
        number: u64,
    },
}

/// How samples are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One line a value.
    Csv,
    /// All in one line.
    Json,
    /// One line a moment.
    Steps,
    /// One line a series.
    Table,
}

/// How what links carried is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageFormat {
    /// One line a day of a bearer.
    Csv,
    /// All in one line.
    Json,
    /// Bars of letters.
    Screen,
    /// A drawing.
    Svg,
}

/// A token to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenNew {
    /// How often it can be used.
    pub uses: u32,
    /// How long it lasts; none for ever.
    pub expires_in: Option<Span>,
    /// The group of what it lets in.
    pub group: Option<String>,
    /// The tags of what it lets in.
    pub tags: BTreeMap<String, String>,
}

/// What the help can explain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// All commands, in a line each.
    All,
    /// `data`
    Data,
    /// `device`
    Device,
    /// `events`
    Events,
    /// `fetch`
    Fetch,
    /// `fleet`
    Fleet,
    /// `init`
    Init,
    /// `key`
    Key,
    /// `query`
    Query,
    /// `serve`
    Serve,
    /// `stat`
    Stat,
    /// `token`
    Token,
}

impl Topic {
    /// What has a help of its own, by the name of its command.
    pub const NAMED: [(&str, Topic); 11] = [
        ("data", Topic::Data),
        ("device", Topic::Device),
        ("events", Topic::Events),
        ("fetch", Topic::Fetch),
        ("fleet", Topic::Fleet),
        ("init", Topic::Init),
        ("key", Topic::Key),
        ("query", Topic::Query),
        ("serve", Topic::Serve),
        ("stat", Topic::Stat),
        ("token", Topic::Token),
    ];

    fn named(name: &str) -> Result<Topic, String> {
        let found = Topic::NAMED.iter().find(|(have, _)| *have == name).map(|(_, topic)| *topic);
        found.ok_or_else(|| unknown("command", name, Topic::NAMED.iter().map(|(name, _)| *name)))
    }
}

/// Why a command line is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError {
    /// What was not understood.
    pub reason: String,
    /// Where the help is.
    pub topic: Topic,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = Topic::NAMED.iter().find(|(_, topic)| *topic == self.topic).map(|(name, _)| format!("{name} "));
        write!(f, "{}\nsee `outpost-hub {}--help`", self.reason, command.unwrap_or_default())
    }
}

/// Reads a command line without the program's name. Moments before now are counted from `now`.
pub fn parse<T: Into<OsString>>(given: impl IntoIterator<Item = T>, now: UnixTime) -> Result<Args, UsageError> {
    let mut words = Words::new(given);
    let mut topic = Topic::All;
    let command = match command(&mut words, now, &mut topic) {
        // Asking for help answers every mistake.
        _ if words.is_help => Ok(Command::Help(topic)),
        command => command,
    };
    let command = command.map_err(|reason| UsageError { reason, topic })?;
    Ok(Args { folder: words.folder, command })
}

fn command(words: &mut Words, now: UnixTime, topic: &mut Topic) -> Result<Command, String> {
    let name = match words.next()? {
        Some(Word::Option(option)) if option == "version" || option == "V" => return Ok(Command::Version),
        Some(Word::Option(option)) => return Err(unknown("option", &option, ["dir", "help", "version"])),
        Some(Word::Plain(name)) => name,
        None => return Err("what is to be done?".into()),
    };
    if name == "help" {
        let about = words.rest(&[])?.plain;
        return Ok(Command::Help(about.first().map_or(Ok(Topic::All), |about| Topic::named(about))?));
    }
    *topic = Topic::named(&name)?;
    match topic {
        Topic::All => unreachable!("no command has this name"),
        Topic::Data => data(words, now),
        Topic::Device => device(words),
        Topic::Events => events(words, now),
        Topic::Fetch => fetch(words, now).map(Command::Fetch),
        Topic::Fleet => {
            let rest = words.rest(&["all", "json"])?.without_words()?;
            Ok(Command::Fleet { is_all: rest.has("all"), is_json: rest.has("json") })
        }
        Topic::Init => words.rest(&[])?.without_words().map(|_| Command::Init),
        Topic::Key => key(words),
        Topic::Query => query(words, now),
        Topic::Serve => {
            let rest = words.rest(&["listen="])?.without_words()?;
            let listen = rest.value("listen").unwrap_or(LISTEN_DEFAULT);
            match listen.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {}
                _ => return Err(format!("--listen takes an address and a port, as in 0.0.0.0:7070, not {listen:?}")),
            }
            Ok(Command::Serve { listen: listen.to_owned() })
        }
        Topic::Stat => words.rest(&["json"])?.without_words().map(|rest| Command::Stat { is_json: rest.has("json") }),
        Topic::Token => token(words),
    }
}

fn data(words: &mut Words, now: UnixTime) -> Result<Command, String> {
    let rest = words.rest(&["csv", "from=", "json", "since=", "svg", "to="])?;
    let device = match &rest.plain[..] {
        [] => return Err("which device?".into()),
        [device] => device.clone(),
        [_, word, ..] => return Err(too_many(word)),
    };
    let (from, to) = rest.span(now, 30 * 24 * SINCE_DEFAULT_MS)?;
    if usage::day(to) - usage::day(from) > DAY_COUNT_MAX {
        return Err(format!("a chart has {DAY_COUNT_MAX} days at the most: choose a shorter span"));
    }
    let format = match (rest.has("csv"), rest.has("json"), rest.has("svg")) {
        (false, false, false) => UsageFormat::Screen,
        (true, false, false) => UsageFormat::Csv,
        (false, true, false) => UsageFormat::Json,
        (false, false, true) => UsageFormat::Svg,
        _ => return Err("one of --csv, --json and --svg".into()),
    };
    Ok(Command::Data { call: UsageCall { device, from, to }, format })
}

fn device(words: &mut Words) -> Result<Command, String> {
    let action = words.action(&["delete", "group", "rename", "retire", "revoke", "tag"])?;
    let options: &[&str] = match action.as_str() {
        "delete" => &["yes"],
        "group" => &["none"],
        _ => &[],
    };
    let rest = words.rest(options)?;
    let mut plain = rest.plain.iter().cloned();
    let device = plain.next().ok_or("which device?")?;
    let request = match action.as_str() {
        "delete" if !rest.has("yes") => {
            return Err(format!("this erases {device} and everything it ever sent: add --yes to go ahead"));
        }
        "delete" => Request::Delete { device },
        "group" if rest.has("none") => Request::Group { device, group: None },
        "group" => Request::Group { device, group: Some(plain.next().ok_or("which group? --none for none")?) },
        "rename" => Request::Rename { device, name: plain.next().ok_or("what is its new name?")? },
        "retire" => Request::Retire { device },
        "revoke" => Request::Revoke { device },
        _ => {
            let (key, value) = tag(&plain.next().ok_or("which tag? as in site=north")?)?;
            Request::Tag { device, key, value: Some(value).filter(|value| !value.is_empty()) }
        }
    };
    plain.next().map_or(Ok(Command::Device(request)), |word| Err(too_many(&word)))
}

fn events(words: &mut Words, now: UnixTime) -> Result<Command, String> {
    let rest = words.rest(&["count=", "device=", "from=", "json", "since=", "to="])?.without_words()?;
    let (from, to) = rest.span(now, 24 * SINCE_DEFAULT_MS)?;
    let count_max = rest.number("count")?.unwrap_or(EVENT_COUNT);
    if count_max == 0 {
        return Err("--count 0 shows nothing".into());
    }
    let call = EventsCall { device: rest.value("device").map(str::to_owned), from, to, count_max };
    Ok(Command::Events { call, is_json: rest.has("json") })
}

fn fetch(words: &mut Words, now: UnixTime) -> Result<Fetch, String> {
    let rest = words.rest(&["from=", "json", "since=", "to=", "withdraw="])?;
    if let Some(number) = rest.number("withdraw")? {
        return rest.without_words().map(|_| Fetch::Withdraw { number: number.into() });
    }
    let (device, series) = match &rest.plain[..] {
        [] => return Ok(Fetch::List { is_json: rest.has("json") }),
        [_] => return Err("which series? as in node_load1 or 'node_cpu.*'".into()),
        [device, series] => (device.clone(), series),
        [_, _, word, ..] => return Err(format!("{} (quote the series: '..')", too_many(word))),
    };
    let (from, to) = rest.span(now, SINCE_DEFAULT_MS)?;
    if to.0 - from.0 > EXTRACT_SPAN_MAX.0 {
        let span = duration::format(EXTRACT_SPAN_MAX.0);
        return Err(format!("a device is asked for {span} at the most: ask for a part after the other"));
    }
    Ok(Fetch::Ask { device, selector: selector(series)?, from, to })
}

/// A selector, or one that means the metrics whose names are of a pattern.
fn selector(text: &str) -> Result<String, String> {
    let error = match Selector::parse(text) {
        Ok(_) => return Ok(text.to_owned()),
        Err(error) => format!("this means no series:\n{}", error.pointed(text)),
    };
    let is_pattern = text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_:.*+?|[]^-".contains(letter));
    let selector = format!("{{__name__=~\"{text}\"}}");
    if is_pattern && Selector::parse(&selector).is_ok() { Ok(selector) } else { Err(error) }
}

fn key(words: &mut Words) -> Result<Command, String> {
    match words.action(&["activate", "rotate", "show"])?.as_str() {
        "activate" => {
            let rest = words.rest(&["force"])?.without_words()?;
            Ok(Command::KeyActivate { is_forced: rest.has("force") })
        }
        "rotate" => words.rest(&[])?.without_words().map(|_| Command::KeyRotate),
        _ => words.rest(&[])?.without_words().map(|_| Command::KeyShow),
    }
}

fn query(words: &mut Words, now: UnixTime) -> Result<Command, String> {
    let rest = words.rest(&["csv", "from=", "json", "raw", "since=", "step=", "steps", "to="])?;
    let [expression] = &rest.plain[..] else {
        return Err(match rest.plain.get(1) {
            Some(word) => format!("{} (quote the expression: '..')", too_many(word)),
            None => "which series? as in node_load1".into(),
        });
    };
    Expression::parse(expression).map_err(|error| format!("this is no expression:\n{}", error.pointed(expression)))?;
    let (from, to) = rest.span(now, SINCE_DEFAULT_MS)?;
    let step = match rest.value("step") {
        _ if rest.has("raw") => None,
        Some(step) => Some(Span(duration::parse(step).map_err(|error| format!("--step: {error}"))?)),
        None => Some(Span(Grid::step_for(to.0 - from.0, STEP_COUNT))),
    };
    let format = match (rest.has("csv"), rest.has("json"), rest.has("steps")) {
        (false, false, false) => Format::Table,
        (true, false, false) => Format::Csv,
        (false, true, false) => Format::Json,
        (false, false, true) => Format::Steps,
        _ => return Err("one of --csv, --json and --steps".into()),
    };
    Ok(Command::Query { call: SamplesCall { expression: expression.clone(), from, to, step }, format })
}

fn token(words: &mut Words) -> Result<Command, String> {
    match words.action(&["delete", "list", "new"])?.as_str() {
        "delete" => match &words.rest(&[])?.plain[..] {
            [] => Err("which token? itself, or its HASH in `outpost-hub token list`".into()),
            [token] => Ok(Command::TokenDelete { token: token.clone() }),
            [_, word, ..] => Err(too_many(word)),
        },
        "list" => words.rest(&["json"])?.without_words().map(|rest| Command::TokenList { is_json: rest.has("json") }),
        _ => new_token(words),
    }
}

fn new_token(words: &mut Words) -> Result<Command, String> {
    let rest = words.rest(&["expires=", "group=", "tag=", "uses="])?.without_words()?;
    let expires_in = match rest.value("expires") {
        Some("never") => None,
        Some(span) => Some(Span(duration::parse(span).map_err(|error| format!("--expires: {error}, or never"))?)),
        None => Some(Span::minutes(24 * 60)),
    };
    let uses = rest.number("uses")?.unwrap_or(1);
    if uses == 0 || expires_in == Some(Span(0)) {
        return Err("a token that lets nobody in is of no use".into());
    }
    let tags = rest.values("tag").map(tag).collect::<Result<_, _>>()?;
    Ok(Command::TokenNew(TokenNew { uses, expires_in, group: rest.value("group").map(str::to_owned), tags }))
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("a tag is key=value, not {text:?}"))?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_767_225_600_000);

    fn args(line: &[&str]) -> Args {
        parse(line, NOW).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    fn check(line: &str, expected: Command) {
        assert_eq!(args(&line.split(' ').collect::<Vec<_>>()).command, expected, "{line}");
    }

    fn check_error(line: &str, expected: &str) {
        let error = parse(line.split(' '), NOW).expect_err(line).to_string();
        assert!(error.contains(expected), "{line}: {error}");
    }

    #[test]
    fn the_folder_may_stand_anywhere() {
        for line in ["--dir /h fleet", "fleet --dir /h", "fleet --dir=/h"] {
            assert_eq!(args(&line.split(' ').collect::<Vec<_>>()).folder, Some("/h".into()), "{line}");
        }
        assert_eq!(args(&["token", "--dir", "/h", "list"]).folder, Some("/h".into()));
        assert_eq!(args(&["fleet"]).folder, None);
    }

    #[test]
    fn a_hub_listens_on_loopback_until_told_otherwise() {
        check("serve", Command::Serve { listen: "127.0.0.1:7070".into() });
        for listen in ["0.0.0.0", ":7070", "0.0.0.0:x", "0.0.0.0:70000"] {
            check_error(&format!("serve --listen {listen}"), "as in 0.0.0.0:7070");
        }
        check("serve --listen [::]:7070", Command::Serve { listen: "[::]:7070".into() });
    }

    #[test]
    fn a_token_lets_one_machine_in_for_a_day_until_told_otherwise() {
        let plain = TokenNew { uses: 1, expires_in: Some(Span::minutes(1440)), group: None, tags: BTreeMap::new() };
        check("token new", Command::TokenNew(plain));
        let tags = BTreeMap::from([("a".into(), "1".into()), ("b".into(), "x=y".into())]);
        let full = TokenNew { uses: 5, expires_in: None, group: Some("pumps".into()), tags };
        check("token new --uses 5 --expires never --group pumps --tag a=1 --tag b=x=y", Command::TokenNew(full));
        check("token delete 1a2b", Command::TokenDelete { token: "1a2b".into() });
        check_error("token delete", "which token?");
        check_error("token delete 1a2b 3c4d", "\"3c4d\" is one word too many");
        check_error("token new --uses 0", "no use");
        check_error("token new --uses many", "takes a number");
        check_error("token new --expires soon", "--expires: expected a duration");
        check_error("token new --tag site", "key=value");
    }

    #[test]
    fn devices_are_changed_by_name() {
        let device = || "gw-1".to_owned();
        check("device rename gw-1 pump", Command::Device(Request::Rename { device: device(), name: "pump".into() }));
        check(
            "device group gw-1 north",
            Command::Device(Request::Group { device: device(), group: Some("north".into()) }),
        );
        check("device group gw-1 --none", Command::Device(Request::Group { device: device(), group: None }));
        let tag = |value: Option<&str>| Request::Tag {
            device: device(),
            key: "site".into(),
            value: value.map(str::to_owned),
        };
        check("device tag gw-1 site=north", Command::Device(tag(Some("north"))));
        check("device tag gw-1 site=", Command::Device(tag(None)));
        check("device retire gw-1", Command::Device(Request::Retire { device: device() }));
        check("device delete gw-1 --yes", Command::Device(Request::Delete { device: device() }));
        check_error("device delete gw-1", "--yes");
        check_error("device retire", "which device?");
        check_error("device retire gw-1 gw-2", "one word too many");
        check_error("device retrie gw-1", "did you mean retire?");
    }

    #[test]
    fn a_device_is_asked_for_a_span_of_some_series() {
        let ask = |selector: &str, ago_s: [u64; 2]| {
            let [from, to] = ago_s.map(|ago_s| UnixTime(NOW.0 - ago_s * 1000));
            Command::Fetch(Fetch::Ask { device: "gw-1".into(), selector: selector.into(), from, to })
        };
        check("fetch gw-1 node_load1", ask("node_load1", [3600, 0]));
        check("fetch gw-1 node_cpu.* --from 14:00Z --to 14:20Z", ask("{__name__=~\"node_cpu.*\"}", [36_000, 34_800]));
        check("fetch gw-1 up{a=\"b\"} --since 20m", ask("up{a=\"b\"}", [1200, 0]));
        check("fetch", Command::Fetch(Fetch::List { is_json: false }));
        check("fetch --json", Command::Fetch(Fetch::List { is_json: true }));
        check("fetch --withdraw 7", Command::Fetch(Fetch::Withdraw { number: 7 }));
        check_error("fetch gw-1", "which series?");
        check_error("fetch gw-1 up 14:00", "one word too many");
        check_error("fetch gw-1 up{", "this means no series");
        check_error("fetch gw-1 rate(up[5m])", "this means no series");
        check_error("fetch gw-1 up --since 4h", "3h at the most");
        check_error("fetch --withdraw all", "takes a number");
        check_error("fetch gw-1 up --from 14:00", "expected Z");
    }

    #[test]
    fn a_question_has_a_span_and_a_step() {
        let query = |line: &[&str]| match args(line).command {
            Command::Query { call, format } => (NOW.0 - call.from.0, NOW.0 - call.to.0, call.step, format),
            other => panic!("{other:?}"),
        };
        let minute = Some(Span::minutes(1));
        assert_eq!(query(&["query", "up"]), (3_600_000, 0, minute, Format::Table));
        assert_eq!(
            query(&["query", "up", "--since", "1d", "--csv"]),
            (86_400_000, 0, Some(Span::minutes(30)), Format::Csv)
        );
        assert_eq!(query(&["query", "up", "--since", "2025-12-31T23:00Z"]).0, 3_600_000);
        let line = ["query", "rate(up[5m])", "--from", "-2h", "--to=-1h", "--step", "15s", "--json"];
        assert_eq!(query(&line), (7_200_000, 3_600_000, Some(Span::seconds(15)), Format::Json));
        assert_eq!(query(&["query", "up", "--raw", "--steps"]).2, None);
    }

    #[test]
    fn a_chart_is_of_one_device_and_of_thirty_days_until_told_otherwise() {
        let call = |days: u64| UsageCall { device: "gw-1".into(), from: UnixTime(NOW.0 - days * 86_400_000), to: NOW };
        check("data gw-1", Command::Data { call: call(30), format: UsageFormat::Screen });
        check("data gw-1 --since 3d --svg", Command::Data { call: call(3), format: UsageFormat::Svg });
        check_error("data", "which device?");
        check_error("data gw-1 gw-2", "one word too many");
        check_error("data gw-1 --svg --json", "one of");
        check_error("data gw-1 --since 2y", "366 days at the most");
    }

    #[test]
    fn what_is_no_question_is_pointed_at() {
        check_error("query up{", "^");
        check_error("query", "which series?");
        check_error("query up down", "quote the expression");
        check_error("query up --since 1h --from -1h", "give one");
        check_error("query up --from now --to -1h", "ends at 2025-12-31T23:00:00Z");
        check_error("query up --step x", "--step: expected a duration");
        check_error("query up --csv --json", "one of");
        check_error("query up --jsn", "did you mean --json?");
    }

    #[test]
    fn help_answers_every_mistake() {
        check("query up{ --help", Command::Help(Topic::Query));
        check("--help", Command::Help(Topic::All));
        check("token new -h", Command::Help(Topic::Token));
        check("help key", Command::Help(Topic::Key));
        check("-V", Command::Version);
        check_error("flet", "did you mean fleet?");
        check_error("key", "key --help");
        assert!(parse::<&str>([], NOW).is_err());
    }

    #[test]
    fn keys_and_events_and_the_rest_are_read() {
        check("key activate --force", Command::KeyActivate { is_forced: true });
        check("key rotate", Command::KeyRotate);
        check("key show", Command::KeyShow);
        check("init", Command::Init);
        check("fleet --all --json", Command::Fleet { is_all: true, is_json: true });
        check_error("events --count 0", "shows nothing");
        check("stat --json", Command::Stat { is_json: true });
        let from = UnixTime(NOW.0 - 60_000);
        let call = EventsCall { device: Some("gw-1".into()), from, to: NOW, count_max: 5 };
        check("events --device gw-1 --since 1m --count 5", Command::Events { call, is_json: false });
    }
}
