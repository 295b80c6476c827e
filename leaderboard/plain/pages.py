"""What stands on each plain page: names for the templates, from the board and its records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup

from benchmark.interfaces import Contrast
from benchmark.records.ranking import RankedEntry
from benchmark.records.record import Record
from benchmark.records.results import interval_text
from benchmark.records.runs import Scope
from leaderboard.board.answer import answer
from leaderboard.board.columns import COLUMNS
from leaderboard.board.facts import strongest
from leaderboard.board.frame import rank_text
from leaderboard.board.library import Board
from leaderboard.board.methods import KINDS, methods
from leaderboard.plain import figures
from leaderboard.tables import details, extras

CURVES = 6  # ROC curves drawn of an entry: the strongest


def scope_name(scope: Scope) -> str:
    """``synthetic-quick, protocol 0.3, verified``, as far as it is needed to be told apart."""
    return f"{scope.track}, protocol {scope.protocol_version}, {scope.board}"


def scope_file(scope: Scope, first: Scope) -> str:
    """Where its ranking stands: the first one is the front page."""
    if scope == first:
        return "index.html"
    parts = [scope.track, scope.protocol_version, scope.board, scope.data_digest[:8], scope.split_digest[:8]]
    return f"rankings/{'-'.join(''.join(c if c.isalnum() or c in '._' else '_' for c in part) for part in parts)}.html"


def ranking(board: Board, scope: Scope, root: str) -> dict[str, Any]:
    """The ranking of a scope."""
    frame = board.scopes[scope]
    rows = printed(frame).to_dict("records")
    controls = [row for row in rows if row["control"]]
    ranked = [row for row in rows if not row["control"] and row["place"] != "–"]
    unranked = [row for row in rows if not row["control"] and row["place"] == "–"]
    drawn = frame.dropna(subset=["utility", "leakage"])
    return {
        "title": f"FaceVeil: {scope.track}",
        "answers": answer([board.entries[key] for key in frame["key"]]),
        "tables": [("Controls", controls), ("Defences", ranked), ("Not ranked", unranked)],
        "plot": Markup(figures.pareto(drawn, root)) if len(drawn) else None,
    }


def printed(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its numbers as text."""
    result = frame.copy()
    result["place"] = [rank_text(rank, tied) for rank, tied in zip(frame["rank"], frame["tied"], strict=True)]
    for axis in ("utility", "leakage", "inversion"):
        parts = frame[[axis, f"{axis}_low", f"{axis}_high"]].to_numpy(float)
        result[f"{axis}_text"] = [interval_text(*part) for part in parts]
    for name in ("utility_change", "leakage_change", "gain"):
        parts = frame[[name, f"{name}_low", f"{name}_high"]].to_numpy(float)
        result[f"{name}_text"] = ["–" if v != v else f"{v:+.3f} [{lo:+.3f}, {hi:+.3f}]" for v, lo, hi in parts]
    result["targets"] = ["–" if pd.isna(n) else f"{int(n)}" for n in frame["targets"]]
    return result


def entry(found: RankedEntry, record: Record) -> dict[str, Any]:
    """Everything of an entry, from its first record."""
    card, origin = record.card, record.provenance
    run, known = found.runs[0], methods()
    used = dict.fromkeys(f"defenses/{name}" for name in run.defense_names)
    return {
        "title": run.title,
        "entry": found.label,
        "team": card.team,
        "board": found.scope.board,
        "track": found.scope.track,
        "protocol_version": found.scope.protocol_version,
        "tiles": _tiles(found),
        "remarks": _remarks(found),
        "links": [link for link in card.links if link.startswith(("https://", "http://"))],
        "methods": [(known[key]["title"], method_file(key)) for key in used if key in known],
        "plots": _plots(record),
        "tables": _tables(record),
        "texts": [
            ("Reproduce", f"{details.reproduce(record)}\n\n# sha256 of the weights: {origin.weights_sha256}"),
            ("Card", details.card_text(record)),
            ("Provenance", details.provenance_text(record)),
            ("Attacks without a result", "\n".join(details.not_run(record)) or "none"),
            ("Cite", details.citation(found, record)),
        ],
    }


def _tiles(found: RankedEntry) -> list[tuple[str, str, str]]:
    tiles = [("Rank", rank_text(found.rank, found.tied), f"{found.dominators:,} significantly better")]
    for name, axis in (("Utility, TAR@FAR=1e-3", found.utility), ("Leakage, membership advantage", found.leakage)):
        spread = "" if axis.low is None else f"95 % {axis.low:.3f} – {axis.high:.3f}, "
        tiles.append((name, interval_text(axis.value), f"{spread}n = {axis.n} {axis.unit}"))
    for contrast, name in ((Contrast.SAMPLE, "AUC, seen / unseen photos"), (Contrast.IDENTITY, "AUC, members / others")):
        _, value, low, high = strongest(found.runs, contrast)
        if value is not None:
            tiles.append((name, f"{value:.3f}", "" if low is None else f"95 % {low:.3f} – {high:.3f}"))
    claim = found.runs[0].claim
    if claim:
        tiles.append(("Claimed ε", f"{claim.epsilon:.3g}", f"δ = {claim.delta:.2g}, {claim.scope}"))
    return tiles


