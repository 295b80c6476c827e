"""An audit as one self-contained HTML page: no script, nothing fetched, every text escaped, light and dark."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from benchmark.evaluation.audit.curves import line_look, line_numbers, strongest, svg
from benchmark.evaluation.audit.page_style import PAGE_STYLE, STYLE
from benchmark.evaluation.audit.report import AGAINST, QUESTIONS, AuditReport, ExposedPhoto, Verdict
from benchmark.interfaces import Contrast
from benchmark.records.results import Metric, interval_text

TITLES = {
    "leak": "Leak found",
    "nothing_found": "Nothing found",
    "invalid": "No statement possible",
    "not_asked": "Not asked",
}


def page(report: AuditReport) -> str:
    """The whole document."""
    title = f"Privacy audit of {report.name}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<style>{PAGE_STYLE}</style></head><body>{fragment(report)}</body></html>\n"
    )


def fragment(report: AuditReport) -> str:
    """What a notebook shows, and the page's body."""
    sections = [_head(report), _verdicts(report.verdicts), _blind(report)]
    sections += [_curves(report, contrast) for contrast in Contrast if strongest(report, contrast)]
    sections += [_exposed(report.exposed), _not_applicable(report), _recognition(report), _provenance(report)]
    return f'<style>{STYLE}</style><main class="faceveil">{"".join(sections)}</main>'


def _head(report: AuditReport) -> str:
    counts = ", ".join(f"{count:,} {what}" for what, count in report.photos.items())
    known = report.settings.get("known", 0.5)
    unit = "people" if "people" in report.photos else "photos"
    return (
        f"<h1>Privacy audit of {escape(report.name)}</h1><p class=quiet>{escape(counts)}; embeddings of "
        f"{report.embedding_size} numbers. Attacks learned from {known:.0%} of the {unit}; every number is about the others, "
        "with a 95 % interval.</p>"
    )


def _verdicts(verdicts: Sequence[Verdict]) -> str:
    blocks = [
        f'<div class="verdict {v.outcome}"><b>{TITLES[v.outcome]}</b>{escape(QUESTIONS[v.contrast])}<br>'
        f"{escape(v.text.partition(': ')[2])}</div>"
        for v in verdicts
    ]
    return "".join(blocks)


def _blind(report: AuditReport) -> str:
    rows = [
        [escape(p.classifier), escape(QUESTIONS[p.contrast]), _number(p.auc), "<b>tells them apart</b>" if p.invalid else "no"]
        for p in report.blind.probes
    ]
    return (
        "<h2>First, without the model</h2><p>If the two sets can be told apart by their pixels or by how the photos were made, "
        "an attack on the model proves nothing about its training. Intervals are corrected for the number of probes.</p>"
        + _table(["probe", "photos", "AUC [95 %]", "tells them apart?"], rows)
    )


def _curves(report: AuditReport, contrast: Contrast) -> str:
    names = ["auc", "advantage", "tpr@fpr=1e-2", "tpr@fpr=1e-3", "excess_over_blind"]
    best = strongest(report, contrast, len(report.attacks))
    numbers = line_numbers(report)
    legend = "".join(f"<li>{_swatch(numbers[name])}{escape(name)}</li>" for name, _ in strongest(report, contrast))
    rows = [[_code(label), *(_number(found.metrics.get(name)) for name in names)] for label, found in best]
    one = best[0][1]
    return (
        f"<h2>{escape(QUESTIONS[contrast].capitalize())}</h2>"
        f"<figure>{svg(report, contrast)}<figcaption><ul class=legend>{legend}</ul>"
        "<span class=quiet>Dotted: guessing.</span></figcaption></figure>"
        + _table(["attack", "AUC", "best advantage", "TPR at 1 % FPR", "TPR at 0.1 % FPR", "AUC over blind"], rows)
        + f"<p class=quiet>{one.n_positive:,} against {one.n_negative:,} photos of {one.people:,} people. A false positive "
        "rate can be measured from so many photos not trained on that ten false positives are expected.</p>"
    )


def _swatch(number: int) -> str:
    colour, dashes = line_look(number)
    look = f'style="stroke: {colour}; stroke-width: 3" stroke-dasharray="{dashes or "none"}"'
    line = f'<line x1="0" x2="34" y1="5" y2="5" {look}/>'
    return f'<svg viewBox="0 0 34 10" aria-hidden="true">{line}</svg>'


def _exposed(photos: Sequence[ExposedPhoto]) -> str:
    if not photos:
        return ""
    rows = [
        [f"<td class=name>{_breakable(p.key)}</td>", _code(p.attack), f"{p.fpr:.2%}", f"{p.fpr_high:.2%}",
         f"{p.n_negative:,} {AGAINST[p.contrast]}"]
        for p in photos
    ]  # fmt: skip
    columns = ["photo", "attack", "others that score as high", "at most (95 %)", "of"]
    return (
        "<h2>The most exposed photos</h2><p>Photos trained on that the strongest attack gives away first, with "
        "the share of photos not trained on that score at least as high.</p>" + _table(columns, rows)
    )


def _not_applicable(report: AuditReport) -> str:
    rows = [[_code(a.label), escape(a.status.replace("_", " ")), escape(a.reason)] for a in report.attacks
            if a.status != "ok"]  # fmt: skip
    if not rows:
        return ""
    return "<h2>What was not run, and why</h2>" + _table(["attack", "status", "reason"], rows)


def _recognition(report: AuditReport) -> str:
    shown = {name: m for name, m in report.recognition.items() if m.value is not None}
    if not shown:
        return ""
    rows = [[escape(name), _number(metric), f"{metric.n:,} {escape(metric.unit)}"] for name, metric in shown.items()]
    return (
        "<h2>Does it recognise faces?</h2><p>On all photos above, trained on or not. A model that recognises nobody was "
        "probably fed wrongly: check size, crop and normalisation.</p>" + _table(["metric", "value [95 %]", "n"], rows)
    )


def _provenance(report: AuditReport) -> str:
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    settings = "; ".join(f"{key} {_plain(value)}" for key, value in report.settings.items())
    return (
        (f"<h2>Notes</h2><ul>{notes}</ul>" if notes else "")
        + "<h2>How to read this</h2><p>A low figure is no proof of privacy: it says that these attacks, with this knowledge "
        "and this many photos, did not find more.</p>"
        + f"<p class=quiet>Model {escape(report.model)}, weights <code>{escape(report.weights_sha256[:16])}</code>; "
        f"{escape(settings)}.</p>"
    )


def _breakable(text: str) -> str:
    """Escaped, with the places at which a long name may go on in the next line."""
    return re.sub(r"([(=/_])", r"\1<wbr>", escape(text))


def _code(name: str) -> str:
    return f"<code>{_breakable(name)}</code>"


def _plain(value: Any) -> str:
    """A setting as people write it: three equal numbers are one, and no digits of rounding."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        parts = [_plain(item) for item in value]
        return parts[0] if len(parts) == 3 and len(set(parts)) == 1 else " x ".join(parts)
    return str(value)


def _number(metric: Metric | None) -> str:
    if metric is None:
        return "<td>–</td>"
    if metric.value is None:
        return f"<td class=quiet title='{escape(metric.note)}'>not measurable</td>"
    return f"<td class=number>{interval_text(metric.value, metric.low, metric.high)}</td>"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th scope=col>{escape(c)}</th>" for c in columns)
    body = "".join("<tr>" + "".join(c if c.startswith("<td") else f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
