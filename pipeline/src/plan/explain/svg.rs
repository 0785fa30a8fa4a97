//! A self-contained drawing: layers from top to bottom, fused chains in a frame, what travels written beside each edge.

use std::fmt::Write as _;

use super::diagram::edge_lines;
use super::{Explain, ExplainSegment, ExplainStage, size};
use crate::stage::StageKind;

const BOX_WIDTH: f64 = 270.0;
const LINE: f64 = 17.0;
const PAD: f64 = 12.0;
const STAGE_GAP: f64 = 14.0;
const COLUMN_GAP: f64 = 60.0;
const LABEL_WIDTH: f64 = 150.0;
const LANE_WIDTH: f64 = 30.0;
const MARGIN: f64 = 32.0;
const TITLE: f64 = 64.0;

/// Something that takes room in a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Item {
    Segment(usize),
    /// Where an edge passes a layer without stopping.
    Lane(usize),
}

#[derive(Debug, Clone, Copy, Default)]
struct Spot {
    x: f64,
    y: f64,
    height: f64,
}

struct Layout {
    segments: Vec<Spot>,
    /// Points that each edge passes on its way.
    lanes: Vec<Vec<(f64, f64)>>,
    width: f64,
    height: f64,
}

/// Draws the graph.
pub fn svg(explain: &Explain) -> String {
    let layout = layout(explain);
    let mut out = String::new();
    let (width, height) = (layout.width, layout.height);
    let _ = write!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}" viewBox="0 0 {width:.0} {height:.0}" font-family="Inter, Helvetica, Arial, sans-serif" font-size="13">
<style>.name{{font-weight:600;fill:#16202c}}.kind{{fill:#5b6b7d;font-size:12px}}.edge{{fill:none;stroke:#7b8a9a;stroke-width:1.6}}.label{{fill:#33414f;font-size:12px;paint-order:stroke;stroke:#fff;stroke-width:4px}}.bytes{{fill:#8593a3}}</style>
<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 10 5 0 10z" fill="#7b8a9a"/></marker></defs>
<rect width="100%" height="100%" fill="#fff"/>
<text x="{MARGIN}" y="30" font-size="18" class="name">{}</text>
<text x="{MARGIN}" y="50" class="kind">{}</text>
"##,
        escape(&explain.pipeline),
        escape(&subtitle(explain)),
    );
    for (i, edge) in explain.edges.iter().enumerate() {
        draw_edge(&mut out, &layout, i, explain, &edge_lines(&edge.columns, edge.row_bytes));
    }
    for (segment, spot) in explain.segments.iter().zip(&layout.segments) {
        draw_segment(&mut out, segment, *spot);
    }
    out.push_str("</svg>\n");
    out
}

fn subtitle(explain: &Explain) -> String {
    let jobs = explain.jobs.map_or_else(
        || "one worker per core".to_owned(),
        |jobs| format!("{jobs} worker{}", if jobs == 1 { "" } else { "s" }),
    );
    format!(
        "seed {}, {jobs}, {} of memory, {} clips per shard",
        explain.seed,
        size(explain.memory_bytes as usize),
        explain.clips_per_shard
    )
}

