//! What differs between the wires that requests come in: where the question stands, which fields do not count, and what
//! makes an answer depend on more than the body.

use super::tape::{Document, Kind, Node};

/// The form of a request body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wire {
    /// Chat completions.
    #[default]
    Chat,
    /// The Responses API.
    Responses,
    /// The Messages API.
    Messages,
}

impl Wire {
    /// Every wire.
    pub const ALL: [Self; 3] = [Self::Chat, Self::Responses, Self::Messages];

    /// The wire of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|wire| wire.name() == name)
    }

    /// Its name in configurations and calls.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Messages => "messages",
        }
    }

    /// The domain of its digests: equal bodies of two wires are two requests.
    pub(super) const fn domain(self) -> &'static [u8] {
        match self {
            Self::Chat => b"sparecall chat 1",
            Self::Responses => b"sparecall responses 1",
            Self::Messages => b"sparecall messages 1",
        }
    }

    /// Whether a top-level field does not change the answer, and so does not change the digest. Unknown fields count.
    pub(super) fn ignores(self, key: &[u8]) -> bool {
        match self {
            Self::Chat => matches!(
                key,
                b"stream"
                    | b"stream_options"
                    | b"user"
                    | b"safety_identifier"
                    | b"metadata"
                    | b"store"
                    | b"service_tier"
                    | b"prompt_cache_key"
            ),
            // `store` counts: it decides whether later requests can refer to the answer.
            Self::Responses => matches!(
                key,
                b"stream"
                    | b"stream_options"
                    | b"user"
                    | b"safety_identifier"
                    | b"metadata"
                    | b"service_tier"
                    | b"prompt_cache_key"
            ),
            Self::Messages => matches!(key, b"stream" | b"metadata" | b"service_tier"),
        }
    }

    /// The top-level field that holds the question.
    pub(super) const fn question(self) -> &'static [u8] {
        match self {
            Self::Chat | Self::Messages => b"messages",
            Self::Responses => b"input",
        }
    }

    /// Whether a field, given a value other than null, refers to what the provider remembers.
    pub(super) fn is_state(self, key: &[u8], kind: Kind) -> bool {
        match self {
            Self::Chat => false,
            Self::Responses => match key {
                b"previous_response_id" | b"conversation" | b"prompt" => true,
                b"background" => kind != Kind::False,
                _ => false,
            },
            Self::Messages => key == b"container",
        }
    }

    /// Whether a field has the provider use tools of its own, whose results change with time.
    pub(super) fn hosts_tools(self, document: Document<'_>, key: &[u8], index: u32) -> bool {
        let node = document.node(index);
        match (self, key) {
            (Self::Chat, _) => false,
            (_, b"tools") if node.kind == Kind::Array => {
                document.items(index).any(|tool| self.is_hosted(document, document.node(tool)))
            }
            (Self::Messages, b"mcp_servers") => node.kind != Kind::Array || node.end > 0,
            _ => false,
        }
    }

    /// A closed list of what the client runs itself; a tool of any other type may be the provider's.
    fn is_hosted(self, document: Document<'_>, tool: Node) -> bool {
        if tool.kind != Kind::Object {
            return false;
        }
        let kind = document.members(tool).find(|(key, _)| *key == b"type").map(|(_, index)| document.node(index));
        let Some(kind) = kind else { return self != Self::Messages };
        if kind.kind != Kind::String {
            return true;
        }
        let name = document.bytes(kind);
        match self {
            Self::Chat => false,
            Self::Responses => !matches!(name, b"function" | b"custom" | b"local_shell" | b"apply_patch"),
            Self::Messages => {
                let of_client: [&[u8]; 4] = [b"bash_", b"text_editor_", b"computer_", b"memory_"];
                name != b"custom" && !of_client.iter().any(|prefix| name.starts_with(prefix))
            }
        }
    }
}
