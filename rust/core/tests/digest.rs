//! digest, from outside: meaning decides, spelling does not, and no bytes whatever make it panic.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use sparecall_core::digest::{MAX_DEPTH, Options, Reason, Scratch, Wire, compare, inspect, scope_of_key};
use sparecall_core::error::Error;

fn digest_of(body: &[u8]) -> Result<[u8; 32], Error> {
    inspect(body, &Options::default(), &mut Scratch::default()).map(|inspection| inspection.digest)
}

fn reason(body: &str) -> Option<Reason> {
    inspect(body.as_bytes(), &Options::default(), &mut Scratch::default()).expect("valid JSON").why
}

/// Where the refusal of `body` shows.
fn refusal(body: &[u8]) -> usize {
    match digest_of(body) {
        Err(Error::InvalidDocument { offset, .. }) => offset,
        other => panic!("{:?} gave {other:?}", String::from_utf8_lossy(body)),
    }
}

/// A JSON value whose numbers are digits and an exponent, so that the test can spell them as it likes.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Null,
    Bool(bool),
    Number(i64, i8),
    String(String),
    Array(Vec<Value>),
    Object(BTreeMap<String, Value>),
}

fn values() -> impl Strategy<Value = Value> {
    let text = || prop_oneof!["[a-c]{0,3}", "\\PC{0,8}", "[\\x00-\\x7f]{0,40}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-20_i64..20, -2_i8..3).prop_map(|(digits, exponent)| Value::Number(digits, exponent)),
        (any::<i64>(), any::<i8>()).prop_map(|(digits, exponent)| Value::Number(digits, exponent)),
        text().prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map(text(), inner, 0..5).prop_map(Value::Object),
        ]
    })
}

/// A small generator, so that one seed gives one spelling.
struct Whim(u64);

impl Whim {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn space(&mut self, out: &mut String) {
        for _ in 0..self.below(3) {
            out.push([' ', '\t', '\n', '\r'][self.below(4) as usize]);
        }
    }

    fn text(&mut self, text: &str, out: &mut String) {
        out.push('"');
        for character in text.chars() {
            if self.below(4) == 0 || u32::from(character) < 0x20 || "\"\\".contains(character) {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let hex = if self.below(2) == 0 { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") };
                    out.push_str(&hex);
                }
            } else if character == '/' && self.below(2) == 0 {
                out.push_str("\\/");
            } else {
                out.push(character);
            }
        }
        out.push('"');
    }

    fn number(&mut self, digits: i64, exponent: i8) -> String {
        let shift = self.below(4) as u8;
        let zeros = "0".repeat(usize::from(shift));
        match self.below(3) {
            0 => format!("{digits}{zeros}e{}", i64::from(exponent) - i64::from(shift)),
            1 => format!("{digits}.{zeros}0E{exponent:+}"),
            _ => {
                let sign = if digits < 0 { "-" } else { "" };
                let size = digits.unsigned_abs().to_string();
                format!("{sign}0.{size}e{:03}", i128::from(exponent) + size.len() as i128)
            }
        }
    }

    fn value(&mut self, value: &Value, out: &mut String) {
        self.space(out);
        match value {
            Value::Null => out.push_str("null"),
            Value::Bool(value) => out.push_str(&value.to_string()),
            // "000e1" is no number.
            Value::Number(0, _) => out.push_str(["0", "-0", "0.0e7"][self.below(3) as usize]),
            Value::Number(digits, exponent) => out.push_str(&self.number(*digits, *exponent)),
            Value::String(text) => self.text(text, out),
            Value::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    self.value(item, out);
                }
                out.push(']');
            }
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                for index in (1..members.len()).rev() {
                    members.swap(index, self.below(index as u64 + 1) as usize);
                }
                out.push('{');
                for (index, (key, item)) in members.into_iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    self.space(out);
                    self.text(key, out);
                    self.space(out);
                    out.push(':');
                    self.value(item, out);
                }
                out.push('}');
            }
        }
        self.space(out);
    }

    fn spell(seed: u64, value: &Value) -> String {
        let mut out = String::new();
        Self(seed).value(value, &mut out);
        out
    }
}

