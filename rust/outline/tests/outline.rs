//! What is a symbol in each language, and what is kept of text that is none.

use proptest::prelude::*;
use sparecall_outline::{Language, Outline, Parser, decode, outline};

fn read(source: &str, language: Language) -> Outline {
    outline(source, language).expect("a source that parses")
}

/// `kind name_path first-last | signature | docstring`.
fn lines(source: &str, language: Language) -> Vec<String> {
    let found = read(source, language);
    found
        .symbols
        .iter()
        .map(|symbol| {
            let doc = found.docstring(source, symbol).map_or(String::new(), |doc| format!(" | {doc}"));
            format!(
                "{} {} {}-{} | {}{doc}",
                symbol.kind.name(),
                symbol.name_path,
                symbol.first_line,
                symbol.last_line,
                found.signature(source, symbol)
            )
        })
        .collect()
}

#[test]
fn python() {
    let source = r#"import os

# Above.
@decorated(1)
class A(Base):
    """What A is.

    More.
    """

    x = 1

    @property
    def size(self) -> int:  # told
        'One line.'
        def inner(): pass
        return 1

LIMIT: int = 3
a, b = 1, 2
if LIMIT:
    async def late(x,
                   y): ...
type Pair = tuple[int, int]
"#;
    let expected = [
        "class A 3-17 | class A(Base) | What A is.",
        "method A.size 13-17 | def size(self) -> int | One line.",
        "function A.size.inner 16-16 | def inner()",
        "variable LIMIT 19-19 | LIMIT: int = 3",
        "function late 22-23 | async def late(x,\n                   y)",
        "type Pair 24-24 | type Pair = tuple[int, int]",
    ];
    assert_eq!(lines(source, Language::Python), expected);
}

