//! The command line, read.

use std::ffi::OsString;
use std::path::PathBuf;

use identity::token::{Token, TokenError};
use lexopt::prelude::*;
use lexopt::{Arg, Parser};
use query::selector::Expression;
use wire::stream::Lane;

use crate::address::{Address, AddressError};
use crate::bench::codec::CodecArgs;
use crate::bench::detect::{DetectArgs, Subject};
use crate::failure::Failure;
use crate::help::Topic;
use crate::journal::LANES;

/// What to do, and with which folders.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// What to do.
    pub(crate) command: Command,
    /// The state folder, if it was named.
    pub(crate) dir: Option<PathBuf>,
    /// The file of settings, if it was named.
    pub(crate) config: Option<PathBuf>,
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Measure the codec.
    BenchCodec(CodecArgs),
    /// Score a recording.
    BenchDetect(DetectArgs),
    /// Say from which score on it is an alarm.
    BenchThreshold(Subject),
    /// Enroll this machine.
    Enroll {
        /// Where.
        hub: Address,
        /// With what; `None` reads it from standard input.
        token: Option<Box<Token>>,
        /// Under which name.
        hostname: Option<String>,
    },
    /// Say what happened.
    Events {
        /// Since when, as it was typed.
        since: Option<String>,
        /// Whether for programs.
        is_json: bool,
    },
    /// Say what there is.
    Help(Topic),
    /// Write what the journal holds.
    JournalExport {
        /// Of which lane.
        lane: Lane,
        /// Since when, as it was typed.
        since: Option<String>,
        /// In which form; without one, as CSV.
        form: Form,
    },
    /// Say what the journal holds.
    JournalStat {
        /// Whether for programs.
        is_json: bool,
    },
    /// Say whether the journal is whole.
    JournalVerify {
        /// Whether for programs.
        is_json: bool,
    },
    /// Change the key.
    KeyRotate,
    /// Leave the hub.
    Leave {
        /// Whether even a hub that cannot be told is forgotten.
        is_forced: bool,
    },
    /// Say how the link is and what it costs.
    LinkStat {
        /// Whether for programs.
        is_json: bool,
    },
    /// Show samples.
    Query(QueryArgs),
    /// Run the agent.
    Run,
    /// Say how a running agent is.
    Status {
        /// Whether for programs.
        is_json: bool,
    },
    /// Show what the machine does.
    Top {
        /// Whether once.
        is_once: bool,
    },
    /// Say which release this is.
    Version,
}

/// What `query` was asked.
#[derive(Debug)]
pub(crate) struct QueryArgs {
    /// As it was typed.
    pub(crate) text: String,
    /// As it was read.
    pub(crate) expression: Expression,
    /// Since when, as it was typed.
    pub(crate) since: Option<String>,
    /// From value to value.
    pub(crate) step_ms: Option<u64>,
    /// In which form.
    pub(crate) form: Form,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// A line a value.
    Csv,
    /// All of it, for programs.
    Json,
    /// For people.
    #[default]
    Table,
}

/// What stands on the command line, before it is known which command takes what.
#[derive(Debug, Default)]
struct Raw {
    words: Vec<String>,
    columns: Option<PathBuf>,
    config: Option<PathBuf>,
    csv: bool,
    dir: Option<PathBuf>,
    force: bool,
    help: bool,
    hostname: Option<String>,
    json: bool,
    lane: Option<String>,
    once: bool,
    out: Option<PathBuf>,
    print_threshold: bool,
    since: Option<String>,
    step: Option<String>,
    ticks_per_batch: Option<usize>,
    version: bool,
    warmup_rows: Option<usize>,
}

impl Invocation {
    /// Reads what follows the program's name.
    ///
    /// Errors: [`Failure::Usage`], with what would be right.
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, Failure> {
        let raw = Raw::parse(Parser::from_args(args)).map_err(|error| Failure::Usage(error.to_string()))?;
        let (dir, config) = (raw.dir.clone(), raw.config.clone());
        Ok(Invocation { command: raw.command()?, dir, config })
    }
}

