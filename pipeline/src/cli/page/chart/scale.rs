//! Axes: where values lie, and the round ones among them.

use crate::cli::format;
use crate::cli::page::plot::{round_step, time_ticks};

/// The horizontal axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::cli) enum Across {
    /// Optimiser steps.
    Steps,
    /// Seconds of training.
    Seconds,
}

impl Across {
    /// Round places from 0 to `end`, and what stands there; the first says what is counted.
    pub(super) fn ticks(self, end: f64, large: bool) -> Vec<(f64, String)> {
        if self == Self::Seconds {
            // Half of the ticks where there is half the room.
            let ticks = time_ticks(end);
            let every = if large || ticks.len() < 5 { 1 } else { 2 };
            return ticks.into_iter().step_by(every).collect();
        }
        let step = round_step(end / if large { 6.0 } else { 3.0 }).max(1.0);
        let tick = |i: usize| {
            let value = i as f64 * step;
            (value, if i == 0 { "step 0".to_owned() } else { format::count(value as u64) })
        };
        (0..=(end / step).floor() as usize).map(tick).collect()
    }

    /// `step 1,200`, `after 3 min 20 s`.
    pub(super) fn name(self, at: f64) -> String {
        match self {
            Self::Steps => format!("step {}", format::count(at.round() as u64)),
            Self::Seconds => format!("after {}", format::duration(at)),
        }
    }
}

/// The vertical axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::cli) enum Up {
    /// Even; begins at 0 where the values come near it.
    Linear,
    /// Each decade is as high as the next; positive values only.
    Log,
    /// From 0 to 1.
    Share,
}

/// An axis made for the values at hand.
#[derive(Debug)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    log: bool,
    /// Round values, and how they are written.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Where a value lies: 0 is the foot, 1 the head.
    pub(super) fn place(&self, value: f64) -> f64 {
        let of = |v: f64| if self.log { v.max(f64::MIN_POSITIVE).log10() } else { v };
        (of(value) - of(self.low)) / (of(self.high) - of(self.low))
    }
}

impl Up {
    pub(super) fn has_place_for(self, value: f64) -> bool {
        value.is_finite() && (self != Self::Log || value > 1e-30)
    }

    /// An axis that holds `low` to `high`.
    pub(super) fn axis(self, (low, high): (f64, f64)) -> Axis {
        match self {
            Self::Log => log(low.max(1e-30), high.max(1e-30)),
            Self::Share if low >= 0.0 && high <= 1.0 => linear(0.0, 1.0),
            Self::Share | Self::Linear => {
                let near_zero = low > 0.0 && low < 0.4 * high;
                // Rounding alone is no movement: a constant is drawn at its height over 0.
                let still = high - low <= 1e-9 * high.abs().max(low.abs());
                match (near_zero || still, low == high && low == 0.0) {
                    (_, true) => linear(0.0, 1.0),
                    (true, _) => linear(low.min(0.0), high.max(0.0)),
                    _ => linear(low, high),
                }
            }
        }
    }
}

fn linear(low: f64, high: f64) -> Axis {
    let step = round_step((high - low) / 5.0);
    let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
    let ticks = (0..=(last - first).min(20.0) as usize).map(|i| (first + i as f64) * step);
    let largest = first.abs().max(last.abs()) * step;
    let ticks = ticks.map(|v| (v, tick_label(v, step, largest))).collect();
    Axis { low: first * step, high: last * step, log: false, ticks }
}

/// From one round number to another: decades, and between two of them 2 and 5 where there are few.
fn log(low: f64, high: f64) -> Axis {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let last = last.max(first + 1);
    let times: &[f64] = if last - first <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let every = (last - first).div_euclid(6) + 1;
    let mut ticks: Vec<f64> = (first..=last)
        .filter(|power| (power - first) % every == 0)
        .flat_map(|power| times.iter().map(move |t| t * 10_f64.powi(power)))
        .collect();
    // Only what is needed around the values, but always two.
    let below = ticks.iter().rposition(|t| *t <= low * (1.0 + 1e-9)).unwrap_or(0);
    let above = ticks.iter().position(|t| *t >= high * (1.0 - 1e-9)).unwrap_or(ticks.len() - 1);
    let above = above.max(below + 1).min(ticks.len() - 1);
    ticks = ticks[below.min(above - 1)..=above].to_vec();
    let (foot, head) = (ticks[0], ticks[ticks.len() - 1].max(high));
    let ticks = ticks.into_iter().map(|v| (v, tick_label(v, v, v))).collect();
    Axis { low: foot, high: head, log: true, ticks }
}

