//! Text in, terms out.
//!
//! Words are those of Unicode Standard Annex 29, in lower case, brought to their stems where a
//! language is given (Snowball 3). An identifier stands for itself and for its parts: `readFile`
//! is `readfile`, `read` and `file`; `max_len` is `max_len`, `max` and `len`; `std.env` is `std.env`,
//! `std` and `env`. So code is found by its names and by the words in them; numbers stay whole.

use snowball_stemmers_rs::Stemmer;
use unicode_segmentation::UnicodeSegmentation;

use super::Language;

/// Bytes of a word, at most; longer ones count as their beginning.
const MAX_WORD: usize = 128;

/// Cuts texts into terms.
pub struct Words {
    stemmer: Option<Stemmer>,
    /// The word that is being made.
    word: String,
}

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Words").field("stems", &self.stemmer.is_some()).finish_non_exhaustive()
    }
}

impl Words {
    /// Terms as they stand, or their stems in `language`.
    pub fn new(language: Option<Language>) -> Self {
        let stemmer = language.map(|language| Stemmer::create(language.algorithm()));
        Self { stemmer, word: String::new() }
    }

    /// Calls `take` with the terms of `text` in their order, each 1 to 255 bytes of UTF-8, until it returns false.
    ///
    /// # Cost
    /// Linear in the text; no memory that grows with it.
    pub fn each(&mut self, text: &str, take: &mut dyn FnMut(&str) -> bool) {
        for word in text.unicode_words() {
            let word = beginning(word);
            let mut parts = Parts { word, done: 0 };
            let first = parts.next();
            if !self.term(word, take) {
                return;
            }
            let is_whole = first.is_none_or(|first| first.len() == word.len());
            if !is_whole && !first.into_iter().chain(parts).all(|part| self.term(part, take)) {
                return;
            }
        }
    }

    fn term(&mut self, word: &str, take: &mut dyn FnMut(&str) -> bool) -> bool {
        self.word.clear();
        if word.is_ascii() {
            self.word.push_str(word);
            self.word.make_ascii_lowercase();
        } else {
            let same = word.chars().map(|c| if c == '\u{2019}' { '\'' } else { c });
            self.word.extend(same.flat_map(char::to_lowercase));
        }
        match &self.stemmer {
            // A stem of nothing would be a term that no text can be asked for.
            Some(stemmer) => match stemmer.stem(&self.word) {
                stem if stem.is_empty() => take(beginning(&self.word)),
                stem => take(beginning(&stem)),
            },
            None => take(beginning(&self.word)),
        }
    }
}

/// The first [`MAX_WORD`] bytes, or a little less.
fn beginning(word: &str) -> &str {
    &word[..word.floor_char_boundary(MAX_WORD)]
}

/// The parts of an identifier; of another word, the word.
struct Parts<'a> {
    word: &'a str,
    done: usize,
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.word.get(self.done..)?;
        let start = self.done + rest.find(|c: char| !is_separator(c))?;
        let rest = &self.word[start..];
        let mut chars = rest.char_indices().peekable();
        let mut before = None;
        while let Some((at, c)) = chars.next() {
            let after = chars.peek().map(|&(_, after)| after);
            if at > 0 && begins(before, c, after) {
                self.done = start + at;
                return Some(&rest[..at]);
            }
            before = Some(c);
        }
        self.done = self.word.len();
        Some(rest)
    }
}

/// Does a part end before `c`?
fn begins(before: Option<char>, c: char, after: Option<char>) -> bool {
    let is = |c: Option<char>, test: fn(char) -> bool| c.is_some_and(test);
    if is_separator(c) {
        let digits = |c| is(c, |c| c.is_ascii_digit());
        return c == '_' || !(digits(before) && digits(after));
    }
    c.is_uppercase()
        && (is(before, |c| c.is_lowercase() || c.is_ascii_digit())
            || is(before, char::is_uppercase) && is(after, char::is_lowercase))
}

fn is_separator(c: char) -> bool {
    matches!(c, '_' | '.' | ':' | ',' | ';')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn terms(text: &str, language: Option<Language>) -> Vec<String> {
        let mut terms = Vec::new();
        Words::new(language).each(text, &mut |term| {
            terms.push(term.to_owned());
            true
        });
        terms
    }

    #[test]
    fn words_are_cut_folded_and_identifiers_are_kept_and_split() {
        let cases: [(&str, &[&str]); 12] = [
            ("The quick, brown fox.", &["the", "quick", "brown", "fox"]),
            ("readFile", &["readfile", "read", "file"]),
            ("max_len", &["max_len", "max", "len"]),
            ("HTTPServer2Name", &["httpserver2name", "http", "server2", "name"]),
            ("std::env.args", &["std", "env.args", "env", "args"]),
            ("__init__", &["__init__", "init"]),
            ("3.14 and 1,234", &["3.14", "and", "1,234"]),
            ("don\u{2019}t DON'T", &["don't", "don't"]),
            ("Ünïcödé ΣΊΓΜΑ", &["ünïcödé", "σίγμα"]),
            ("日本 語", &["日", "本", "語"]),
            ("_ ... !?", &[]),
            ("a", &["a"]),
        ];
        for (text, expected) in cases {
            assert_eq!(terms(text, None), expected, "{text}");
        }
        assert_eq!(terms("running runs", Some(Language::English)), ["run", "run"]);
        let long = "x".repeat(1000);
        assert_eq!(terms(&long, None), ["x".repeat(MAX_WORD)]);
    }

    #[test]
    fn every_language_is_found_by_its_name() {
        for &language in Language::ALL {
            assert_eq!(Language::from_name(language.name()), Some(language));
            assert!(!terms("words worden 123 слова كلمات", Some(language)).is_empty());
        }
        assert_eq!(Language::from_name("klingon"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn no_text_makes_a_stemmer_panic_or_a_term_too_long(text in "\\PC{0,40}|[a-zA-Zßñé'_.0-9 ]{0,60}") {
            for &language in Language::ALL {
                for term in terms(&text, Some(language)) {
                    prop_assert!((1..=crate::sparse::MAX_TERM).contains(&term.len()));
                }
            }
        }

        #[test]
        fn a_text_that_is_cut_off_gives_the_first_terms(text in "[a-zA-Z_. ]{0,60}", stop in 1usize..9) {
            let all = terms(&text, None);
            let mut some = Vec::new();
            Words::new(None).each(&text, &mut |term| {
                some.push(term.to_owned());
                some.len() < stop
            });
            prop_assert_eq!(&some[..], &all[..some.len()]);
            prop_assert!(some.len() == stop.min(all.len()));
        }
    }
}