/// The same value with each number in lowest terms: equal exactly where the meanings are.
fn normal(value: &Value) -> Value {
    match value {
        Value::Number(0, _) => Value::Number(0, 0),
        Value::Number(digits, exponent) if digits % 10 == 0 && *exponent < i8::MAX => {
            normal(&Value::Number(digits / 10, exponent + 1))
        }
        Value::Array(items) => Value::Array(items.iter().map(normal).collect()),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(key, item)| (key.clone(), normal(item))).collect())
        }
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn another_spelling_of_the_same_value_has_the_same_digest(value in values(), seeds in any::<(u64, u64)>()) {
        let (a, b) = (Whim::spell(seeds.0, &value), Whim::spell(seeds.1, &value));
        prop_assert_eq!(digest_of(a.as_bytes())?, digest_of(b.as_bytes())?, "{} {}", a, b);
        prop_assert_eq!(compare(a.as_bytes(), b.as_bytes(), Wire::Chat)?, None);
    }

    #[test]
    fn two_values_have_the_same_digest_exactly_where_they_mean_the_same(a in values(), b in values()) {
        let (left, right) = (Whim::spell(1, &a), Whim::spell(2, &b));
        let same = normal(&a) == normal(&b);
        prop_assert_eq!(digest_of(left.as_bytes())? == digest_of(right.as_bytes())?, same);
        prop_assert_eq!(compare(left.as_bytes(), right.as_bytes(), Wire::Chat)?.is_none(), same);
    }

    #[test]
    fn no_bytes_make_it_panic_and_a_warm_scratch_changes_nothing(
        bytes in prop::collection::vec(any::<u8>(), 0..80), value in values(), place: prop::sample::Index,
    ) {
        let mut scratch = Scratch::default();
        let mut mutant = Whim::spell(3, &value).into_bytes();
        let place = place.index(mutant.len());
        mutant.splice(place..place, bytes.iter().take(3).copied());
        for body in [&bytes, &mutant, &bytes] {
            let warm = inspect(body, &Options::default(), &mut scratch);
            prop_assert_eq!(warm.map(|found| found.digest), digest_of(body));
        }
    }
}

#[test]
fn no_two_of_these_documents_share_a_digest() {
    let documents = [
        r#""1" 1 [1] [[1]] ["1"] ["a","b"] ["ab"] ["a",["b"]] [["a"],"b"] [] {} [{}] [[]] [[],[]] [[[]]] null [null]"#,
        r#"true false "true" "" {"a":null} {"a":1,"b":2} {"a":2,"b":1} {"a":{"b":1}} {"a":"b:1"} ["a",1] {"a":1} -1 10 0.1"#,
        r#"9007199254740993 9007199254740992 "\ud800" "\udc00" "\udc00\ud800" "\ufffd" "\u00e9" "e\u0301" "\ud83d\ude00""#,
        r#""\u0000" "\u0000\u0000" "\\u0041" "A" {"x":{"stream":true}} {"x":{}} {"streams":true} {"":1} {"\u0000":1}"#,
    ];
    let mut seen = BTreeMap::new();
    for document in documents.into_iter().flat_map(|line| line.split(' ')) {
        if let Some(twin) = seen.insert(digest_of(document.as_bytes()).expect(document), document) {
            panic!("{twin} and {document}");
        }
    }
}

#[test]
fn pairs_of_surrogates_are_one_character_at_every_edge() {
    for character in ['\u{10000}', '\u{103ff}', '\u{10fc00}', '\u{10ffff}', '\u{1f600}'] {
        let [high, low] = {
            let mut units = [0; 2];
            character.encode_utf16(&mut units);
            units
        };
        let of = |text: String| digest_of(format!("\"{text}\"").as_bytes()).expect("valid");
        let whole = of(character.to_string());
        assert_eq!(of(format!("\\u{high:04x}\\u{low:04X}")), whole);
        assert_eq!(of(format!("\\ud800\\u{high:04x}\\u{low:04x}")), of(format!("\\ud800{character}")));
        for apart in [
            format!("\\u{low:04x}\\u{high:04x}"),
            format!("\\u{high:04x}x\\u{low:04x}"),
            format!("\\u{high:04x}\\ue000"),
        ] {
            assert_ne!(of(apart), whole);
        }
    }
}

