//! digest, on its other wires: where the question stands, what does not count, and which answers depend on more than the body.

use sparecall_core::digest::{Inspection, Options, Reason, Scratch, Wire, compare, inspect};

fn found(wire: Wire, body: &str) -> Inspection {
    inspect(body.as_bytes(), &Options { wire, ..Options::default() }, &mut Scratch::default()).expect("valid JSON")
}

/// A body that may be cached, with `rest` before its closing brace.
fn body(wire: Wire, rest: &str) -> String {
    match wire {
        Wire::Chat | Wire::Messages => {
            format!(r#"{{"model":"m","messages":[{{"role":"user","content":"Hi"}}]{rest}}}"#)
        }
        Wire::Responses => format!(r#"{{"model":"m","input":"Hi"{rest}}}"#),
    }
}

#[test]
fn a_usual_body_of_each_wire_may_be_cached_and_equal_bodies_of_two_wires_are_two_requests() {
    let both = r#"{"model":"m","messages":[{}],"input":[{},{}]}"#;
    let mut digests = Vec::new();
    for wire in Wire::ALL {
        assert_eq!(found(wire, &body(wire, "")).why, None, "{wire:?}");
        let inspection = found(wire, both);
        assert_eq!(inspection.messages, if wire == Wire::Responses { 2 } else { 1 });
        assert_eq!(inspection.include_usage, wire != Wire::Chat);
        digests.push(inspection.digest);
        assert_eq!(Wire::named(wire.name()), Some(wire));
    }
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 3);
    assert_eq!(Wire::named("Chat"), None);
}

#[test]
fn fields_that_change_no_answer_do_not_count_and_all_others_do() {
    let fields = [
        ("stream", "true", [true, true, true]),
        ("stream_options", "{}", [true, true, false]),
        ("user", r#""u""#, [true, true, false]),
        ("safety_identifier", r#""u""#, [true, true, false]),
        ("metadata", r#"{"a":"b"}"#, [true, true, true]),
        ("store", "true", [true, false, false]),
        ("service_tier", r#""auto""#, [true, true, true]),
        ("prompt_cache_key", r#""k""#, [true, true, false]),
        ("temperature", "0", [false, false, false]),
        ("instructions", r#""i""#, [false, false, false]),
        ("system", r#""s""#, [false, false, false]),
    ];
    for (name, value, ignored) in fields {
        for (wire, ignored) in Wire::ALL.into_iter().zip(ignored) {
            let (plain, with) = (body(wire, ""), body(wire, &format!(r#","{name}":{value}"#)));
            assert_eq!(found(wire, &plain).digest == found(wire, &with).digest, ignored, "{wire:?} {name}");
            let difference = compare(plain.as_bytes(), with.as_bytes(), wire).expect("valid JSON");
            assert_eq!(difference.is_none(), ignored, "{wire:?} {name}");
        }
    }
}

#[test]
fn a_body_without_a_question_is_none_of_its_wire() {
    for rest in
        [r#""input":"""#, r#""input":[]"#, r#""input":[1]"#, r#""input":{}"#, r#""input":7"#, r#""messages":[{}]"#]
    {
        let body = format!(r#"{{"model":"m",{rest}}}"#);
        assert_eq!(found(Wire::Responses, &body).why, Some(Reason::NotResponses), "{rest}");
    }
    assert_eq!(found(Wire::Responses, r#"{"model":"","input":"Hi"}"#).why, Some(Reason::NotResponses));
    for rest in [r#""messages":"Hi""#, r#""messages":[]"#, r#""input":"Hi""#] {
        let body = format!(r#"{{"model":"m",{rest}}}"#);
        assert_eq!(found(Wire::Messages, &body).why, Some(Reason::NotMessages), "{rest}");
    }
}

#[test]
fn an_answer_that_depends_on_what_the_provider_remembers_or_looks_up_is_not_cached() {
    let responses = [
        (r#""previous_response_id":"resp_1""#, Some(Reason::State)),
        (r#""conversation":{"id":"c"}"#, Some(Reason::State)),
        (r#""prompt":{"id":"p"}"#, Some(Reason::State)),
        (r#""background":true"#, Some(Reason::State)),
        (r#""background":1"#, Some(Reason::State)),
        (r#""background":false,"previous_response_id":null"#, None),
        (r#""tools":[{"type":"web_search"}]"#, Some(Reason::HostedTool)),
        (r#""tools":[{"type":"function","name":"f"},{"type":"mcp"}]"#, Some(Reason::HostedTool)),
        (r#""tools":[{"name":"f"}]"#, Some(Reason::HostedTool)),
        (r#""tools":[{"type":"function","name":"f"},{"type":"custom"},1]"#, None),
        (r#""tools":[]"#, None),
        (r#""container":"c""#, None),
    ];
    let messages = [
        (r#""container":"c""#, Some(Reason::State)),
        (r#""tools":[{"type":"web_search_20250305","name":"web_search"}]"#, Some(Reason::HostedTool)),
        (r#""tools":[{"type":7}]"#, Some(Reason::HostedTool)),
        (r#""tools":[{"name":"f"},{"type":"custom","name":"g"},{"type":"bash_20250124","name":"bash"}]"#, None),
        (r#""mcp_servers":[{"url":"https://example.com"}]"#, Some(Reason::HostedTool)),
        (r#""mcp_servers":[]"#, None),
        (r#""previous_response_id":"x""#, None),
    ];
    let cases =
        responses.map(|case| (Wire::Responses, case)).into_iter().chain(messages.map(|case| (Wire::Messages, case)));
    for (wire, (rest, why)) in cases {
        assert_eq!(found(wire, &body(wire, &format!(",{rest}"))).why, why, "{wire:?} {rest}");
    }
    let chat = body(Wire::Chat, r#","tools":[{"type":"web_search"}],"container":"c","conversation":"x""#);
    assert_eq!(found(Wire::Chat, &chat).why, None);
}
