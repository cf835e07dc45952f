"""What is known of the families of models: which text counts are exact, what a message costs beside its text, and how other tokenizers differ.

The ratios of tokenizers that are not public are margins drawn from published remarks, not measurements: they are what a
`Counter` starts from, and what `observe` replaces.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from sparecall.tokens.images import Anyhow, Area, Patches, Tiles

if TYPE_CHECKING:
    from sparecall.tokens.bounds import Bounds

Images = Tiles | Patches | Area | Anyhow


class Ratios(NamedTuple):
    """Tokens per token of o200k_base, as low, likely and high, by the kind of text."""

    prose: Bounds
    """ASCII of at least 2.5 characters to a token: prose and code."""
    dense: Bounds
    """Other ASCII: numbers, base64, tables of signs."""
    wide: Bounds
    """Anything with a character that is not ASCII."""


class Rules(NamedTuple):
    """What the wire adds to the texts."""

    per_message: Bounds
    per_name: int
    per_request: Bounds


class Family(NamedTuple):
    """`ratios` is None where the encoding is public and the text's count exact."""

    name: str
    rules: Rules
    images: Images
    ratios: Ratios | None = None
    tools: Bounds = (0, 0, 0)
    """What any tools at all add, their definitions left out."""

    @property
    def is_exact(self) -> bool:
        """Whether texts and messages of this family are counted exactly."""
        return self.ratios is None and len({*self.rules.per_message}) == len({*self.rules.per_request}) == 1


_CHAT = Rules((3, 3, 3), 1, (3, 3, 3))
# The same with a margin, where the provider has never said it: models that came after, models that think.
_LATER = Rules((2, 3, 4), 1, (1, 3, 20))
_FIRST = Rules((4, 4, 4), -1, (3, 3, 3))
# A chat template that opens with a page on the model and the date.
_PREFACED = Rules((2, 4, 8), 1, (3, 70, 160))
_UNSAID = Rules((1, 4, 8), 1, (0, 3, 40))

_O4_TILES, _MINI_TILES = Tiles(85, 170), Tiles(2833, 5667)
# In order, the first that matches the beginning of a name. What follows is a dash, a dot, or the end.
_OPENAI: tuple[tuple[str, Rules, Images], ...] = (
    (r"gpt-(?:3\.5|35)-turbo-0301", _FIRST, Anyhow()),
    (r"gpt-(?:3\.5|35)-turbo", _CHAT, Anyhow()),
    (r"gpt-4o-mini", _CHAT, _MINI_TILES),
    (r"gpt-4o(?=-(?:audio|realtime|transcribe|search|tts))", _LATER, _O4_TILES),
    (r"gpt-4o", _CHAT, _O4_TILES),
    (r"chatgpt-4o", _LATER, _O4_TILES),
    (r"gpt-4\.1-mini", _LATER, Patches(1.62)),
    (r"gpt-4\.1-nano", _LATER, Patches(2.46)),
    (r"gpt-4\.[15]", _LATER, _O4_TILES),
    (r"gpt-4", _CHAT, _O4_TILES),
    (r"gpt-5-mini", _LATER, Patches(1.62)),
    (r"gpt-5-nano", _LATER, Patches(2.46)),
    (r"gpt-5", _LATER, Tiles(70, 140)),
    (r"gpt-5\.\d+", _LATER, Anyhow()),
    (r"o4-mini", _LATER, Patches(1.72)),
    (r"o[13]-mini", _LATER, Anyhow()),
    (r"o[13]", _LATER, Tiles(75, 150)),
    (r"gpt-oss", _PREFACED, Anyhow()),
)
_OPENAI_RULES = [(re.compile(pattern + r"(?=-|$)"), rules, images) for pattern, rules, images in _OPENAI]


