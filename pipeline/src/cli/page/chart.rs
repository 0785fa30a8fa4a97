//! Curves over steps or over time. The drawing stretches to any width, and all letters are HTML beside it: they keep their size
//! on a phone.

mod scale;

use std::fmt::Write;

use self::scale::Axis;
pub(in crate::cli) use self::scale::{Across, Up};
use super::thin::Thin;
use super::{Html, css_percent};

/// The drawing's own units; the page stretches it.
const WIDTH: f64 = 1_000.0;
const HEIGHT: f64 = 200.0;
/// Most columns that say a reading when the pointer is over them.
const MAX_READINGS: usize = 100;
/// Most places without a number that are marked.
const MAX_HOLES: usize = 40;

/// One curve.
#[derive(Debug)]
pub(in crate::cli) struct Curve {
    pub(in crate::cli) name: &'static str,
    /// First coordinates rise; values may be none.
    pub(in crate::cli) points: Vec<(f64, f64)>,
}

/// What stands on a chart beside its curves.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) enum Mark<'a> {
    /// A line from top to bottom: something happened there.
    Alarm(f64, &'a str),
    /// A ring around a point, and its name.
    Point(f64, f64, &'a str),
}

/// Curves that share their axes.
#[derive(Debug)]
pub(in crate::cli) struct Chart<'a> {
    pub(in crate::cli) title: &'static str,
    /// What the vertical axis counts in.
    pub(in crate::cli) unit: &'a str,
    pub(in crate::cli) curves: Vec<Curve>,
    pub(in crate::cli) across: Across,
    /// Where the horizontal axis ends.
    pub(in crate::cli) end: f64,
    pub(in crate::cli) up: Up,
    pub(in crate::cli) marks: Vec<Mark<'a>>,
    /// Over the whole page, and higher.
    pub(in crate::cli) large: bool,
}

