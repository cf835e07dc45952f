"""What each error of redis-py means for a store: one verdict a class, as a table. Nothing else of the package reads redis-py's errors."""

from __future__ import annotations

from typing import Literal

import redis.exceptions as errors

Verdict = Literal["unavailable", "credentials", "cluster", "refused", "bug"]
"""
- ``unavailable``: nothing answered, or a server that cannot now; counts towards leaving it alone.
- ``credentials``: it answers, not to us; left alone at once, since asking again changes nothing.
- ``cluster``: the URL leads to a node of a cluster, which this store does not speak; left alone at once.
- ``refused``: it answers and would not do this; other commands may still succeed, so it is not left alone.
- ``bug``: the command was wrong, so sparecall is; raised as `InternalError`, the store stays usable.
"""

VERDICTS: dict[type[BaseException], Verdict] = {
    errors.RedisError: "unavailable",
    errors.ConnectionError: "unavailable",
    errors.TimeoutError: "unavailable",
    errors.BusyLoadingError: "unavailable",
    errors.MaxConnectionsError: "unavailable",
    errors.InvalidResponse: "unavailable",  # what answers is no Redis, or the connection is out of step
    errors.ReadOnlyError: "unavailable",  # a replica, after a failover
    errors.AuthenticationError: "credentials",
    errors.AuthorizationError: "credentials",
    errors.AuthenticationWrongNumberOfArgsError: "credentials",
    errors.NoPermissionError: "credentials",
    errors.ExternalAuthProviderError: "credentials",
    errors.AskError: "cluster",
    errors.MovedError: "cluster",
    errors.TryAgainError: "cluster",
    errors.ClusterError: "cluster",
    errors.ClusterDownError: "cluster",
    errors.ClusterCrossSlotError: "cluster",
    errors.CrossSlotTransactionError: "cluster",
    errors.RedisClusterException: "cluster",
    errors.SlotNotCoveredError: "cluster",
    errors.MasterDownError: "unavailable",
    errors.ResponseError: "refused",
    errors.OutOfMemoryError: "refused",
    errors.ExecAbortError: "refused",  # a write inside of a transaction was refused
    errors.ModuleError: "refused",
    errors.NoSuchFieldsetError: "refused",
    errors.NoScriptError: "bug",  # scripts are sent whole
    errors.DataError: "bug",
    errors.PubSubError: "bug",
    errors.WatchError: "bug",
    errors.LockError: "bug",
    errors.LockNotOwnedError: "bug",
    errors.InvalidPipelineStack: "bug",
    errors.IncorrectPolicyType: "bug",
    errors.ChildDeadlockedError: "bug",
}

# Words before the message of an error that redis-py has no class for.
_WORDS: dict[str, Verdict] = {"BUSY": "unavailable", "LOADING": "unavailable", "MASTERDOWN": "unavailable"}


def verdict(error: BaseException) -> Verdict:
    """The verdict on an error: that of its class or of its nearest base; of errors of the socket: ``unavailable``."""
    if type(error) is errors.ResponseError:
        return _WORDS.get(word(error), "refused")
    for kind in type(error).__mro__:
        if kind in VERDICTS:
            return VERDICTS[kind]
    return "unavailable" if isinstance(error, OSError) else "bug"


def word(error: BaseException) -> str:
    """The error in one word. The server's own sentences may quote keys, so of those only the code is given."""
    code = getattr(error, "status_code", None) or str(error).partition(" ")[0]
    return (
        code if isinstance(error, errors.ResponseError) and code.isupper() and code.isalpha() else type(error).__name__
    )
