//! What does an interned string cost, in time and bytes?
//!
//! The strings are those of a knowledge graph's relations: a source, a type and a target a line.
//! `stream` interns them in the order of the file, where sources come in runs; `random` interns
//! each distinct string once, from a text that has them in random order. All are known, so every call is a hit. Peers that
//! cannot be shared by threads are marked.

use std::collections::HashSet;
use std::hint::black_box;

use ambit_mem::{Budget, Bytes, Interner, InternerConfig, Priority, Symbol};

use super::Bench;
use crate::error::BenchError;
use crate::noise::Noise;
use crate::row::{Row, Table, Target};
use crate::timing::{nanoseconds, time};

const ROUNDS: usize = 7;

/// Strings to intern, and numbers to resolve.
struct Strings<'a> {
    stream: Vec<&'a str>,
    random: Vec<&'a str>,
    /// Numbers of all distinct strings, in random order: symbols are resolved in it.
    numbers: Vec<usize>,
    note: &'static str,
}

type Intern<'a> = Box<dyn Fn(&[&str]) + 'a>;
type Resolve<'a> = Box<dyn Fn() + 'a>;

/// An interner that knows all strings.
struct Contender<'a> {
    name: &'static str,
    /// Interns all of these.
    intern: Intern<'a>,
    /// Resolves all symbols, in random order.
    resolve: Resolve<'a>,
    least: [f64; 3],
}

impl<'a> Contender<'a> {
    fn new(name: &'static str, intern: Intern<'a>, resolve: Resolve<'a>) -> Self {
        Self { name, intern, resolve, least: [f64::INFINITY; 3] }
    }

    fn measure(&mut self, strings: &Strings<'_>) -> Result<(), BenchError> {
        let took = [
            time(|| (self.intern)(&strings.random))?.1.cpu / strings.random.len() as f64,
            time(|| (self.intern)(&strings.stream))?.1.cpu / strings.stream.len() as f64,
            time(|| (self.resolve)())?.1.cpu / strings.numbers.len() as f64,
        ];
        for (least, took) in self.least.iter_mut().zip(took) {
            *least = least.min(took * 1e9);
        }
        Ok(())
    }
}

pub fn run(bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let (text, note) = bench.data.relations()?;
    let shuffled = shuffled(&text);
    let strings = strings(&text, &shuffled, note);
    let budget = Budget::new(Bytes::mib(256));
    let account = budget.account("bench/symbols", Priority::Write);
    let failed = |error: &dyn std::fmt::Display| BenchError::new(error.to_string());
    let names = Interner::new(InternerConfig::default(), &account).map_err(|e| failed(&e))?;
    let (outcome, filling) =
        time(|| strings.stream.iter().try_for_each(|text| names.intern(text).map(|_| ())))?;
    outcome.map_err(|error| failed(&error))?;
    bytes(&names, &strings, table)?;
    table.add(
        Row::new("intern", "first pass over the stream", per(filling.cpu, &strings.stream), "ns")
            .note(note),
    )?;

    let symbols: Vec<Symbol> =
        strings.numbers.iter().map(|number| Symbol::new(*number as u32)).collect();
    let resolve = || {
        for symbol in &symbols {
            black_box(names.resolve(*symbol));
        }
    };
    let one_by_one = |texts: &[&str]| {
        for text in texts {
            black_box(names.intern(text).is_ok());
        }
    };
    let batch = |texts: &[&str]| {
        let mut symbols = Vec::new();
        for texts in texts.chunks(1024) {
            symbols.clear();
            black_box(names.intern_batch(texts, &mut symbols).is_ok());
        }
    };
    #[cfg(feature = "peers")]
    let peers = peers::Filled::new(&strings);
    let mut contenders = vec![
        Contender::new("ours", Box::new(one_by_one), Box::new(resolve)),
        Contender::new("ours, in batches of 1,024", Box::new(batch), Box::new(resolve)),
    ];
    #[cfg(feature = "peers")]
    contenders.extend(peers.contenders());
    for _ in 0..ROUNDS {
        contenders.iter_mut().try_for_each(|contender| contender.measure(&strings))?;
    }
    times(&contenders, note, table)?;
    two_threads(&names, &strings, table)
}

fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut noise = Noise::new(seed);
    for last in (1..items.len()).rev() {
        items.swap(last, (noise.next_u64() % (last as u64 + 1)) as usize);
    }
}

fn stream(text: &str) -> Vec<&str> {
    text.lines().flat_map(|line| line.split('\t')).collect()
}

/// A text of the distinct strings, a line each, in random order.
fn shuffled(text: &str) -> String {
    let mut known = HashSet::new();
    let mut distinct: Vec<&str> =
        stream(text).into_iter().filter(|text| known.insert(*text)).collect();
    shuffle(&mut distinct, 5);
    distinct.join("\n")
}

fn strings<'a>(text: &'a str, shuffled: &'a str, note: &'static str) -> Strings<'a> {
    let random: Vec<&str> = shuffled.lines().collect();
    let mut numbers: Vec<usize> = (0..random.len()).collect();
    shuffle(&mut numbers, 6);
    Strings { stream: stream(text), random, numbers, note }
}

fn per<T>(seconds: f64, items: &[T]) -> f64 {
    seconds * 1e9 / items.len() as f64
}

fn bytes(names: &Interner, strings: &Strings<'_>, table: &mut Table) -> Result<(), BenchError> {
    let stats = names.stats();
    let beyond = stats.total_bytes.get() - stats.text_bytes.get();
    let saved = 100.0 * stats.bytes_saved.get() as f64 / stats.bytes_without.get() as f64;
    let referenced: usize = strings.stream.iter().map(|text| text.len()).sum();
    let text = 100.0 * (1.0 - stats.text_bytes.get() as f64 / referenced as f64);
    table.add(
        Row::new("intern", "beyond the string", beyond as f64 / stats.unique_strings as f64, "B")
            .target(Target::AtMost(12.0))
            .note(strings.note),
    )?;
    table.add(
        Row::new("intern", "saved, against a String per reference", saved, "%")
            .target(Target::AtLeast(80.0))
            .note("a reference is a symbol of 4 bytes, all that the interner holds is counted")
            .note(strings.note),
    )?;
    table.add(Row::new("intern", "saved, text alone", text, "%").note(strings.note))
}