#[test]
fn javascript() {
    let source = r"
/**
 * Adds.
 * @returns it
 */
export async function add(a, b) { return a + b; }
export default class { #p = 1; constructor() {} static get q() { return 1; } handler = () => { this.q; } }
export const double = (x) => x * 2, y = 3;
let table = 5;
exports.run = function () {};
Foo.prototype.bar = function* () {};
(function () { function hidden() {} })();
const api = { start() {}, stop: function () {}, n: 1 };
table = 6;
";
    let expected = [
        "function add 2-6 | export async function add(a, b) | Adds.",
        "class default 7-7 | export default class",
        "method default.constructor 7-7 | constructor()",
        "method default.q 7-7 | static get q()",
        "method default.handler 7-7 | handler = () =>",
        "function double 8-8 | double = (x) =>",
        "variable y 8-8 | y = 3",
        "variable table 9-9 | let table = 5;",
        "function exports.run 10-10 | exports.run = function ()",
        "function Foo.prototype.bar 11-11 | Foo.prototype.bar = function* ()",
        "function hidden 12-12 | function hidden()",
        "variable api 13-13 | const api = { start() {}, stop: function () {}, n: 1 };",
        "method api.start 13-13 | start()",
        "function api.stop 13-13 | stop: function ()",
    ];
    assert_eq!(lines(source, Language::JavaScript), expected);
}

#[test]
fn typescript() {
    let source = r"
declare function f(a: string): void;
export interface Shape<T> { area(): number; side: T }
export type Id = string | number;
enum Color { Red, Green }
namespace Geo { export const PI = 3; }
@Component({})
export abstract class View extends Base implements Shape<number> {
  abstract draw(ctx: Ctx): void;
  private x: number = 1;
  run = async <T>(a: T): Promise<T> => { return a; };
}
";
    let expected = [
        "function f 2-2 | declare function f(a: string): void;",
        "interface Shape 3-3 | export interface Shape<T>",
        "method Shape.area 3-3 | area(): number",
        "type Id 4-4 | export type Id = string | number;",
        "enum Color 5-5 | enum Color",
        "namespace Geo 6-6 | namespace Geo",
        "variable Geo.PI 6-6 | export const PI = 3;",
        "class View 7-12 | export abstract class View extends Base implements Shape<number>",
        "method View.draw 9-9 | abstract draw(ctx: Ctx): void",
        "method View.run 11-11 | run = async <T>(a: T): Promise<T> =>",
    ];
    for language in [Language::TypeScript, Language::Tsx] {
        let mut found = lines(source, language);
        found[7] = found[7].replace("@Component({})\n", "");
        assert_eq!(found, expected);
    }
    assert_eq!(
        lines("export const App = () => <div>{x}</div>;", Language::Tsx),
        ["function App 1-1 | export const App = () =>"]
    );
}

#[test]
fn rust() {
    let source = r"//! A crate.
use std::fmt;

/// A point.
/// More.
#[derive(Debug)]
pub struct Point<T> { x: T }

impl<T> Point<T> {
    const ZERO: u8 = 0;
    /// Makes one.
    #[inline]
    pub fn new(x: T) -> Self { fn helper() {} Self { x } }
}

impl<T: fmt::Debug> fmt::Display for Point<T> { fn fmt(&self) {} }
trait Area { fn area(&self) -> f64; }
pub const N: usize = 3;
macro_rules! shout { () => {} }
mod tests { #[test] fn works() {} }
";
    let expected = [
        "struct Point 4-7 | pub struct Point<T> | A point.",
        "impl Point 9-14 | impl<T> Point<T>",
        "method Point.new 11-13 | pub fn new(x: T) -> Self | Makes one.",
        "function Point.new.helper 13-13 | fn helper()",
        "impl <Point as fmt::Display> 16-16 | impl<T: fmt::Debug> fmt::Display for Point<T>",
        "method <Point as fmt::Display>.fmt 16-16 | fn fmt(&self)",
        "interface Area 17-17 | trait Area",
        "method Area.area 17-17 | fn area(&self) -> f64;",
        "variable N 18-18 | pub const N: usize = 3;",
        "macro shout 19-19 | macro_rules! shout { () => {} }",
        "namespace tests 20-20 | mod tests",
        "function tests.works 20-20 | fn works()",
    ];
    assert_eq!(lines(source, Language::Rust), expected);
}

#[test]
fn go() {
    let source = "package main

// Server serves.
type Server struct { n int }
type (
	// Id is one.
	Id = string
	Reader interface { Read() }
)

const A, B = 1, 2
var (
	x = 1
	y int
)

// Run runs.
func (s *Server) Run(ctx Context) error { return nil }
func (l List[T]) Len() int { return 0 }
func main() { var z = 1; _ = z }
";
    let expected = [
        "struct Server 3-4 | type Server struct { n int } | Server serves.",
        "type Id 6-7 | Id = string | Id is one.",
        "interface Reader 8-8 | Reader interface { Read() }",
        "variable A 11-11 | const A, B = 1, 2",
        "variable x 13-13 | x = 1",
        "variable y 14-14 | y int",
        "method Server.Run 17-18 | func (s *Server) Run(ctx Context) error | Run runs.",
        "method List.Len 19-19 | func (l List[T]) Len() int",
        "function main 20-20 | func main()",
    ];
    assert_eq!(lines(source, Language::Go), expected);
}

#[test]
fn java() {
    let source = "package a;
/** Holds. */
@Entity
public class Box<T> extends Base implements Has<T> {
  private T it = null;
  public Box(T it) { this.it = it; }
  /** Gets. */
  @Override public T get() throws E { return it; }
  enum Mode { ON { int f() { return 1; } }, OFF; int f() { return 2; } }
  record Pair(int a, int b) { Pair { } }
  interface Has<T> { T get(); }
  @interface Mark { int value() default 1; }
}
";
    let expected = [
        "class Box 2-13 | @Entity\npublic class Box<T> extends Base implements Has<T> | Holds.",
        "method Box.Box 6-6 | public Box(T it)",
        "method Box.get 7-8 | @Override public T get() throws E | Gets.",
        "enum Box.Mode 9-9 | enum Mode",
        "method Box.Mode.f 9-9 | int f()",
        "class Box.Pair 10-10 | record Pair(int a, int b)",
        "method Box.Pair.Pair 10-10 | Pair",
        "interface Box.Has 11-11 | interface Has<T>",
        "method Box.Has.get 11-11 | T get();",
        "interface Box.Mark 12-12 | @interface Mark",
    ];
    assert_eq!(lines(source, Language::Java), expected);
}

#[test]
fn what_parses_of_a_half_typed_file_is_kept() {
    let source = "def whole():\n    return 1\n\nclass C:\n    def m(self):\n        x = (1,\n\n    def n(self):\n        pass\n\ndef late(a, b";
    let found = read(source, Language::Python);
    assert!(found.has_errors);
    let names: Vec<&str> = found.symbols.iter().map(|symbol| &*symbol.name_path).collect();
    assert!(names.contains(&"whole"), "{names:?}");
    assert!(names.contains(&"C"), "{names:?}");
}

#[test]
fn nesting_of_a_hundred_thousand_is_read() {
    let deep = 100_000;
    for (language, open, close) in [
        (Language::Python, "(", ")"),
        (Language::JavaScript, "[", "]"),
        (Language::TypeScript, "{", "}"),
        (Language::Tsx, "<a>", "</a>"),
        (Language::Rust, "{", "}"),
        (Language::Go, "a.", "b"),
        (Language::Java, "{", "}"),
    ] {
        let source = format!("{}{}", open.repeat(deep), close.repeat(deep));
        assert!(read(&source, language).symbols.is_empty());
    }
    let functions = "function f() {".repeat(10_000) + &"}".repeat(10_000);
    assert_eq!(read(&functions, Language::JavaScript).symbols.len(), 32);
}

#[test]
fn a_parse_is_given_up_when_it_takes_too_long() {
    let mut asked = 0;
    let mut expired = || {
        asked += 1;
        asked == 5
    };
    let mut parser = Parser::new();
    let source = "x = 1\n".repeat(10_000);
    let error = parser.outline_until(&source, Language::Python, &mut expired).expect_err("given up").to_string();
    assert!(error.contains("too long to parse for its length"), "{error}");
    // The parser is as new.
    assert_eq!(parser.outline("x = 1", Language::Python).expect("parses").symbols.len(), 1);
}

#[test]
fn files_are_known_by_their_ending_or_their_first_line() {
    assert_eq!(Language::of_path("a/b.PY"), Some(Language::Python));
    assert_eq!(Language::of_path("a.d.ts"), Some(Language::TypeScript));
    assert_eq!(Language::of_path("py"), None);
    for (line, language) in [
        ("#!/usr/bin/env python3.11\n", Language::Python),
        ("#!/usr/bin/env -S A=1 node --x\n", Language::JavaScript),
        ("#! /usr/bin/python", Language::Python),
    ] {
        assert_eq!(Language::of_file("script", line).expect("known"), language);
    }
    let error = Language::of_file("a/b.cobol", "").expect_err("unknown").to_string();
    assert!(error.contains("\".cobol\"") && error.contains("python (.py .pyi .pyw)"), "{error}");
}

#[test]
fn bytes_are_read_by_mark_then_as_utf8_then_as_latin_1() {
    let of = |bytes: &[u8]| {
        let decoded = decode(bytes);
        (decoded.text.into_owned(), decoded.encoding, decoded.lossy)
    };
    assert_eq!(of("é".as_bytes()), ("é".to_owned(), "utf-8", false));
    assert_eq!(of(b"\xef\xbb\xbfx"), ("x".to_owned(), "utf-8-sig", false));
    assert_eq!(of(b"\xff\xfex\x00"), ("x".to_owned(), "utf-16-le", false));
    assert_eq!(of(b"\xfe\xff\x00x\x00"), ("x".to_owned(), "utf-16-be", true));
    assert_eq!(of(b"caf\xe9"), ("café".to_owned(), "latin-1", false));
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "def f(a):\n",
            "class A:\n",
            "    ",
            "\n",
            "fn g() {",
            "}",
            "function h() {",
            "impl X for Y {",
            "/** d */",
            "//",
            "#",
            "\"\"\"",
            "'",
            "`",
            "${",
            "(",
            ")",
            "const x = ",
            "=> ",
            "type T ",
            "func (s *S) M() ",
            "export default ",
            "@a\n",
            "\0",
            "é",
            "\u{2028}",
            "pass\n",
            ";",
            "<a>",
            "\r\n",
            "import x\n",
            "[",
            "]",
            "\t",
            "#[x]\n",
            "///\n",
            "x = [",
        ])
        .prop_map(str::to_owned),
        ".{0,4}",
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_has_an_outline_whose_ranges_are_right(source in pieces()) {
        for language in Language::ALL {
            // A few texts of a hundred bytes can be repaired in so many ways that they are given up.
            let Ok(found) = outline(&source, language) else { continue };
            for (i, symbol) in found.symbols.iter().enumerate() {
                prop_assert!(symbol.range.start <= symbol.signature.start);
                prop_assert!(symbol.signature.end <= symbol.range.end);
                let text = source.get(symbol.range.start as usize..symbol.range.end as usize);
                prop_assert!(text.is_some(), "a range within a character");
                let line = source[..symbol.range.start as usize].matches('\n').count() as u32 + 1;
                prop_assert_eq!(symbol.first_line, line);
                prop_assert!(symbol.name_path.ends_with(symbol.name()));
                if let Some(parent) = symbol.parent {
                    prop_assert!((parent as usize) < i);
                    let parent = &found.symbols[parent as usize];
                    prop_assert!(parent.range.start <= symbol.range.start && symbol.range.end <= parent.range.end);
                }
            }
        }
    }
}

