//! Inline SVG plots: an area over time with axes, and a strip without.

use std::fmt::Write;

use super::{Html, css_percent, number};

/// Width of the plot area in SVG units; the page scales it.
const WIDTH: f64 = 960.0;
/// Room for the labels of the vertical axis.
const LEFT: f64 = 64.0;
/// Height of the plot area.
const HEIGHT: f64 = 170.0;

/// How a plot names its values.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) enum Unit {
    /// `12.3 clips/s`
    ClipsPerS,
    /// `1.2 GiB`
    Bytes,
}

impl Unit {
    fn label(self, value: f64) -> String {
        match self {
            Self::ClipsPerS => number::rate(value),
            Self::Bytes => number::bytes(value as u64),
        }
    }

    /// As many decimals as the step has, so that the labels of one axis look alike.
    fn tick_label(self, value: f64, step: f64) -> String {
        match self {
            _ if value == 0.0 => "0".to_owned(),
            Self::ClipsPerS if step >= 1.0 && value < 1e15 => number::count(value.round() as u64),
            Self::ClipsPerS if step >= 1e-3 && value < 1e15 => {
                format!("{value:.*}", -step.log10().floor() as usize)
            }
            Self::ClipsPerS => format!("{value:.0e}"),
            Self::Bytes => number::bytes(value as u64).replace(".0 ", " "),
        }
    }

    /// A step of 1, 2 or 5 times a power of ten, or of 1, 2, 4... for bytes, that cuts `max` into about four.
    fn tick_step(self, max: f64) -> f64 {
        let rough = max / 4.0;
        if matches!(self, Self::Bytes) {
            return rough.log2().ceil().exp2();
        }
        round_step(rough)
    }
}

/// The least of 1, 2 or 5 times a power of ten that is no smaller than `rough`.
pub(in crate::cli) fn round_step(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|t| t * power >= rough * 0.999);
    times.unwrap_or(10.0) * power
}

/// A line with the area below it; a dashed line at `mark`, if given, with its name.
pub(in crate::cli) fn area(points: &[(f64, f64)], end_s: f64, unit: Unit, mark: Option<(f64, &str)>) -> Html {
    let mut svg = Html::new();
    let top = points.iter().map(|p| p.1).chain(mark.map(|m| m.0)).fold(0.0_f64, f64::max);
    if points.len() < 2 || end_s <= 0.0 || !end_s.is_finite() {
        svg.raw("<p class=\"none\">The run was too short for a line.</p>");
        return svg;
    }
    let top = if top.is_finite() && top > 0.0 { top } else { 1.0 };
    let step = unit.tick_step(top);
    let max = (top / step).ceil().max(1.0) * step;
    let x = |s: f64| LEFT + s / end_s * WIDTH;
    let y = |v: f64| 8.0 + HEIGHT * (1.0 - (v / max).clamp(0.0, 1.0));
    let (w, h) = (LEFT + WIDTH, HEIGHT + 36.0);
    let _ = write!(svg.0, "<div class=\"wide\"><svg class=\"plot\" viewBox=\"0 0 {w} {h}\" role=\"img\">");
    for i in 0..=(max / step).round() as usize {
        let value = i as f64 * step;
        let _ = write!(svg.0, "<path class=\"grid\" d=\"M{LEFT} {0:.1}H{1}\"/>", y(value), LEFT + WIDTH);
        let _ = write!(
            svg.0,
            "<text x=\"{}\" y=\"{:.1}\" class=\"ty\">{}</text>",
            LEFT - 10.0,
            y(value) + 4.0,
            unit.tick_label(value, step)
        );
    }
    for (s, label) in time_ticks(end_s) {
        // A label at the very end would stick out.
        let class = if x(s) > LEFT + WIDTH - 20.0 { "ty" } else { "tx" };
        let _ = write!(svg.0, "<text x=\"{:.1}\" y=\"{}\" class=\"{class}\">{label}</text>", x(s), HEIGHT + 28.0);
    }
    let line = path(points, x, y);
    let (first, last) = (points[0].0, points[points.len() - 1].0);
    let _ = write!(svg.0, "<path class=\"fill\" d=\"{line}L{:.1} {:.1}H{:.1}Z\"/>", x(last), y(0.0), x(first));
    let _ = write!(svg.0, "<path class=\"line\" d=\"{line}\"/>");
    if let Some((value, name)) = mark {
        let _ = write!(svg.0, "<path class=\"mark\" d=\"M{LEFT} {0:.1}H{1}\"/>", y(value), LEFT + WIDTH);
        let _ = write!(
            svg.0,
            "<text x=\"{}\" y=\"{:.1}\" class=\"tm\">{} {}</text>",
            LEFT + WIDTH - 6.0,
            if y(value) < 26.0 { y(value) + 15.0 } else { y(value) - 6.0 },
            Html::escape(name),
            unit.label(value)
        );
    }
    hover(&mut svg, points, x, y, unit);
    svg.raw("</svg></div>");
    svg
}