#[test]
fn what_is_not_json_or_is_ambiguous_is_refused_where_it_shows() {
    let bodies: [(&str, usize); 27] = [
        ("", 0),
        (" ", 1),
        ("nul", 0),
        ("NaN", 0),
        ("-Infinity", 1),
        ("[1,]", 3),
        (r#"{"a":1,}"#, 7),
        ("[1 2]", 3),
        ("1 1", 2),
        ("\u{feff}1", 0),
        ("01", 1),
        ("1.", 2),
        ("1e+", 3),
        ("-", 1),
        (r#""a"#, 2),
        (r#""\x""#, 1),
        (r#""\u12g4""#, 1),
        ("\"a\nb\"", 2),
        (r#""ab\"#, 3),
        ("{a:1}", 1),
        (r#"{"a" 1}"#, 5),
        ("[", 1),
        ("]", 0),
        ("1e9223372036854775808", 0),
        (r#"{"a":1,"b":2,"a":1}"#, 13),
        (r#"{"k":{"a":1,"\u0061":2}}"#, 12),
        (r#"{"stream":1,"stream":1}"#, 12),
    ];
    for (body, offset) in bodies {
        assert_eq!(refusal(body.as_bytes()), offset, "{body:?}");
    }
    assert_eq!(refusal(b"\"a\xff\""), 2);
    assert_eq!(refusal(b"\"\xed\xa0\x80\""), 1, "a surrogate in UTF-8 bytes is not UTF-8");
}

#[test]
fn depth_is_bounded() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let nested = |depth| format!("{}1{}", open.repeat(depth), close.repeat(depth));
        assert!(digest_of(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(refusal(nested(MAX_DEPTH + 1).as_bytes()), MAX_DEPTH * open.len());
        assert_eq!(refusal(open.repeat(1_000_000).as_bytes()), MAX_DEPTH * open.len());
    }
}

#[test]
fn hostile_sizes_do_not_square() {
    // A quadratic step would make these hang: a million keys out of order, 128 levels around a large string, a million digits.
    let key = |key: u32| format!("\"{:08x}\":0", key.wrapping_mul(2_654_435_761));
    let keys: Vec<String> = (0_u32..1_000_000).map(key).collect();
    digest_of(format!("{{{}}}", keys.join(",")).as_bytes()).expect("many keys");
    let text = format!("\"{}\"", "\\u0041".repeat(1_000_000));
    digest_of(format!("{}{text}{}", r#"{"a":"#.repeat(128), "}".repeat(128)).as_bytes()).expect("deep and large");
    digest_of(format!("[{}e5,{}1]", "1".repeat(1_000_000), "0.1,".repeat(100_000)).as_bytes()).expect("digits");
}

#[test]
fn scope_version_and_salt_are_part_of_the_digest_and_do_not_run_together() {
    let of = |scope: &str, version, salt: &[u8]| {
        let options = Options { scope, version, salt, ..Options::default() };
        inspect(b"{}", &options, &mut Scratch::default()).expect("valid").digest
    };
    let all = [
        of("", 0, b""),
        of("a", 0, b""),
        of("ab", 0, b""),
        of("a", 1, b""),
        of("a", 0, b"b"),
        of("", 0, b"a"),
        of("", 256, b""),
    ];
    for (index, digest) in all.iter().enumerate() {
        assert!(!all[..index].contains(digest), "{index}");
    }
}

#[test]
fn the_digest_is_what_it_was() {
    // Another digest empties every shared store: it must be meant, and the number in the domain must change with it.
    let body = br#"{"model":"m","messages":[{"role":"user","content":"hi"}],"n":1.0,"stream":true}"#;
    let canonical = b"\x10sparecall chat 1\x00\x08\0\0\0\0\0\0\0\0\x00\
        {\x03\x08messages[\x01{\x02\x07content\"\x02hi\x04role\"\x04user\x05model\"\x01m\x01n#\x011";
    assert_eq!(digest_of(body), Ok(*blake3::hash(canonical).as_bytes()));
}

#[test]
fn a_large_document_hashes_like_its_canonical_form_in_one_piece() {
    for size in [65_000, 65_510, 65_536, 131_072, 200_001] {
        let text = "x".repeat(size);
        let mut canonical = b"\x10sparecall chat 1\x00\x08\0\0\0\0\0\0\0\0\x00[\x02\"".to_vec();
        canonical.extend([size as u8 | 0x80, (size >> 7) as u8 | 0x80, (size >> 14) as u8]);
        canonical.extend_from_slice(text.as_bytes());
        canonical.extend_from_slice(b"t");
        let digest = digest_of(format!("[\"{text}\",true]").as_bytes());
        assert_eq!(digest, Ok(*blake3::hash(&canonical).as_bytes()), "{size}");
    }
}

#[test]
fn odd_but_valid_bodies_are_not_cacheable_with_a_reason() {
    let chat = |more: &str| format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{more}}}"#);
    for more in
        ["", r#","stream":null,"stream_options":null,"temperature":null,"n":null"#, r#","temperature":1.0,"n":1e0"#]
    {
        assert_eq!(reason(&chat(more)), None, "{more}");
    }
    for (more, expected) in [
        (r#","stream":"true""#, Reason::StreamType),
        (r#","stream":1"#, Reason::StreamType),
        (r#","stream_options":true"#, Reason::StreamOptionsType),
        (r#","stream_options":{"include_usage":1}"#, Reason::StreamOptionsType),
        (r#","temperature":"0""#, Reason::TemperatureType),
        (r#","temperature":1.0000001"#, Reason::Temperature),
        (r#","temperature":1e999999"#, Reason::Temperature),
        (r#","n":"1""#, Reason::NType),
        (r#","n":0"#, Reason::NType),
        (r#","n":-1"#, Reason::NType),
        (r#","n":1.5"#, Reason::NType),
        (r#","n":2"#, Reason::N),
        (r#","n":1e30"#, Reason::N),
        (r#","n":184467440737095516160"#, Reason::N),
    ] {
        assert_eq!(reason(&chat(more)), Some(expected), "{more}");
    }
    for body in [
        "1",
        "[]",
        "{}",
        r#"{"messages":[{}]}"#,
        r#"{"model":"m"}"#,
        r#"{"model":"m","messages":[]}"#,
        r#"{"model":"m","messages":{}}"#,
        r#"{"model":"m","messages":[{},1]}"#,
        r#"{"model":"","messages":[{}]}"#,
        r#"{"model":1,"messages":[{}]}"#,
        r#"{"model":"\ud800","messages":[{}]}"#,
    ] {
        assert_eq!(reason(body), Some(Reason::NotChat), "{body}");
    }
}

#[test]
fn an_absent_temperature_and_n_count_as_one() {
    let why = |max_temperature, max_n| {
        let options = Options { max_temperature, max_n, ..Options::default() };
        inspect(br#"{"model":"m","messages":[{}]}"#, &options, &mut Scratch::default()).map(|found| found.why)
    };
    assert_eq!(why(1.0, 1), Ok(None));
    assert_eq!(why(0.9, 1), Ok(Some(Reason::Temperature)));
    assert_eq!(why(1.0, 0), Ok(Some(Reason::N)));
    assert!(matches!(why(f64::NAN, 1), Err(Error::InvalidArgument { .. })));
}

#[test]
fn an_inspection_reads_the_fields_a_gateway_needs() {
    let body = br#"{"model":"gpt-4o","messages":[{},{}],"stream":true,"stream_options":{"include_usage":true},
        "temperature":25e-2,"n":3,"tools":[{}]}"#;
    let options = Options { max_n: 4, ..Options::default() };
    let found = inspect(body, &options, &mut Scratch::default()).expect("valid");
    assert_eq!((found.model.as_str(), found.messages, found.n), ("gpt-4o", 2, 3));
    assert_eq!((found.stream, found.include_usage, found.has_tools), (true, true, true));
    assert_eq!((found.temperature, found.why), (Some(0.25), None));
}

#[test]
fn compare_names_the_first_difference() {
    let cases = [
        ("1", "[]", "$", "number 1", "array of 0", None),
        (r#"{"a":1}"#, r#"{"a":"1"}"#, "a", "number 1", r#"string "1""#, None),
        (r#"{"a":1.50}"#, r#"{"a":1.6}"#, "a", "1.50", "1.6", None),
        (r#"{"a":1}"#, r#"{"a":1,"b":null}"#, "b", "absent", "null", None),
        (r#"{"a":1,"c":2}"#, r#"{"b":1,"c":2}"#, "a", "number 1", "absent", None),
        (r#"{"m":[{"c":"x"},{"c":"y"}]}"#, r#"{"m":[{"c":"x"},{"c":"z"}]}"#, "m[1].c", r#""y""#, r#""z""#, Some(0)),
        (r#"{"m":[1]}"#, r#"{"m":[1,{"a":0,"b":0}]}"#, "m[1]", "absent", "object of 2", None),
        (r#"{"a b":{"1":true}}"#, r#"{"a b":{"1":false}}"#, r#"["a b"]["1"]"#, "true", "false", None),
        (r#""\ud800""#, r#""\ufffd""#, "$", r#""\ud800""#, "\"\u{fffd}\"", Some(0)),
        (r#""ab\n""#, r#""ab\u0007""#, "$", r#""ab\n""#, r#""ab\u0007""#, Some(2)),
        (r#""ab""#, r#""ab\ud83d\ude00""#, "$", r#""ab""#, "\"ab\u{1f600}\"", Some(2)),
        (r#"{"x":{"stream":1}}"#, r#"{"x":{}}"#, "x.stream", "number 1", "absent", None),
    ];
    for (a, b, path, left, right, offset) in cases {
        let found = compare(a.as_bytes(), b.as_bytes(), Wire::Chat).expect("valid").expect(a);
        assert_eq!((found.path.as_str(), found.offset), (path, offset));
        assert_eq!((found.left.as_str(), found.right.as_str()), (left, right));
    }
    assert_eq!(compare(br#"{"a":1,"stream":true,"user":"x"}"#, br#"{"user":1,"a":1.0}"#, Wire::Chat), Ok(None));
}

#[test]
fn compare_shows_a_short_excerpt_around_the_place() {
    let text = |middle: &str| format!("\"{}{middle}{}\"", "é".repeat(100), "z".repeat(100));
    let found = compare(text("A").as_bytes(), text("B").as_bytes(), Wire::Chat).expect("valid").expect("different");
    assert_eq!(found.offset, Some(100));
    assert_eq!(found.left, format!("…\"{}A{}\"…", "é".repeat(20), "z".repeat(39)));
    let (long, longer) = ("1".repeat(100), "1".repeat(101));
    let found = compare(long.as_bytes(), longer.as_bytes(), Wire::Chat).expect("valid").expect("different");
    assert_eq!(found.left, format!("{}…", "1".repeat(60)));
}

#[test]
fn a_scope_of_a_key_is_stable_and_the_whole_key_counts() {
    let scope = scope_of_key("sk-12345").expect("a key");
    assert_eq!(scope, blake3::hash(b"\x11sparecall scope 1\x08sk-12345").to_hex()[..32]);
    assert_ne!(scope, scope_of_key("sk-123456").expect("a key"));
    assert!(scope_of_key("").is_err());
}

#[test]
fn the_fuzz_corpus_is_accepted_or_refused_as_its_names_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/digest");
    let mut replayed = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is committed") {
        let path = entry.expect("readable").path();
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let body = std::fs::read(&path).expect("readable");
        match &name[..2] {
            "y_" => assert_eq!(compare(&body, &body, Wire::Chat), Ok(None), "{name}"),
            "n_" => assert!(digest_of(&body).is_err(), "{name}"),
            other => panic!("{name} starts with {other}, not y_ or n_"),
        }
        replayed += 1;
    }
    assert!(replayed > 30);
}
