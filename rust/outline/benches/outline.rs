//! What an outline costs beside the bare parse: `cargo bench -p sparecall-outline --bench outline -- FOLDER` reads the folder's Python files.
//!
//! Both take turns on each pass over all files; the fastest pass of each counts.
#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::time::Instant;

use sparecall_outline::{Language, Parser};

const PASSES: usize = 7;

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "py") {
            found.push(path);
        }
    }
}

fn main() {
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let mut paths = Vec::new();
    files(Path::new(&folder.unwrap_or_else(|| ".".to_owned())), &mut paths);
    let sources: Vec<String> = paths.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    let size = sources.iter().map(String::len).sum::<usize>() as f64 / 1e6;
    let mut bare = tree_sitter::Parser::new();
    bare.set_language(&tree_sitter_python::LANGUAGE.into()).expect("a grammar that fits");
    let mut ours = Parser::new();
    let (mut parse, mut outline) = (f64::INFINITY, f64::INFINITY);
    let mut symbols = 0;
    for _ in 0..PASSES {
        let start = Instant::now();
        for source in &sources {
            std::hint::black_box(bare.parse(source, None));
        }
        parse = parse.min(start.elapsed().as_secs_f64());
        let start = Instant::now();
        symbols = 0;
        for source in &sources {
            symbols += ours.outline(source, Language::Python).map_or(0, |outline| outline.symbols.len());
        }
        outline = outline.min(start.elapsed().as_secs_f64());
    }
    println!("{} files, {size:.1} MB, {symbols} symbols", sources.len());
    println!("bare parse       {:6.2} MB/s", size / parse);
    println!("parse + outline  {:6.2} MB/s  {:.2}x of the bare parse", size / outline, parse / outline);
}
