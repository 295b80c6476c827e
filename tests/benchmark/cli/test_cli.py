"""The command line: one document on stdout, progress on stderr, refusals that say what to do."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from command_line import document, run
from PIL import Image
from tiny_world import FLOW, TINY, command
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.data.align import COLUMNS, TEMPLATE
from benchmark.interfaces import FaceVeilError
from benchmark.protocol.tracks import TRACKS


@pytest.fixture(autouse=True)
def tracks(monkeypatch):
    for track in (TINY, FLOW):
        monkeypatch.setitem(TRACKS, track.name, track)


def refusal(*arguments) -> str:
    """The message of a command that is refused."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert isinstance(result.exception, FaceVeilError), result.output
    assert result.exit_code == 1
    assert result.stdout == ""
    return str(result.exception)


@pytest.fixture
def no_width(monkeypatch):
    """Tables wide enough to fold nothing."""
    monkeypatch.setenv("COLUMNS", "250")


@pytest.fixture(scope="module")
def unaligned(tmp_path_factory):
    """Forty-two people with four photos each on which nothing is where eyes should be."""
    root = tmp_path_factory.mktemp("unaligned")
    for person in range(42):
        (root / f"person{person}").mkdir()
        for photo in range(4):
            Image.new("RGB", (112, 112), (person, photo, 99)).save(root / f"person{person}" / f"{photo}.png")
    return root


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_training_and_evaluation_say_that_photos_look_unaligned(unaligned, flow, command, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise FaceVeilError("far enough")

    monkeypatch.setattr(f"benchmark.evaluation.session.Session.{command}", stop)
    what = ("--defense", "undefended", "--out", tmp_path / "x") if command == "train" else (flow.submission.path,)
    given = [command, *what, "--track", "faces-112", "--data", unaligned, "--device", "cpu"]
    result = CliRunner().invoke(app, [str(a) for a in given])
    assert str(result.exception) == "far enough"
    assert f"warning: {unaligned}: the photos look unaligned" in result.stderr
    assert "faceveil data align" in result.stderr


# What there is


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("tracks", {"synthetic-quick", "faces-112", "tiny-flow"}),
        ("attacks", {"bn_distance", "regrown_head"}),
        ("defenses", {"undefended", "dp_sgd"}),
        ("backbones", {"mobilefacenet", "iresnet_slim"}),
    ],
)
def test_list(kind, names):
    rows = document("list", kind)
    assert names <= {row["name"] for row in rows}
    assert all(row["summary"] for row in rows)
    text = run("list", kind).stdout
    assert all(name in text for name in names)


def test_one_plug_in_is_listed_with_the_meaning_of_its_settings(fresh_home):
    text = " ".join(run("list", "defenses", "dp_sgd").stdout.split())
    assert "tuning_runs = 1 trainings on the private photos" in text
    assert "(above 0; at most 1000)" in text
    assert document("list", "attacks", "lira")["settings"]
    with pytest.raises(FaceVeilError, match=r"no defense 'dp'.*dp_sgd"):
        run("list", "defenses", "dp")


def test_a_plug_in_file_is_listed(tmp_path, plugin_table):
    file = tmp_path / "mine.py"
    file.write_text(
        "from benchmark.interfaces import Defense, Reference\n\n\n"
        "class Mine(Defense):\n"
        "    '''Does nothing.'''\n\n"
        "    name = 'mine'\n    summary = 'Nothing.'\n    family = 'none'\n"
        "    reference = Reference(title='a test', where='here')\n"
    )
    assert "mine" in {row["name"] for row in document("--plugin", file, "list", "defenses")}


# Wrong usage and refusals


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "nonsense"],
        ["train", "--track", "tiny-flow"],
        ["evaluate"],
        ["nonsense"],
        ["train", "--track", "tiny-flow", "--out", "x", "--set", "no-equals-sign"],
    ],
)
def test_wrong_usage_exits_with_2(arguments, fresh_home):
    result = run(*arguments, code=2)
    assert result.stdout == ""
    assert result.stderr