fn path(points: &[(f64, f64)], x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> String {
    let mut d = String::with_capacity(points.len() * 14);
    for (i, p) in points.iter().enumerate() {
        let _ = write!(d, "{}{:.1} {:.1}", if i == 0 { 'M' } else { 'L' }, x(p.0), y(p.1));
    }
    d
}

/// A column for each point, invisible until the pointer is over it; its title is the reading.
fn hover(svg: &mut Html, points: &[(f64, f64)], x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64, unit: Unit) {
    for (i, p) in points.iter().enumerate() {
        let from = if i == 0 { x(p.0) } else { x(f64::midpoint(points[i - 1].0, p.0)) };
        let to = points.get(i + 1).map_or(x(p.0), |next| x(f64::midpoint(next.0, p.0)));
        let (cx, cy, width, foot) = (x(p.0), y(p.1), to - from, HEIGHT + 8.0);
        let title = format!("{} after {}", unit.label(p.1), number::duration(p.0));
        let _ = write!(
            svg.0,
            "<g class=\"at\"><rect x=\"{from:.1}\" y=\"8\" width=\"{width:.1}\" height=\"{HEIGHT}\"/>\
             <path d=\"M{cx:.1} 8V{foot}\"/><circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"3.5\"/><title>{title}</title></g>"
        );
    }
}

/// A small area without axes, of shares from 0 to 1.
pub(in crate::cli) fn strip(points: &[(f64, f64)], end_s: f64) -> Html {
    let mut svg = Html::new();
    if points.len() < 2 || end_s <= 0.0 || !end_s.is_finite() {
        svg.raw("<span class=\"none\">too short for a line</span>");
        return svg;
    }
    let x = |s: f64| s / end_s * 100.0;
    let y = |v: f64| 1.0 + 30.0 * (1.0 - v.clamp(0.0, 1.0));
    let line = path(points, x, y);
    let (first, last) = (points[0].0, points[points.len() - 1].0);
    let mean = points.iter().map(|p| p.1.clamp(0.0, 1.0)).sum::<f64>() / points.len() as f64;
    svg.raw("<svg class=\"strip\" viewBox=\"0 0 100 32\" preserveAspectRatio=\"none\" role=\"img\">");
    let _ = write!(svg.0, "<title>on average {} full</title>", number::percent(mean));
    let _ = write!(svg.0, "<path class=\"grid\" d=\"M0 1H100M0 31H100\"/>");
    let _ = write!(
        svg.0,
        "<path class=\"fill\" d=\"{line}L{:.1} 31H{:.1}Z\"/><path class=\"line\" d=\"{line}\"/></svg>",
        x(last),
        x(first)
    );
    svg
}

/// A bar of a table, from the left.
pub(in crate::cli) fn bar(share: f64, class: &str, title: &str) -> String {
    format!(
        "<span class=\"bar {class}\" title=\"{}\"><i style=\"width:{}%\"></i></span>",
        Html::escape(title),
        css_percent(share)
    )
}

/// Four to eight round moments from zero on, named so that they stay short.
pub(in crate::cli) fn time_ticks(end_s: f64) -> Vec<(f64, String)> {
    const STEPS_S: [f64; 21] = [
        0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0,
        7_200.0, 10_800.0, 21_600.0, 43_200.0,
    ];
    let days = (end_s / 8.0 / 86_400.0).ceil() * 86_400.0;
    let step = STEPS_S.into_iter().find(|s| end_s / s <= 8.0).unwrap_or(days);
    (0..=(end_s / step).floor() as usize).map(|i| (i as f64 * step, moment(i as f64 * step, step))).collect()
}

fn moment(s: f64, step: f64) -> String {
    let whole = s.round() as u64;
    match step {
        _ if s == 0.0 => "0".to_owned(),
        step if step < 1.0 => format!("{s:.2} s"),
        step if step < 60.0 && s < 60.0 => format!("{whole} s"),
        step if step < 60.0 => format!("{}:{:02} min", whole / 60, whole % 60),
        step if step < 3_600.0 && s < 3_600.0 => format!("{} min", whole / 60),
        step if step < 3_600.0 => format!("{}:{:02} h", whole / 3_600, whole % 3_600 / 60),
        step if step < 86_400.0 => format!("{} h", whole / 3_600),
        _ => format!("{} d", whole / 86_400),
    }
}
