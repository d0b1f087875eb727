//! What links carried, as a drawing that stands alone: no script, no style sheet, no font of its own.
//!
//! The sheet: a title, what the colours mean, and the charts of the bearers below each other. What a device calls
//! itself or its bearers is text here and nothing else: see [`escaped`].

use std::fmt::Write as _;

use query::render::printable;
use wire::spent::Spent;

use crate::call::UsageFound;
use crate::usage::plot;
use crate::usage::unit::date;

/// Pixels across.
pub const WIDTH: f64 = 900.0;

/// What stands left of everything.
pub const MARGIN: f64 = 16.0;

/// Colours of the uses, in the order of [`wire::spent::Spent::parts`].
///
/// Source: Okabe and Ito, "Color Universal Design" (2008): told apart with every common kind of colour blindness.
pub const COLOURS: [&str; 6] = ["#d55e00", "#0072b2", "#56b4e9", "#e69f00", "#999999", "#cc79a7"];

/// The colour of text and lines.
pub const INK: &str = "#222222";

const TITLE_SIZE: f64 = 18.0;

const LEGEND_SIZE: f64 = 12.0;

const LEGEND_TOP: f64 = 62.0;

const CHARTS_TOP: f64 = 96.0;

/// Draws an answer.
pub fn render(found: &UsageFound) -> String {
    let mut charts = String::new();
    let mut top = CHARTS_TOP;
    for bearer in &found.bearers {
        top += plot::put(&mut charts, top, found, bearer);
    }
    if found.bearers.is_empty() {
        put_text(&mut charts, MARGIN, top + 10.0, LEGEND_SIZE, "start", "no record of a day in this span");
        top += 30.0;
    }
    let title = format!("What used the data of {}", fitted(&found.device, TITLE_SIZE, 600.0));
    let span = format!("{} to {}, bytes of whole IP packets by day", date(found.first_day), date(found.last_day));
    let caption = format!("{span}; a number behind a label counts the changes of the link on that day");
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{top}\" viewBox=\"0 0 {WIDTH} {top}\" \
         role=\"img\" font-family=\"sans-serif\" fill=\"{INK}\">\n<title>{title}, {span}</title>\n\
         <defs><pattern id=\"gap\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" \
         patternTransform=\"rotate(45)\"><rect width=\"6\" height=\"6\" fill=\"#f4f4f4\"/>\
         <rect width=\"1.5\" height=\"6\" fill=\"#cccccc\"/></pattern></defs>\n\
         <rect width=\"{WIDTH}\" height=\"{top}\" fill=\"#ffffff\"/>\n",
        title = escaped(&title),
    );
    put_text(&mut out, MARGIN, 28.0, TITLE_SIZE, "start", &title);
    put_text(&mut out, MARGIN, 47.0, LEGEND_SIZE, "start", &caption);
    put_legend(&mut out);
    out.push_str(&charts);
    out.push_str("</svg>\n");
    out
}

fn put_legend(out: &mut String) {
    let uses: Vec<&str> = Spent::default().parts().map(|(name, _)| name).collect();
    let colours = uses.into_iter().zip(COLOURS);
    let mut left = MARGIN;
    for (name, fill) in colours.chain([("no record", "url(#gap)")]) {
        put_box(out, [left, LEGEND_TOP, 12.0, 12.0], fill);
        left = put_entry(out, left, name);
    }
    put_line(out, [left - 2.0, LEGEND_TOP + 6.0, left + 13.0, LEGEND_TOP + 6.0], "stroke-width=\"2\"");
    left = put_entry(out, left, "budget");
    put_line(out, [left + 6.0, LEGEND_TOP - 2.0, left + 6.0, LEGEND_TOP + 14.0], "stroke-dasharray=\"3 2\"");
    put_entry(out, left, "link changed");
}