def test_typos_are_answered_with_the_nearest_name(tmp_path, fresh_home):
    out = tmp_path / "entry"
    train = ["train", "--out", out, "--device", "cpu"]
    assert "Did you mean 'tiny-flow'" in refusal(*train, "--track", "tiny-flaw")
    message = refusal(*train, "--track", "tiny-flow", "--defense", "bn_perturbatoin")
    assert "Did you mean 'bn_perturbation'" in message
    message = refusal(*train, "--track", "tiny-flow", "--defense", "bn_perturbation", "--set", "roh=1")
    assert "no setting 'roh' (did you mean 'rho'?)" in message
    message = refusal(*train, "--track", "tiny-flow", "--defense", "bn_perturbation", "--set", "rho=loud")
    assert "rho" in message
    assert "'loud'" in message
    assert "--backbone NAME" in refusal(*train, "--track", "tiny-flow", "--backbone-set", "width=1")
    assert not out.exists()


@pytest.mark.parametrize(("command", "attack"), [("evaluate", "pair_stack:views=1"), ("invert", "template:latents=none")])
def test_what_is_wrong_is_said_before_photos_are_opened(command, attack, flow, tmp_path, fresh_home, monkeypatch):
    monkeypatch.setattr("benchmark.evaluation.session.open_populations", lambda *_: pytest.fail("photos were opened"))
    assert "no_such" in refusal(command, tmp_path / "no_such", "--track", FLOW.name)
    assert "no_such" in refusal(command, flow.submission.path, "--track", FLOW.name, "--init", tmp_path / "no_such")
    name, _, setting = attack.partition(":")
    text = refusal(command, flow.submission.path, "--track", FLOW.name, "--attacks", attack)
    assert f"attack {name!r}: {setting.partition('=')[0]}: " in text


def test_data_is_asked_for_where_it_is_needed_alone(tmp_path, fresh_home):
    assert "pass --data PATH" in refusal("train", "--track", "faces-112", "--out", tmp_path / "a")
    assert "leave out --data" in refusal("train", "--track", "tiny-flow", "--out", tmp_path / "a", "--data", tmp_path)


def test_nothing_is_overwritten(tmp_path, fresh_home):
    (tmp_path / "mine.txt").write_text("keep me")
    assert "is not empty" in refusal("train", "--track", "tiny-flow", "--out", tmp_path)
    assert "is not empty" in refusal("import", tmp_path / "mine.txt", "--out", tmp_path)
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["mine.txt"]
    assert (tmp_path / "mine.txt").read_text() == "keep me"


def test_an_empty_store_says_how_to_fill_it(fresh_home):
    assert "faceveil quickstart" in refusal("rank", "--track", "tiny-flow")


def test_the_installed_command_turns_errors_into_messages(tmp_path):
    environment = os.environ | {"FACEVEIL_HOME": str(tmp_path)}
    arguments = [*command(), "rank", "--track", "tiny-flaw"]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error:")
    assert "Did you mean 'tiny-flow'" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


# The whole way


def test_from_training_to_the_export(tmp_path, fresh_home, no_width):
    entry, file = tmp_path / "entry", tmp_path / "record.json"
    train = run("train", "--track", "tiny-flow", "--out", entry, "--team", "us", "--device", "cpu", "--json")
    made = json.loads(train.stdout)
    assert made["out"] == str(entry)
    assert made["defense"] == "undefended"
    assert "training undefended" in train.stderr
    assert document("validate", entry) == {"path": str(entry), "valid": True, "problems": [], "flags": []}

    evaluation = run("evaluate", entry, "--track", "tiny-flow", "--device", "cpu", "--json", "--out", file)
    record = json.loads(evaluation.stdout)
    assert "attack bn_distance" in evaluation.stderr
    assert record == json.loads(file.read_text(encoding="utf-8"))
    assert record["complete"]
    assert record["board"] == "verified"
    assert record["provenance"]["submission_id"] == made["submission_id"]

    (ranked,) = document("rank", "--track", "tiny-flow")["tables"]
    (row,) = ranked["entries"]
    assert row["rank"] == 1
    assert row["utility"][0] == record["headline"]["utility"]["value"]
    assert row["leakage"][0] == record["headline"]["leakage"]["value"]
    (exported,) = json.loads(run("store", "export", "--format", "json").stdout)
    assert exported == record
    (line,) = csv.DictReader(io.StringIO(run("store", "export", "--format", "csv").stdout))
    assert (line["team"], line["submission_id"]) == ("us", made["submission_id"])
    assert float(line["leakage"]) == pytest.approx(record["headline"]["leakage"]["value"])
    run("store", "export", "--out", tmp_path / "all.json")
    assert json.loads((tmp_path / "all.json").read_text(encoding="utf-8")) == [record]
    assert document("store", "import", file) == {"unchanged": 1}

    text = run("evaluate", entry, "--track", "tiny-flow", "--device", "cpu").stdout
    for attack in record["membership"]:
        assert attack["spec"]["name"] in text
    assert "blind gate" in text
    assert made["name"] in run("rank", "--track", "tiny-flow").stdout
    few = document("evaluate", entry, "--track", "tiny-flow", "--device", "cpu", "--attacks", "embedding_norm")
    assert not few["complete"]
    assert few["unranked"]
    assert json.loads(run("store", "export").stdout) == [record], "a quick look is not stored"