/// All labels of an axis alike: `1,500`, `0.25` or `2.5e-4`.
fn tick_label(value: f64, step: f64, largest: f64) -> String {
    if value == 0.0 || value.abs() < step * 1e-6 {
        return "0".to_owned();
    }
    let sign = if value < 0.0 { "\u{2212}" } else { "" };
    let size = value.abs();
    if !(5e-3..1e6).contains(&largest) {
        let text = format!("{size:.1e}").replace(".0e", "e");
        return format!("{sign}{}", text.replace('-', "\u{2212}"));
    }
    if step >= 1.0 {
        return format!("{sign}{}", format::count(size.round() as u64));
    }
    let decimals = (-(step * 1.000_001).log10().floor()).clamp(0.0, 9.0) as usize;
    format!("{sign}{size:.decimals$}")
}

/// A reading to four digits: `0.3124`, `12.35`, `2.5e-5`.
pub(super) fn reading(value: f64) -> String {
    if !value.is_finite() {
        return format::NO_NUMBER.to_owned();
    }
    let sign = if value < 0.0 { "\u{2212}" } else { "" };
    let text = match value.abs() {
        0.0 => "0".to_owned(),
        v if !(1e-3..1e6).contains(&v) => format!("{v:.2e}").replace('-', "\u{2212}"),
        // A moving average that keeps nearly all differs from one that keeps all.
        v if (0.99..1.0).contains(&v) => format!("{v:.6}"),
        v if v >= 1e4 => format::count(v.round() as u64),
        v => format!("{v:.*}", (3.0 - v.log10().floor()).clamp(0.0, 5.0) as usize),
    };
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(up: Up, low: f64, high: f64) -> String {
        let axis = up.axis((low, high));
        assert!(axis.place(low) > -1e-9 && axis.place(high) < 1.0 + 1e-9, "{low} to {high}: {axis:?}");
        axis.ticks.iter().map(|tick| tick.1.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn linear_axes_have_round_labels_alike() {
        assert_eq!(labels(Up::Linear, 0.31, 0.97), "0 0.2 0.4 0.6 0.8 1.0");
        assert_eq!(labels(Up::Linear, 0.81, 0.97), "0.80 0.85 0.90 0.95 1.00");
        assert_eq!(labels(Up::Linear, 0.0, 4e-4), "0 1e\u{2212}4 2e\u{2212}4 3e\u{2212}4 4e\u{2212}4");
        assert_eq!(labels(Up::Linear, -0.7, 0.4), "\u{2212}1.0 \u{2212}0.5 0 0.5");
        assert_eq!(labels(Up::Linear, 900.0, 3_100.0), "0 1,000 2,000 3,000 4,000");
        assert_eq!(labels(Up::Share, 0.2, 0.3), "0 0.2 0.4 0.6 0.8 1.0");
        assert_eq!(labels(Up::Linear, 0.05, 0.05), "0 0.01 0.02 0.03 0.04 0.05");
        assert_eq!(labels(Up::Linear, 0.0, 0.0), "0 0.2 0.4 0.6 0.8 1.0");
    }

    #[test]
    fn log_axes_have_decades_or_parts_of_one() {
        assert_eq!(labels(Up::Log, 0.003, 4_000.0), "1e\u{2212}3 0.1 10 1,000");
        assert_eq!(labels(Up::Log, 1.2, 4.0), "1 2 5");
        assert_eq!(labels(Up::Log, 1.0, 1.0), "1 2");
        for (low, high) in [(1e-30, 1e30), (0.0, 1e-12), (5.0, 5.0), (1e-300, 1e-299), (9.99, 10.01)] {
            let axis = Up::Log.axis((low, high));
            assert!((2..12).contains(&axis.ticks.len()), "{low} to {high}: {axis:?}");
        }
    }

    #[test]
    fn any_range_has_an_axis() {
        for (low, high) in [(-1e30, 1e30), (1e-300, 2e-300), (-5.0, -5.0), (1.0, 1.0 + 1e-15), (-1e-20, 1e-20)] {
            for up in [Up::Linear, Up::Share] {
                let axis = up.axis((low, high));
                assert!((2..22).contains(&axis.ticks.len()), "{low} to {high}: {axis:?}");
                assert!(axis.place(low).is_finite() && axis.place(high).is_finite(), "{low} to {high}: {axis:?}");
            }
        }
    }

    #[test]
    fn readings_have_four_digits() {
        let readings = [0.312_44, 0.999_987, 12.345, 2.5e-5, 123_456.0, -0.5, 0.0, f64::NAN].map(reading);
        assert_eq!(
            readings,
            ["0.3124", "0.999987", "12.35", "2.50e\u{2212}5", "123,456", "\u{2212}0.5000", "0", format::NO_NUMBER]
        );
    }
}
