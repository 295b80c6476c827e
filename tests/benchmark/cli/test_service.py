"""The submission service on the command line: from handing in to the board and back, and the store in files."""

from __future__ import annotations

import hashlib
import re

import pytest
from command_line import document, run
from record_factory import make_record
from submission_factory import make_submission

from benchmark.interfaces import FaceVeilError
from benchmark.service.intake import Intake
from benchmark.service.quarantine import Quarantine
from benchmark.service.store import Store

TEAM = "Nordlicht"


@pytest.fixture
def evaluation(monkeypatch):
    """Stands for the evaluation of the worker: a made-up record, or a fault."""
    state = {"fails": False}

    def standard(_data, _device, _init, *, inversion=True, held=None):
        def evaluate(_path, job, progress):
            progress.step("a made-up evaluation")
            if state["fails"]:
                raise RuntimeError("out of luck")
            made = make_record(job.name, track=job.track, team=job.team, board="weights")
            origin = {"submission_id": job.submission_id, "weights_sha256": job.weights_sha256}
            return made.model_copy(update={"provenance": made.provenance.model_copy(update=origin)})

        return evaluate

    monkeypatch.setattr("benchmark.service.worker.standard_evaluation", standard)
    return state


@pytest.fixture
def service(tmp_path, monkeypatch, fresh_home):
    """A team's token, and a packed entry of it; everything in a store of this test's own."""
    monkeypatch.setenv("FACEVEIL_STORE_URL", str(tmp_path / "store.sqlite"))
    monkeypatch.setenv("FACEVEIL_QUARANTINE", str(tmp_path / "quarantine"))
    token = run("team", "add", TEAM).stdout.strip()
    make_submission(tmp_path / "entry", name="mine", team=TEAM, track="synthetic-quick", licence="CC-BY-4.0")
    return token, tmp_path / "entry"


def submit(token, entry):
    return document("submit", entry, "--token", token, "--yes")


def test_from_handing_in_to_the_board_and_back(service, evaluation):
    token, entry = service
    with pytest.raises(FaceVeilError, match="token"):  # before anybody is asked to agree
        run("submit", entry, "--token", "fv_wrong")
    with pytest.raises(FaceVeilError, match="pass --yes to agree"):  # nobody sits at a terminal here
        run("submit", entry, "--token", token)
    said = run("submit", entry, "--token", token, "--yes")
    job = re.search(r"id: ([0-9a-f]{16})", said.stdout)[1]
    assert f"faceveil queue {job}" in said.stderr
    assert document("queue", job)["job"]["position"] == 1
    assert document("worker", "--once", "--device", "cpu")["state"] == "published"
    assert document("worker", "--once", "--device", "cpu") is None  # nothing to do: it ends
    assert "a made-up evaluation" in [event["text"] for event in document("queue", job)["log"]]
    assert document("team", "list")[0]["published"] == 1
    assert "published at: faceveil leaderboard, page Queue" in run("queue", job).stdout
    assert job in run("queue").stdout  # whole in 80 columns

    with pytest.raises(FaceVeilError, match="another team's"):
        run("withdraw", job, "--token", run("team", "add", "Others").stdout.strip())
    withdrawn = document("withdraw", job, "--token", token, "--reason", "a bug in our training")
    assert withdrawn["state"] == "withdrawn"
    assert "a bug in our training" in document("queue", job)["log"][-1]["text"]
    (record,) = Store().records()
    assert any("withdrawn" in reason for reason in record.unranked)  # it stays, unranked
    assert document("queue", "--state", "withdrawn")["jobs"][0]["id"] == job


def test_a_failed_job_says_why_and_is_tried_again(service, evaluation):
    token, entry = service
    job = submit(token, entry)["id"]
    evaluation["fails"] = True
    assert document("worker", "--once", "--device", "cpu")["state"] == "failed"
    told = run("queue").stdout
    assert "out of luck" in told
    assert f"faceveil queue {job} --retry" in told
    evaluation["fails"] = False
    assert document("queue", job, "--retry", "--token", token)["job"]["state"] == "queued"
    assert document("worker", "--once", "--device", "cpu")["state"] == "published"
    with pytest.raises(FaceVeilError, match="published"):
        run("queue", job, "--retry", "--token", token)
    run("queue", "--retry", code=2)


def test_a_worker_leaves_other_tracks_alone(service, evaluation):
    job = submit(*service)["id"]
    assert document("worker", "--once", "--track", "synthetic-64", "--device", "cpu") is None
    assert document("queue", job)["job"]["state"] == "queued"
    with pytest.raises(FaceVeilError, match="synthetic-quick"):
        run("worker", "--once", "--track", "synthetic-quik")


def test_a_store_goes_into_one_file_and_back_and_its_records_into_another(service, evaluation, tmp_path):
    job = submit(*service)["id"]
    run("worker", "--once", "--device", "cpu")
    rows = document("store", "backup", tmp_path / "all.zip")
    other = tmp_path / "other.sqlite"
    assert document("store", "restore", tmp_path / "all.zip", "--store", other) == rows
    assert document("queue", job, "--store", other) == document("queue", job)
    with pytest.raises(FaceVeilError, match="holds rows"):  # never over what is there
        run("store", "restore", tmp_path / "all.zip", "--store", other)

    run("store", "export", "--out", tmp_path / "records.json")
    run("store", "export", "--thin", "--out", tmp_path / "thin.json")
    assert (tmp_path / "thin.json").stat().st_size < (tmp_path / "records.json").stat().st_size
    new = tmp_path / "new.sqlite"
    assert document("store", "import", tmp_path / "records.json", "--store", new) == {"added": 1}
    assert document("store", "import", tmp_path / "thin.json", "--store", new) == {"unchanged": 1}  # the fuller one stays
    assert Store(new).records() == Store().records()
    run("store", "export", "--thin", "--format", "csv", code=2)


def test_a_round_from_its_hash_to_its_secret(service, evaluation):
    begun = document("round", "new")
    name = begun["secret_sha256"]
    (row,) = document("round", "list")
    assert (row["here"], row["secret"]) == (True, None)
    assert begun["track_suffix"] == f"@{name[:12]}"
    assert document("worker", "--once", "--round", name[:12]) == document("worker", "--once"), "nothing is to be done in either"
    with pytest.raises(FaceVeilError, match="no secret here is of a round"):
        run("worker", "--once", "--round", "0" * 12)
    revealed = document("round", "reveal", name[:12])
    assert hashlib.sha256(bytes.fromhex(revealed["secret"])).hexdigest() == name
    assert document("round", "add", revealed["secret"])["secret_sha256"] == name


def test_a_record_of_no_round_is_told(service, tmp_path):
    (tmp_path / "record.json").write_text(make_record("plain").model_dump_json())
    with pytest.raises(FaceVeilError, match="was made in no round"):
        run("round", "check", tmp_path / "record.json")
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(FaceVeilError, match="is not a record"):
        run("round", "check", tmp_path / "record.json")


def test_what_was_broken_off_leaves_no_job_that_waits(service, monkeypatch):
    token, entry = service
    with monkeypatch.context() as broken:
        broken.setattr(Intake, "check", lambda *_: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(MemoryError):
            run("submit", entry, "--token", token, "--yes")
    assert [job.state for job in Store().queue.jobs()] == ["withdrawn"]
    assert not list(Quarantine().folder.glob("*.zip"))
    assert submit(token, entry)["state"] == "queued"
