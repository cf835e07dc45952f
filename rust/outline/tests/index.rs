//! The index against one that is filled anew: the same symbols, the same hashes, the same keys, and never a false "unchanged".

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use sparecall_outline::{Diff, Entry, Kind, Language, Subject, SymbolIndex, decode, outline};

const ROOM: usize = 1 << 20;

fn update(index: &mut SymbolIndex, path: &str, source: &str) -> Diff {
    index.update(path, Arc::from(source), None, &mut || false).expect("an update")
}

fn names(index: &SymbolIndex, path: &str, numbers: &[u32]) -> Vec<String> {
    let symbols = index.symbols(path).expect("a known file");
    numbers.iter().map(|at| symbols[*at as usize].name_path.to_string()).collect()
}

const BEFORE: &str = "import os

def first(a):
    return a

class C:
    x = 1

    def m(self):
        return first(1)

    def n(self):
        return 2

def last():
    pass
";

#[test]
fn an_edit_is_told_symbol_by_symbol() {
    let mut index = SymbolIndex::new(ROOM, false);
    let diff = update(&mut index, "a.py", BEFORE);
    assert_eq!(names(&index, "a.py", &diff.added), ["", "first", "C", "C.m", "C.n", "last"]);
    assert_eq!(index.len(), 6);
    let diff = update(&mut index, "a.py", BEFORE);
    assert_eq!(diff.unchanged.len(), 6);

    let diff = update(&mut index, "a.py", &BEFORE.replace("return 2", "return 3"));
    assert_eq!(diff.modified.iter().map(|(was, _)| &*was.name_path).collect::<Vec<_>>(), ["C.n"]);
    assert_eq!(names(&index, "a.py", &diff.enclosing), ["", "C"]);
    assert_eq!(names(&index, "a.py", &diff.unchanged), ["first", "C.m", "last"]);

    // Blank lines around symbols are in nobody's own text.
    let diff =
        update(&mut index, "a.py", &BEFORE.replace("return 2", "return 3").replace("\ndef last", "\n\n\n\ndef last"));
    assert_eq!(names(&index, "a.py", &diff.enclosing), [""]);
    assert_eq!(diff.unchanged.len(), 5);

    let swapped =
        BEFORE.replace("def last():\n    pass\n", "").replace("import os\n", "import os\n\ndef last():\n    pass\n");
    update(&mut index, "a.py", BEFORE);
    let diff = update(&mut index, "a.py", &swapped);
    assert_eq!(diff.moved.iter().map(|(was, _)| (&*was.name_path, was.first_line)).collect::<Vec<_>>(), [("last", 15)]);

    let removed = index.remove("a.py").expect("known");
    assert_eq!(removed.len(), 6);
    assert!(index.remove("a.py").is_none());
    let diff = update(&mut index, "b.py", "def last():\n    pass\n");
    assert_eq!(diff.moved.iter().map(|(was, _)| (&*was.path, &*was.name_path)).collect::<Vec<_>>(), [("a.py", "last")]);
}

#[test]
fn where_only_code_counts_layout_and_comments_do_not() {
    let mut index = SymbolIndex::new(ROOM, true);
    update(&mut index, "a.py", BEFORE);
    let diff = update(
        &mut index,
        "a.py",
        &BEFORE.replace("return 2", "return  2  # two").replace("def first(a)", "# x\ndef first( a )"),
    );
    assert_eq!(diff.unchanged.len(), 6, "{diff:?}");
    // Indentation is code in Python, and what strings hold is code everywhere.
    let nested = "def f():\n    if a:\n        b\n    c\n    'x  y'\n";
    update(&mut index, "b.py", nested);
    for changed in [nested.replace("    c", "        c"), nested.replace("x  y", "x y")] {
        let diff = update(&mut index, "b.py", &changed);
        assert_eq!(diff.modified.len(), 1, "{changed}");
        update(&mut index, "b.py", nested);
    }
    let script = "function f() { return\n1 }";
    update(&mut index, "c.js", script);
    assert_eq!(update(&mut index, "c.js", &script.replace('\n', " ")).modified.len(), 1);
}