fn skeleton(source: &str, language: Language, keep: &[&str]) -> String {
    read(source, language).skeleton(source, keep).text
}

#[test]
fn a_skeleton_has_signatures_and_first_lines() {
    let source = "#!/usr/bin/env python\n\"\"\"About.\n\nMuch more.\n\"\"\"\n# Licence.\nimport os  # why\n\nTABLE = [\n    'a long literal that nobody needs to see in an overview of a file',\n    'and another one of the kind, so that this is long enough to be cut',\n    'and the end of it',\n]\n\n\n# Note.\n@deco\ndef f(a):  # told\n    \"\"\"Does f.\n\n    More.\n    \"\"\"\n    # inside\n    x = compute(a)\n    return x\n\n\nclass C:\n    \"\"\"A C.\n\n    More.\n    \"\"\"\n\n    field: int = 1\n\n    def m(self):\n        return self.a_long_expression(1, 2)\n\n    def n(self): return 1\n";
    let expected = "#!/usr/bin/env python\n\"\"\"About.\"\"\"\nimport os\n\nTABLE = [...]\n\n\n@deco\ndef f(a):\n    \"\"\"Does f.\"\"\"\n    ...\n\n\nclass C:\n    \"\"\"A C.\"\"\"\n\n    field: int = 1\n\n    def m(self):\n        ...\n\n    def n(self): return 1\n";
    assert_eq!(skeleton(source, Language::Python, &[]), expected);
    let found = read(source, Language::Python).skeleton(source, &["m", "absent"]);
    assert_eq!((found.elided, found.kept), (2, vec!["C.m".into()]));
    assert_eq!(
        found.text,
        expected.replace("        ...\n\n    def n", "        return self.a_long_expression(1, 2)\n\n    def n")
    );

    let source = "def f(a,  # why\n      b):\n    return compute_all_of(a, b)\n";
    assert_eq!(skeleton(source, Language::Python, &[]), "def f(a,  # why\n      b):\n    ...\n");

    let source = "// Licence.\nuse a;\n\n/// Does f.\n///\n/// More.\n#[inline]\npub fn f(a: u8) -> u8 {\n    // inside\n    let x = compute(a);\n    x\n}\n\nimpl A {\n    fn m(&self) { self.something_long_enough() }\n}\n";
    let expected = "use a;\n\n/// Does f.\n#[inline]\npub fn f(a: u8) -> u8 { /* ... */ }\n\nimpl A {\n    fn m(&self) { /* ... */ }\n}\n";
    assert_eq!(skeleton(source, Language::Rust, &[]), expected);
    assert_eq!(
        skeleton(source, Language::Rust, &["A"]),
        expected.replace("m(&self) { /* ... */ }", "m(&self) { self.something_long_enough() }")
    );
}