fn layout(explain: &Explain) -> Layout {
    let layers = layers(explain);
    let mut segments = vec![Spot::default(); explain.segments.len()];
    let mut lanes: Vec<Vec<(f64, f64)>> = vec![Vec::new(); explain.edges.len()];
    let mut y = TITLE + 10.0;
    for layer in &layers {
        let height = layer.iter().map(|item| item_height(explain, *item)).fold(0.0, f64::max);
        let wanted: Vec<f64> = layer.iter().map(|item| middle_above(explain, *item, &segments, &lanes)).collect();
        for (item, middle) in layer.iter().zip(spread(layer, &wanted)) {
            match *item {
                Item::Segment(i) => {
                    segments[i] = Spot { x: middle - BOX_WIDTH / 2.0, y, height: item_height(explain, *item) };
                }
                Item::Lane(edge) => lanes[edge].extend([(middle, y), (middle, y + height)]),
            }
        }
        y += height + gap_below(explain, layer);
    }
    let left = segments.iter().map(|spot| spot.x).fold(f64::INFINITY, f64::min).min(0.0);
    for spot in &mut segments {
        spot.x += MARGIN - left;
    }
    lanes.iter_mut().flatten().for_each(|point| point.0 += MARGIN - left);
    let right = segments.iter().map(|spot| spot.x + BOX_WIDTH).fold(0.0, f64::max);
    let right = lanes.iter().flatten().map(|point| point.0).fold(right, f64::max);
    Layout { segments, lanes, width: (right + LABEL_WIDTH).max(480.0), height: y + MARGIN - 20.0 }
}

/// Mean middle of what an item reads; 0 for a source.
fn middle_above(explain: &Explain, item: Item, segments: &[Spot], lanes: &[Vec<(f64, f64)>]) -> f64 {
    let middle = |n: usize| {
        let from = segments[explain.edges[n].from].x + BOX_WIDTH / 2.0;
        lanes[n].last().map_or(from, |point| point.0)
    };
    let middles: Vec<f64> = match item {
        Item::Lane(edge) => vec![middle(edge)],
        Item::Segment(i) => (0..explain.edges.len()).filter(|&n| explain.edges[n].to == i).map(middle).collect(),
    };
    if middles.is_empty() { 0.0 } else { middles.iter().sum::<f64>() / middles.len() as f64 }
}

/// Middles as near to the wanted ones as the widths allow: the mean of pushing to the right and pushing to the left.
fn spread(layer: &[Item], wanted: &[f64]) -> Vec<f64> {
    let half = |i: usize| if matches!(layer[i], Item::Segment(_)) { BOX_WIDTH / 2.0 } else { LANE_WIDTH / 2.0 };
    let apart = |i: usize| half(i) + half(i + 1) + COLUMN_GAP;
    let mut right = wanted.to_vec();
    for i in 1..right.len() {
        right[i] = right[i].max(right[i - 1] + apart(i - 1));
    }
    let mut left = wanted.to_vec();
    for i in (1..left.len()).rev() {
        left[i - 1] = left[i - 1].min(left[i] - apart(i - 1));
    }
    right.iter().zip(&left).map(|(a, b)| f64::midpoint(*a, *b)).collect()
}

/// Room for the labels of the edges that leave a layer.
fn gap_below(explain: &Explain, layer: &[Item]) -> f64 {
    let leaves = |from: usize| layer.contains(&Item::Segment(from));
    let lines = explain.edges.iter().filter(|edge| leaves(edge.from)).map(|edge| edge.columns.len() + 1).max();
    lines.map_or(30.0, |lines| 58.0 + lines as f64 * LINE)
}

/// Each segment one layer below the lowest it reads; edges that pass a layer get a lane in it.
fn layers(explain: &Explain) -> Vec<Vec<Item>> {
    let mut depth = vec![0; explain.segments.len()];
    for edge in &explain.edges {
        depth[edge.to] = depth[edge.to].max(depth[edge.from] + 1);
    }
    let mut layers = vec![Vec::new(); depth.iter().max().map_or(0, |deepest| deepest + 1)];
    for (i, &at) in depth.iter().enumerate() {
        layers[at].push(Item::Segment(i));
    }
    for (n, edge) in explain.edges.iter().enumerate() {
        for layer in &mut layers[depth[edge.from] + 1..depth[edge.to]] {
            layer.push(Item::Lane(n));
        }
    }
    // Under what they read, from top to bottom: straight edges cross less.
    for at in 1..layers.len() {
        let above = layers[at - 1].clone();
        let place = |from: Item| above.iter().position(|item| *item == from);
        layers[at].sort_by(|a, b| mean_above(explain, *a, &place).total_cmp(&mean_above(explain, *b, &place)));
    }
    layers
}