#[test]
fn what_is_derived_depends_on_the_faces_of_what_is_named() {
    let mut index = SymbolIndex::new(ROOM, false);
    update(&mut index, "a.py", BEFORE);
    update(
        &mut index,
        "b.py",
        "from a import first\n\ndef user():\n    return first(2)\n\ndef other():\n    return 1\n",
    );
    let keys = |index: &SymbolIndex| [1, 2].map(|at| index.key("b.py", at, false).expect("a key"));
    let before = keys(&index);
    // A body changes: nobody who names it sees that.
    update(&mut index, "a.py", &BEFORE.replace("return a", "return a + 1"));
    assert_eq!(keys(&index), before);
    // A signature changes: who names it does, others do not.
    update(&mut index, "a.py", &BEFORE.replace("first(a)", "first(a, b=1)"));
    let after = keys(&index);
    assert_ne!(after[0], before[0]);
    assert_eq!(after[1], before[1]);
    // The name comes from elsewhere.
    update(&mut index, "a.py", BEFORE);
    assert_eq!(keys(&index), before);
    update(
        &mut index,
        "b.py",
        "from z import first\n\ndef user():\n    return first(2)\n\ndef other():\n    return 1\n",
    );
    assert_ne!(keys(&index)[0], before[0]);
    assert_eq!(keys(&index)[1], before[1]);
    let subject = index.subject("b.py", 1, false).expect("a subject");
    assert_eq!(subject.text, "def user():\n    return first(2)");
    assert_eq!(subject.names, [("first".into(), "def first(a)".into())]);
}

#[test]
fn room_is_made_by_trees_then_sources_and_outlines_stay() {
    let mut index = SymbolIndex::new(2_000, false);
    for i in 0..40 {
        update(&mut index, &format!("{i}.py"), BEFORE);
        assert!(index.held().sources + index.held().trees <= 2_000);
    }
    assert_eq!(index.len(), 240);
    assert!(index.source("0.py").is_none());
    assert!(index.source("39.py").is_some());
    assert!(index.subject("0.py", 1, false).expect_err("given up").to_string().contains("update it again"));
    index.key("0.py", 1, false).expect("keys need no source");
    assert_eq!(update(&mut index, "0.py", BEFORE).unchanged.len(), 6);
    for i in 0..40 {
        index.remove(&format!("{i}.py"));
    }
    assert_eq!((index.len(), index.held().outlines, index.held().sources, index.held().trees), (0, 0, 0, 0));
}

#[test]
fn a_saved_index_is_the_same_and_a_damaged_one_is_refused() {
    let mut index = SymbolIndex::new(ROOM, true);
    update(&mut index, "a.py", BEFORE);
    update(&mut index, "b.rs", "/// D.\npub fn f() {}\nimpl X for Y { fn g() {} }");
    let bytes = index.save();
    let mut loaded = SymbolIndex::load(&bytes, ROOM).expect("whole");
    assert!(loaded.code_only());
    for path in ["a.py", "b.rs"] {
        assert_eq!(loaded.symbols(path), index.symbols(path));
        assert_eq!(loaded.key(path, 1, true), index.key(path, 1, true));
    }
    assert_eq!(update(&mut loaded, "a.py", BEFORE).unchanged.len(), 6);
    assert_eq!(index.save(), bytes, "the same index is the same file");
    for length in 0..bytes.len() {
        assert!(SymbolIndex::load(&bytes[..length], ROOM).is_err());
    }
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x41;
        assert!(SymbolIndex::load(&damaged, ROOM).is_err(), "byte {at}");
        // With a checksum that fits, whatever is read is no panic.
        if at >= 52 {
            let sum = *blake3::hash(&damaged[52..]).as_bytes();
            damaged[20..52].copy_from_slice(&sum);
            if let Ok(mut forged) = SymbolIndex::load(&damaged, ROOM) {
                let _ = forged.key("a.py", 1, true);
                let _ = forged.update("a.py", Arc::from(BEFORE), None, &mut || false);
            }
        }
    }
}

#[test]
fn a_refused_update_changes_nothing() {
    let mut index = SymbolIndex::new(ROOM, false);
    update(&mut index, "a.py", BEFORE);
    let before = index.save();
    assert!(index.update("a.unknown", Arc::from("x"), None, &mut || false).is_err());
    assert!(index.update("a.py", Arc::from("x = 1\n".repeat(5000)), None, &mut || true).is_err());
    assert_eq!(index.save(), before);
}

#[test]
fn the_fuzz_corpus_is_read_as_the_fuzz_target_does() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/outline");
    let mut count = 0;
    for file in std::fs::read_dir(folder).expect("a corpus").flatten() {
        let bytes = std::fs::read(file.path()).expect("a file");
        let (language, cut) = (Language::ALL[usize::from(bytes[0]) % Language::ALL.len()], usize::from(bytes[1]));
        let text = decode(&bytes[2..]).text;
        let found = outline(&text, language).expect("an outline");
        assert!(found.symbols.iter().all(|symbol| !found.text(&text, symbol).is_empty()));
        let _ = found.skeleton(&text, &["f"]);
        let shorter: String = text.chars().take(text.chars().count() * cut / 256).collect();
        let mut index = SymbolIndex::new(ROOM, cut % 2 == 1);
        for version in [&*text, &shorter, &text] {
            index.update("a", Arc::from(version), Some(language), &mut || false).expect("an update");
        }
        let mut anew = SymbolIndex::new(ROOM, cut % 2 == 1);
        anew.update("a", Arc::from(&*text), Some(language), &mut || false).expect("an update");
        assert_eq!(index.symbols("a"), anew.symbols("a"), "{:?}", file.path());
        assert_eq!(SymbolIndex::load(&index.save(), ROOM).expect("whole").symbols("a"), index.symbols("a"));
        count += 1;
    }
    assert!(count > 10);
}

