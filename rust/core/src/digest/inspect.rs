//! What a gateway needs to know of a request body before it decides: its digest, and whether its answer may be cached.

use crate::error::{Error, Result};

use super::canonical::Feed;
use super::json;
use super::tape::{Document, Kind, Node, Scratch};
use super::wire::Wire;

/// What counts for the digest besides the body, and what may be cached.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The form of the body.
    pub wire: Wire,
    /// The tenant boundary.
    pub scope: &'a str,
    /// The user's cache-bust number.
    pub version: u64,
    /// Settings that change the answer, such as those of a router or an optimizer.
    pub salt: &'a [u8],
    /// Above this temperature an answer is not cached.
    pub max_temperature: f64,
    /// Above this many choices an answer is not cached.
    pub max_n: u64,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { wire: Wire::Chat, scope: "", version: 0, salt: b"", max_temperature: 1.0, max_n: 1 }
    }
}

/// Why the answer to a valid body is not cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Not an object with a non-empty `messages` array of objects and a non-empty string `model`.
    NotChat,
    /// Not an object with a non-empty string `model` and an `input`, which is text or a non-empty array of objects.
    NotResponses,
    /// As `NotChat`, of the other wire.
    NotMessages,
    /// `stream` is neither a boolean nor null.
    StreamType,
    /// `stream_options` is not an object or null, or its `include_usage` not a boolean or null.
    StreamOptionsType,
    /// `temperature` is neither a number nor null.
    TemperatureType,
    /// `temperature` (1 where absent) is above the limit.
    Temperature,
    /// `n` is neither a whole number from 1 on nor null.
    NType,
    /// `n` (1 where absent) is above the limit.
    N,
    /// The answer depends on what the provider remembers of earlier calls.
    State,
    /// The provider is to use tools of its own.
    HostedTool,
}

impl Reason {
    /// Every reason, in the order in which they are looked for.
    pub const ALL: [Self; 11] = [
        Self::NotChat,
        Self::NotResponses,
        Self::NotMessages,
        Self::StreamType,
        Self::StreamOptionsType,
        Self::TemperatureType,
        Self::Temperature,
        Self::NType,
        Self::N,
        Self::State,
        Self::HostedTool,
    ];

    /// Its name in metrics, headers and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotChat => "not_chat",
            Self::NotResponses => "not_responses",
            Self::NotMessages => "not_messages",
            Self::StreamType => "stream_type",
            Self::StreamOptionsType => "stream_options_type",
            Self::TemperatureType => "temperature_type",
            Self::Temperature => "temperature",
            Self::NType => "n_type",
            Self::N => "n",
            Self::State => "state",
            Self::HostedTool => "hosted_tool",
        }
    }
}

/// What one pass over a body found.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// BLAKE3-256 of scope, version, salt and the canonical document.
    pub digest: [u8; 32],
    /// The model asked for; empty where the body names none.
    pub model: String,
    pub stream: bool,
    /// The client wants usage at the end of its stream: on the chat wire it asked for it, on others it always comes.
    pub include_usage: bool,
    /// Why the answer may not be cached; none where it may.
    pub why: Option<Reason>,
    /// How many messages there are, or items of input; text is one.
    pub messages: usize,
    /// As the body has it; none where absent or odd.
    pub temperature: Option<f64>,
    /// How many choices are asked for; 1 where absent or odd.
    pub n: u64,
    /// There is a non-empty `tools` or `functions` array.
    pub has_tools: bool,
}

/// Reads `body` once. Only JSON that is invalid or ambiguous is an error; a valid body that is odd is not cacheable.
pub fn inspect(body: &[u8], options: &Options<'_>, scratch: &mut Scratch) -> Result<Inspection> {
    if options.max_temperature.is_nan() {
        return Err(Error::InvalidArgument {
            name: "max_temperature",
            value: "NaN".to_owned(),
            limit: "it must be a number; infinity allows every temperature".to_owned(),
        });
    }
    // The tape is borrowed from the scratch, so what waits for the hasher steps out of it meanwhile.
    let mut pending = std::mem::take(&mut scratch.pending);
    let inspection = json::read(body, scratch).map(|document| {
        let mut feed = Feed::new(&mut pending, options.wire.domain());
        feed.field(options.scope.as_bytes());
        feed.field(&options.version.to_le_bytes());
        feed.field(options.salt);
        feed.document(document, options.wire);
        Fields::find(document, options.wire).inspect(document, feed.finish(), options)
    });
    scratch.pending = pending;
    scratch.trim();
    inspection
}

/// The values of the top-level fields that matter here; null counts as absent, as it does for the provider.
#[derive(Default)]
struct Fields {
    model: Option<Node>,
    question: Option<u32>,
    stream: Option<Node>,
    stream_options: Option<Node>,
    temperature: Option<Node>,
    n: Option<Node>,
    has_tools: bool,
    state: bool,
    hosted_tool: bool,
}