fn times(contenders: &[Contender<'_>], note: &str, table: &mut Table) -> Result<(), BenchError> {
    let figures = [("hit, random", 40.0), ("hit, stream", 15.0), ("resolve, random", 1.5)];
    for (figure, (metric, most)) in figures.into_iter().enumerate() {
        let row = || Row::new("intern", metric, contenders[0].least[figure], "ns");
        let target = row().target(Target::AtMost(most)).note(note);
        // What is interned in batches is resolved in no other way.
        let others = &contenders[if figure == 2 { 2 } else { 1 }..];
        let Some((first, rest)) = others.split_first() else {
            table.add(target)?;
            continue;
        };
        table.add(target.peer(first.name, first.least[figure]))?;
        for other in rest {
            table.add(row().peer(other.name, other.least[figure]))?;
        }
    }
    Ok(())
}

fn two_threads(
    names: &Interner,
    strings: &Strings<'_>,
    table: &mut Table,
) -> Result<(), BenchError> {
    let pass = |thread: usize| {
        let (first, second) =
            strings.random.split_at(strings.random.len() / (thread + 1) % strings.random.len());
        for text in first.iter().chain(second) {
            black_box(names.intern(text).is_ok());
        }
    };
    let mut least = [f64::INFINITY; 2];
    for _ in 0..ROUNDS {
        for threads in [1, 2] {
            let took = nanoseconds(threads, 1, &pass)? / strings.random.len() as f64;
            least[threads - 1] = least[threads - 1].min(took);
        }
    }
    table.add(
        Row::new("intern, 2 threads", "hit, random", least[1], "ns")
            .peer("1 thread", least[0])
            .note(strings.note),
    )
}

#[cfg(feature = "peers")]
mod peers {
    use std::cell::RefCell;
    use std::hint::black_box;

    use string_interner::StringInterner;
    use string_interner::backend::{BufferBackend, StringBackend};
    use string_interner::symbol::{SymbolU32, SymbolUsize};

    use super::{Contender, Strings};

    type Buffered = StringInterner<BufferBackend<SymbolUsize>>;
    type Strung = StringInterner<StringBackend<SymbolU32>>;

    /// Interners that know all strings, with their symbols in random order.
    pub(super) struct Filled {
        buffered: (RefCell<Buffered>, Vec<SymbolUsize>),
        strung: (RefCell<Strung>, Vec<SymbolU32>),
        rodeo: (RefCell<lasso::Rodeo>, Vec<lasso::Spur>),
        threaded: (lasso::ThreadedRodeo, Vec<lasso::Spur>),
        leaked: Vec<internment::Intern<str>>,
    }

    /// What `intern` gives for the distinct strings, in random order.
    fn fill<S: Copy + Eq + std::hash::Hash>(
        strings: &Strings<'_>,
        mut intern: impl FnMut(&str) -> S,
    ) -> Vec<S> {
        let mut known = std::collections::HashSet::new();
        let symbols = strings.stream.iter().map(|text| intern(text));
        let symbols: Vec<S> = symbols.filter(|symbol| known.insert(*symbol)).collect();
        strings.numbers.iter().map(|number| symbols[*number]).collect()
    }

    impl Filled {
        pub(super) fn new(strings: &Strings<'_>) -> Self {
            let (mut buffered, mut strung) = (Buffered::new(), Strung::new());
            let (mut rodeo, threaded) = (lasso::Rodeo::new(), lasso::ThreadedRodeo::new());
            let leaked = fill(strings, |text| internment::Intern::<str>::from(text));
            let symbols = (
                fill(strings, |text| buffered.get_or_intern(text)),
                fill(strings, |text| strung.get_or_intern(text)),
                fill(strings, |text| rodeo.get_or_intern(text)),
                fill(strings, |text| threaded.get_or_intern(text)),
            );
            Self {
                buffered: (RefCell::new(buffered), symbols.0),
                strung: (RefCell::new(strung), symbols.1),
                rodeo: (RefCell::new(rodeo), symbols.2),
                threaded: (threaded, symbols.3),
                leaked,
            }
        }

        pub(super) fn contenders(&self) -> Vec<Contender<'_>> {
            macro_rules! unshared {
                ($name:expr, $filled:expr, $symbol:ident => $argument:expr) => {{
                    let (interner, symbols) = &$filled;
                    let intern = move |texts: &[&str]| {
                        let mut interner = interner.borrow_mut();
                        for text in texts {
                            black_box(interner.get_or_intern(text));
                        }
                    };
                    let resolve = move || {
                        let interner = interner.borrow();
                        for $symbol in symbols {
                            black_box(interner.resolve($argument));
                        }
                    };
                    Contender::new($name, Box::new(intern), Box::new(resolve))
                }};
            }
            let (threaded, symbols) = &self.threaded;
            let leaked = &self.leaked;
            vec![
                unshared!("string-interner 0.20, buffer (1 thread)", self.buffered, it => *it),
                unshared!("string-interner 0.20, string (1 thread)", self.strung, it => *it),
                unshared!("lasso 0.7 Rodeo (1 thread)", self.rodeo, it => it),
                Contender::new(
                    "lasso 0.7 ThreadedRodeo",
                    Box::new(move |texts| {
                        for text in texts {
                            black_box(threaded.get_or_intern(text));
                        }
                    }),
                    Box::new(move || {
                        for symbol in symbols {
                            black_box(threaded.resolve(symbol));
                        }
                    }),
                ),
                Contender::new(
                    "internment 0.8 Intern",
                    Box::new(|texts| {
                        for text in texts {
                            black_box(internment::Intern::<str>::from(*text));
                        }
                    }),
                    Box::new(move || {
                        for symbol in leaked {
                            black_box::<&str>(symbol);
                        }
                    }),
                ),
            ]
        }
    }
}