const PIECES: [&[&str]; 3] = [
    &[
        "def f(a):\n    return g(a)\n",
        "def g(x, y=1):\n    '''Doc.'''\n    return x\n",
        "class A:\n    z = 1\n    def m(self):\n        return f(1)\n    def k(self): pass\n",
        "@deco\nclass B(A):\n    def m(self):\n        return A().k()\n",
        "X = g(1)\n",
        "from q import f\n",
        "# note\n",
        "\n",
        "    ",
        "def h(",
        "\"\"\"",
        "return 1\n",
    ],
    &[
        "function f(a) { return g(a); }\n",
        "const g = (x) => { return x; };\n",
        "class A { m() { return f(1); } k() {} }\n",
        "export default class B extends A { m() { return this.k(); } }\n",
        "import { f } from 'q';\n",
        "// note\n",
        "/** Doc. */\n",
        "\n",
        "}",
        "{",
        "`",
        "return 1;",
    ],
    &[
        "fn f(a: u8) -> u8 { g(a) }\n",
        "/// Doc.\npub fn g(x: u8) -> u8 { x }\n",
        "struct A { z: u8 }\nimpl A { fn m(&self) { f(1); } fn k() {} }\n",
        "impl T for A { fn m(&self) { A::k() } }\n",
        "mod n { use super::*; fn f() {} }\n",
        "use q::f;\n",
        "// note\n",
        "\n",
        "}",
        "{",
        "\"",
        "const X: u8 = 1;\n",
    ],
];

fn history() -> impl Strategy<Value = (usize, Vec<(bool, Vec<usize>)>)> {
    let file = (any::<bool>(), prop::collection::vec(0..12_usize, 0..9));
    (0..3_usize, prop::collection::vec(file, 1..8))
}

fn text_of<'a>(source: &'a str, entry: &Entry) -> &'a str {
    &source[entry.range.start as usize..entry.range.end as usize]
}

proptest! {
    #[test]
    fn updates_are_as_if_all_were_read_anew((language, history) in history(), code_only in any::<bool>()) {
        let ending = ["py", "js", "rs"][language];
        let mut index = SymbolIndex::new(ROOM, code_only);
        let mut sources: HashMap<String, String> = HashMap::new();
        let mut derived: HashMap<u128, Subject> = HashMap::new();
        for (other, pieces) in history {
            let path = format!("{}.{ending}", u8::from(other));
            let source: String = pieces.iter().map(|piece| PIECES[language][*piece]).collect();
            let before = sources.insert(path.clone(), source.clone()).unwrap_or_default();
            let old = index.symbols(&path).map(<[Entry]>::to_vec).unwrap_or_default();
            let diff = update(&mut index, &path, &source);

            let mut anew = SymbolIndex::new(ROOM, code_only);
            for (path, source) in &sources {
                update(&mut anew, path, source);
            }
            let now = index.symbols(&path).expect("known").to_vec();
            prop_assert_eq!(&now, anew.symbols(&path).expect("known"));

            let mut told: Vec<u32> = [&diff.added, &diff.enclosing, &diff.unchanged].into_iter().flatten().copied().collect();
            told.extend(diff.modified.iter().chain(&diff.moved).map(|(_, at)| *at));
            told.sort_unstable();
            prop_assert_eq!(told, (0..now.len() as u32).collect::<Vec<_>>());
            if !code_only {
                for at in &diff.unchanged {
                    let text = text_of(&source, &now[*at as usize]);
                    let same = |entry: &&Entry| entry.name_path == now[*at as usize].name_path && text_of(&before, entry) == text;
                    prop_assert!(old.iter().any(|entry| same(&entry)), "{} is told to be unchanged", text);
                }
            }
            for (path, source) in &sources {
                for at in 0..anew.symbols(path).expect("known").len() as u32 {
                    for whole in [false, true] {
                        let key = index.key(path, at, whole).expect("a key");
                        prop_assert_eq!(key, anew.key(path, at, whole).expect("a key"));
                        let subject = anew.subject(path, at, whole).expect("a subject");
                        prop_assert_eq!(&subject, &index.subject(path, at, whole).expect("a subject"));
                        if !code_only {
                            let kept = derived.entry(key).or_insert_with(|| subject.clone());
                            prop_assert_eq!(&*kept, &subject, "of {}", source);
                        }
                    }
                }
            }
            prop_assert_eq!(now[0].kind, Kind::Module);
        }
    }
}
