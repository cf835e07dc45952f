//! The languages, and what says that a file is written in one.

use std::path::Path;

use sparecall_core::error::{Error, Result};

/// A language whose grammar is compiled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Language {
    Go = 0,
    Java = 1,
    JavaScript = 2,
    Python = 3,
    Rust = 4,
    Tsx = 5,
    TypeScript = 6,
}

impl Language {
    pub const ALL: [Self; 7] =
        [Self::Go, Self::Java, Self::JavaScript, Self::Python, Self::Rust, Self::Tsx, Self::TypeScript];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::Java => "java",
            Self::JavaScript => "javascript",
            Self::Python => "python",
            Self::Rust => "rust",
            Self::Tsx => "tsx",
            Self::TypeScript => "typescript",
        }
    }

    /// The endings of its files' names.
    pub const fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Go => &["go"],
            Self::Java => &["java"],
            Self::JavaScript => &["js", "jsx", "mjs", "cjs"],
            Self::Python => &["py", "pyi", "pyw"],
            Self::Rust => &["rs"],
            Self::Tsx => &["tsx"],
            Self::TypeScript => &["ts", "mts", "cts"],
        }
    }

    /// The language of that name, in any case.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|language| language.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| Self::unknown(name))
    }

    /// By the ending of the path's name, in any case.
    pub fn of_path(path: &str) -> Option<Self> {
        let ending = Path::new(path).extension()?.to_str()?;
        Self::ALL
            .into_iter()
            .find(|language| language.extensions().iter().any(|known| known.eq_ignore_ascii_case(ending)))
    }

    /// By the program that a first line such as `#!/usr/bin/env python3` names.
    pub fn of_shebang(source: &str) -> Option<Self> {
        let line = source.strip_prefix("#!")?.lines().next()?;
        let mut words = line.split_ascii_whitespace().filter_map(|word| word.rsplit('/').next());
        let program = words.find(|word| *word != "env" && !word.starts_with('-') && !word.contains('='))?;
        let program = program.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
        match program {
            "python" | "pypy" | "pythonw" => Some(Self::Python),
            "node" | "nodejs" | "bun" => Some(Self::JavaScript),
            "ts-node" | "tsx" | "deno" => Some(Self::TypeScript),
            "rust-script" => Some(Self::Rust),
            _ => None,
        }
    }

    /// By its path, else by its first line. The error lists what there is.
    pub fn of_file(path: &str, source: &str) -> Result<Self> {
        let found = Self::of_path(path).or_else(|| Self::of_shebang(source));
        found.ok_or_else(|| {
            let name = Path::new(path).extension().and_then(|ending| ending.to_str());
            Self::unknown(&name.map_or_else(String::new, |ending| format!(".{ending}")))
        })
    }

    fn unknown(name: &str) -> Error {
        let known = Self::ALL.map(|language| {
            let endings = language.extensions().iter().map(|ending| format!(".{ending}"));
            format!("{} ({})", language.name(), endings.collect::<Vec<_>>().join(" "))
        });
        Error::UnknownName { kind: "language", name: name.chars().take(40).collect(), known: known.join(", ") }
    }

    pub(crate) fn grammar(self) -> tree_sitter::Language {
        match self {
            Self::Go => tree_sitter_go::LANGUAGE,
            Self::Java => tree_sitter_java::LANGUAGE,
            Self::JavaScript => tree_sitter_javascript::LANGUAGE,
            Self::Python => tree_sitter_python::LANGUAGE,
            Self::Rust => tree_sitter_rust::LANGUAGE,
            Self::Tsx => tree_sitter_typescript::LANGUAGE_TSX,
            Self::TypeScript => tree_sitter_typescript::LANGUAGE_TYPESCRIPT,
        }
        .into()
    }

    pub(crate) const fn is_script(self) -> bool {
        matches!(self, Self::JavaScript | Self::Tsx | Self::TypeScript)
    }
}