impl Raw {
    fn parse(mut parser: Parser) -> Result<Raw, lexopt::Error> {
        let mut raw = Raw::default();
        while let Some(arg) = parser.next()? {
            match arg {
                // Kinds and units of the columns: the codec does without.
                Long("columns") => raw.columns = Some(parser.value()?.into()),
                Long("config") => raw.config = Some(parser.value()?.into()),
                Long("csv") => raw.csv = true,
                Long("dir") => raw.dir = Some(parser.value()?.into()),
                Long("force") => raw.force = true,
                Long("help") | Short('h') => raw.help = true,
                Long("hostname") => raw.hostname = Some(parser.value()?.string()?),
                Long("json") => raw.json = true,
                Long("lane") => raw.lane = Some(parser.value()?.string()?),
                Long("once") => raw.once = true,
                Long("out") => raw.out = Some(PathBuf::from(parser.value()?)),
                Long("print-threshold") => raw.print_threshold = true,
                Long("since") => raw.since = Some(parser.value()?.string()?),
                Long("step") => raw.step = Some(parser.value()?.string()?),
                Long("ticks-per-batch") => raw.ticks_per_batch = Some(parser.value()?.parse()?),
                Long("warmup-rows") => raw.warmup_rows = Some(parser.value()?.parse()?),
                Long("version") | Short('V') => raw.version = true,
                Arg::Value(word) => raw.words.push(word.string()?),
                unknown => return Err(unknown.unexpected()),
            }
        }
        Ok(raw)
    }

    fn command(mut self) -> Result<Command, Failure> {
        if self.version {
            return Ok(Command::Version);
        }
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let Some(first) = words.first() else { return Ok(Command::Help(Topic::All)) };
        let Some(topic) = Topic::named(if *first == "help" { words.get(1).unwrap_or(&"") } else { first }) else {
            return Err(unknown(first));
        };
        if self.help || *first == "help" {
            return Ok(Command::Help(topic));
        }
        self.refuse_options(topic)?;
        match (topic, &words[1..]) {
            (Topic::Bench, [part, paths @ ..]) => self.bench_command(part, paths),
            (Topic::Bench, []) => Err(usage("bench takes one of `codec`, `detect` and `detect-host`")),
            (Topic::Enroll, [hub, token]) => {
                let hub = hub.parse().map_err(|error: AddressError| Failure::Usage(format!("{hub:?}: {error}")))?;
                let token = if *token == "-" { None } else { Some(Box::new(parse_token(token)?)) };
                Ok(Command::Enroll { hub, token, hostname: self.hostname.take() })
            }
            (Topic::Enroll, _) => {
                Err(usage("enroll takes a hub and a token, as in `outpost enroll hub.example.com op1_..`"))
            }
            (Topic::Journal, [part]) => self.journal_command(part),
            (Topic::Journal, _) => Err(usage("journal takes one of `stat`, `verify` and `export`")),
            (Topic::Key, ["rotate"]) => Ok(Command::KeyRotate),
            (Topic::Key, _) => Err(usage("the one thing to do with a key is `outpost key rotate`")),
            (Topic::Link, ["stat"]) => Ok(Command::LinkStat { is_json: self.json }),
            (Topic::Link, _) => Err(usage("the one thing to ask of a link is `outpost link stat`")),
            (Topic::Query, [text]) => {
                let (text, since) = ((*text).to_owned(), self.since.take());
                let form = self.form()?;
                let step_ms = self.step.take().map(|step| parse_step(&step)).transpose()?;
                let expression = Expression::parse(&text)
                    .map_err(|error| Failure::Usage(format!("this is no expression\n{}", error.pointed(&text))))?;
                Ok(Command::Query(QueryArgs { text, expression, since, step_ms, form }))
            }
            (Topic::Query, _) => Err(usage("query takes one expression, in quotes: `outpost query 'node_load1'`")),
            (_, [extra, ..]) => Err(usage(&format!("{first} takes nothing more than its options, not {extra:?}"))),
            (Topic::All, []) => Ok(Command::Help(Topic::All)),
            (Topic::Events, []) => Ok(Command::Events { since: self.since.take(), is_json: self.json }),
            (Topic::Leave, []) => Ok(Command::Leave { is_forced: self.force }),
            (Topic::Run, []) => Ok(Command::Run),
            (Topic::Status, []) => Ok(Command::Status { is_json: self.json }),
            (Topic::Top, []) => Ok(Command::Top { is_once: self.once }),
        }
    }

