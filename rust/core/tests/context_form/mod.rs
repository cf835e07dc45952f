//! Readers for what the core writes: the compact form back to JSON, pointers back to lines. For the tests alone.

/// The JSON text that a compact form stands for.
pub(crate) fn json_of(text: &str) -> String {
    let lines: Vec<(usize, &str)> = text
        .split('\n')
        .map(|line| {
            let body = line.trim_start_matches(' ');
            (line.len() - body.len(), body)
        })
        .collect();
    let mut at = 0;
    let out = block(&lines, &mut at, 0);
    assert_eq!(at, lines.len(), "lines are left");
    out
}

fn block(lines: &[(usize, &str)], at: &mut usize, depth: usize) -> String {
    let first = lines[*at].1;
    if first.starts_with('[') && (first.contains(" rows]") || first.contains(" rows; ") || first.contains(" lists")) {
        return table(lines, at, depth);
    }
    let mut parts: Vec<String> = Vec::new();
    let is_list = first == "-" || first.starts_with("- ");
    while *at < lines.len() && lines[*at].0 == depth {
        let line = lines[*at].1;
        *at += 1;
        if is_list {
            if line == "-" {
                parts.push(block(lines, at, depth + 1));
            } else {
                let mut rest = line.strip_prefix("- ").expect("an item");
                loop {
                    parts.push(inline(&mut rest));
                    match rest.strip_prefix(", ") {
                        Some(more) => rest = more,
                        None => break,
                    }
                }
                assert_eq!(rest, "");
            }
            continue;
        }
        let mut rest = line;
        loop {
            let key = key(&mut rest);
            if rest == ":" {
                parts.push(format!("{key}:{}", block(lines, at, depth + 1)));
                break;
            }
            rest = rest.strip_prefix(": ").expect("a value");
            parts.push(format!("{key}:{}", inline(&mut rest)));
            match rest.strip_prefix(", ") {
                Some(more) => rest = more,
                None => break,
            }
        }
    }
    if is_list { format!("[{}]", parts.join(",")) } else { format!("{{{}}}", parts.join(",")) }
}

fn table(lines: &[(usize, &str)], at: &mut usize, depth: usize) -> String {
    let head = lines[*at].1.strip_prefix('[').and_then(|head| head.strip_suffix(']')).expect("a header");
    let (counts, mut rest) = head.split_once("; ").unwrap_or((head, ""));
    let rows: usize = counts.split(' ').next().and_then(|count| count.parse().ok()).expect("a count");
    let nested = counts.ends_with(" lists");
    let mut common: Vec<(String, String)> = Vec::new();
    while !rest.is_empty() {
        let name = rest.split_once(": ").expect("a name").0.to_owned();
        rest = &rest[name.len() + 2..];
        let value = inline(&mut rest);
        common.push((name, value));
        rest = rest.strip_prefix(", ").unwrap_or(rest);
    }
    let columns: Vec<&str> = lines[*at + 1].1.split('|').collect();
    let columns: Vec<&str> = if columns == [""] { Vec::new() } else { columns };
    *at += 2;
    let mut lists: Vec<Vec<String>> = Vec::new();
    for _ in 0..rows {
        let (indent, line) = lines[*at];
        // An empty line is that of a row without columns of its own.
        assert!(indent == depth || line.is_empty(), "a row");
        *at += 1;
        let mut cells: Vec<(String, String)> = common.clone();
        let mut list = 0;
        for (name, cell) in columns.iter().zip(line.split('|')) {
            if *name == "#" {
                list = cell.parse().expect("a number");
                continue;
            }
            let mut rest = cell;
            let value = if cell.starts_with(['[', '{', '"']) { inline(&mut rest) } else { plain(cell) };
            cells.push(((*name).to_owned(), value));
        }
        lists.resize(lists.len().max(list + 1), Vec::new());
        lists[list].push(nest(&cells));
    }
    if nested {
        let inner: Vec<String> = lists.iter().map(|rows| format!("[{}]", rows.join(","))).collect();
        format!("[{}]", inner.join(","))
    } else {
        format!("[{}]", lists[0].join(","))
    }
}