/// Mean place, in the layer above, of what an item reads.
fn mean_above(explain: &Explain, item: Item, place: &dyn Fn(Item) -> Option<usize>) -> f64 {
    let of_edge = |n: usize| place(Item::Lane(n)).or_else(|| place(Item::Segment(explain.edges[n].from)));
    let places: Vec<usize> = match item {
        Item::Lane(edge) => of_edge(edge).into_iter().collect(),
        Item::Segment(i) => {
            (0..explain.edges.len()).filter(|&n| explain.edges[n].to == i).filter_map(of_edge).collect()
        }
    };
    if places.is_empty() { 0.0 } else { places.iter().sum::<usize>() as f64 / places.len() as f64 }
}

fn stage_height(stage: &ExplainStage) -> f64 {
    let rows = 1 + usize::from(stage.type_name != stage.id) + stage.params.len();
    rows as f64 * LINE + 14.0
}

fn framed(segment: &ExplainSegment) -> bool {
    segment.kind == StageKind::Map
}

fn item_height(explain: &Explain, item: Item) -> f64 {
    let Item::Segment(i) = item else { return 0.0 };
    let segment = &explain.segments[i];
    let boxes: f64 = segment.stages.iter().map(stage_height).sum();
    let gaps = STAGE_GAP * (segment.stages.len().max(1) - 1) as f64;
    let frame = if framed(segment) { 2.0 * PAD + LINE + 4.0 } else { 0.0 };
    boxes + gaps + frame
}

