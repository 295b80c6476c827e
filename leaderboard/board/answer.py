"""The answer first: who wins, what it costs, against which attack, and whether to trust it; made from the entries."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from benchmark.interfaces import Contrast
from benchmark.records.controls import PUBLIC_ONLY, UNDEFENDED, Gain, is_control
from benchmark.records.ranking import Axis, RankedEntry
from benchmark.records.results import interval_text

CONTRASTS = {
    Contrast.SAMPLE: "telling trained photos from other photos of the same people",
    Contrast.IDENTITY: "telling people trained on from others",
    Contrast.PAPER: "telling trained photos from photos of others",
}
BOARDS = {
    "verified": "Re-trained by the evaluator",
    "weights": "Trained elsewhere: nobody can prove on what",
    "local": "Run on this machine, and not submitted",
}


STYLE = """
.answer { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1rem; margin: 0 !important; padding: 0 !important }
.answer dt { font-weight: 600; margin: 0 !important }
.answer dd { margin: 0 !important; overflow-wrap: anywhere }
@media (max-width: 40rem) { .answer { grid-template-columns: 1fr; gap: 0 } .answer dt { margin-top: .5rem !important } }
"""


def answer(entries: Sequence[RankedEntry]) -> list[tuple[str, str]]:
    """Questions of a first look with their answers, as plain text.

    Args:
        entries: those of one scope, in ranking order.
    """
    plain, public = (_control(entries, name) for name in (UNDEFENDED, PUBLIC_ONLY))
    defended = [entry for entry in entries if entry.rank is not None and not entry.control]
    if not defended:
        told = f" {_sentence(plain)}" if plain else ""
        return [("Best defence", f"No defence is ranked here yet.{told}")]
    better = [entry for entry in defended if plain is None or _significantly_below(entry.leakage_change)]
    if not better:
        told = f" {_sentence(plain)}" if plain else ""
        return [("Best defence", f"No defence leaks significantly less than none at all.{told}"), _trust(defended[0])]
    worthwhile = [entry for entry in better if not entry.bought_nothing]
    best = (worthwhile or better)[0]
    return [("Best defence", _win(best, plain)), ("Cost", _cost(best, plain, public)), _attack(best), _trust(best)]


def markup(lines: Sequence[tuple[str, str]]) -> str:
    """The answers as a list in HTML, a line each; names in them are a submitter's, and stay text."""
    rows = (f"<dt>{escape(name)}</dt><dd>{escape(line)}</dd>" for name, line in lines)
    return f'<style>{STYLE}</style><dl class="answer">{"".join(rows)}</dl>'


def _control(entries: Sequence[RankedEntry], name: str) -> RankedEntry | None:
    return next((e for e in entries if len(e.runs) == 1 and is_control(e.runs[0], name)), None)


def _significantly_below(change: Gain) -> bool:
    return change.high is not None and change.high < 0


def _win(best: RankedEntry, plain: RankedEntry | None) -> str:
    name = best.runs[0].title
    first = f"{name[:1].upper()}{name[1:]}: {_found(best)}"
    if plain is None:
        return f"{first}."
    return f"{first}, where undefended leaks {_number(plain.leakage)}: {_change(best.leakage_change)}."


def _cost(best: RankedEntry, plain: RankedEntry | None, public: RankedEntry | None) -> str:
    text = f"It recognises {_number(best.utility)}"
    if plain is not None:
        text += f", undefended {_number(plain.utility)}: {_change(best.utility_change)}"
    if public is None:
        return f"{text}."
    beside = f"{text}. Public faces alone recognise {_number(public.utility)}; {_found(public)}"
    return f"{beside}, so this defence does not pay here." if best.bought_nothing else f"{beside}."


def _attack(best: RankedEntry) -> tuple[str, str]:
    run = best.runs[0]
    headless = [attack for attack in run.attacks if attack.headless and attack.status == "ok"]
    if run.headline is None:
        return "Against", "No attack was measured."
    strongest = f"{run.headline.leakage_attack}, {CONTRASTS[run.headline.leakage_contrast]}"
    return "Against", f"The strongest of {len(headless)} attacks that need no head: {strongest}."


def _trust(entry: RankedEntry) -> tuple[str, str]:
    head = entry.runs[0].headline
    targets = f"{head.targets} backbone{'s' if head.targets != 1 else ''} an entry, " if head else ""
    people = f"{entry.leakage.n} {entry.leakage.unit} attacked, {entry.utility.n} verified"
    return "Trust", f"{BOARDS[entry.scope.board]}; {targets}{people}; 95 % intervals over people, differences paired."


def _sentence(entry: RankedEntry) -> str:
    name = entry.runs[0].title
    return f"{name[:1].upper()}{name[1:]} recognises {_number(entry.utility)}; {_found(entry)}."


def _found(entry: RankedEntry) -> str:
    """``it leaks 0.120 [0.086, 0.153]``, or that nothing was found and what cannot be ruled out."""
    if entry.nothing_found:
        limit = "" if entry.leakage.high is None else f" (up to {entry.leakage.high:.2f} is not ruled out)"
        return f"nothing was found{limit}"
    return f"it leaks {_number(entry.leakage)}"


def _number(axis: Axis) -> str:
    return interval_text(axis.value, axis.low, axis.high)


def _change(change: Gain) -> str:
    """``-0.346 [-0.383, -0.315]``."""
    if change.value is None:
        return "no difference can be stated"
    bare = change.low is None or change.high is None
    return f"{change.value:+.3f}" if bare else f"{change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}]"
