//! A badge: an SVG of the kind that stands at the top of a README.

use std::io::{self, Write};

use podcov_profile::Coverage;

use crate::summary::percent;
use crate::text;

/// Writes a badge: the label, and the percentage on a colour from red to green.
///
/// # Errors
///
/// Errors of `out`.
pub fn write(coverage: Coverage, label: &str, out: &mut dyn Write) -> io::Result<()> {
    let value = coverage.percent().map_or_else(|| "unknown".to_owned(), |_| percent(coverage));
    let label = text::xml(label).replace('\u{fffd}', " ");
    let (left, right) = (width(&label), width(&value));
    let label = quick_xml::escape::escape(&label);
    let (middle_left, middle_right, total) = (left / 2.0, left + right / 2.0, left + right);
    let colour = colour(coverage.percent());
    writeln!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="20" role="img" aria-label="{label}: {value}"><!-- podcov-report -->
<title>{label}: {value}</title>
<clipPath id="r"><rect width="{total}" height="20" rx="3"/></clipPath>
<g clip-path="url(#r)"><rect width="{left}" height="20" fill="#444"/><rect x="{left}" width="{right}" height="20" fill="{colour}"/></g>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="{middle_left}" y="14">{label}</text><text x="{middle_right}" y="14">{value}</text>
</g></svg>"##
    )
}

/// Dark enough for white text on it.
fn colour(percent: Option<f64>) -> &'static str {
    match percent {
        None => "#6a6a6a",
        Some(percent) if percent >= 90.0 => "#2f7d31",
        Some(percent) if percent >= 75.0 => "#5a7a1e",
        Some(percent) if percent >= 50.0 => "#9a6a00",
        Some(_) => "#b3362b",
    }
}

/// About what text of this size takes, in pixels: there is no font here to ask.
fn width(text: &str) -> f64 {
    let of = |c: char| match c {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ' ' | 'I' => 4.0,
        'm' | 'w' | 'M' | 'W' | '%' => 11.0,
        _ => 7.0,
    };
    10.0 + text.chars().map(of).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn badge(covered: u64, total: u64, label: &str) -> String {
        let mut out = Vec::new();
        write(Coverage { covered, total }, label, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_and_colour() {
        let good = badge(949, 1000, "coverage");
        assert!(good.contains(">94.9%</text>") && good.contains("#2f7d31"), "{good}");
        assert!(badge(1, 3, "coverage").contains("#b3362b"));
        assert!(badge(0, 0, "coverage").contains(">unknown</text>"));
    }

    #[test]
    fn a_label_takes_as_much_room_as_its_text() {
        let width = |label: &str| {
            badge(1, 1, label).split_once("width=\"").unwrap().1.split_once('"').unwrap().0.to_owned()
        };
        assert_eq!(width("&<>\"'"), width("abcde"));
    }

    #[test]
    fn a_label_is_text() {
        assert!(badge(1, 1, "<a href=\"x\">&\u{1b}").contains(">&lt;a href=&quot;x&quot;&gt;&amp; </text>"));
    }
}
