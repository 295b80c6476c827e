"""The answer first: what the entries of a board say, in a sentence or two made from them."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.records.controls import PUBLIC_ONLY, UNDEFENDED, is_control
from benchmark.records.ranking import RankedEntry
from benchmark.records.results import interval_text


def answer(entries: Sequence[RankedEntry]) -> str:
    """Who is best, by how much, and against what; plain text.

    Args:
        entries: those of one scope, in ranking order.
    """
    plain, public = (_control(entries, name) for name in (UNDEFENDED, PUBLIC_ONLY))
    defended = [e for e in entries if e.rank is not None and not e.control]
    if not defended:
        return "No defence is ranked here yet." + (f" {_told(plain)}." if plain else "")
    best = defended[0]
    parts = [_told(best)]
    if plain is not None:
        parts.append(_told(plain, verb=False))
    if public is not None:
        parts.append(_told(public, verb=False))
    sentence = "; ".join(parts) + "."
    if best.rank == 1:
        return sentence
    return f"No defence is in rank 1. The best of them: {sentence}"


def _control(entries: Sequence[RankedEntry], name: str) -> RankedEntry | None:
    return next((e for e in entries if len(e.runs) == 1 and is_control(e.runs[0], name)), None)


def _told(entry: RankedEntry, verb: bool = True) -> str:
    """``DP-SGD, epsilon 8 recognises 0.870 [..] and nothing was found (a leak above 0.12 would have been)``."""
    name = entry.runs[0].title
    name = name[:1].upper() + name[1:] if verb else name
    utility = interval_text(entry.utility.value, entry.utility.low, entry.utility.high)
    start = f"{name} recognises {utility}"
    if entry.nothing_found:
        limit = "" if entry.leakage.high is None else f" (at most {entry.leakage.high:.2f} could have been missed)"
        return f"{start} and nothing was found{limit}"
    return f"{start} and leaks {interval_text(entry.leakage.value, entry.leakage.low, entry.leakage.high)}"
