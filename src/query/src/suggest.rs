//! Names near to one that was not found.
//!
//! In this order: names that contain it or that it contains, names a few typing errors away and, when there are none of
//! these, names that share words with it. Capitals do not matter.

use alloc::string::String;
use alloc::vec::Vec;

/// Suggestions at the most.
pub const SUGGESTION_COUNT_MAX: usize = 5;

/// Letters of a word that is worth sharing: `cpu` is, `of` is not.
const WORD_LETTERS_MIN: usize = 3;

/// How near a name is; the least is the nearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    /// One contains the other: letters that one has more.
    Part(usize),
    /// Typing errors between them.
    Typo(usize),
    /// Words that they do not share.
    Words(usize),
}

/// The names nearest to `wanted`, nearest first, at most [`SUGGESTION_COUNT_MAX`]; none when nothing is near.
pub fn near<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = wanted.to_lowercase();
    let mut found: Vec<(Nearness, &str)> = names.filter_map(|name| Some((nearness(&wanted, name)?, name))).collect();
    found.sort_unstable();
    found.dedup();
    if let Some((Nearness::Part(_) | Nearness::Typo(_), _)) = found.first() {
        found.retain(|(nearness, _)| !matches!(nearness, Nearness::Words(_)));
    }
    found.into_iter().take(SUGGESTION_COUNT_MAX).map(|(_, name)| name).collect()
}

fn nearness(wanted: &str, name: &str) -> Option<Nearness> {
    let name: String = name.to_lowercase();
    if wanted.is_empty() || name.is_empty() {
        return None;
    }
    if name.contains(wanted) || (wanted.contains(&name) && name.len() >= WORD_LETTERS_MIN) {
        return Some(Nearness::Part(name.len().abs_diff(wanted.len())));
    }
    let allowed = 1 + wanted.chars().count() / 4;
    if let Some(count) = typing_errors(wanted, &name, allowed) {
        return Some(Nearness::Typo(count));
    }
    let words = |text| str::split(text, ['_', ':', '.', '-', ' ']).enumerate().filter(|(_, word)| is_word(word));
    // The first word of both is their namespace: all of node_exporter shares `node`.
    let has = |(place, word): (usize, &str)| words(&name).any(|(at, have)| at + place > 0 && have.contains(word));
    let shared = words(wanted).filter(|word| has(*word)).count();
    let all = words(wanted).count() + words(&name).count();
    // A word that is said twice is shared twice.
    (shared > 0).then(|| Nearness::Words(all.saturating_sub(2 * shared)))
}

fn is_word(word: &str) -> bool {
    word.len() >= WORD_LETTERS_MIN
}

/// Letters left out, added, changed, or swapped with their neighbour, when they are at most `allowed`.
///
/// Source: optimal string alignment distance (Damerau 1964), row by row.
fn typing_errors(a: &str, b: &str, allowed: usize) -> Option<usize> {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > allowed {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut next = Vec::with_capacity(row.len());
        next.push(i);
        for j in 1..=b.len() {
            let changed = row[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(row[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            next.push(least);
        }
        if next.iter().all(|count| *count > allowed) {
            return None;
        }
        before = core::mem::replace(&mut row, next);
    }
    row.last().copied().filter(|count| *count <= allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 7] = [
        "node_load1",
        "node_load15",
        "node_load5",
        "node_cpu_seconds_total",
        "node_memory_MemFree_bytes",
        "node_filesystem_free_bytes",
        "up",
    ];

    fn check(wanted: &str, expected: &[&str]) {
        assert_eq!(near(wanted, NAMES.into_iter()), expected, "{wanted}");
    }

    #[test]
    fn the_nearest_name_comes_first() {
        check("node_laod1", &["node_load1", "node_load15", "node_load5"]);
        check("load", &["node_load1", "node_load5", "node_load15"]);
        check("node_cpu", &["node_cpu_seconds_total"]);
        check("NODE_LOAD15", &["node_load15", "node_load1", "node_load5"]);
        check("memfree", &["node_memory_MemFree_bytes"]);
        check("cpu_usage", &["node_cpu_seconds_total"]);
        check("free_memory", &["node_memory_MemFree_bytes", "node_filesystem_free_bytes"]);
        check("ups", &["up"]);
        check("", &[]);
        check("zzz", &[]);
        check(
            "bytes_bytes_bytes_bytes_bytes_bytes_bytes",
            &["node_filesystem_free_bytes", "node_memory_MemFree_bytes"],
        );
    }

    #[test]
    fn a_name_that_is_there_often_is_suggested_once() {
        assert_eq!(near("laod", ["load", "load", "cpu"].into_iter()), ["load"]);
    }

    #[test]
    fn typing_errors_are_counted() {
        let check = |a, b, expected| assert_eq!(typing_errors(a, b, 3), expected, "{a} {b}");
        check("abc", "abc", Some(0));
        check("abc", "acb", Some(1));
        check("kitten", "sitting", Some(3));
        check("kitten", "sittings", None);
        check("é", "e", Some(1));
    }
}
