//! Which series are meant: the instant selectors of PromQL, and `rate` over one.
//!
//! ```text
//! expression  :=  selector  |  "rate" "(" selector "[" duration "]" ")"
//! selector    :=  name [ "{" matchers "}" ]  |  "{" matchers "}"
//! matchers    :=  [ matcher ( "," matcher )* [ "," ] ]
//! matcher     :=  label ( "=" | "!=" | "=~" | "!~" ) string
//! string      :=  "double" or 'single' quoted with backslash escapes, or `raw`
//! ```
//!
//! As there, a label that a series lacks has the empty value, a pattern must match the whole value, and a selector
//! that every series satisfies is refused. Source: Prometheus, "Querying basics".

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use regex_lite::{Regex, RegexBuilder};

use crate::duration;

/// The label under which a series' name is matched.
pub const NAME_LABEL: &str = "__name__";

/// Bytes of an expression. The longest in the dashboards of node_exporter has 180.
pub const EXPRESSION_BYTES_MAX: usize = 2048;

/// Bytes that a compiled pattern may take, so that `(a{1000}){1000}` is refused and not built.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// A question about series.
#[derive(Clone, Debug)]
pub struct Expression {
    /// Which series.
    pub selector: Selector,
    /// The window of `rate` in milliseconds; `None` asks for the values as they are.
    pub rate_window_ms: Option<u64>,
}

/// Which series are meant: all that satisfy every matcher.
#[derive(Clone, Debug)]
pub struct Selector {
    matchers: Vec<Matcher>,
}

/// One condition on one label.
#[derive(Clone, Debug)]
pub struct Matcher {
    label: String,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Equal(String),
    NotEqual(String),
    Pattern(Regex),
    NotPattern(Regex),
}

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Where, in bytes from the start; at a character, or at the end.
    pub at: usize,
    /// What is wrong there.
    pub reason: String,
}

impl ParseError {
    /// The text with a mark under the place and the reason behind it, in two lines.
    pub fn pointed(&self, text: &str) -> String {
        let column = text.get(..self.at).map_or(0, |before| before.chars().count());
        // A line feed inside the text would move the mark away from its place.
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("{line}\n{:column$}^ {}", "", self.reason)
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.at, self.reason)
    }
}

impl Expression {
    /// Reads an expression.
    ///
    /// Errors: the first place at which `text` stops being one, and what was expected there.
    pub fn parse(text: &str) -> Result<Expression, ParseError> {
        let mut reader = Reader::new(text)?;
        let expression = reader.expression()?;
        reader.end()?;
        Ok(expression)
    }
}

impl Selector {
    /// Reads a selector.
    ///
    /// Errors: the first place at which `text` stops being one, and what was expected there.
    pub fn parse(text: &str) -> Result<Selector, ParseError> {
        let mut reader = Reader::new(text)?;
        let selector = reader.selector()?;
        reader.end()?;
        Ok(selector)
    }

    /// Whether a series of this name and these labels is meant. Of two labels of one name the first counts.
    pub fn matches<'a>(&self, name: &str, labels: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> bool {
        self.matchers.iter().all(|matcher| {
            let value = match matcher.label.as_str() {
                NAME_LABEL => name,
                label => labels.clone().find(|(have, _)| *have == label).map_or("", |(_, value)| value),
            };
            matcher.test(value)
        })
    }

    /// Whether the conditions on these labels alone are satisfied; conditions on other labels and on the name are not
    /// looked at. Lets a reader pass over a whole host whose own labels rule it out.
    pub fn allows<'a>(&self, labels: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> bool {
        self.matchers.iter().all(|matcher| {
            let value = labels.clone().find(|(have, _)| *have == matcher.label).map(|(_, value)| value);
            value.is_none_or(|value| matcher.test(value))
        })
    }

    /// The name that every meant series has, if the selector says so: what to look for when nothing is found.
    pub fn name(&self) -> Option<&str> {
        self.matchers.iter().filter(|matcher| matcher.label == NAME_LABEL).find_map(Matcher::equal)
    }

    /// The conditions, in the order of the text; the name is one on [`NAME_LABEL`].
    pub fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }
}

