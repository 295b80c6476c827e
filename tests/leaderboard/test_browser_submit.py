"""Handing in and following a submission, in a real browser: good and bad uploads, the queue until it is published."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from board_server import CHROMIUM, serving
from record_factory import make_record
from safetensors.numpy import load_file, save_file
from submission_factory import edit_card, make_submission

from benchmark.service.intake import Intake
from benchmark.service.jobs import State
from benchmark.service.quarantine import Quarantine
from benchmark.service.store import Store
from benchmark.service.worker import Worker

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]
TEAM = "Nordlicht"


class Service:
    """The store behind a board, and a worker for it whose evaluation is a made-up record."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "store.sqlite")
        self.token = self.store.teams.add(TEAM)
        self.worker = Worker(self.store, Intake(self.store, Quarantine(folder / "quarantine")), self._evaluate)
        self.fails = False

    def _evaluate(self, _path, job, progress):
        progress.step("a made-up evaluation")
        if self.fails:
            raise RuntimeError("<b>broken</b>")
        made = make_record(job.name, track="synthetic-64", team=job.team, board="weights")
        origin = made.provenance.model_copy(update={"submission_id": job.submission_id, "weights_sha256": job.weights_sha256})
        return made.model_copy(update={"provenance": origin})


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    return Service(tmp_path_factory.mktemp("service"))


@pytest.fixture(scope="module")
def server(service):
    with serving(Path(service.store.name).parent) as url:
        yield url


@pytest.fixture(scope="module")
def entry(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "entry"
    make_submission(folder, name="<b>bold</b>", team=TEAM, track="synthetic-64", licence="CC-BY-4.0")
    return folder


def zipped(folder: Path, **more: bytes) -> Path:
    """The folder's files (and more) as a zip beside it."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
        for name, data in more.items():
            archive.writestr(name.replace("__", "."), data)
    return path


def open_upload(page, server: str, token: str) -> None:
    page.goto(f"{server}submit")
    page.get_by_role("textbox", name="Team token").fill(token)
    page.get_by_role("textbox", name="Team token").press("Enter")


def upload(page, path: Path) -> None:
    page.locator("input[type=file]").set_input_files(path)
    page.get_by_text(path.name).wait_for()
    page.get_by_role("button", name="Check it").click()


def says(page, text: str) -> None:
    page.get_by_text(text).first.wait_for()


def test_a_good_submission_goes_from_upload_to_the_board(page, server, service, entry):
    open_upload(page, server, service.token)
    upload(page, zipped(entry))
    says(page, "It can be evaluated")
    says(page, "CC-BY-4.0")
    (job,) = service.store.queue.jobs()
    assert job.state == State.VALIDATED  # nothing is queued before consent
    assert page.get_by_role("button", name="Queue it").is_disabled()
    page.get_by_text("I may submit these weights").click()
    page.get_by_role("button", name="Queue it").click()
    says(page, "It is queued")
    page.get_by_role("button", name="Follow it").click()
    page.wait_for_url(re.compile(f"queue.*job={job.id}"))
    says(page, "place 1 in the queue")
    assert service.token not in page.url
    assert service.worker.once().state == State.PUBLISHED
    says(page, "a made-up evaluation")  # the page looks again by itself
    page.get_by_role("button", name="Open its entry").click()
    says(page, f"<b>bold</b> · by {TEAM} · weights")
    page.get_by_role("link", name="Queue").click()
    page.get_by_role("heading", name="Teams").wait_for()


def test_bad_submissions_are_refused_each_with_its_remedy(page, server, service, entry, tmp_path):
    open_upload(page, server, "fvt_wrong")
    says(page, "The token was not accepted")
    assert not page.locator("input[type=file]").count()

    (tmp_path / "no.zip").write_bytes(b"this is not a zip" * 99)
    bad = {"no.zip": tmp_path / "no.zip"}
    for name in ("pickled", "cut", "infinite", "misspelt"):
        bad[name] = shutil.copytree(entry, tmp_path / name)
    weights = bad["cut"] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    tensors = load_file(bad["infinite"] / "model.safetensors")
    first = next(name for name, tensor in tensors.items() if tensor.dtype.kind == "f")
    tensors[first] = tensors[first] * float("nan")
    save_file(tensors, bad["infinite"] / "model.safetensors")
    edit_card(bad["misspelt"], embeding_size=16)
    paths = [zipped(path, **({"model__pt": b"pickle"} if name == "pickled" else {})) if path.is_dir() else path
             for name, path in bad.items()]  # fmt: skip

    open_upload(page, server, service.token)
    told = set()
    for path in paths:
        upload(page, path)
        says(page, "What to do:")
        says(page, "⊘ refused")
        told.add(page.get_by_text("What to do:").first.inner_text())
        page.get_by_role("button", name="Submit another").click()
        page.get_by_text("Submission, a zip").wait_for()
    assert len(told) == 5  # each its own message
    assert not page.get_by_text("Traceback").count()
    refused = [job for job in service.store.queue.jobs() if job.state == State.REFUSED]
    assert len(refused) == 5
    page.goto(f"{server}queue?state=refused&job={refused[0].id}")
    says(page, "What to do:")


def test_a_failed_one_says_why_and_can_be_tried_again_by_its_team(page, server, service, entry, tmp_path):
    folder = shutil.copytree(entry, tmp_path / "fails")
    make_submission(folder, seed=5, name="fails", team=TEAM, track="synthetic-64")
    store, service.fails = service.store, True
    team = store.teams.authenticate(service.token)
    with zipped(folder).open("rb") as stream:
        job = service.worker.intake.submit(team, stream)
    store.queue.enqueue(job.id, team)
    failed = service.worker.once()
    assert (failed.id, failed.state) == (job.id, State.FAILED)
    page.goto(f"{server}queue?job={job.id}")
    says(page, "<b>broken</b>")  # as text
    says(page, "What to do:")
    page.get_by_role("button", name="For its team").click()
    page.get_by_role("textbox", name="Team token").fill(service.token)
    page.get_by_role("textbox", name="Team token").press("Enter")
    page.get_by_role("button", name="Try again").click()
    says(page, "place 1 in the queue")
    service.fails = False
    assert service.worker.once().state == State.PUBLISHED
    says(page, "✓ published")
    assert json.loads(store.record(job.submission_id).model_dump_json())["card"]["name"] == "fails"