impl Chart<'_> {
    /// As markup; nothing where there is nothing to draw.
    pub(in crate::cli) fn draw(&self) -> Html {
        let mut html = Html::new();
        let thin: Vec<Thin> =
            self.curves.iter().map(|curve| Thin::new(&curve.points, |v| self.up.has_place_for(v))).collect();
        let range = thin.iter().filter_map(Thin::range).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        if range.is_none() && thin.iter().all(|t| t.holes.is_empty()) {
            return html;
        }
        let axis = self.up.axis(range.unwrap_or((0.0, 1.0)));
        let end = if self.end.is_finite() && self.end > 0.0 { self.end } else { 1.0 };
        html.raw(if self.large { "<figure class=\"chart large\">" } else { "<figure class=\"chart\">" });
        self.caption(&mut html);
        html.raw("<div class=\"pane\">");
        let x = |v: f64| v / end;
        self.drawing(&mut html, &thin, end, &axis);
        for (value, label) in &axis.ticks {
            let _ = write!(html.0, "<i class=\"y\" style=\"bottom:{}%\">{label}</i>", css_percent(axis.place(*value)));
        }
        for (i, (value, label)) in self.across.ticks(end, self.large).into_iter().enumerate() {
            // A label at the very end would stick out; on a phone there is room for every other one.
            let end = if x(value) > 0.93 { " last" } else { "" };
            let odd = if i % 2 == 1 { " odd" } else { "" };
            let _ = write!(html.0, "<i class=\"x{end}{odd}\" style=\"left:{}%\">{label}</i>", css_percent(x(value)));
        }
        for mark in &self.marks {
            if let Mark::Point(at, value, name) = mark {
                let side = if x(*at) > 0.6 { " before" } else { "" };
                let _ = write!(
                    html.0,
                    "<b class=\"point{side}\" style=\"left:{}%;bottom:{}%\"><span>{}</span></b>",
                    css_percent(x(*at)),
                    css_percent(axis.place(*value)),
                    Html::escape(name)
                );
            }
        }
        html.raw("</div></figure>");
        html
    }

    /// The title, the unit, and for each curve its sample, its name and its last number.
    fn caption(&self, html: &mut Html) {
        html.raw("<figcaption>");
        if !self.title.is_empty() {
            let _ = write!(html.0, "<b>{}</b>", self.title);
        }
        if !self.unit.is_empty() {
            let _ = write!(html.0, "<small>{}</small>", self.unit);
        }
        for (i, curve) in self.curves.iter().enumerate() {
            let last = curve.points.last().map(|p| scale::reading(p.1)).unwrap_or_default();
            let _ = write!(html.0, "<span class=\"key l{}\">{} <em>{last}</em></span>", i % 4, curve.name);
        }
        html.raw("</figcaption>");
    }

    fn drawing(&self, html: &mut Html, thin: &[Thin], end: f64, axis: &Axis) {
        let px = |v: f64| (v / end).clamp(0.0, 1.0) * WIDTH;
        let py = |v: f64| (1.0 - axis.place(v).clamp(0.0, 1.0)) * HEIGHT;
        let _ = write!(html.0, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\">");
        for (value, _) in &axis.ticks {
            let _ = write!(html.0, "<path class=\"grid\" d=\"M0 {:.1}H{WIDTH}\"/>", py(*value));
        }
        for (i, curve) in thin.iter().enumerate() {
            for band in &curve.bands {
                let there = band.iter().map(|b| (b.0, b.2));
                let back = band.iter().rev().map(|b| (b.0, b.1));
                let d = path(there.chain(back), px, py);
                let _ = write!(html.0, "<path class=\"band l{}\" d=\"{d}Z\"/>", i % 4);
            }
        }
        for (i, curve) in thin.iter().enumerate() {
            for line in &curve.lines {
                let mut d = path(line.iter().copied(), px, py);
                if line.len() == 1 {
                    // A point alone has no length: with round ends it is a dot.
                    d.push_str("h0");
                }
                let _ = write!(html.0, "<path class=\"curve l{}\" d=\"{d}\"/>", i % 4);
            }
        }
        for mark in &self.marks {
            if let Mark::Alarm(at, name) = mark {
                let _ = write!(html.0, "<path class=\"alarm\" d=\"M{:.1} 0V{HEIGHT}\"><title>", px(*at));
                html.text(name).raw("</title></path>");
            }
        }
        self.readings(html, thin, px);
        self.holes(html, thin, px);
        html.raw("</svg>");
    }

    /// Columns, invisible until the pointer is over them, whose titles say all curves' readings.
    fn readings(&self, html: &mut Html, thin: &[Thin], px: impl Fn(f64) -> f64) {
        let mut places: Vec<f64> = thin.iter().flat_map(|t| t.lines.iter().flatten().map(|p| p.0)).collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        let step = places.len().div_ceil(MAX_READINGS).max(1);
        let places: Vec<f64> = places.into_iter().step_by(step).collect();
        for (i, &at) in places.iter().enumerate() {
            let from = if i == 0 { px(at) } else { px(f64::midpoint(places[i - 1], at)) };
            let to = places.get(i + 1).map_or_else(|| px(at), |next| px(f64::midpoint(*next, at)));
            let (width, middle) = ((to - from).max(1.0), px(at));
            let _ = write!(
                html.0,
                "<g class=\"at\"><rect x=\"{from:.1}\" y=\"0\" width=\"{width:.1}\" height=\"{HEIGHT}\"/>\
                 <path d=\"M{middle:.1} 0V{HEIGHT}\"/><title>{}",
                self.across.name(at)
            );
            for (curve, thin) in self.curves.iter().zip(thin) {
                if let Some((_, value)) = thin.nearest(at) {
                    let _ = write!(html.0, "\n{}: {}", curve.name, scale::reading(value));
                }
            }
            html.raw("</title></g>");
        }
    }

    fn holes(&self, html: &mut Html, thin: &[Thin], px: impl Fn(f64) -> f64) {
        for (curve, thin) in self.curves.iter().zip(thin) {
            for &at in thin.holes.iter().take(MAX_HOLES) {
                let title = format!("{}: no number to draw, {}", curve.name, self.across.name(at));
                let _ = write!(
                    html.0,
                    "<path class=\"hole\" d=\"M{:.1} {HEIGHT}v-14\"><title>{title}</title></path>",
                    px(at)
                );
            }
        }
    }
}

fn path(points: impl Iterator<Item = (f64, f64)>, px: impl Fn(f64) -> f64, py: impl Fn(f64) -> f64) -> String {
    let mut d = String::new();
    for (i, p) in points.enumerate() {
        let _ = write!(d, "{}{:.1} {:.1}", if i == 0 { 'M' } else { 'L' }, px(p.0), py(p.1));
    }
    d
}
