//! Where does a source file fall apart by itself? Before lines that are indented little.
//!
//! What a syntax tree says about borders, the indentation says too, in every language that is laid
//! out by lines: an item begins on a line that is indented less than its body, mostly after a blank
//! line. So each line has a rank as a border before it: its indentation first, a blank line above as
//! the tie-break. Lines that belong to what is above them (closing brackets, `else`, an item below
//! its comment or attribute) come last. A piece takes lines while they fit and then ends at the best
//! border seen, the latest of equals, but not in its first quarter.
//!
//! One pass, memory for the lines of one piece. No language is known here; what this finds beside a
//! syntax tree, and at what speed, is in `docs/decisions/0030-splitting.md`.

use std::ops::Range;

/// Columns of a tab.
const TAB: u32 = 4;
/// Added to the rank of a line that belongs to the one above.
const FOLLOWS: u32 = 1 << 16;
/// A piece is at least this part of the most it may be, where more than that is left.
const LEAST: usize = 4;

/// Cuts `text` into ranges of whole lines with at most `most` characters and hands them to `each`
/// in order. They leave nothing out; a line of more than `most` characters is a range of its own.
pub fn cut(text: &str, most: usize, mut each: impl FnMut(Range<usize>)) {
    let mut open = Open { lines: Vec::new(), characters: 0, most };
    let mut above = Above::Blank;
    let mut from = 0;
    for line in text.split_inclusive('\n') {
        let next = Line { from, characters: line.chars().count(), rank: rank(line, above) };
        while !open.fits(&next) {
            each(open.close(&next));
        }
        open.push(next);
        from += line.len();
        above = Above::of(line);
    }
    if let Some(first) = open.lines.first() {
        each(first.from..text.len());
    }
}

#[derive(Debug)]
struct Line {
    from: usize,
    characters: usize,
    /// How bad a border before this line is.
    rank: u32,
}

/// What the line above is to the one below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Above {
    Blank,
    /// A comment or an attribute: it stays with what follows.
    Introduction,
    Other,
}

impl Above {
    fn of(line: &str) -> Self {
        const INTRODUCTIONS: &[&str] = &["//", "/*", "*", "#", "@", "--", ";"];
        match line.trim_start() {
            "" => Self::Blank,
            line if INTRODUCTIONS.iter().any(|mark| line.starts_with(mark)) => Self::Introduction,
            _ => Self::Other,
        }
    }
}

/// The lines of the piece that is being made.
#[derive(Debug)]
struct Open {
    lines: Vec<Line>,
    characters: usize,
    most: usize,
}

impl Open {
    fn fits(&self, next: &Line) -> bool {
        self.lines.is_empty() || self.characters + next.characters <= self.most
    }

    fn push(&mut self, line: Line) {
        self.characters += line.characters;
        self.lines.push(line);
    }

    /// Ends the piece at its best border, the one before `next` included; later lines stay open.
    fn close(&mut self, next: &Line) -> Range<usize> {
        let first = self.lines.first().map_or(next.from, |line| line.from);
        let mut best = (u32::MAX, self.lines.len());
        let mut before = 0;
        for (at, line) in self.lines.iter().enumerate() {
            if at > 0 && before >= self.most / LEAST && line.rank <= best.0 {
                best = (line.rank, at);
            }
            before += line.characters;
        }
        let taken = if next.rank <= best.0 { self.lines.len() } else { best.1 };
        let to = self.lines.get(taken).map_or(next.from, |line| line.from);
        self.characters -= self.lines.drain(..taken).map(|line| line.characters).sum::<usize>();
        first..to
    }
}

fn rank(line: &str, above: Above) -> u32 {
    let content = line.trim();
    if content.is_empty() {
        // The border is better after the blank lines than before them.
        return u32::MAX;
    }
    let indentation = line.bytes().take_while(u8::is_ascii_whitespace);
    let columns = indentation
        .fold(0_u32, |columns, byte| columns.saturating_add(if byte == b'\t' { TAB } else { 1 }));
    let follows = above == Above::Introduction || continues(content);
    let rank = 2 * columns.min(FOLLOWS / 4) + u32::from(above != Above::Blank);
    if follows { rank + FOLLOWS } else { rank }
}

/// Does this line go on with what is above it?
fn continues(line: &str) -> bool {
    const MARKS: &[char] = &['}', ')', ']', '{', '.', ';', '&', '|', '?', ':'];
    const WORDS: &[&str] =
        &["end", "else", "elif", "except", "finally", "catch", "where", "then", "do"];
    let word = line.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    line.starts_with(MARKS) || WORDS.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(text: &str, most: usize) -> Vec<&str> {
        let mut pieces = Vec::new();
        cut(text, most, |range| pieces.push(&text[range]));
        pieces
    }

    #[test]
    fn functions_that_fit_stay_whole_with_their_comments_and_attributes() {
        let one = "/// One.\n#[inline]\nfn one() {\n    let x = 1;\n\n    x + 1\n}\n\n";
        let two = one.replace("One", "Two").replace("one", "two");
        let text = format!("{one}{two}");
        for most in one.len()..text.len() {
            assert_eq!(pieces(&text, most), [one, two.as_str()], "{most}");
        }
        assert_eq!(pieces(&text, text.len()), [text.as_str()]);
    }

    #[test]
    fn a_method_is_preferred_to_a_statement_and_a_class_to_a_method() {
        let method =
            |name: &str| format!("    def {name}(self):\n        a = 1\n\n        return a\n\n");
        let class = |name: &str| format!("class {name}:\n{}{}", method("f"), method("g"));
        let (a, b) = (class("A"), class("B"));
        let text = format!("{a}{b}");
        assert_eq!(pieces(&text, a.len() + 30), [a.clone(), b]);
        let halves = pieces(&a, a.len() - 10);
        assert_eq!(halves, [&a[..a.len() - method("g").len()], &method("g")]);
    }

    #[test]
    fn brackets_at_the_margin_end_what_is_above() {
        let function = |name: &str| format!("int {name}(void)\n{{\n  a();\n\n  b();\n}}\n");
        let text = function("one") + &function("two");
        assert_eq!(pieces(&text, text.len() - 1), [function("one"), function("two")]);
    }

    #[test]
    fn a_line_that_is_too_long_is_a_piece_of_its_own() {
        let long = "x".repeat(50) + "\n";
        let text = format!("a\n{long}b\n");
        for most in [1, 49, 50] {
            assert_eq!(pieces(&text, most), ["a\n", &long, "b\n"], "{most}");
        }
        assert_eq!(pieces("", 10), [""; 0]);
    }

    proptest! {
        #[test]
        fn pieces_are_whole_lines_that_fit_and_leave_nothing_out(
            text in "([ \t]{0,6}[a-zé#}/]{0,12}\r?\n){0,60}[a-z]{0,5}",
            most in 1..80_usize,
        ) {
            let pieces = pieces(&text, most);
            prop_assert_eq!(pieces.concat(), text.as_str());
            for (at, piece) in pieces.iter().enumerate() {
                prop_assert!(piece.chars().count() <= most || piece.lines().count() == 1);
                prop_assert!(at + 1 == pieces.len() || piece.ends_with('\n'));
            }
        }
    }
}
