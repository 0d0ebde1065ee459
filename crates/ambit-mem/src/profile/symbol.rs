//! What are these addresses called?
//!
//! Names come from the program's own file. A symbol table is enough for the functions; to see
//! inlined functions, files and lines as well, build with `debug = "line-tables-only"`. A
//! stripped program has addresses only. Looking up takes a moment once, when the debugging
//! information is read, and that stays, held by no account, until [`forget_names`].

use std::collections::HashMap;
use std::fmt;

use super::site::Site;
use crate::tracking::hook;

/// A function in a stack, inlined or not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Its return address; that of the function it is inlined into.
    pub address: usize,
    /// Its name, or its address where it has none.
    pub function: String,
    /// Its source file, where it is known.
    pub file: Option<String>,
    /// The line, where it is known.
    pub line: Option<u32>,
}

impl Frame {
    /// Is it part of the allocator or of the profiler?
    fn is_machinery(&self) -> bool {
        const FILES: [&str; 5] = [
            "/ambit-mem/src/profile/",
            "/ambit-mem/src/tracking/",
            "/backtrace-",
            "/alloc/src/alloc.rs",
            "/core/src/alloc/",
        ];
        const NAMES: [&str; 8] = [
            "ambit_mem::profile::",
            "ambit_mem::tracking::",
            "backtrace::",
            "alloc::alloc::",
            "__rust_alloc",
            "__rust_realloc",
            "__rustc::",
            "__rdl_alloc",
        ];
        self.is_from(&FILES, &NAMES)
    }

    /// Is it part of the standard library, or of its hash map?
    fn is_library(&self) -> bool {
        const FILES: [&str; 4] =
            ["/library/alloc/", "/library/core/", "/library/std/", "/hashbrown-"];
        const NAMES: [&str; 4] = ["alloc::", "core::", "std::", "hashbrown::"];
        self.is_from(&FILES, &NAMES)
    }

    fn is_from(&self, files: &[&str], names: &[&str]) -> bool {
        let function = self.function.trim_start_matches(['<', '&', '_']);
        let is_named =
            |name: &&str| function.starts_with(name.trim_start_matches('_')) && !name.is_empty();
        match &self.file {
            Some(path) => files.iter().any(|file| path.contains(file)),
            None => names.iter().any(is_named),
        }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.function)?;
        let (Some(file), Some(line)) = (&self.file, self.line) else { return Ok(()) };
        // The end of a path says enough: crate, folder, file.
        let start = file.rmatch_indices('/').nth(2).map_or(0, |(at, _)| at + 1);
        write!(f, " ({}:{line})", &file[start..])
    }
}

/// Gives back what looking names up keeps: the program's debugging information, which can be a
/// hundred MiB. The next look-up reads it again.
pub fn forget_names() {
    backtrace::clear_symbol_cache();
}

impl Site {
    /// Its functions, innermost first, without those of the allocator itself.
    ///
    /// # Cost
    /// Looks every name up anew. Files and lines, and functions that were inlined, are known
    /// where the program was built with `debug = "line-tables-only"` or more.
    pub fn stack(&self) -> Vec<Frame> {
        hook::unsampled(|| Symbols::default().stack(self))
    }

    /// The innermost function that is not the standard library's, with file and line.
    ///
    /// # Cost
    /// As for [`Site::stack`].
    pub fn place(&self) -> String {
        hook::unsampled(|| Symbols::default().place(self))
    }
}

/// Names of addresses, each looked up once.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    known: HashMap<usize, Vec<Frame>>,
}

impl Symbols {
    /// The functions at a return address, innermost first; at least one.
    pub(crate) fn at(&mut self, address: usize) -> &[Frame] {
        self.known.entry(address).or_insert_with(|| resolve(address))
    }

    /// A site's stack, innermost first, without the allocator's own frames.
    pub(crate) fn stack(&mut self, site: &Site) -> Vec<Frame> {
        let all: Vec<Frame> =
            site.frames.iter().flat_map(|address| self.at(*address).to_vec()).collect();
        // Only at the inner end: further out, the profiler may have been called by the program.
        let is_inner = |frame: &&Frame| frame.is_machinery() || frame.is_library();
        let inner = all.iter().take_while(is_inner).count();
        let own = all[..inner].iter().rposition(Frame::is_machinery).map_or(0, |own| own + 1);
        if own == all.len() { all } else { all[own..].to_vec() }
    }

    /// The innermost function of a site that is not the library's: where a reader looks first.
    pub(crate) fn place(&mut self, site: &Site) -> String {
        if site.is_others() {
            return "(stacks that did not fit the profiler's table)".to_owned();
        }
        let stack = self.stack(site);
        let place = stack.iter().find(|frame| !frame.is_library()).or(stack.first());
        place.map(ToString::to_string).unwrap_or_default()
    }
}

fn resolve(address: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    backtrace::resolve(address as *mut std::ffi::c_void, |symbol| {
        frames.push(Frame {
            address,
            function: symbol
                .name()
                .map_or_else(|| format!("{address:#x}"), |name| format!("{name:#}")),
            file: symbol.filename().map(|path| path.display().to_string()),
            line: symbol.lineno(),
        });
    });
    if frames.is_empty() {
        frames.push(Frame { address, function: format!("{address:#x}"), file: None, line: None });
    }
    frames
}