    fn bench_command(&self, part: &str, paths: &[&str]) -> Result<Command, Failure> {
        let subject = if part == "detect-host" { Subject::Host } else { Subject::Series };
        let foreign = match part {
            "codec" => [("--out", self.out.is_some()), ("--print-threshold", self.print_threshold)],
            _ => [("--ticks-per-batch", self.ticks_per_batch.is_some()), ("--warmup-rows", self.warmup_rows.is_some())],
        };
        if let Some((option, _)) = foreign.iter().find(|(_, is_given)| *is_given) {
            return Err(usage(&format!("`outpost bench {part}` has no option {option}")));
        }
        match (part, paths) {
            ("codec", [path]) => {
                let ticks_per_batch = self.ticks_per_batch.unwrap_or(6);
                if ticks_per_batch == 0 {
                    return Err(usage("a batch has one tick at least"));
                }
                let warmup_rows = self.warmup_rows.unwrap_or(0);
                Ok(Command::BenchCodec(CodecArgs { path: PathBuf::from(*path), ticks_per_batch, warmup_rows }))
            }
            ("codec", _) => Err(usage("bench codec takes a trace: `outpost bench codec TRACE.csv.gz`")),
            ("detect" | "detect-host", []) if self.print_threshold => Ok(Command::BenchThreshold(subject)),
            ("detect" | "detect-host", [path]) if !self.print_threshold => {
                let missing = || usage("say where the scores go: `--out SCORES.csv`");
                let out = self.out.clone().ok_or_else(missing)?;
                Ok(Command::BenchDetect(DetectArgs { subject, path: PathBuf::from(*path), out }))
            }
            ("detect" | "detect-host", _) => Err(usage(&format!(
                "bench {part} takes a recording, or none with --print-threshold: \
                 `outpost bench {part} RECORDING.csv --out SCORES.csv`"
            ))),
            _ => {
                Err(usage(&match query::suggest::near(part, ["codec", "detect", "detect-host"].into_iter()).first() {
                    Some(near) => format!("there is no bench {part:?}; did you mean `outpost bench {near}`?"),
                    None => format!("bench takes one of `codec`, `detect` and `detect-host`, not {part:?}"),
                }))
            }
        }
    }

    fn journal_command(&self, part: &str) -> Result<Command, Failure> {
        let given = [("--csv", self.csv), ("--lane", self.lane.is_some()), ("--since", self.since.is_some())];
        let option = given.iter().find(|(_, is_given)| *is_given);
        match (part, option) {
            ("export", _) => {
                let lane = self.lane.as_deref().map(parse_lane).transpose()?.unwrap_or(Lane::Raw);
                Ok(Command::JournalExport { lane, since: self.since.clone(), form: self.form()? })
            }
            ("stat" | "verify", Some((option, _))) => {
                Err(usage(&format!("`outpost journal {part}` has no option {option}")))
            }
            ("stat", None) => Ok(Command::JournalStat { is_json: self.json }),
            ("verify", None) => Ok(Command::JournalVerify { is_json: self.json }),
            _ => Err(usage(&match query::suggest::near(part, ["export", "stat", "verify"].into_iter()).first() {
                Some(near) => format!("there is no {part:?} of a journal; did you mean `outpost journal {near}`?"),
                None => format!("journal takes one of `stat`, `verify` and `export`, not {part:?}"),
            })),
        }
    }

    fn form(&self) -> Result<Form, Failure> {
        match (self.json, self.csv) {
            (true, true) => Err(usage("--json and --csv are two forms of one answer: choose one")),
            (true, false) => Ok(Form::Json),
            (false, true) => Ok(Form::Csv),
            (false, false) => Ok(Form::Table),
        }
    }

