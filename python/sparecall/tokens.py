"""How many tokens a text has, exactly as tiktoken counts them, with the vocabularies in the wheel.

The functions and classes are the native ones themselves.
"""

from __future__ import annotations

import re

from sparecall._core import Meter, Prefix
from sparecall._core import tokens_count as count
from sparecall._core import tokens_count_many as count_many
from sparecall._core import tokens_encodings as encodings
from sparecall._core import tokens_truncate as truncate

__all__ = ["Meter", "Prefix", "count", "count_many", "encoding_for_model", "encodings", "truncate"]

# A family is followed by nothing, a dash or a dot: `gpt-5.1` and `o3-mini` belong to theirs, `gpt-50` and `o12` do not.
_O200K = re.compile(r"(?:chatgpt-4o|gpt-4o|gpt-4\.1|gpt-4\.5|gpt-5|gpt-oss|o1|o3|o4)(?=[-.]|$)")
_CL100K = re.compile(
    r"(?:gpt-4|gpt-3\.5|gpt-35-turbo|text-embedding-3|text-embedding-ada-002|davinci-002|babbage-002)(?=-|$)"
)


def encoding_for_model(model: str) -> str | None:
    """Name the encoding of an OpenAI model, such as ``"o200k_base"`` for ``"gpt-4o-mini"``; ``None`` when it is not known.

    Dated names (``gpt-4o-2024-08-06``) and fine-tuned ones (``ft:gpt-4o-mini:org::id``) go by their family. A name of
    another provider is ``None``: its tokenizer differs, and a count by a wrong one would pass for exact.
    """
    family = model.removeprefix("ft:").partition(":")[0]
    if _O200K.match(family):
        return "o200k_base"
    if _CL100K.match(family):
        return "cl100k_base"
    return None
