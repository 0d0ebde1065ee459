//! A graph as SVG.
//!
//! Layers are columns. In a column, nodes stand in the order of the middle of the nodes that lead
//! to them, which keeps most edges from crossing. Edges are curves from the right side of a box to
//! the left side of another.

use std::fmt::Write as _;

use super::drawing::{Drawing, colour, label, shorten};
use crate::def::On;

const CHARACTER: f64 = 7.2;
const BOX_HEIGHT: f64 = 44.0;
const ROW: f64 = 64.0;
const GAP: f64 = 110.0;
const MARGIN: f64 = 20.0;

/// Where a node's box is.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    left: f64,
    width: f64,
    /// The middle of its height.
    middle: f64,
}

pub(super) fn draw(drawing: &Drawing<'_>) -> String {
    let texts: Vec<(String, String)> = drawing
        .nodes()
        .enumerate()
        .map(|(number, node)| (shorten(&node.id, 40), drawing.detail(number)))
        .collect();
    let (places, width, height) = lay_out(drawing, &texts);
    let mut out = String::new();
    let mut line = |text: std::fmt::Arguments<'_>| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{text}");
    };
    line(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\" font-size=\"12\">"
    ));
    line(format_args!("<title>{}</title>", escaped(drawing.name())));
    line(format_args!(
        "<defs><marker id=\"end\" markerWidth=\"8\" markerHeight=\"8\" refX=\"7\" refY=\"4\" \
         orient=\"auto\"><path d=\"M0,1 L7,4 L0,7 z\" fill=\"#555\"/></marker></defs>"
    ));
    for (from, to, edge) in drawing.edges() {
        let (from, to) = (places[from], places[to]);
        let (x, y) = (from.left + from.width, from.middle);
        let half = (to.left - x) / 2.0;
        let dash = if edge.on == On::Error { " stroke-dasharray=\"5 4\"" } else { "" };
        line(format_args!(
            "<path d=\"M{x:.0},{y:.0} C{:.0},{y:.0} {:.0},{:.0} {:.0},{:.0}\" fill=\"none\" \
             stroke=\"#555\"{dash} marker-end=\"url(#end)\"/>",
            x + half,
            to.left - half,
            to.middle,
            to.left,
            to.middle
        ));
        let label = label(edge);
        if !label.is_empty() {
            line(format_args!(
                "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\" font-size=\"10\" \
                 fill=\"#555\">{}</text>",
                x + half,
                (y + to.middle) / 2.0 - 4.0,
                escaped(&label)
            ));
        }
    }
    for (number, (place, (name, detail))) in places.iter().zip(&texts).enumerate() {
        let fill = colour(drawing.state(number));
        let (top, centre) = (place.middle - BOX_HEIGHT / 2.0, place.left + place.width / 2.0);
        line(format_args!(
            "<rect x=\"{:.0}\" y=\"{top:.0}\" width=\"{:.0}\" height=\"{BOX_HEIGHT:.0}\" rx=\"6\" \
             fill=\"{fill}\" stroke=\"#333\"/>",
            place.left, place.width
        ));
        line(format_args!(
            "<text x=\"{centre:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
            place.middle - 3.0,
            escaped(name)
        ));
        line(format_args!(
            "<text x=\"{centre:.0}\" y=\"{:.0}\" text-anchor=\"middle\" font-size=\"10\" \
             fill=\"#555\">{}</text>",
            place.middle + 13.0,
            escaped(detail)
        ));
    }
    out.push_str("</svg>\n");
    out
}

/// Where each box is, and how large the whole is.
fn lay_out(drawing: &Drawing<'_>, texts: &[(String, String)]) -> (Vec<Place>, f64, f64) {
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); texts.len()];
    for (from, to, _) in drawing.edges() {
        before[to].push(from);
    }
    let mut places = vec![Place::default(); texts.len()];
    let (mut left, mut rows) = (MARGIN, 1);
    for layer in drawing.layers() {
        let longest = texts[layer.clone()]
            .iter()
            .map(|(name, detail)| name.chars().count().max(detail.chars().count()))
            .max();
        let width = longest.unwrap_or(0) as f64 * CHARACTER + 20.0;
        let mut nodes: Vec<(f64, usize)> = layer
            .map(|node| {
                let sum: f64 = before[node].iter().map(|&from| places[from].middle).sum();
                (sum / before[node].len().max(1) as f64, node)
            })
            .collect();
        nodes.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (row, &(_, node)) in nodes.iter().enumerate() {
            let middle = MARGIN + BOX_HEIGHT / 2.0 + row as f64 * ROW;
            places[node] = Place { left, width, middle };
        }
        rows = rows.max(nodes.len());
        left += width + GAP;
    }
    let height = 2.0 * MARGIN + BOX_HEIGHT + (rows - 1) as f64 * ROW;
    (places, left - GAP + MARGIN, height)
}

/// `text` as XML escapes it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            other if other.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_element() {
        assert_eq!(escaped("<b>&\"\u{7}x</b>"), "&lt;b&gt;&amp;&quot; x&lt;/b&gt;");
    }
}