#[test]
fn what_is_kept_inside_of_what_is_left_out_stands_in_its_place() {
    let source = "def outer(a):\n    first = prepare_all_of(a)\n\n    def inner(b):\n        return b\n\n    return inner(first)\n";
    let expected = "def outer(a):\n    ...\n    def inner(b):\n        return b\n";
    assert_eq!(skeleton(source, Language::Python, &["outer.inner"]), expected);
    let source = "function outer(a) {\n  prepare(a);\n  function inner(b) { return b; }\n  return inner(a);\n}\n";
    let expected = "function outer(a) { /* ... */\n  function inner(b) { return b; } }\n";
    assert_eq!(skeleton(source, Language::JavaScript, &["inner"]), expected);
}

#[test]
fn a_body_that_is_not_closed_yet_stays() {
    let source = "function h() { const first = 1; const second = first + 1; return é";
    let found = read(source, Language::JavaScript);
    let made = found.skeleton(source, &[]);
    assert_eq!((made.text.as_str(), made.elided), (source, 0));
}

proptest! {
    #[test]
    fn a_skeleton_of_any_text_is_text(source in pieces(), keep in "[fgxA]") {
        for language in Language::ALL {
            let Ok(found) = outline(&source, language) else { continue };
            let made = found.skeleton(&source, &[&keep]);
            prop_assert!(made.text.len() <= source.len() + 24 * (made.elided + 1) + 8 * found.symbols.len());
        }
    }
}

/// Python's grammar reads the rest of a run of comments in a block at each of them: that takes the square of its length, and can be given up.
#[test]
fn a_long_run_of_comments_can_be_given_up() {
    let comments = format!("    # {}\n", "é".repeat(500)).repeat(150);
    let source = format!("def f():\n    pass\n{comments}    return 1\n\n\ndef g(): pass\n");
    let mut asked = 0;
    let mut parser = Parser::new();
    let found = parser.outline_until(&source, Language::Python, &mut || {
        asked += 1;
        false
    });
    let found = found.expect("nobody gave up");
    assert_eq!(found.symbols.len(), 2);
    assert!(asked > 150, "{asked}");
    for last in [1, 2, 40] {
        let mut left = last;
        let given_up = parser.outline_until(&source, Language::Python, &mut || {
            left -= 1;
            left == 0
        });
        assert!(given_up.is_err());
    }
    assert_eq!(parser.outline(&source, Language::Python).expect("it begins anew").symbols.len(), 2);
}
