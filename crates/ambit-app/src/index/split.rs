//! Where to cut a text? At natural borders, into pieces of about 1,000 characters.
//!
//! `text-splitter` finds the borders: headings and blocks in Markdown; in everything else runs
//! of line breaks first (in source code the blank lines between functions), then single lines,
//! sentences, words. Why source code is not cut by its syntax tree is in
//! `docs/decisions/0032-splitting.md`.

use std::path::Path;
use std::sync::OnceLock;

use text_splitter::{Characters, ChunkConfig, MarkdownSplitter, TextSplitter};

/// Characters of a piece, at most.
pub const PIECE: usize = 1000;

/// A piece of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Line that it begins in, from 1 on.
    pub first_line: u64,
    /// Line that it ends in.
    pub last_line: u64,
    /// The piece, without white space around it.
    pub text: &'a str,
}

/// Cuts `text`, by what the name of its file says of its kind. Pieces come in order, do not
/// overlap, and hold everything but white space between them.
pub fn split<'a>(path: &Path, text: &'a str) -> Vec<Piece<'a>> {
    static TEXT: OnceLock<TextSplitter<Characters>> = OnceLock::new();
    static MARKDOWN: OnceLock<MarkdownSplitter<Characters>> = OnceLock::new();
    let mut lines = Lines { text, offset: 0, line: 1 };
    let piece = |(offset, piece): (usize, &'a str)| {
        let first_line = lines.at(offset);
        let last_line = lines.at(offset + piece.len());
        Piece { first_line, last_line, text: piece }
    };
    if is_markdown(path) {
        let splitter = MARKDOWN.get_or_init(|| MarkdownSplitter::new(ChunkConfig::new(PIECE)));
        splitter.chunk_indices(text).map(piece).collect()
    } else {
        let splitter = TEXT.get_or_init(|| TextSplitter::new(ChunkConfig::new(PIECE)));
        splitter.chunk_indices(text).map(piece).collect()
    }
}

fn is_markdown(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|name| {
        ["md", "markdown", "mdx"].iter().any(|md| name.eq_ignore_ascii_case(md))
    })
}

/// Counts lines, for offsets that ascend.
struct Lines<'a> {
    text: &'a str,
    offset: usize,
    line: u64,
}

impl Lines<'_> {
    /// Line of the byte at `offset`; a line break belongs to the line that it ends.
    fn at(&mut self, offset: usize) -> u64 {
        let passed = self.text.as_bytes().get(self.offset..offset).unwrap_or_default();
        self.line += passed.iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.offset = self.offset.max(offset);
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn code_is_cut_between_functions_and_says_its_lines() {
        let body = "    let x = 1;\n".repeat(50);
        let code = format!("fn a() {{\n{body}}}\n\nfn b() {{\n{body}}}\n");
        let pieces = split(Path::new("x.rs"), &code);
        let lines: Vec<_> =
            pieces.iter().map(|piece| (piece.first_line, piece.last_line)).collect();
        assert_eq!(lines, [(1, 52), (54, 105)]);
        assert!(pieces[1].text.starts_with("fn b"));
    }

    #[test]
    fn markdown_is_cut_at_its_headings() {
        let section = |name: &str| format!("# {name}\n\n{}\n\n", "word ".repeat(150));
        let text = section("One") + &section("Two");
        let pieces = split(Path::new("x.md"), &text);
        assert_eq!(pieces.len(), 2);
        assert!(pieces[1].text.starts_with("# Two"));
        assert_eq!(pieces[1].first_line, 5);
    }

    #[test]
    fn one_long_line_is_cut_within_the_line() {
        let text = "word ".repeat(1000);
        let pieces = split(Path::new("x.txt"), &text);
        assert!(pieces.len() > 4);
        assert!(pieces.iter().all(|piece| (piece.first_line, piece.last_line) == (1, 1)));
    }

    #[test]
    fn an_empty_text_has_no_pieces() {
        assert_eq!(split(Path::new("x.txt"), " \n\n "), []);
    }

    proptest! {
        #[test]
        fn pieces_are_short_in_order_and_lose_nothing_but_white_space(
            text in "([a-zé# \n]{0,40}\n{0,3}){0,120}",
            name in prop::sample::select(vec!["a.md", "a.rs", "a"]),
        ) {
            let pieces = split(Path::new(name), &text);
            let squeeze = |text: &str| -> String {
                text.chars().filter(|c| !c.is_whitespace()).collect()
            };
            let joined: String = pieces.iter().map(|piece| squeeze(piece.text)).collect();
            prop_assert_eq!(joined, squeeze(&text));
            let mut last = 1;
            for piece in pieces {
                prop_assert!(piece.text.chars().count() <= PIECE);
                prop_assert!(piece.first_line >= last && piece.last_line >= piece.first_line);
                let lines = text.lines().skip(piece.first_line as usize - 1);
                let first = lines.take(1).next().unwrap_or_default();
                prop_assert!(first.contains(piece.text.lines().next().unwrap_or_default()));
                last = piece.last_line;
            }
        }
    }
}