def openai_family(model: str) -> Family:
    """The rules of a model of OpenAI's whose encoding is public."""
    base = model.removeprefix("ft:").partition(":")[0]
    for pattern, rules, images in _OPENAI_RULES:
        if pattern.match(base):
            return Family("openai", rules, images)
    return Family("openai", _LATER, Anyhow())


def _scaled(by: float, ratios: Ratios) -> Ratios:
    return Ratios(*((low * by, likely * by, high * by) for low, likely, high in ratios))


_CLAUDE = Ratios(prose=(0.95, 1.18, 1.5), dense=(0.9, 1.35, 2.2), wide=(0.8, 1.35, 2.5))
# A system prompt of its own explains tools to the model: 264 to 530 tokens, by model and tool choice.
_CLAUDE_TOOLS: Bounds = (264, 346, 700)
_PIXELS = Area(750, 1600)

# A word that begins a name, or one of its parts: `anthropic/claude-sonnet-4`, `us.anthropic.claude-3-haiku`.
_BEGINS = r"(?:^|[/.:_-])"
_OTHERS: tuple[tuple[str, Family], ...] = (
    (
        # Anthropic: about 30 % more tokens from Opus 4.7 and the fifth generation on.
        r"claude-(?:opus-4[-.](?:[7-9]|[1-9]\d)(?!\d)|[a-z]+-(?:[5-9]|[1-9]\d)(?!\d))",
        Family("anthropic-2026", _UNSAID, Area(750, 4800), _scaled(1.3, _CLAUDE), _CLAUDE_TOOLS),
    ),
    (r"claude", Family("anthropic", _UNSAID, _PIXELS, _CLAUDE, _CLAUDE_TOOLS)),
    (
        r"(?:gemini|gemma)",
        Family(
            "gemini", _UNSAID, Anyhow(64, 258, 5_000), Ratios((0.85, 1.05, 1.35), (0.9, 1.5, 3.2), (0.65, 1.0, 1.8))
        ),
    ),
    (r"grok", Family("grok", _UNSAID, Anyhow(), Ratios((0.85, 1.05, 1.4), (0.8, 1.2, 3.2), (0.65, 1.1, 2.2)))),
    (
        r"(?:(?:mi|mini|code|dev|magi)stral|mixtral|pixtral)",
        Family("mistral", _UNSAID, Anyhow(), Ratios((0.9, 1.12, 1.6), (0.9, 1.6, 3.5), (0.65, 1.3, 3.2))),
    ),
    (r"llama", Family("llama", _UNSAID, Anyhow(), Ratios((0.9, 1.03, 1.5), (0.8, 1.1, 3.2), (0.65, 1.25, 4.0)))),
    (
        r"(?:qwen|qwq|qvq)",
        Family("qwen", _UNSAID, Anyhow(), Ratios((0.9, 1.05, 1.4), (0.9, 1.5, 3.2), (0.6, 1.15, 3.0))),
    ),
    (r"deepseek", Family("deepseek", _UNSAID, Anyhow(), Ratios((0.9, 1.06, 1.4), (0.8, 1.2, 3.2), (0.6, 1.15, 3.0)))),
    (
        r"(?:gpt|chatgpt|o\d)(?=-)",
        Family("openai-unlisted", _LATER, Anyhow(), Ratios((0.75, 1.0, 1.35), (0.6, 1.0, 2.0), (0.5, 1.0, 2.0))),
    ),
)
_OTHER_FAMILIES = [(re.compile(_BEGINS + pattern), family) for pattern, family in _OTHERS]
_UNKNOWN = Family("unknown", _UNSAID, Anyhow(), Ratios((0.7, 1.12, 2.5), (0.6, 1.4, 4.0), (0.5, 1.25, 5.0)))


def estimated_family(model: str) -> Family:
    """The family of a model whose tokenizer is not at hand, by the name; `unknown`, with the widest margins, for any other name."""
    lower = model.lower()
    for pattern, family in _OTHER_FAMILIES:
        if pattern.search(lower):
            return family
    return _UNKNOWN
