//! The words of a command line: options with and without values, and what is neither.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser};
use query::{duration, suggest, time};
use wire::time::UnixTime;

/// The words that are left.
pub(crate) struct Words {
    parser: Parser,
    /// What `--dir` said, so far.
    pub(crate) folder: Option<PathBuf>,
    /// Whether `--help` was among them, so far.
    pub(crate) is_help: bool,
}

/// One word.
pub(crate) enum Word {
    /// An option, without its dashes.
    Option(String),
    /// Anything else.
    Plain(String),
}

/// The rest of a command line.
#[derive(Default)]
pub(crate) struct Rest {
    /// What is no option.
    pub(crate) plain: Vec<String>,
    options: Vec<(String, String)>,
}

impl Words {
    /// The words of a line, without the program's name.
    pub(crate) fn new<T: Into<OsString>>(given: impl IntoIterator<Item = T>) -> Words {
        Words { parser: Parser::from_args(given), folder: None, is_help: false }
    }

    /// The word that says what is to be done to what the command is about.
    pub(crate) fn action(&mut self, known: &[&str]) -> Result<String, String> {
        match self.next()? {
            Some(Word::Plain(action)) if known.contains(&action.as_str()) => Ok(action),
            Some(Word::Plain(action)) => Err(unknown("command", &action, known.iter().copied())),
            Some(Word::Option(option)) => Err(unknown("option", &option, [])),
            None => Err(format!("what is to be done? one of {}", known.join(", "))),
        }
    }

    /// All words that are left. An option in `known` that ends in `=` has a value.
    pub(crate) fn rest(&mut self, known: &[&str]) -> Result<Rest, String> {
        let mut rest = Rest::default();
        while let Some(word) = self.next()? {
            match word {
                Word::Plain(word) => rest.plain.push(word),
                Word::Option(option) if known.contains(&option.as_str()) => rest.options.push((option, String::new())),
                Word::Option(option) if known.contains(&format!("{option}=").as_str()) => {
                    let value = text(self.parser.value().map_err(|error| error.to_string())?)?;
                    rest.options.push((option, value));
                }
                Word::Option(option) => {
                    return Err(unknown("option", &option, known.iter().map(|name| name.trim_end_matches('='))));
                }
            }
        }
        Ok(rest)
    }

    /// The next word that is not the same for every command.
    pub(crate) fn next(&mut self) -> Result<Option<Word>, String> {
        loop {
            let word = match self.parser.next().map_err(|error| error.to_string())? {
                None => return Ok(None),
                Some(Arg::Long(option)) => Word::Option(option.to_owned()),
                Some(Arg::Short(option)) => Word::Option(option.to_string()),
                Some(Arg::Value(word)) => Word::Plain(text(word)?),
            };
            match &word {
                Word::Option(option) if option == "dir" => {
                    self.folder = Some(self.parser.value().map_err(|error| error.to_string())?.into());
                }
                Word::Option(option) if option == "help" || option == "h" => {
                    self.is_help = true;
                    return Ok(None);
                }
                _ => return Ok(Some(word)),
            }
        }
    }
}

impl Rest {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(have, _)| have == name)
    }

    pub(crate) fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.options.iter().filter(move |(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// The value of an option; of several the last, so that a line can be repeated with another value behind it.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values(name).last()
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u32>, String> {
        let parse = |value: &str| value.parse().map_err(|_| format!("--{name} takes a number, not {value:?}"));
        self.value(name).map(parse).transpose()
    }

    /// The span that `--since`, `--from` and `--to` say, or the last `default_ms`.
    pub(crate) fn span(&self, now: UnixTime, default_ms: u64) -> Result<(UnixTime, UnixTime), String> {
        let moment = |name: &str, value: &str| {
            time::parse(value, now.0).map(UnixTime).map_err(|error| format!("--{name}: {error}"))
        };
        let to = self.value("to").map_or(Ok(now), |to| moment("to", to))?;
        let from = match (self.value("since"), self.value("from")) {
            (Some(_), Some(_)) => return Err("--since and --from say the same: give one".into()),
            (Some(since), None) => match duration::parse(since) {
                Ok(ms) => UnixTime(now.0.saturating_sub(ms)),
                Err(_) => moment("since", since)?,
            },
            (None, Some(from)) => moment("from", from)?,
            (None, None) => UnixTime(to.0.saturating_sub(default_ms)),
        };
        if from > to {
            return Err(format!("the span ends at {} and begins at {}", time::format(to.0), time::format(from.0)));
        }
        Ok((from, to))
    }

    pub(crate) fn without_words(self) -> Result<Rest, String> {
        match self.plain.first() {
            Some(word) => Err(too_many(word)),
            None => Ok(self),
        }
    }
}

fn text(word: OsString) -> Result<String, String> {
    word.into_string().map_err(|word| format!("{word:?} is no text"))
}

/// What to say of a word that nothing is left for.
pub(crate) fn too_many(word: &str) -> String {
    format!("{word:?} is one word too many")
}

/// What to say of a word that means nothing, and what was perhaps meant.
pub(crate) fn unknown<'a>(what: &str, given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let dashes = match what {
        "option" if given.chars().count() == 1 => "-",
        "option" => "--",
        _ => "",
    };
    let near = suggest::near(given, known.into_iter());
    let near = near
        .first()
        .map_or(String::new(), |near| format!("; did you mean {}{near}?", if what == "option" { "--" } else { "" }));
    format!("there is no {what} {dashes}{given}{near}")
}
