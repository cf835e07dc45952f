"""digest: what a chat-completion body means, as 32 bytes, in one pass and without ``json.loads``.

``inspect(body, scope=...)`` gives the digest under which an answer may be kept and says whether it may be kept at all;
``compare(a, b)`` names the first field in which two bodies differ; ``scope_of_key`` derives a tenant's scope from a key.
"""

from __future__ import annotations

from sparecall._core import (
    Difference,
    Inspection,
)
from sparecall._core import (
    digest_compare as compare,
)
from sparecall._core import (
    digest_inspect as inspect,
)
from sparecall._core import (
    digest_scope_of_key as scope_of_key,
)

__all__ = ["Difference", "Inspection", "compare", "inspect", "scope_of_key"]