impl Matcher {
    /// The label that is looked at.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The only value that satisfies the condition, if it asks for one: what to look for when nothing is found.
    pub fn equal(&self) -> Option<&str> {
        match &self.test {
            Test::Equal(value) => Some(value),
            _ => None,
        }
    }

    /// Whether `value` satisfies the condition.
    pub fn test(&self, value: &str) -> bool {
        match &self.test {
            Test::Equal(wanted) => value == wanted,
            Test::NotEqual(unwanted) => value != unwanted,
            Test::Pattern(pattern) => pattern.is_match(value),
            Test::NotPattern(pattern) => !pattern.is_match(value),
        }
    }
}

/// Reads an expression from the front. `at` is always at a character.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Result<Reader<'a>, ParseError> {
        if text.len() > EXPRESSION_BYTES_MAX {
            let reason = format!("expression of {} bytes exceeds {EXPRESSION_BYTES_MAX}", text.len());
            return Err(ParseError { at: 0, reason });
        }
        Ok(Reader { text, at: 0 })
    }

    fn expression(&mut self) -> Result<Expression, ParseError> {
        self.skip_space();
        let start = self.at;
        let name = self.name();
        self.skip_space();
        if !self.rest().starts_with('(') {
            self.at = start;
            return Ok(Expression { selector: self.selector()?, rate_window_ms: None });
        }
        if name != "rate" {
            return Err(ParseError { at: start, reason: format!("unknown function \"{name}\", expected \"rate\"") });
        }
        self.expect('(')?;
        let selector = self.selector()?;
        self.expect('[')?;
        let window_at = self.at;
        let window = self.take_while(|c| c != ']');
        let rate_window_ms = match duration::parse(window.trim()) {
            Ok(0) => return Err(ParseError { at: window_at, reason: "a window of 0 holds no samples".to_owned() }),
            Ok(window_ms) => Some(window_ms),
            Err(error) => return Err(ParseError { at: window_at, reason: error.to_string() }),
        };
        self.expect(']')?;
        self.expect(')')?;
        Ok(Expression { selector, rate_window_ms })
    }

    fn selector(&mut self) -> Result<Selector, ParseError> {
        self.skip_space();
        let start = self.at;
        let name = self.name();
        let mut matchers = Vec::new();
        if !name.is_empty() {
            matchers.push(Matcher { label: NAME_LABEL.to_owned(), test: Test::Equal(name.to_owned()) });
        } else if !self.rest().starts_with('{') {
            return Err(self.error("a metric name or \"{\""));
        }
        self.skip_space();
        if self.rest().starts_with('{') {
            self.at += 1;
            self.matchers(&mut matchers)?;
        }
        if matchers.iter().all(|matcher| matcher.test("")) {
            let reason = "selects every series: name a metric or give a label a value".to_owned();
            return Err(ParseError { at: start, reason });
        }
        Ok(Selector { matchers })
    }

    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> Result<(), ParseError> {
        loop {
            self.skip_space();
            if self.rest().starts_with('}') {
                break;
            }
            matchers.push(self.matcher()?);
            self.skip_space();
            match self.rest().chars().next() {
                Some(',') => self.at += 1,
                Some('}') => break,
                _ => return Err(self.error("\",\" or \"}\"")),
            }
        }
        self.at += 1;
        Ok(())
    }

    fn matcher(&mut self) -> Result<Matcher, ParseError> {
        let label = self.take_while(|c| c == '_' || c.is_ascii_alphanumeric());
        if label.is_empty() || label.starts_with(|c: char| c.is_ascii_digit()) {
            self.at -= label.len();
            return Err(self.error("a label name or \"}\""));
        }
        self.skip_space();
        let operator = ["=~", "!~", "!=", "="].into_iter().find(|operator| self.rest().starts_with(operator));
        let Some(operator) = operator else { return Err(self.error("=, !=, =~ or !~")) };
        self.at += operator.len();
        self.skip_space();
        let value_at = self.at;
        let value = self.string()?;
        let pattern = |value: &str| {
            let build = |pattern: &str| RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build();
            // Alone first: `a)|(b` is a pattern only inside the group that anchors it. The whole value must match, and a
            // dot matches a line feed, as in Prometheus.
            build(value)
                .and_then(|_| build(&format!("^(?s:{value})$")))
                .map_err(|error| ParseError { at: value_at, reason: format!("pattern: {error}") })
        };
        let test = match operator {
            "=" => Test::Equal(value),
            "!=" => Test::NotEqual(value),
            "=~" => Test::Pattern(pattern(&value)?),
            _ => Test::NotPattern(pattern(&value)?),
        };
        Ok(Matcher { label: label.to_owned(), test })
    }

    fn string(&mut self) -> Result<String, ParseError> {
        let start = self.at;
        let quote = match self.rest().chars().next() {
            Some(quote @ ('"' | '\'' | '`')) => quote,
            _ => return Err(self.error("a quoted string")),
        };
        self.at += 1;
        let mut value = String::new();
        while let Some(character) = self.rest().chars().next() {
            let escape_at = self.at;
            self.at += character.len_utf8();
            match character {
                _ if character == quote => return Ok(value),
                '\\' if quote != '`' => match self.rest().chars().next() {
                    Some(escaped @ ('\\' | '"' | '\'')) => {
                        self.at += 1;
                        value.push(escaped);
                    }
                    Some('n') => {
                        self.at += 1;
                        value.push('\n');
                    }
                    Some('t') => {
                        self.at += 1;
                        value.push('\t');
                    }
                    _ => {
                        let reason = "unknown escape: write \\\\ for one backslash, or quote with `..`".to_owned();
                        return Err(ParseError { at: escape_at, reason });
                    }
                },
                other => value.push(other),
            }
        }
        Err(ParseError { at: start, reason: format!("this string never ends: expected a closing {quote}") })
    }

    /// A metric name, or nothing.
    fn name(&mut self) -> &'a str {
        if self.rest().starts_with(|c: char| c.is_ascii_digit()) {
            return "";
        }
        self.take_while(|c| c == '_' || c == ':' || c.is_ascii_alphanumeric())
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c| !accept(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    fn skip_space(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn expect(&mut self, wanted: char) -> Result<(), ParseError> {
        self.skip_space();
        if !self.rest().starts_with(wanted) {
            return Err(self.error(&format!("\"{wanted}\"")));
        }
        self.at += wanted.len_utf8();
        Ok(())
    }

    fn end(&mut self) -> Result<(), ParseError> {
        self.skip_space();
        if self.rest().is_empty() { Ok(()) } else { Err(self.error("the end")) }
    }

    fn error(&self, expected: &str) -> ParseError {
        let reason = match self.rest().chars().next() {
            Some(found) => format!("expected {expected}, found {found:?}"),
            None => format!("expected {expected}, found the end"),
        };
        ParseError { at: self.at, reason }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [(&str, &str); 3] = [("instance", "gw-1"), ("mode", "user"), ("mountpoint", "/var/lib\nx")];

    fn check(text: &str, expected: bool) {
        let selector = Selector::parse(text).unwrap_or_else(|error| panic!("{}", error.pointed(text)));
        assert_eq!(selector.matches("node_cpu", LABELS.into_iter()), expected, "{text}");
    }

    fn check_error(text: &str, at: usize, reason: &str) {
        let error = Expression::parse(text).expect_err(text);
        assert_eq!((error.at, error.reason.as_str()), (at, reason), "{text}");
    }

    #[test]
    fn every_operator_decides_as_prometheus_does() {
        check("node_cpu", true);
        check("node_cpu{}", true);
        check("node_cp", false);
        check(r#"node_cpu{mode="user",}"#, true);
        check(r#"{mode="user"}"#, true);
        check(r#" node_cpu { mode = "user" , instance != "gw-1" } "#, false);
        check(r#"node_cpu{instance=~"gw-.*"}"#, true);
        check(r#"node_cpu{instance=~"gw"}"#, false);
        check(r#"node_cpu{instance=~"x|gw-1"}"#, true);
        check(r#"node_cpu{instance!~"gw-[2-9]"}"#, true);
        check(r#"{__name__=~"node_.*",mode!~"idle|iowait"}"#, true);
        check(r#"node_cpu{absent=""}"#, true);
        check(r#"node_cpu{absent!=""}"#, false);
        check(r#"node_cpu{absent=~".*"}"#, true);
        check(r#"node_cpu{mountpoint=~"/var.*x"}"#, true);
        check("node_cpu{mountpoint='/var/lib\\nx'}", true);
        check("node_cpu{mode=~`\\w+`}", true);
    }

    #[test]
    fn rate_carries_its_window() {
        let expression = Expression::parse(r#"rate( node_cpu{mode="user"} [1h30m] )"#).unwrap();
        assert_eq!(expression.rate_window_ms, Some(5_400_000));
        assert_eq!(expression.selector.name(), Some("node_cpu"));
        assert_eq!(Expression::parse("rate").unwrap().selector.name(), Some("rate"));
    }

    #[test]
    fn an_error_says_where_and_what_was_expected() {
        check_error("", 0, "expected a metric name or \"{\", found the end");
        check_error("9up", 0, "expected a metric name or \"{\", found '9'");
        check_error("up{", 3, "expected a label name or \"}\", found the end");
        check_error("up{a", 4, "expected =, !=, =~ or !~, found the end");
        check_error("up{a=b}", 5, "expected a quoted string, found 'b'");
        check_error("up{a=\"b}", 5, "this string never ends: expected a closing \"");
        check_error("up{a=\"b\" c=\"d\"}", 9, "expected \",\" or \"}\", found 'c'");
        check_error("up{a=\"\\d\"}", 6, "unknown escape: write \\\\ for one backslash, or quote with `..`");
        check_error("up x", 3, "expected the end, found 'x'");
        check_error("{a=~\".*\"}", 0, "selects every series: name a metric or give a label a value");
        check_error("sum(up)", 0, "unknown function \"sum\", expected \"rate\"");
        check_error("rate(up)", 7, "expected \"[\", found ')'");
        check_error("rate(up[0s])", 8, "a window of 0 holds no samples");
        check_error("é", 0, "expected a metric name or \"{\", found 'é'");
    }

    #[test]
    fn an_error_is_pointed_at_by_characters() {
        let text = "up{a=\"é\",b}";
        let error = Selector::parse(text).unwrap_err();
        assert_eq!(error.pointed(text), "up{a=\"é\",b}\n          ^ expected =, !=, =~ or !~, found '}'");
    }

    #[test]
    fn a_pattern_that_would_grow_without_bound_is_refused() {
        assert!(Selector::parse("up{a=~\"((a{1000}){1000}){1000}\"}").is_err());
        assert!(Selector::parse("up{a=~\"a)|(b\"}").is_err());
        assert!(Selector::parse("up{a=~\"(\"}").unwrap_err().reason.starts_with("pattern: "));
        assert!(Selector::parse(&"a".repeat(EXPRESSION_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn a_host_is_passed_over_by_its_own_labels_only() {
        let selector = Selector::parse(r#"up{instance="gw-1",mode="idle"}"#).unwrap();
        assert!(selector.allows([("instance", "gw-1")].into_iter()));
        assert!(!selector.allows([("instance", "gw-2")].into_iter()));
    }
}
