//! The parser: tree-sitter's, with a bound on its work.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;

use sparecall_core::error::{Error, Result};
use tree_sitter::{ParseOptions, Tree};

use crate::language::Language;
use crate::outline::Outline;
use crate::walk;

/// The most bytes of one source.
pub const MAX_SOURCE: usize = 64 << 20;

/// Steps of tree-sitter that are allowed for each byte. Ordinary code takes up to one and a half, text that no grammar fits up to seven; a few
/// inputs that can be repaired in many ways take hundreds.
const STEPS_PER_BYTE: usize = 16;
/// Steps that are allowed for any source.
const LEAST_STEPS: usize = 200_000;
/// After so many steps tree-sitter asks whether to go on.
const ASKED_AFTER: usize = 100;
/// And whenever it reads so many bytes.
const READ: usize = 64 << 10;

/// Parses one source after another, and keeps its memory between them.
pub struct Parser {
    inner: tree_sitter::Parser,
    language: Option<Language>,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    pub fn new() -> Self {
        Self { inner: tree_sitter::Parser::new(), language: None }
    }

    /// What `source` defines. Errors: [`MAX_SOURCE`] bytes are exceeded, or the parse takes more steps than such a length should.
    pub fn outline(&mut self, source: &str, language: Language) -> Result<Outline> {
        self.outline_until(source, language, &mut || false)
    }

    /// Likewise; a parse is given up, with an error, once `expired` says so, which is asked a few times a millisecond. Text in which nothing
    /// parses takes two hundred times as long as code.
    pub fn outline_until(
        &mut self,
        source: &str,
        language: Language,
        expired: &mut dyn FnMut() -> bool,
    ) -> Result<Outline> {
        let tree = self.parse(source, language, None, expired)?;
        Ok(walk::outline(source, language, tree))
    }

    /// `old` is the tree of the text before, edited to fit this one.
    pub(crate) fn parse(
        &mut self,
        source: &str,
        language: Language,
        old: Option<&Tree>,
        expired: &mut dyn FnMut() -> bool,
    ) -> Result<Tree> {
        if source.len() > MAX_SOURCE {
            let value = format!("{} bytes long", source.len());
            let limit = format!("at most {MAX_SOURCE} can be parsed: leave the file out");
            return Err(Error::InvalidArgument { name: "source", value, limit });
        }
        if self.language != Some(language) {
            // The versions fit: they are compiled in, and tests parse with each.
            let fits = self.inner.set_language(&language.grammar()).is_ok();
            self.language = fits.then_some(language);
        }
        let mut left = (LEAST_STEPS + source.len() * STEPS_PER_BYTE) / ASKED_AFTER;
        let mut offset = 0;
        let bytes = source.as_bytes();
        let expired = RefCell::new(expired);
        let is_over = Cell::new(false);
        let mut step = |state: &tree_sitter::ParseState| {
            offset = state.current_byte_offset();
            left = left.saturating_sub(1);
            if left == 0 || is_over.get() || expired.borrow_mut()() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        // One step may read all that is left: Python's, at each comment of an indented block, the whole run of comments.
        let mut read = |at: usize, _| {
            if at > 0 && !is_over.get() {
                is_over.set(expired.borrow_mut()());
            }
            let start = if is_over.get() { bytes.len() } else { at.min(bytes.len()) };
            // Whole characters: within one, tree-sitter reads on without asking whether there is more.
            let mut end = bytes.len().min(start + READ);
            while !source.is_char_boundary(end) {
                end -= 1;
            }
            &bytes[start..end]
        };
        let options = ParseOptions::new().progress_callback(&mut step);
        let parsed = self.inner.parse_with_options(&mut read, old, Some(options));
        parsed.filter(|_| !is_over.get()).ok_or_else(|| {
            self.inner.reset();
            Error::InvalidDocument {
                what: "the source takes too long to parse for its length: that was given up",
                offset,
            }
        })
    }
}