impl Fields {
    fn find(document: Document<'_>, wire: Wire) -> Self {
        let mut fields = Self::default();
        let root = document.node(Document::ROOT);
        if root.kind != Kind::Object {
            return fields;
        }
        for (key, index) in document.members(root) {
            let node = document.node(index);
            if node.kind == Kind::Null {
                continue;
            }
            fields.state |= wire.is_state(key, node.kind);
            fields.hosted_tool |= wire.hosts_tools(document, key, index);
            match key {
                b"model" => fields.model = Some(node),
                _ if key == wire.question() => fields.question = Some(index),
                b"stream" => fields.stream = Some(node),
                b"stream_options" => fields.stream_options = Some(node),
                b"temperature" => fields.temperature = Some(node),
                b"n" => fields.n = Some(node),
                b"tools" | b"functions" => fields.has_tools |= node.kind == Kind::Array && node.end > 0,
                _ => {}
            }
        }
        fields
    }

    fn inspect(&self, document: Document<'_>, digest: [u8; 32], options: &Options<'_>) -> Inspection {
        let model = self.model(document).unwrap_or_default();
        let messages = self.message_count(document, options.wire).unwrap_or_default();
        let stream = boolean(self.stream);
        let include_usage = if options.wire == Wire::Chat { self.include_usage(document) } else { Some(true) };
        let temperature = self.temperature.map(|node| float(document, node));
        let n = self.n.map(|node| count(document, node));

        let why = if model.is_empty() || messages == 0 {
            Some(match options.wire {
                Wire::Chat => Reason::NotChat,
                Wire::Responses => Reason::NotResponses,
                Wire::Messages => Reason::NotMessages,
            })
        } else if stream.is_none() {
            Some(Reason::StreamType)
        } else if include_usage.is_none() {
            Some(Reason::StreamOptionsType)
        } else if temperature == Some(None) {
            Some(Reason::TemperatureType)
        } else if temperature.flatten().unwrap_or(1.0) > options.max_temperature {
            Some(Reason::Temperature)
        } else if n == Some(None) {
            Some(Reason::NType)
        } else if n.flatten().unwrap_or(1) > options.max_n {
            Some(Reason::N)
        } else if self.state {
            Some(Reason::State)
        } else if self.hosted_tool {
            Some(Reason::HostedTool)
        } else {
            None
        };
        Inspection {
            digest,
            model: model.to_owned(),
            stream: stream.unwrap_or_default(),
            include_usage: include_usage.unwrap_or_default(),
            why,
            messages,
            temperature: temperature.flatten(),
            n: n.flatten().unwrap_or(1),
            has_tools: self.has_tools,
        }
    }

    /// None where it is no string, or one with a lone surrogate: no model is named so.
    fn model<'a>(&self, document: Document<'a>) -> Option<&'a str> {
        let node = self.model.filter(|node| node.kind == Kind::String)?;
        std::str::from_utf8(document.bytes(node)).ok()
    }

    /// None where the question is not an array of objects, nor text where the wire allows it.
    fn message_count(&self, document: Document<'_>, wire: Wire) -> Option<usize> {
        let index = self.question?;
        let node = document.node(index);
        if wire == Wire::Responses && node.kind == Kind::String {
            return Some(usize::from(!document.bytes(node).is_empty()));
        }
        let all_objects = || document.items(index).all(|item| document.node(item).kind == Kind::Object);
        (node.kind == Kind::Array && all_objects()).then_some(node.end as usize)
    }

    /// None where the types are wrong.
    fn include_usage(&self, document: Document<'_>) -> Option<bool> {
        let Some(options) = self.stream_options else { return Some(false) };
        if options.kind != Kind::Object {
            return None;
        }
        let value = document.members(options).find(|(key, _)| *key == b"include_usage");
        boolean(value.map(|(_, index)| document.node(index)).filter(|node| node.kind != Kind::Null))
    }
}

/// False where absent, none where it is no boolean.
fn boolean(node: Option<Node>) -> Option<bool> {
    match node.map(|node| node.kind) {
        None | Some(Kind::False) => Some(false),
        Some(Kind::True) => Some(true),
        Some(_) => None,
    }
}

/// None where it is no number.
fn float(document: Document<'_>, node: Node) -> Option<f64> {
    (node.kind == Kind::Number).then(|| std::str::from_utf8(document.bytes(node)).ok()?.parse().ok())?
}

/// None where it is no whole number from 1 on. One beyond 64 bits is the largest there is: above every limit but that.
fn count(document: Document<'_>, node: Node) -> Option<u64> {
    if node.kind != Kind::Number {
        return None;
    }
    let text = std::str::from_utf8(document.bytes(node)).ok()?;
    let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
    if digits.starts_with(['-', '0']) || exponent.starts_with('-') {
        return None;
    }
    let power = exponent.parse().ok().and_then(|exponent| 10_u64.checked_pow(exponent));
    let value = digits.parse::<u64>().ok().zip(power).and_then(|(digits, power)| digits.checked_mul(power));
    Some(value.unwrap_or(u64::MAX))
}