def test_an_invalid_submission_is_refused_with_every_problem(flow, tmp_path):
    folder = tmp_path / "entry"
    folder.mkdir()
    for source in flow.submission.path.iterdir():
        (folder / source.name).write_bytes(source.read_bytes())
    assert document("validate", folder)["valid"]
    (folder / "notes.pkl").write_bytes(b"\x80\x04.")
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"colour": "blue"}))
    report = document("validate", folder, code=1)
    assert not report["valid"]
    assert len(report["problems"]) >= 2
    assert all(p["code"] and p["message"] and p["remedy"] for p in report["problems"])
    text = " ".join(p["message"] for p in report["problems"])
    assert "notes.pkl" in text
    assert "colour" in text
    assert "refused" in run("validate", folder, code=1).stdout
    assert "notes.pkl" in refusal("evaluate", folder, "--track", "tiny-flow", "--device", "cpu")


# Data


def test_data_preview_draws_rows_of_people(tmp_path, fresh_home):
    out = tmp_path / "faces.png"
    run("data", "preview", "--track", "tiny-flow", "--out", out, "--people", 3, "--photos", 2)
    with Image.open(out) as picture:
        width, height = picture.size
        assert width * 3 == height * 2
        assert np.asarray(picture).std() > 5


def test_data_export_writes_what_is_trained_on(tmp_path, fresh_home):
    out = tmp_path / "members"
    run("data", "export", "--track", "tiny-flow", "--out", out)
    assert len(list(out.rglob("*.png"))) == FLOW.roles.members * FLOW.roles.seen
    assert "not an empty folder" in refusal("data", "export", "--track", "tiny-flow", "--out", out)
    for role in ("held_out", "nonsense"):
        message = refusal("data", "export", "--track", "tiny-flow", "--out", tmp_path / "b", "--role", role)
        assert "members, verification, public, auxiliary, judges" in message
    assert not (tmp_path / "b").exists()


@pytest.fixture
def faces(tmp_path) -> Path:
    """Two people with two photos of 112 pixels each, and a file that is no image."""
    rng = np.random.default_rng(0)
    for name in ("ann/1.png", "ann/2.png", "bob/1.png", "bob/2.png"):
        path = tmp_path / "faces" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (112, 112, 3), dtype=np.uint8)).save(path)
    (tmp_path / "faces" / "bob" / "3.png").write_bytes(b"no image")
    return tmp_path / "faces"


def test_data_check_names_what_cannot_be_used(faces, fresh_home):
    report = document("data", "check", faces)
    assert (report["people"], report["photos"]) == (2, 4)
    (skipped,) = report["skipped"]
    assert skipped["name"].endswith("bob/3.png")
    assert skipped["reason"]
    assert "bob/3.png" in run("data", "check", faces).stdout
    assert "no such file" in refusal("data", "check", faces / "nowhere")


def test_data_align_by_the_template_changes_little(faces, tmp_path, fresh_home):
    landmarks = tmp_path / "landmarks.csv"
    with landmarks.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for name in ("ann/1.png", "bob/2.png"):
            rows.writerow([name, *TEMPLATE.ravel()])
    text = run("data", "align", faces, "--landmarks", landmarks, "--out", tmp_path / "aligned").stdout
    assert "wrote 2 photos" in " ".join(text.split())
    for name in ("ann/1.png", "bob/2.png"):
        before, after = (np.asarray(Image.open(folder / name)).astype(int) for folder in (faces, tmp_path / "aligned"))
        assert np.abs(before - after)[2:-2, 2:-2].max() <= 2
    assert not (tmp_path / "aligned" / "ann" / "2.png").exists()