    /// An option that a command does not know is a mistake, and not to be passed over.
    fn refuse_options(&self, topic: Topic) -> Result<(), Failure> {
        let given = [
            ("--columns", self.columns.is_some(), &[Topic::Bench][..]),
            ("--csv", self.csv, &[Topic::Journal, Topic::Query]),
            ("--force", self.force, &[Topic::Leave]),
            ("--hostname", self.hostname.is_some(), &[Topic::Enroll]),
            ("--json", self.json, &[Topic::Events, Topic::Journal, Topic::Link, Topic::Query, Topic::Status]),
            ("--lane", self.lane.is_some(), &[Topic::Journal]),
            ("--once", self.once, &[Topic::Top]),
            ("--out", self.out.is_some(), &[Topic::Bench]),
            ("--print-threshold", self.print_threshold, &[Topic::Bench]),
            ("--since", self.since.is_some(), &[Topic::Events, Topic::Journal, Topic::Query]),
            ("--step", self.step.is_some(), &[Topic::Query]),
            ("--ticks-per-batch", self.ticks_per_batch.is_some(), &[Topic::Bench]),
            ("--warmup-rows", self.warmup_rows.is_some(), &[Topic::Bench]),
        ];
        match given.iter().find(|(_, is_given, topics)| *is_given && !topics.contains(&topic)) {
            Some((option, ..)) => Err(usage(&format!("`outpost {}` has no option {option}", topic.name()))),
            None => Ok(()),
        }
    }
}

/// Reads a token, from the command line or from standard input.
pub(crate) fn parse_token(text: &str) -> Result<Token, Failure> {
    text.parse().map_err(|error: TokenError| Failure::Usage(error.to_string()))
}

fn parse_lane(text: &str) -> Result<Lane, Failure> {
    if let Some((_, lane)) = LANES.into_iter().find(|(word, _)| *word == text) {
        return Ok(lane);
    }
    Err(usage(&match query::suggest::near(text, LANES.into_iter().map(|(word, _)| word)).first() {
        Some(near) => format!("there is no lane {text:?}; did you mean {near}?"),
        None => format!("there is no lane {text:?}: they are urgent, summary and raw"),
    }))
}

fn parse_step(text: &str) -> Result<u64, Failure> {
    match query::duration::parse(text) {
        Ok(0) => Err(usage("a step is longer than 0")),
        Ok(step_ms) => Ok(step_ms),
        Err(error) => Err(Failure::Usage(format!("--step: {error}"))),
    }
}

fn unknown(command: &str) -> Failure {
    let near =
        query::suggest::near(command, Topic::ALL.iter().map(|topic| topic.name()).filter(|name| !name.is_empty()));
    match near.first() {
        Some(near) => usage(&format!("there is no command {command:?}; did you mean `outpost {near}`?")),
        None => usage(&format!("there is no command {command:?}")),
    }
}

fn usage(text: &str) -> Failure {
    Failure::Usage(text.to_owned())
}

#[cfg(test)]
mod tests {
    use wire::message::Fingerprint;

    use super::*;

    fn parse(line: &str) -> Result<Invocation, Failure> {
        Invocation::parse(line.split_whitespace().map(OsString::from))
    }

