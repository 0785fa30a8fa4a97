//! Long curves made short enough to draw, without losing a peak.

/// Most groups of a curve; each has a mean, a lowest and a highest value, so at most 999 numbers are drawn of a curve.
const MAX_GROUPS: usize = 333;
/// Numbers beyond this are no readings of anything, and their differences would not be finite.
const HUGE: f64 = 1e30;

/// A curve as it is drawn.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Thin {
    /// Pieces between places where there is no number: every point, or the mean of each group.
    pub(super) lines: Vec<Vec<(f64, f64)>>,
    /// Lowest and highest value of each group, along the pieces; empty where every point is drawn.
    pub(super) bands: Vec<Vec<(f64, f64, f64)>>,
    /// Where there is no number.
    pub(super) holes: Vec<f64>,
}

impl Thin {
    /// Of points whose first coordinate rises. `drawable` says which values a scale has a place for.
    pub(super) fn new(points: &[(f64, f64)], drawable: impl Fn(f64) -> bool) -> Self {
        let size = points.len().div_ceil(MAX_GROUPS).max(1);
        let mut thin = Self::default();
        let (mut line, mut band) = (Vec::new(), Vec::new());
        for group in points.chunks(size) {
            let is_number = |p: &&(f64, f64)| p.1.abs() < HUGE && drawable(p.1);
            thin.holes.extend(group.iter().find(|p| !is_number(p)).map(|p| p.0));
            let numbers: Vec<(f64, f64)> = group.iter().filter(is_number).copied().collect();
            if numbers.is_empty() {
                thin.end_piece(&mut line, &mut band);
                continue;
            }
            let n = numbers.len() as f64;
            let mean = |of: fn(&(f64, f64)) -> f64| numbers.iter().map(|p| of(p) / n).sum::<f64>();
            let x = mean(|p| p.0);
            let (low, high) = numbers.iter().fold((f64::MAX, f64::MIN), |(low, high), p| (low.min(p.1), high.max(p.1)));
            line.push((x, mean(|p| p.1).clamp(low, high)));
            band.push((x, low, high));
        }
        thin.end_piece(&mut line, &mut band);
        if size == 1 {
            thin.bands.clear();
        }
        thin
    }

    fn end_piece(&mut self, line: &mut Vec<(f64, f64)>, band: &mut Vec<(f64, f64, f64)>) {
        if !line.is_empty() {
            self.lines.push(std::mem::take(line));
            self.bands.push(std::mem::take(band));
        }
    }

    /// Lowest and highest of what is drawn.
    pub(super) fn range(&self) -> Option<(f64, f64)> {
        let of_lines = self.lines.iter().flatten().map(|p| (p.1, p.1));
        let all = of_lines.chain(self.bands.iter().flatten().map(|b| (b.1, b.2)));
        all.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// The drawn point nearest to `x`.
    pub(super) fn nearest(&self, x: f64) -> Option<(f64, f64)> {
        let far = |p: &(f64, f64)| (p.0 - x).abs();
        let of_piece = |piece: &Vec<(f64, f64)>| {
            let at = piece.partition_point(|p| p.0 < x);
            [at.checked_sub(1), Some(at)]
                .into_iter()
                .flatten()
                .filter_map(|i| piece.get(i).copied())
                .min_by(|a, b| far(a).total_cmp(&far(b)))
        };
        self.lines.iter().filter_map(of_piece).min_by(|a, b| far(a).total_cmp(&far(b)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(_: f64) -> bool {
        true
    }

    #[test]
    fn few_points_stay_as_they_are() {
        let points = [(1.0, 5.0), (2.0, 3.0), (9.0, 4.0)];
        let thin = Thin::new(&points, all);
        assert_eq!(thin, Thin { lines: vec![points.to_vec()], bands: vec![], holes: vec![] });
        assert_eq!(Thin::new(&[], all), Thin::default());
    }

    #[test]
    fn a_spike_in_a_hundred_thousand_points_is_still_there() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|i| (f64::from(i), (f64::from(i) * 0.1).sin())).collect();
        points[77_777].1 = 50.0;
        points[33_333].1 = -40.0;
        let thin = Thin::new(&points, all);
        assert_eq!(thin.range(), Some((-40.0, 50.0)));
        let drawn = thin.lines.iter().flatten().count() + 2 * thin.bands.iter().flatten().count();
        assert!((900..1_000).contains(&drawn), "{drawn}");
        let at = thin.bands[0].iter().find(|b| b.2 == 50.0).unwrap().0;
        assert!((at - 77_777.0).abs() < 302.0, "{at}");
    }

    #[test]
    fn a_curve_breaks_where_there_is_no_number() {
        let points =
            [(1.0, 1.0), (2.0, f64::NAN), (3.0, 2.0), (4.0, f64::INFINITY), (5.0, 1e300), (6.0, 3.0), (7.0, -1.0)];
        let thin = Thin::new(&points, |v| v > 0.0);
        assert_eq!(thin.lines, [vec![(1.0, 1.0)], vec![(3.0, 2.0)], vec![(6.0, 3.0)]]);
        assert_eq!(thin.holes, [2.0, 4.0, 5.0, 7.0]);
        assert_eq!(thin.nearest(4.4), Some((3.0, 2.0)));
        let broken = vec![(0.0, f64::NAN); 50_000];
        assert!(Thin::new(&broken, all).lines.is_empty());
    }
}
