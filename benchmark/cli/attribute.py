"""``faceveil attribute``: where a leak sits, in the statistics or in the weights."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.output import Device, Json, emit, err, number, out, pick_device, steps, table
from benchmark.cli.train import Data, open_init

if TYPE_CHECKING:
    from benchmark.records.results import Attribution


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("attribute")(attribute)


def show_attribution(found: Attribution) -> None:
    """The rows as tables, and what they say."""
    for question in dict.fromkeys(row.question for row in found.rows):
        rows = [
            [row.attack, row.contrast, row.case, number(row.auc), "" if row.difference is None else number(row.difference),
             f"{row.auc.n} people, {row.auc.note}"]
            for row in found.rows
            if row.question == question
        ]  # fmt: skip
        table(question.replace("_", " "), ["attack", "contrast", "case", "AUC [95 %]", "difference", "n"], rows)
    for name, reason in found.left_out.items():
        out.print(f"not asked, {name.replace('_', ' ')}: {reason}", markup=False)
    for sentence in found.reading:
        out.print(sentence, markup=False)


def attribute(
    submission: Annotated[Path, typer.Argument(help="Submission folder or zip.")],
    track: Annotated[str, typer.Option(help="See `faceveil list tracks`.")],
    data: Data = None,
    init: Annotated[Path | None, typer.Option(help="The weights that a fine-tuned submission started from.")] = None,
    plot: Annotated[Path | None, typer.Option(help="A picture: .html, or .json (Vega-Lite).")] = None,
    trust_card: Annotated[
        bool, typer.Option("--trust-card", help="Trust the seed on the card of weights that were not trained here.")
    ] = False,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Train a backbone on public people to compare with, where there is none yet.")
    ] = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measures how much of a leak sits in the BatchNorm statistics and how much in the weights."""
    from benchmark.evaluation import findings
    from benchmark.evaluation.membership import attribution
    from benchmark.evaluation.session import open_track_data
    from benchmark.evaluation.verified import trained_here
    from benchmark.runtime.home import cache_dir
    from benchmark.service.store import Store
    from benchmark.submissions.submission import load_submission
    from leaderboard.charts.attribution import check_suffix, save

    if plot is not None:
        check_suffix(plot)  # first, so that a wrong name costs nothing
    entry = load_submission(submission)
    with steps() as progress:
        progress.step("opening the photos")
        populations = open_track_data(track, data)
        subject = attribution.Subject(
            entry, populations, cache_dir(), pick_device(device), open_init(init),
            order_known=trust_card or trained_here(cache_dir(), entry, populations) is not None, train_shadow=shadow,
        )  # fmt: skip
        found = attribution.attribute(subject, progress.step)
    if plot is not None:
        save(found, plot)
        err.print(f"  wrote {plot}", markup=False)
    fields = findings.save(cache_dir(), entry.submission_id, populations.track.name, found)
    with closing(Store()) as store:
        stored = store.amend_record(entry.submission_id, populations.track.name, fields)
    if not stored:
        err.print("  kept for the record of this submission, which `faceveil evaluate` writes")
    emit(found.model_dump(mode="json"), json, lambda: show_attribution(found))