def _remarks(found: RankedEntry) -> list[str]:
    lines = [f"not ranked: {reason}" for reason in found.reasons] + list(found.left_out)
    lines += [f"{flag.severity}: {flag.name}: {flag.reason}" for run in found.runs for flag in run.flags]
    return list(dict.fromkeys(lines))


def _plots(record: Record) -> list[tuple[str, Markup, str]]:
    """The attacks' AUC, and the ROC of the strongest on the headline's contrast."""
    plots = []
    frame = details.attack_frame(record)
    if frame["auc"].notna().any():
        svg = figures.dots(details.attack_dots(frame), details.CONTRAST_STYLES, "AUC  (0.5 = chance)", 0.5)
        note = " · ".join(details.CONTRASTS.values()) + ". The last mixes both and never makes the headline."
        plots.append(("Attacks", Markup(svg), note))
    head = record.headline
    points = details.roc_frame(record, head.leakage_contrast) if head else pd.DataFrame()
    if head is not None and len(points):
        kept = points[points["attack"].isin(details.strongest_labels(record, head.leakage_contrast)[:CURVES])]
        note = (
            f"The {kept['attack'].nunique()} strongest attacks on the {head.leakage_contrast} contrast, from one photo of all; "
        )
        note += "the band is a 95 % interval of the TPR that counts each person once."
        plots.append(("ROC", Markup(figures.roc(kept, head.leakage_attack, details.curve_order(record))), note))
    return plots


def _tables(record: Record) -> list[tuple[str, list[str], list[list[str]]]]:
    frames = {"Attacks": details.attack_table(record), "Utility": details.utility_frame(record)}
    frames |= {"Blind gate": details.gate_frame(record), "Cost": details.cost_frame(record)}
    for title, value in extras.sections(record).items():
        frames |= {f"{title}: {name}" if name else title: frame for name, frame in extras.tables(value).items()}
    return [
        (title, list(frame), [[_cell(v) for v in row] for row in frame.to_numpy(object)]) for title, frame in frames.items()
    ]


def _cell(value: Any) -> str:
    if value is None or value is pd.NA or value != value:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def method_file(key: str) -> str:
    """Where the page of ``kind/name`` stands."""
    return f"methods/{key.replace('/', '-')}.html"


def entries_of(board: Board, key: str) -> pd.DataFrame:
    """The entries that use a defence, or to which an attack was the strongest."""
    kind, _, name = key.partition("/")
    frame = board.frame
    if kind == "defenses":
        return frame[[name in names.split(" + ") for names in frame["defense_name"]]]
    column = "leakage_attack" if kind == "membership" else "inversion_attack"
    return frame[frame[column].fillna("").str.split("(").str[0] == name]


def method(board: Board, key: str, root: str) -> dict[str, Any]:
    """One defence or attack: what it does, its settings, its source, and its entries."""
    found, used = methods()[key], entries_of(board, key)
    plot = note = None
    if found["kind"] == "defenses" and len(used):
        track, version, name = used.groupby(["track", "protocol_version", "board"]).size().idxmax()
        frame = board.frame
        alike = (frame["track"] == track) & (frame["protocol_version"] == version) & (frame["board"] == name)
        drawn = frame[alike & (frame["control"] | frame["key"].isin(used["key"]))].dropna(subset=["utility", "leakage"])
        if len(drawn):
            plot = Markup(figures.pareto(drawn, root))
            note = f"Its strengths, and the controls, on {track}, protocol {version}."
    return {
        "title": found["title"],
        "method": found,
        "kind": KINDS[found["kind"]],
        "heading": "Every record of it" if found["kind"] == "defenses" else "Entries on which it was the strongest",
        "rows": printed(used).to_dict("records"),
        "plot": plot,
        "plot_note": note,
    }


def method_list(board: Board) -> dict[str, Any]:
    """All defences and attacks."""
    rows: dict[str, list[Mapping[str, Any]]] = {kind: [] for kind in KINDS}
    for key, found in methods().items():
        file = method_file(key).removeprefix("methods/")
        rows[found["kind"]].append({**found, "file": file, "entries": len(entries_of(board, key))})
    return {"title": "Methods", "kinds": [(f"{KINDS[kind]}s", rows[kind]) for kind in KINDS]}


def about() -> dict[str, Any]:
    """Definitions, protocol, how to cite."""
    from benchmark.protocol.changes import CHANGES
    from leaderboard.charts.drawings import roles, stages
    from leaderboard.views.about import BIBTEX, NUMBERS, PURPOSE

    return {
        "title": "About",
        "purpose": " ".join(PURPOSE.split()),
        "numbers": [(name, text.replace("*", "")) for name, text in NUMBERS.items()],
        "roles": Markup(roles()),
        "stages": Markup(stages()),
        "changes": list(CHANGES.items())[::-1],
        "columns": list(COLUMNS.items()),
        "bibtex": BIBTEX,
    }
