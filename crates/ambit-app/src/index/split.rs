//! Where to cut a text? At natural borders, into pieces of at most 1,000 characters.
//!
//! Source code is cut before the lines that are indented least ([`borders`]), so that functions
//! stay whole. Prose goes to `text-splitter`: headings and blocks in Markdown, otherwise runs of
//! line breaks, then single lines, sentences, words; so does a line of code that is too long. Why
//! source code is not cut by its syntax tree is in `docs/decisions/0030-splitting.md`.
//!
//! `text-splitter` looks through all that is left for each piece, so its time grows with the square
//! of the length. It sees at most [`PART`] bytes at a time.

use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use text_splitter::{Characters, ChunkConfig, MarkdownSplitter, TextSplitter};

use super::borders;

/// Characters of a piece, at most.
pub const PIECE: usize = 1000;
/// Bytes that `text-splitter` sees at a time, at most.
const PART: usize = 32 << 10;

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
///
/// # Cost
/// Time in proportion to the text; 32 bytes per piece.
pub fn split<'a>(path: &Path, text: &'a str) -> Vec<Piece<'a>> {
    let mut lines = Lines { text, offset: 0, line: 1 };
    let mut pieces = Vec::new();
    let kind = Kind::of(path);
    ranges(kind, text, &mut |range| {
        let Some(found) = text.get(range.clone()) else { return };
        let piece = found.trim();
        if piece.is_empty() {
            return;
        }
        let from = range.start + (found.len() - found.trim_start().len());
        let first_line = lines.at(from);
        let last_line = lines.at(from + piece.len());
        pieces.push(Piece { first_line, last_line, text: piece });
    });
    pieces
}

/// Does the name of a file say that it is source code?
pub fn is_code(path: &Path) -> bool {
    Kind::of(path) == Kind::Code
}

/// What is cut in which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Prose,
    Markdown,
    /// Whatever is laid out by lines and indentation.
    Code,
}

impl Kind {
    fn of(path: &Path) -> Self {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        match extension.as_str() {
            "md" | "markdown" | "mdx" => Self::Markdown,
            name if CODE.contains(&name) => Self::Code,
            _ => Self::Prose,
        }
    }
}

/// Extensions of source code and of data that is indented like it.
const CODE: &[&str] = &[
    "bash", "c", "cc", "clj", "cpp", "cs", "css", "cu", "cxx", "d", "dart", "el", "erl", "ex",
    "exs", "f90", "fs", "go", "gradle", "groovy", "h", "hh", "hpp", "hs", "html", "java", "jl",
    "js", "json", "jsx", "kt", "kts", "less", "lisp", "lua", "m", "mjs", "ml", "mli", "mm", "nim",
    "nix", "php", "pl", "pm", "proto", "ps1", "py", "pyi", "r", "rb", "rs", "scala", "scm", "scss",
    "sh", "sql", "sv", "swift", "tcl", "toml", "ts", "tsx", "v", "vhd", "vue", "xml", "yaml",
    "yml", "zig", "zsh",
];

fn ranges(kind: Kind, text: &str, each: &mut dyn FnMut(Range<usize>)) {
    static PROSE: OnceLock<TextSplitter<Characters>> = OnceLock::new();
    static MARKDOWN: OnceLock<MarkdownSplitter<Characters>> = OnceLock::new();
    match kind {
        Kind::Code => borders::cut(text, PIECE, |range| {
            let piece = text.get(range.clone()).unwrap_or_default();
            if piece.chars().nth(PIECE).is_none() {
                each(range);
            } else {
                // One line that is too long.
                ranges(Kind::Prose, piece, &mut |within| {
                    each(range.start + within.start..range.start + within.end);
                });
            }
        }),
        Kind::Prose => {
            let splitter = PROSE.get_or_init(|| TextSplitter::new(ChunkConfig::new(PIECE)));
            for part in parts(kind, text) {
                for (at, piece) in splitter.chunk_indices(&text[part.clone()]) {
                    each(part.start + at..part.start + at + piece.len());
                }
            }
        }
        Kind::Markdown => {
            let splitter = MARKDOWN.get_or_init(|| MarkdownSplitter::new(ChunkConfig::new(PIECE)));
            for part in parts(kind, text) {
                for (at, piece) in splitter.chunk_indices(&text[part.clone()]) {
                    each(part.start + at..part.start + at + piece.len());
                }
            }
        }
    }
}

/// Ranges of at most [`PART`] bytes that together are `text`, cut in their second half at the last
/// heading, else at a blank line, a line, a space, a character.
fn parts(kind: Kind, text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let rest = text.get(from..).filter(|rest| !rest.is_empty())?;
        let len = if rest.len() <= PART { rest.len() } else { part(kind, rest) };
        from += len;
        Some(from - len..from)
    })
}

/// Length of the first part of `rest`, which is longer than one.
fn part(kind: Kind, rest: &str) -> usize {
    let most = rest.floor_char_boundary(PART);
    let half = rest.floor_char_boundary(PART / 2);
    let tail = &rest[half..most];
    let heading = if kind == Kind::Markdown { tail.rfind("\n#") } else { None };
    let border = heading
        .or_else(|| tail.rfind("\n\n").map(|at| at + 1))
        .or_else(|| tail.rfind('\n'))
        .or_else(|| tail.rfind(' '));
    // The line break or space itself stays with the first part.
    border.map_or(most, |at| half + at + 1)
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
    fn a_long_text_is_cut_where_its_parts_meet_and_nowhere_near() {
        for (kind, border) in [
            (Kind::Markdown, "\n# Heading\n"),
            (Kind::Prose, "\n\nparagraph\n"),
            (Kind::Prose, "\nline and more"),
            (Kind::Prose, " word"),
        ] {
            let text = "x".repeat(PART - 100) + border + &"é".repeat(PART);
            let cut = PART - 100 + border.find(['\n', ' ']).unwrap() + 1;
            let cut = if border.starts_with("\n\n") { cut + 1 } else { cut };
            let parts: Vec<_> = parts(kind, &text).collect();
            assert_eq!((parts[0].clone(), parts[1].start), (0..cut, cut), "{border:?}");
            assert!(parts.iter().all(|part| part.len() <= PART));
            assert_eq!(parts.iter().map(|part| &text[part.clone()]).collect::<String>(), text);
        }
    }

    #[test]
    fn a_long_line_of_code_is_cut_like_prose() {
        let long = "word ".repeat(1000);
        let text = format!("fn a() {{}}\n\n{long}\n\nfn b() {{}}\n");
        let pieces = split(Path::new("x.rs"), &text);
        assert!(pieces.len() > 6 && pieces.iter().all(|piece| piece.text.len() <= PIECE));
        assert_eq!(pieces[0].text, "fn a() {}");
        assert!(pieces[1..pieces.len() - 1].iter().all(|piece| piece.first_line == 3));
        assert_eq!(pieces[pieces.len() - 1].first_line, 5);
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