/// Members with dotted names as an object; the order of members is not kept, as in JSON it means nothing.
fn nest(cells: &[(String, String)]) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut done: Vec<&str> = Vec::new();
    for (name, value) in cells {
        match name.split_once('.') {
            None => out.push(format!("\"{name}\":{value}")),
            Some((head, _)) if done.contains(&head) => {}
            Some((head, _)) => {
                done.push(head);
                let inner: Vec<(String, String)> = cells
                    .iter()
                    .filter_map(|(name, value)| {
                        let (first, rest) = name.split_once('.')?;
                        (first == head).then(|| (rest.to_owned(), value.clone()))
                    })
                    .collect();
                out.push(format!("\"{head}\":{}", nest(&inner)));
            }
        }
    }
    format!("{{{}}}", out.join(","))
}

fn key(rest: &mut &str) -> String {
    if rest.starts_with('"') {
        return quoted(rest);
    }
    let end = rest.find(':').expect("the end of a key");
    let key = format!("\"{}\"", &rest[..end]);
    *rest = &rest[end..];
    key
}

/// A string in its quotes.
fn quoted(rest: &mut &str) -> String {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    let out = rest[..=at].to_owned();
    *rest = &rest[at + 1..];
    out
}

fn inline(rest: &mut &str) -> String {
    match rest.as_bytes().first() {
        Some(b'"') => quoted(rest),
        Some(b'[') => {
            *rest = &rest[1..];
            let mut parts = Vec::new();
            while !rest.starts_with(']') {
                parts.push(inline(rest));
                *rest = rest.strip_prefix(", ").unwrap_or(rest);
            }
            *rest = &rest[1..];
            format!("[{}]", parts.join(","))
        }
        Some(b'{') => {
            *rest = &rest[1..];
            let mut parts = Vec::new();
            while !rest.starts_with('}') {
                let key = key(rest);
                *rest = rest.strip_prefix(": ").expect("a value");
                parts.push(format!("{key}:{}", inline(rest)));
                *rest = rest.strip_prefix(", ").unwrap_or(rest);
            }
            *rest = &rest[1..];
            format!("{{{}}}", parts.join(","))
        }
        _ => {
            let ends = [rest.find(", "), rest.find(']'), rest.find('}')];
            let end = ends.into_iter().flatten().min().unwrap_or(rest.len());
            let out = plain(&rest[..end]);
            *rest = &rest[end..];
            out
        }
    }
}

/// A bare word: a number, a word of JSON, or a string without its quotes.
fn plain(text: &str) -> String {
    let is_json = serde_json::from_str::<serde_json::Value>(text).is_ok();
    if is_json { text.to_owned() } else { format!("\"{text}\"") }
}

/// Whether `short` is `text` with some runs of its lines replaced by pointers, each to a run that stands in a text above.
pub(crate) fn is_text_with_pointers(short: &str, text: &str, above: &[String]) -> bool {
    let body = |line: &str| line.split_once(':').map_or(line, |(_, rest)| rest).trim_end().to_owned();
    let lines: Vec<&str> = text.lines().collect();
    let mut at = 0;
    for line in short.lines() {
        if lines.get(at) == Some(&line) {
            at += 1;
            continue;
        }
        let Some(count) = lines_of(line) else { return false };
        let wanted: Vec<String> = lines[at..at + count].iter().map(|line| body(line)).collect();
        let found = above.iter().any(|text| {
            let bodies: Vec<String> = text.lines().map(body).collect();
            bodies.windows(count).any(|run| run == wanted)
        });
        if !found {
            return false;
        }
        at += count;
    }
    at == lines.len()
}

/// How many lines a pointer stands for.
fn lines_of(pointer: &str) -> Option<usize> {
    let inner = pointer.strip_prefix('[')?;
    if let Some(range) = inner.strip_prefix("lines ") {
        let (first, rest) = range.split_once('-')?;
        let last: String = rest.chars().take_while(char::is_ascii_digit).collect();
        return Some(last.parse::<usize>().ok()? + 1 - first.parse::<usize>().ok()?);
    }
    inner.split(' ').next()?.parse().ok()
}