    fn check_error(line: &str, expected: &str) {
        match parse(line) {
            Err(Failure::Usage(error)) => assert!(error.contains(expected), "{line}: {error:?} lacks {expected:?}"),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn options_stand_anywhere() {
        for line in ["--dir /x status --json", "status --json --dir=/x", "status --dir /x --json"] {
            let Invocation { command, dir, config } = parse(line).unwrap();
            assert!(matches!(command, Command::Status { is_json: true }), "{line}");
            assert_eq!((dir, config), (Some(PathBuf::from("/x")), None), "{line}");
        }
    }

    #[test]
    fn help_is_there_for_everything() {
        for line in ["", "--help", "help", "-h"] {
            assert!(matches!(parse(line).unwrap().command, Command::Help(Topic::All)), "{line}");
        }
        for line in ["query --help", "help query", "query node_load1 -h", "--help query"] {
            assert!(matches!(parse(line).unwrap().command, Command::Help(Topic::Query)), "{line}");
        }
        assert!(matches!(parse("-V").unwrap().command, Command::Version));
        assert!(matches!(parse("run --version").unwrap().command, Command::Version));
    }

    #[test]
    fn a_machine_is_enrolled_with_a_token_or_with_what_is_typed() {
        let token = Token { secret: [1; 16], hub: Fingerprint([2; 32]) };
        let Command::Enroll { hub, token: read, hostname } =
            parse(&format!("enroll hub.example.com:7070 {token} --hostname gw-1")).unwrap().command
        else {
            panic!("another command")
        };
        assert_eq!((hub.to_string().as_str(), hostname.as_deref()), ("hub.example.com:7070", Some("gw-1")));
        assert_eq!(read.unwrap().hub, token.hub);
        assert!(matches!(parse("enroll h:1 -").unwrap().command, Command::Enroll { token: None, .. }));
        check_error("enroll hub.example.com:x op1_", "the port is a number");
        check_error("enroll h:1 op1_abc", "copy it again");
        check_error("enroll h:1", "takes a hub and a token");
    }

    #[test]
    fn a_question_is_read_before_anyone_is_asked() {
        let line = "query rate(node_intr_total[5m]) --since 1h --step 1m --csv";
        let Command::Query(args) = parse(line).unwrap().command else { panic!("another command") };
        assert_eq!((args.step_ms, args.form, args.since.as_deref()), (Some(60_000), Form::Csv, Some("1h")));
        check_error("query node_load1{", "^ expected a label name");
        check_error("query node_load1 --step 0", "longer than 0");
        check_error("query node_load1 --step 5", "expected a unit");
        check_error("query node_load1 --csv --json", "choose one");
        check_error("query", "takes one expression");
    }

    #[test]
    fn a_link_is_asked_what_it_costs() {
        assert!(matches!(parse("link stat --json").unwrap().command, Command::LinkStat { is_json: true }));
        check_error("link stat --csv", "`outpost link` has no option --csv");
    }

    #[test]
    fn a_journal_is_counted_verified_or_exported() {
        assert!(matches!(parse("journal stat --json").unwrap().command, Command::JournalStat { is_json: true }));
        assert!(matches!(parse("journal verify").unwrap().command, Command::JournalVerify { is_json: false }));
        let Command::JournalExport { lane, since, form } = parse("journal export").unwrap().command else {
            panic!("another command")
        };
        assert_eq!((lane, since, form), (Lane::Raw, None, Form::Table));
        let line = "journal export --lane urgent --since 1h --json";
        let Command::JournalExport { lane, since, form } = parse(line).unwrap().command else {
            panic!("another command")
        };
        assert_eq!((lane, since.as_deref(), form), (Lane::Urgent, Some("1h"), Form::Json));
        check_error("journal", "one of `stat`, `verify` and `export`");
        check_error("journal verfy", "did you mean `outpost journal verify`");
        check_error("journal xyz", "not \"xyz\"");
        check_error("journal stat --csv", "`outpost journal stat` has no option --csv");
        check_error("journal verify --lane raw", "has no option --lane");
        check_error("journal export --lane urgnet", "did you mean urgent?");
        check_error("journal export --lane x", "they are urgent, summary and raw");
        check_error("journal export --csv --json", "choose one");
        check_error("status --lane raw", "`outpost status` has no option --lane");
    }

    #[test]
    fn a_recording_is_scored_or_the_threshold_told() {
        let Command::BenchDetect(args) = parse("bench detect-host a.csv --out b.csv").unwrap().command else {
            panic!("another command")
        };
        assert_eq!((args.subject, args.path, args.out), (Subject::Host, "a.csv".into(), "b.csv".into()));
        let line = "bench detect --print-threshold";
        assert!(matches!(parse(line).unwrap().command, Command::BenchThreshold(Subject::Series)));
        check_error("bench detect a.csv", "--out SCORES.csv");
        check_error("bench detect a.csv --print-threshold", "or none with --print-threshold");
        check_error("bench detect a.csv --out b.csv --warmup-rows 1", "has no option --warmup-rows");
        check_error("bench codec a.csv --out b.csv", "`outpost bench codec` has no option --out");
        check_error("bench detekt a.csv", "did you mean `outpost bench detect`");
        check_error("bench", "one of `codec`, `detect` and `detect-host`");
    }

    #[test]
    fn what_is_not_understood_is_said_with_what_would_be() {
        check_error("statsu", "did you mean `outpost status`");
        check_error("xyz", "there is no command \"xyz\"");
        check_error("status now", "not \"now\"");
        check_error("run --json", "`outpost run` has no option --json");
        check_error("leave --once", "has no option --once");
        check_error("status --verbose", "--verbose");
        check_error("key", "outpost key rotate");
        check_error("link", "`outpost link stat`");
        check_error("status --dir", "missing argument");
    }
}
