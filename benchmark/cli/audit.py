"""``faceveil audit``: what canaries prove about a training, beside what its accountant promises."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.output import Device, Json, emit, err, number, out, pick_device, steps, table
from benchmark.cli.train import Data
from benchmark.interfaces import FaceVeilError

if TYPE_CHECKING:
    from benchmark.records.results import CanaryAudit


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("audit")(audit)


def show_audit(found: CanaryAudit) -> None:
    """The bounds as a table."""
    what = (
        f"{found.canaries} canaries ({found.kind}, unit {found.unit}), {found.included} of them trained on, seed {found.seed}"
    )
    out.print(f"{what}{'; CONTROL: none of them was trained on' if found.control else ''}", markup=False)
    out.print(f"score: {found.attack}; AUC {number(found.auc)}", markup=False)
    rows = [
        [f"lower, {bound.method.replace('_', ' ')}, {bound.confidence:.0%}", f"{bound.epsilon:.3f}", f"{bound.ceiling:.3f}",
         f"{bound.delta:.2e}", str(bound.n), bound.detail, bound.hypothesis]
        for bound in found.lower
    ]  # fmt: skip
    if found.upper is not None:
        rows.append(
            ["upper, accountant", f"{found.upper.epsilon:.3f}", "", f"{found.upper.delta:.2e}", "", found.upper.accountant, ""]
        )
    columns = ["bound", f"epsilon per {found.unit}", "ceiling of n", "delta", "n", "how", "holds if"]
    table("", columns, rows)
    if found.note:
        out.print(f"no upper bound: {found.note}", markup=False)


def audit(
    submission: Annotated[Path, typer.Argument(help="A submission that was trained with --canaries.")],
    canaries: Annotated[Path, typer.Option(help="The secret .canaries.json that the training wrote beside it.")],
    data: Data = None,
    control: Annotated[
        bool, typer.Option(help="The submission was trained on none of these canaries: a check that must find nothing.")
    ] = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measures a lower bound of epsilon on canaries and sets it beside the claimed upper bound.

    Exits with 1 where the lower bound exceeds the claim.
    """
    from benchmark.evaluation import findings
    from benchmark.evaluation.audit.canaries import read_canaries
    from benchmark.evaluation.audit.canary_audit import audit_canaries, check_claim, open_canaries
    from benchmark.evaluation.session import open_track_data
    from benchmark.runtime.home import cache_dir
    from benchmark.service.store import Store
    from benchmark.submissions.submission import load_submission

    secret = read_canaries(canaries)
    entry = load_submission(submission)
    if not control and entry.submission_id != secret.submission_id:
        raise FaceVeilError(
            f"{canaries} is the secret of other weights than {submission}: pass the file beside it, or --control to check that "
            "nothing is found on weights that never saw these canaries."
        )
    with steps() as progress:
        progress.step("opening the photos")
        populations = open_track_data(secret.track, data)
        progress.step("scoring canaries")
        found = audit_canaries(
            entry, populations, open_canaries(secret, populations),
            device=pick_device(device), cache=cache_dir() / "signals", control=control,
        )  # fmt: skip
    emit(found.model_dump(mode="json"), json, lambda: show_audit(found))
    if control:
        return
    fields = findings.save(cache_dir(), entry.submission_id, secret.track, found)
    with closing(Store()) as store:
        stored = store.amend_record(entry.submission_id, secret.track, fields)
    if not stored:
        err.print("  kept for the record of this submission, which `faceveil evaluate` writes")
    check_claim(found)
