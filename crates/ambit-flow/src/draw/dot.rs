//! A graph in the language of Graphviz.

use std::fmt::Write as _;

use super::drawing::{Drawing, colour, label, shorten};
use crate::def::On;

pub(super) fn draw(drawing: &Drawing<'_>) -> String {
    let mut out = String::new();
    let name = if drawing.name().is_empty() { "graph" } else { drawing.name() };
    line(&mut out, format_args!("digraph {} {{", quoted(name)));
    line(&mut out, format_args!("  rankdir=LR;"));
    line(&mut out, format_args!("  node [shape=box, style=\"rounded,filled\", fontname=sans];"));
    for (number, node) in drawing.nodes().enumerate() {
        let text = format!("{}\n{}", shorten(&node.id, 60), drawing.detail(number));
        let fill = colour(drawing.state(number));
        let (id, text) = (quoted(&node.id), quoted(&text));
        line(&mut out, format_args!("  {id} [label={text}, fillcolor=\"{fill}\"];"));
    }
    let ids: Vec<&str> = drawing.nodes().map(|node| &*node.id).collect();
    for (from, to, edge) in drawing.edges() {
        let label = label(edge);
        let mut with = Vec::new();
        if !label.is_empty() {
            with.push(format!("label={}", quoted(&label)));
        }
        if edge.on == On::Error {
            with.push("style=dashed".to_owned());
        }
        let with = if with.is_empty() { String::new() } else { format!(" [{}]", with.join(", ")) };
        line(&mut out, format_args!("  {} -> {}{with};", quoted(ids[from]), quoted(ids[to])));
    }
    out.push_str("}\n");
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "{text}");
}

/// `text` in quotes, as the language escapes it.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            other if other.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_quotes() {
        assert_eq!(quoted("a\"] ; b \\\n\t"), r#""a\"] ; b \\\n ""#);
    }
}