fn draw_edge(out: &mut String, layout: &Layout, n: usize, explain: &Explain, lines: &[String]) {
    let edge = &explain.edges[n];
    let port = |segment: usize, of: &dyn Fn(&super::ExplainEdge) -> usize, y: f64| {
        let all: Vec<usize> = (0..explain.edges.len()).filter(|&k| of(&explain.edges[k]) == segment).collect();
        // Edges that go further to the right leave further to the right.
        let mut sorted = all.clone();
        sorted.sort_by(|a, b| end_x(layout, explain, *a, segment).total_cmp(&end_x(layout, explain, *b, segment)));
        let at = sorted.iter().position(|&k| k == n).unwrap_or(0);
        let share = (at + 1) as f64 / (sorted.len() + 1) as f64;
        (layout.segments[segment].x + BOX_WIDTH * share, y)
    };
    let (from, to) = (layout.segments[edge.from], layout.segments[edge.to]);
    let mut points = vec![port(edge.from, &|edge| edge.from, from.y + from.height)];
    points.extend(&layout.lanes[n]);
    points.push(port(edge.to, &|edge| edge.to, to.y - 3.0));
    // The label stands beside a straight piece: at the lower end, or at the upper one where edges come together.
    let merges = explain.edges.iter().filter(|other| other.to == edge.to).count() > 1;
    let straight = lines.len() as f64 * LINE + 10.0;
    let (at, label) = if merges {
        let (x, y) = points[0];
        points.insert(1, (x, y + straight));
        (0, (x + 10.0, y + 20.0))
    } else {
        let (x, y) = points[points.len() - 1];
        points.insert(points.len() - 1, (x, y - straight));
        (points.len() - 2, (x + 10.0, y - straight + 12.0))
    };
    let mut path = format!("M{:.1} {:.1}", points[0].0, points[0].1);
    for (i, pair) in points.windows(2).enumerate() {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        if i == at {
            let _ = write!(path, "V{y1:.1}");
            continue;
        }
        let bend = (y1 - y0) / 2.0;
        let _ = write!(path, "C{x0:.1} {:.1} {x1:.1} {:.1} {x1:.1} {y1:.1}", y0 + bend, y1 - bend);
    }
    let _ = writeln!(out, r#"<path class="edge" d="{path}" marker-end="url(#tip)"/>"#);
    let (x, y) = label;
    for (i, line) in lines.iter().enumerate() {
        let class = if i + 1 == lines.len() { "label bytes" } else { "label" };
        let y = y + i as f64 * LINE;
        let _ = writeln!(out, r#"<text x="{x:.1}" y="{y:.1}" class="{class}">{}</text>"#, escape(line));
    }
}

/// Where an edge of `segment` has its next point, from left to right.
fn end_x(layout: &Layout, explain: &Explain, n: usize, segment: usize) -> f64 {
    let edge = &explain.edges[n];
    let outward = edge.from == segment;
    let lane = if outward { layout.lanes[n].first() } else { layout.lanes[n].last() };
    let other = layout.segments[if outward { edge.to } else { edge.from }].x + BOX_WIDTH / 2.0;
    lane.map_or(other, |point| point.0)
}

fn draw_segment(out: &mut String, segment: &ExplainSegment, spot: Spot) {
    let mut y = spot.y;
    let mut inset = 0.0;
    if framed(segment) {
        let title = match segment.stages.len() {
            0 => "cast to the stored form".to_owned(),
            1 => format!("on every worker, {} a clip", size(segment.clip_bytes)),
            n => format!("{n} fused on every worker, {} a clip", size(segment.clip_bytes)),
        };
        let _ = writeln!(
            out,
            r##"<rect x="{:.1}" y="{:.1}" width="{BOX_WIDTH}" height="{:.1}" rx="10" fill="#f2f6fb" stroke="#9db2c9" stroke-dasharray="5 4"/><text x="{:.1}" y="{:.1}" class="kind">{}</text>"##,
            spot.x,
            spot.y,
            spot.height,
            spot.x + PAD,
            spot.y + PAD + 9.0,
            escape(&title),
        );
        y += PAD + LINE + 4.0;
        inset = PAD;
    }
    for (i, stage) in segment.stages.iter().enumerate() {
        if i > 0 {
            let x = spot.x + BOX_WIDTH / 2.0;
            let _ = writeln!(out, r#"<path class="edge" d="M{x:.1} {:.1}V{:.1}"/>"#, y - STAGE_GAP, y);
        }
        draw_stage(out, stage, segment.kind, (spot.x + inset, y), BOX_WIDTH - 2.0 * inset);
        y += stage_height(stage) + STAGE_GAP;
    }
}

fn draw_stage(out: &mut String, stage: &ExplainStage, kind: StageKind, (x, y): (f64, f64), width: f64) {
    let (fill, stroke) = match kind {
        StageKind::Source => ("#e6f4ea", "#5f9e70"),
        StageKind::Map => ("#ffffff", "#9db2c9"),
        StageKind::Fold => ("#fdf3dc", "#c79a3a"),
        StageKind::Merge => ("#f3e8fa", "#9a6bb8"),
        StageKind::Sink => ("#fde8e4", "#c4705c"),
    };
    let height = stage_height(stage);
    let _ = writeln!(
        out,
        r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="7" fill="{fill}" stroke="{stroke}" stroke-width="1.2"/>"#
    );
    for (i, line) in super::diagram::lines(stage).iter().enumerate() {
        let class = if i == 0 { "name" } else { "kind" };
        let y = y + 19.0 + i as f64 * LINE;
        let _ = writeln!(out, r#"<text x="{:.1}" y="{y:.1}" class="{class}">{}</text>"#, x + 10.0, escape(line));
    }
}

/// Text for XML; control characters are not allowed in it at all.
fn escape(text: &str) -> String {
    let calm: String = text.chars().filter(|c| !c.is_control()).collect();
    calm.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_cannot_leave_its_element() {
        assert_eq!(super::escape("a<b & \"c\">\u{1b}"), "a&lt;b &amp; &quot;c&quot;&gt;");
    }
}
