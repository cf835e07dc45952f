"""The figures as text: tables, and what to make of them."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

from sparecall.demo.figures import HITS
from sparecall.demo.workday import TEAM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparecall.demo.figures import Figures, Outage, Work

_WIDTH = 100
_FAULTS = {"rate_limit": "refused", "server_error": "failed", "stall": "hung in"}


def report(figures: Figures) -> str:
    """The whole report."""
    parts = [
        f"sparecall demo: {figures.calls} calls of {figures.agents} agents over the source of Python "
        f"{figures.python}'s standard library, seed {figures.seed}",
        _simulated(figures),
        _calls(figures),
        _spending(figures),
        _latencies(figures),
        _vectors(figures),
        _rereads(figures),
        _session(figures),
        *([] if figures.outage is None else [_outage(figures.outage)]),
        _checks(figures),
        _caveats(figures),
    ]
    return "\n\n".join(parts)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *others = (
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join([first, *others]).rstrip()

    return "\n".join([line(head), line(["-" * width for width in widths]), *map(line, rows)])


def _simulated(figures: Figures) -> str:
    return _wrap(
        "The provider was SIMULATED, on this machine: no model, no network. Its latency model: first token after "
        f"{_seconds(figures.first_token)} plus {_seconds(figures.per_prompt_token)} per prompt token, then "
        f"{_seconds(figures.per_token)} per token, each +-{figures.jitter:.0%} ({figures.speed:g} times the assumed pace of "
        "a hosted model). So dollars and all latencies but those of exact hits are modelled, not measured."
    )


def _calls(figures: Figures) -> str:
    rows = [
        [work.kind, str(work.calls), *(_count(getattr(work, hit)) for hit in HITS), f"{work.spared:.1%}"]
        for work in figures.work
    ]
    return "Calls by kind of work and kind of hit\n" + table(["work", "calls", *HITS, "spared"], rows)


def _spending(figures: Figures) -> str:
    off, on = figures.cache_off, figures.cache_on
    rows = [
        _change("calls to the provider", off.calls, on.calls, "{:,}"),
        _change("prompt tokens", off.prompt_tokens, on.prompt_tokens, "{:,}"),
        _change("answer tokens", off.answer_tokens, on.answer_tokens, "{:,}"),
        _change(f"dollars, list prices of {figures.prices_of}", off.dollars, on.dollars, "{:.4f}"),
        _change("wall time, seconds", off.seconds, on.seconds, "{:.1f}"),
    ]
    return "The same day without and with the cache\n" + table(["", "cache off", "cache on", "spared", "share"], rows)


def _change(name: str, off: float | None, on: float | None, form: str) -> list[str]:
    if off is None or on is None:
        return [name, "unknown", "unknown", "unknown", ""]
    return [name, form.format(off), form.format(on), form.format(off - on), f"{(off - on) / off:.1%}"]


def _latencies(figures: Figures) -> str:
    rows = [
        [
            name,
            str(each.count),
            *("" if math.isnan(value) else f"{value:.2f}" for value in (each.p50, each.p95, each.p99)),
        ]
        for name, each in [
            *((each.name, each) for each in figures.latencies),
            *((f"{each.name}, pipeline only", each) for each in figures.pipeline),
        ]
    ]
    return "Milliseconds to the whole answer, as the SDK's caller sees them\n" + table(
        ["", "calls", "p50", "p95", "p99"], rows
    )


def _vectors(figures: Figures) -> str:
    found = figures.vectors
    return _wrap(
        f"Embeddings: the {found.requests} functions that were asked about, a request each, all at once: "
        f"{found.calls_on} calls to the provider instead of {found.calls_off}, "
        f"{found.seconds_on:.2f} s instead of {found.seconds_off:.2f}"
    )


def _session(figures: Figures) -> str:
    found = figures.session
    rows = [
        _change("prompt tokens", found.tokens_raw, found.tokens, "{:,}"),
        _change("dollars, with the provider's prefix cache", found.dollars_raw, found.dollars, "{:.4f}"),
    ]
    return (
        _wrap(
            f"One agent's long session of {found.steps} requests, each with all that came before, as it comes and with "
            f"--context-budget {found.budget}: cut anew {_times(found.epochs)}, {found.lossy} requests with less than all of it"
        )
        + "\n"
        + table(["", "as it comes", "optimized", "spared", "share"], rows)
    )


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _outage(found: Outage) -> str:
    rows = [
        [
            phase.name,
            str(phase.calls),
            *(_count(number) for number in (phase.by_a, phase.by_b, phase.passed, phase.calls - phase.answered)),
            *(
                "" if math.isnan(value) else f"{value:.0f}"
                for value in (phase.milliseconds.p50, phase.milliseconds.p99)
            ),
        ]
        for phase in found.phases
    ]
    head = f"Two providers, a and b, of which one hangs, refuses or fails: {found.seconds:g} s, no cache"
    tables = table(["", "calls", "by a", "by b", "after another failed", "lost", "p50 ms", "p99 ms"], rows)
    faults = ", ".join(f"{_FAULTS.get(name, name)} {count}" for name, count in sorted(found.faults.items()))
    states = ", ".join(f"{change.provider} {change.state} after {change.seconds:.1f} s" for change in found.breakers)
    told = _wrap(
        f"Of {found.provider_calls} calls that the gateway made for {found.calls} the providers {faults or 'failed none'}. "
        f"{found.hedges} late calls were made a second time, and {found.hedges_won} of the second came first; {found.retries} calls were made again after "
        f"both had failed. Breakers: {states or 'closed all the while'}."
    )
    return f"{head}\n{tables}\n\n{told}"


def _rereads(figures: Figures) -> str:
    found = figures.rereads
    return _wrap(
        f"Re-reads: the {found.files} files that were read again after an edit of one line have {found.symbols:,} symbols, of which "
        f"sparecall.outline finds {found.unchanged:,} unchanged. With the bodies of these left out they take "
        f"{found.changed_tokens:,} tokens instead of {found.whole_tokens:,}. A computation: the calls above sent them whole, and it is the "
        "agent's to know what it has read."
    )


def _checks(figures: Figures) -> str:
    lines = [
        f"{'ok  ' if check.holds else 'FAIL'} {check.held:,} of {check.of:,} {check.claim}" for check in figures.checks
    ]
    return "Checks\n" + "\n".join(lines)


def _caveats(figures: Figures) -> str:
    work = {each.kind: each for each in figures.work}
    chosen = figures.chosen_shares
    points = [
        f"How much is spared is how much repeats, and that is this script's choice: {chosen['repeat']:.0%} of calls repeat an "
        f"earlier one word for word, {chosen['retype']:.0%} in other spelling, {chosen['together']:.0%} are begun by {TEAM} agents at once. "
        f"All that was spared comes from these three: {_from(work['repeat'])}, {_from(work['retype'])} and {_from(work['together'])} of "
        f"{_from(work['all'])} calls. Yours will differ.",
        f"The {work['rephrase'].calls} rephrased questions count as misses: to serve those, answering by meaning has to have compared "
        "answers first, and those of a simulated model to the same question in other words have nothing in common.",
        "Steps of one growing conversation (follow-up, tool step) are never repeats; an agent that has only those is spared little.",
        "The long session reads every file twice, before and after an edit: that is this script's choice, too, and much of what it "
        "spares. Its dollars are those of a provider that reads what it has seen before for a quarter (gpt-4.1-mini).",
        "The other prices leave out what a provider's own prompt cache takes off; with it both sums are lower.",
        "Wall time falls by less than calls do: each hour of the day waits for its slowest agent.",
        "Provider, gateway, SDK and agents share one thread here, so a wait can include another's work; the "
        "last row of the latencies is what the pipeline takes for an exact hit, HTTP left out. Only the provider is sped up.",
    ]
    return "What to make of it\n" + "\n".join(_wrap(point, "- ") for point in points)


def _from(work: Work) -> str:
    return str(work.exact + work.semantic + work.coalesced)


def _count(number: int) -> str:
    return str(number) if number else "."


def _seconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-4 or not seconds else f"{seconds * 1e6:.3g} us"


def _wrap(text: str, bullet: str = "") -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=bullet, subsequent_indent=" " * len(bullet))
