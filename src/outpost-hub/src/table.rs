//! Plain tables, and spans and sizes as people say them.

use query::render::printable;

const GAP: &str = "  ";

/// Lays out rows under their head: columns as wide as their widest cell, and no blanks at the end of a line.
///
/// Panics: when a row has more cells than the head.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head = head.iter().map(|name| (*name).to_owned()).collect();
    let rows: Vec<Vec<String>> =
        std::iter::once(&head).chain(rows).map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let mut widths = vec![0; head.len()];
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            widths[column] = widths[column].max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}{GAP}"));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// How long ago something was: `3 s ago`, `5 min ago`, `2 h ago`, `40 d ago`.
pub fn ago(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// How far one clock is before another: `+12 ms`, `-3 s`, `+2 d`.
pub fn offset(ms: i64) -> String {
    let sign = if ms < 0 { '-' } else { '+' };
    match ms.unsigned_abs() {
        size @ 0..10_000 => format!("{sign}{size} ms"),
        size @ 10_000..600_000 => format!("{sign}{} s", size / 1000),
        size @ 600_000..36_000_000 => format!("{sign}{} min", size / 60_000),
        size @ 36_000_000..172_800_000 => format!("{sign}{} h", size / 3_600_000),
        size => format!("{sign}{} d", size / 86_400_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["gw-1".into(), "online".into()], vec!["pümp".into(), String::new()]];
        assert_eq!(table(&["NAME", "STATE"], &rows), "NAME  STATE\ngw-1  online\npümp\n");
        assert_eq!(table(&["A"], &[]), "A\n");
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        assert_eq!(table(&["A"], &[vec!["\u{1b}[2Jx".into()]]), "A\n\\u{1b}[2Jx\n");
    }

    #[test]
    fn spans_are_rounded_down_to_what_matters() {
        let check = |seconds: u64, expected| assert_eq!(ago(seconds * 1000), expected);
        check(0, "0 s ago");
        check(119, "119 s ago");
        check(120, "2 min ago");
        check(7199, "119 min ago");
        check(7200, "2 h ago");
        check(172_800, "2 d ago");
        assert_eq!([offset(0), offset(-12), offset(11_000)], ["+0 ms", "-12 ms", "+11 s"]);
        assert_eq!([offset(-3_600_000), offset(90_000_000), offset(i64::MIN)], ["-60 min", "+25 h", "-106751991167 d"]);
    }
}