/// A word of the legend; returns where the next begins.
fn put_entry(out: &mut String, left: f64, name: &str) -> f64 {
    put_text(out, left + 18.0, LEGEND_TOP + 10.5, LEGEND_SIZE, "start", name);
    left + 34.0 + width(name, LEGEND_SIZE)
}

/// A line of text; `anchor` is start, middle or end.
pub fn put_text(out: &mut String, x: f64, y: f64, size: f64, anchor: &str, text: &str) {
    let text = escaped(text);
    let _ =
        writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" text-anchor=\"{anchor}\">{text}</text>");
}

/// A box: left, top, width, height.
pub fn put_box(out: &mut String, [x, y, width, height]: [f64; 4], fill: &str) {
    let _ =
        writeln!(out, "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\"/>");
}

/// A line from one point to another.
pub fn put_line(out: &mut String, [x1, y1, x2, y2]: [f64; 4], style: &str) {
    let _ =
        writeln!(out, "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{INK}\" {style}/>");
}

/// `text` as it may stand in an XML document: what is markup, a control character or no character is spelled out.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in printable(text).chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Not characters of XML 1.0, section 2.2.
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

/// Pixels that `text` takes at the most, in a common font: there is none to measure it with.
pub fn width(text: &str, size: f64) -> f64 {
    let of = |character: char| match character {
        'W' | 'M' | 'm' | 'w' | '@' | '%' => 1.0,
        'A'..='Z' => 0.75,
        ' '..='~' => 0.62,
        _ => 1.1,
    };
    text.chars().map(of).sum::<f64>() * size
}

/// `text` as it is shown, cut to take `width_max` pixels at the most.
pub fn fitted(text: &str, size: f64, width_max: f64) -> String {
    let text = printable(text);
    if width(&text, size) <= width_max {
        return text;
    }
    let mut cut = String::new();
    for character in text.chars() {
        cut.push(character);
        if width(&cut, size) + width("…", size) > width_max {
            cut.pop();
            break;
        }
    }
    cut + "…"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::DAY_COUNT_MAX;
    use crate::usage::sample::{bearer, found, hostile};

    #[test]
    fn what_a_device_says_is_text_and_never_markup() {
        let text = render(&hostile());
        assert!(text.contains("&lt;/text&gt;&lt;script&gt;&quot;&amp;&#39;\\u{1b}[2J"), "{text}");
        assert!(!text.contains("<script") && !text.contains(['\u{1b}', '\u{202e}', '\u{ffff}']), "{text}");
        assert_eq!(text.matches("<g>").count(), text.matches("</g>").count());
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        assert!(text.len() < 50_000, "{}", text.len());
    }

    #[test]
    fn a_year_of_all_bearers_is_bounded() {
        let mut found = found(DAY_COUNT_MAX + 1);
        let days: Vec<(u32, [u64; 6])> = (0..=DAY_COUNT_MAX).map(|day| (day, [u64::from(day) + 1; 6])).collect();
        found.bearers = (0..8).map(|number| bearer(&format!("b{number}"), Some(100), &days)).collect();
        assert!(render(&found).len() < 4 << 20);
    }

    #[test]
    fn charts_stand_below_each_other_on_a_sheet_that_holds_them() {
        let height = |bearer_count| {
            let mut found = found(3);
            found.bearers = vec![bearer("wwan0", None, &[(0, [1; 6])]); bearer_count];
            let text = render(&found);
            let (_, rest) = text.split_once(" height=\"").unwrap();
            rest.split_once('"').unwrap().0.parse::<f64>().unwrap()
        };
        assert_eq!(height(2) - height(1), height(3) - height(2));
        assert!(height(0) < height(1));
        assert!(render(&found(3)).contains("no record of a day in this span"));
    }

    #[test]
    fn a_text_is_cut_to_its_room() {
        assert_eq!(fitted("gw-1", 18.0, 100.0), "gw-1");
        let cut = fitted(&"W".repeat(1000), 18.0, 100.0);
        assert!(cut.ends_with('…') && width(&cut, 18.0) <= 100.0, "{cut}");
    }
}
