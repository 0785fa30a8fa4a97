//! A picture of counts: a bar for each, side by side where they have an order, one below the other where they have names.

use std::fmt::Write;

use super::plot::bar;
use super::{Html, number};
use crate::scan::Bar;

/// Width and height of the picture in SVG units; the page scales it.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 170.0;

/// Upright bars, left to right.
pub(in crate::cli) fn upright(bars: &[Bar]) -> Html {
    let mut svg = Html::new();
    let top = bars.iter().map(|bar| bar.count).max().unwrap_or(0);
    if top == 0 {
        svg.raw("<p class=\"none\">There is nothing to count.</p>");
        return svg;
    }
    let _ = write!(
        svg.0,
        "<div class=\"wide\"><svg class=\"plot\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\">",
        HEIGHT + 54.0
    );
    let step = WIDTH / bars.len() as f64;
    for (at, one) in bars.iter().enumerate() {
        let height = HEIGHT * one.count as f64 / top as f64;
        let (x, y) = (at as f64 * step, HEIGHT - height + 18.0);
        let middle = x + step / 2.0;
        let count = number::count(one.count);
        let name = Html::escape(&one.name);
        let _ = write!(
            svg.0,
            "<g><rect class=\"column\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>\
             <text class=\"tx\" x=\"{middle:.1}\" y=\"{:.1}\">{count}</text>\
             <text class=\"tx\" x=\"{middle:.1}\" y=\"{:.1}\">{}</text><title>{name}: {count}</title></g>",
            x + step * 0.08,
            step * 0.84,
            y - 5.0,
            HEIGHT + 36.0 + if at % 2 == 1 { 14.0 } else { 0.0 },
            name
        );
    }
    let _ = write!(svg.0, "<path class=\"grid\" d=\"M0 {0}H{WIDTH}\"/></svg></div>", HEIGHT + 18.0);
    svg
}

/// Rows of a table, the first `most` of them.
pub(in crate::cli) fn table(head: &str, bars: &[Bar], most: usize, class: &str) -> Html {
    let mut body = Html::new();
    let total: u64 = bars.iter().map(|bar| bar.count).sum();
    let top = bars.iter().map(|bar| bar.count).max().unwrap_or(0).max(1);
    body.raw("<div class=\"wide\"><table><thead><tr><th>").text(head);
    body.raw("<th class=\"n\">clips<th class=\"b\">share</thead><tbody>");
    for one in bars.iter().take(most) {
        body.raw("<tr><td class=\"name\">").name(&one.name);
        let share = one.count as f64 / total.max(1) as f64;
        let _ = write!(
            body.0,
            "<td class=\"n\">{}<td class=\"b\">{}{}",
            number::count(one.count),
            bar(one.count as f64 / top as f64, class, ""),
            number::percent(share)
        );
    }
    body.raw("</tbody></table></div>");
    if bars.len() > most {
        let more = number::counted((bars.len() - most) as u64, "more row");
        let _ = write!(body.0, "<p class=\"below\">and {more}</p>");
    }
    body
}
