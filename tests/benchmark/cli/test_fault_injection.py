"""Every command under faults at random moments: it ends in words and soon, leaves no process, and resumed it ends alike.

``FACEVEIL_FAULTS`` sets how many moments are tried a command (default 2), ``FACEVEIL_FAULT_KINDS`` of which kinds (default:
all), as in ``FACEVEIL_FAULTS=100 FACEVEIL_FAULT_KINDS=SIGKILL pytest -m slow -k "faults and (evaluate or sweep)"``.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fault_injector
import pytest
from fault_injector import Ending, Fault, left_behind, warm
from onnx_files import small
from PIL import Image
from safetensors.numpy import load_file
from tiny_world import FLOW

from benchmark.cli.groups import GROUPS
from benchmark.data.populations import open_populations
from benchmark.runtime.interrupts import INTERRUPTED
from benchmark.service.jobs import Job
from benchmark.service.store import Store, record_id

FAULTS = int(os.environ.get("FACEVEIL_FAULTS", "2"))
KINDS = [Fault(kind) for kind in os.environ.get("FACEVEIL_FAULT_KINDS", "").split(",") if kind] or list(Fault)
PATIENCE = 30.0  # seconds from a fault to the end of all processes, on a busy machine; of a signal the test says what it took
EARLY = 20  # calls before a command has said what SIGTERM is to do
SIGNALS = (Fault.TERM, Fault.INT, Fault.KILL)
AGAIN = 3  # runs after a fault: a queue's job that failed is tried once more
VOLATILE = (
    "seconds",
    "created",
    "memory",
    "moment",
    "opened",
    "updated",
    "queued",
    "consent",
    "lease",
    "dates",
    "per_second",
)
SMALL = ("--set", "images=64", "--set", "warmup_images=32")
TRACK = ("--track", FLOW.name)
CPU = ("--device", "cpu", "--json")


@dataclass(frozen=True)
class Case:
    """A command: its arguments in the prepared folder, what it needs done before, and whether what it prints is the result."""

    arguments: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()
    prints: bool = False


def reads(*arguments: str) -> Case:
    return Case((*arguments, "--json"), prints=True)


SUBMIT = ("submit", "entry.zip", "--yes", "--json")
CASES = {
    "list": reads("list", "defenses"),
    "train": Case(("train", *TRACK, "--out", "made", *CPU)),
    "train dp": Case(("train", *TRACK, "--defense", "dp_sgd", "--out", "made", *CPU)),
    "import": Case(("import", "net.onnx", "--out", "made", "--json")),
    "sweep": Case(("sweep", "grid.yaml", "--out", "made", "--workers", "2", "--device", "cpu")),
    "generator": Case(("generator", "train", *TRACK, "--out", "made.safetensors", *SMALL, *CPU)),
    "data check": reads("data", "check", "members"),
    "data export": Case(("data", "export", *TRACK, "--out", "made")),
    "data pack": Case(("data", "pack", "members", "--out", "made")),
    "data preview": Case(("data", "preview", *TRACK, "--out", "made.png", "--people", "3")),
    "evaluate": Case(("evaluate", "entry", *TRACK, "--out", "made.json", *CPU)),
    "evaluate workers": Case(("evaluate", "entry", *TRACK, "--out", "made.json", "--workers", "2", *CPU)),
    "rank": reads("rank", *TRACK),
    "utility": Case(("utility", "entry", "--data", "members", *CPU), prints=True),
    "panel": Case(("panel", *TRACK, *CPU), prints=True),
    "audit": Case(("audit", "canary", "--canaries", "canary.canaries.json", *CPU), prints=True),
    "audit-model": Case(("audit-model", "entry", "--members", "members", "--nonmembers", "others", *CPU), prints=True),
    "was-i-in-it": Case(("was-i-in-it", "entry", "--mine", "members/p001250", "--others", "others", *CPU), prints=True),
    "attribute": Case(("attribute", "entry", *TRACK, *CPU), prints=True),
    "head-memory": Case(
        ("head-memory", "entry", "--data", "members", "--people", "8", "--photos", "2", "--heads", "3", "--epochs", "1", *CPU),
        prints=True,
    ),
    "invert": Case(
        ("invert", "entry", *TRACK, "--attacks", "random_latents", "--targets", "2", "--reconstructions", "2", *CPU),
        prints=True,
    ),
    "pack": Case(("pack", "entry/model.safetensors", *TRACK, "--team", "us", "--out", "made", "--json")),
    "card": Case(("card", "schema"), prints=True),
    "validate": reads("validate", "entry"),
    "submit": Case(SUBMIT),
    "queue": Case(("queue", "--json"), (SUBMIT,), prints=True),
    "withdraw": Case(("withdraw", "JOB", "--reason", "a fault of ours", "--json"), (SUBMIT,)),
    "worker": Case(("worker", "--once", "--no-inversion", *CPU), (SUBMIT,)),
    "leaderboard": Case(("leaderboard", "--static", "made")),
    "team": Case(("team", "add", "Somebody")),
    "round": reads("round", "list"),
    "store export": Case(("store", "export", "--out", "made.json")),
    "store import": Case(("store", "import", "record.json", "--store", "other.sqlite")),
    "store backup": Case(("store", "backup", "made.backup", "--json"), prints=True),
    "store restore": Case(("store", "restore", "backup", "--store", "other.sqlite", "--json")),
    "bench": reads("bench", "compare", "bench.json", "bench.json"),
}
# of these every step is one of the commands above; alone they take minutes
LONG = {"quickstart": "train, evaluate, rank", "paper": "train, evaluate, invert", "unlearn": "train, evaluate"}


def test_every_command_is_driven() -> None:
    known = {name for commands in GROUPS.values() for name in commands}
    assert {case.split()[0] for case in CASES} | LONG.keys() == known


def photos(folder: Path, role: str) -> None:
    """Faces of the tiny track as files."""
    faces = getattr(open_populations(FLOW), role)
    for name, image in zip(faces.keys, faces.load(range(len(faces))), strict=True):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the commands want: entries, photos, a store with a record."""
    warm()
    root = tmp_path_factory.mktemp("prepared")
    photos(root / "members", "auxiliary")
    photos(root / "others", "verification")
    (root / "net.onnx").write_bytes(small().SerializeToString())
    (root / "grid.yaml").write_text(f"track: {FLOW.name}\nshadows: 0\nentries:\n  - defense: undefended\n")
    (root / "bench.json").write_text(json.dumps({"settings": {}, "seconds": [1.0, 2.0]}))
    done(root, "train", *TRACK, "--out", "entry", "--team", "local", *CPU)
    done(root, "train", *TRACK, "--out", "canary", "--canaries", "8", *CPU)
    done(root, "evaluate", "entry", *TRACK, "--out", "record.json", *CPU)
    shutil.make_archive(str(root / "entry"), "zip", root / "entry")
    done(root, "store", "backup", "backup")
    shutil.rmtree(root / "home" / "cache" / "evaluations")
    return root


def start(root: Path, arguments: Sequence[str], fault: Fault | None = None, moment: int = 0) -> Ending:
    return fault_injector.run([a if a != "JOB" else job_of(root) for a in arguments], root, [FLOW], fault, moment)


def done(root: Path, *arguments: str) -> Ending:
    ending = start(root, arguments)
    assert ending.code == 0, (arguments, ending.out[-2000:], ending.err[-2000:])
    return ending


def job_of(root: Path) -> str:
    store = Store(root / "home" / "store.sqlite")
    try:
        return store.queue.jobs()[0].id
    finally:
        store.close()


def stable(value: Any) -> Any:
    """JSON data without dates, times and memory."""
    if isinstance(value, dict):
        return {k: stable(v) for k, v in value.items() if k not in ("at", "id") and not any(word in k for word in VOLATILE)}
    return [stable(item) for item in value] if isinstance(value, list) else value


def content(path: Path, root: Path) -> Any:
    if path.suffix == ".safetensors":  # beside the tensors there may be dates
        return {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in load_file(path).items()}
    data = path.read_bytes().replace(str(root).encode(), b"ROOT")
    try:
        return stable(json.loads(data))
    except ValueError:
        return hashlib.sha256(data).hexdigest()


def _counts(job: Job) -> bool:
    """Not a job that was never checked, nor one that was refused because the same was handed in before the fault."""
    return bool(job.name) and "already_submitted" not in {problem.code for problem in job.problems}


def result(case: Case, root: Path, ending: Ending) -> Any:
    """All that a command is there for: files, what stands in the store, and what it prints."""
    made = [
        path
        for start in root.glob("made*")
        for path in (start, *start.rglob("*"))
        if path.is_file() and path.suffix not in (".backup", ".sha256")
    ]
    found: dict[str, Any] = {str(path.relative_to(root)): content(path, root) for path in sorted(made)}
    for name in ("home/store.sqlite", "other.sqlite"):
        if (root / name).exists():
            store = Store(root / name)
            found[name] = [
                [stable(json.loads(record.model_dump_json())) for record in store.records()],
                {job.name: str(job.state) for job in sorted(store.queue.jobs(), key=lambda job: job.created) if _counts(job)},
                [team.name for team in store.teams.all()],
            ]
            store.close()
    if case.prints:
        text = ending.out.replace(str(root), "ROOT")
        found["printed"] = stable(json.loads(text)) if text.startswith(("{", "[")) else text
    return found


def let_leases_end(root: Path, when: float = 0.0) -> None:
    """As a minute does, or later: the jobs of killed workers are free."""
    with closing(sqlite3.connect(root / "home" / "store.sqlite")) as database, database:
        database.execute("UPDATE jobs SET lease_until = ? WHERE lease_until IS NOT NULL", (when,))


def half_written(root: Path) -> list[str]:
    """What has a passing name, anywhere, and what is ours in the folder for temporary files."""
    found = (*root.rglob("*.part"), *(root / "temporary").glob("*faceveil*"))
    return sorted(str(path.relative_to(root)) for path in found)


def beside_outputs(root: Path) -> list[str]:
    """Those that nobody looks for but who writes to the same place: not in the home, which is looked through once a day."""
    return [name for name in half_written(root) if not name.startswith(("home/", "temporary/"))]


def again(case: Case, root: Path) -> Ending:
    """Runs a command until it has done its work, as a person would who reads what it says."""
    for _ in range(AGAIN):
        let_leases_end(root)
        ending = start(root, case.arguments)
        assert "Traceback" not in ending.err, ending.err[-3000:]
        store = Store(root / "home" / "store.sqlite")
        failed = [job for job in store.queue.jobs() if job.state == "failed"]
        for job in failed:
            store.queue.retry(job.id, store.teams.local())
        store.close()
        if not failed:
            break
    finished = ("is not empty", "is withdrawn", "not an empty folder", "exists", "already", "cannot be withdrawn", "holds rows")
    assert ending.code == 0 or any(words in ending.err for words in finished), ending.err[-2000:]
    return ending


def disturbed(case: Case, root: Path, fault: Fault, moment: int) -> float | None:
    """Breaks a command at a moment, looks at how it ends; the seconds that took."""
    ending = start(root, case.arguments, fault, moment)
    assert "Traceback" not in ending.err, (fault, moment, ending.err[-4000:])
    killed = fault is Fault.KILL and ending.broken is not None
    early = fault is Fault.TERM and moment <= EARLY and ending.code == -signal.SIGTERM
    if early:  # nothing was begun
        return None
    assert ending.code in ((-signal.SIGKILL,) if killed else (0, 1)), (fault, moment, ending.code, ending.err[-1000:])
    said = ending.err.strip() or '"problems"' in ending.out  # of a submission, in the document
    assert ending.code == 0 or killed or fault is Fault.READER or said, (fault, moment, "it says nothing")
    if ending.broken is None:
        return None
    while left_behind(root):
        assert time.monotonic() < ending.broken + PATIENCE, (fault, moment, "processes are left behind")
        time.sleep(0.02)
    assert killed or half_written(root) == [], (fault, moment)
    return time.monotonic() - ending.broken if fault in SIGNALS else None


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked for in /proc")
def test_a_job_of_killed_workers_is_published_once_by_the_next(prepared: Path, tmp_path: Path) -> None:
    case, rng, root = CASES["worker"], random.Random(0), tmp_path / "killed"
    for place in (tmp_path / "alone", root):
        shutil.copytree(prepared, place)
        with closing(sqlite3.connect(place / "home" / "store.sqlite")) as database, database:
            database.execute("DELETE FROM records")  # of the same entry: it would be found unchanged
        done(place, *SUBMIT)
    alone = done(tmp_path / "alone", *case.arguments)
    expected = result(case, tmp_path / "alone", alone)
    held = 0
    for _ in range(3):  # each gets a little further
        disturbed(case, root, Fault.KILL, rng.randint(alone.counts["calls"] // 10, alone.counts["calls"] // 2))
        with closing(Store(root / "home" / "store.sqlite")) as store:
            (job,) = store.queue.jobs()
            assert job.state in ("queued", "running"), "one killed worker is no reason to give a job up"
            assert not list(store.records())
        if job.state == "running":
            held += 1
            let_leases_end(root, time.time() + 3600)  # however slow this machine is
            assert json.loads(done(root, *case.arguments).out) is None, "the lease of the killed one still holds"
        let_leases_end(root)
    assert held, "no worker was killed over the job"
    assert json.loads(done(root, *case.arguments).out)["state"] == "published"
    assert json.loads(done(root, *case.arguments).out) is None, "nothing is left"
    with closing(Store(root / "home" / "store.sqlite")) as store:
        (job,), (record,) = store.queue.jobs(), list(store.records())
        assert job.record == record_id(record)
    assert result(case, root, alone) == expected


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked for in /proc")
def test_one_ctrl_c_ends_a_sweep_and_what_was_finished_is_kept(prepared: Path, tmp_path: Path) -> None:
    case, root = CASES["sweep"], tmp_path / "ended"
    shutil.copytree(prepared, tmp_path / "alone")
    shutil.rmtree(tmp_path / "alone" / "home" / "cache")
    alone = done(tmp_path / "alone", *case.arguments)
    shutil.copytree(prepared, root)
    shutil.rmtree(root / "home" / "cache")
    ending = start(root, case.arguments, Fault.INT, 2 * alone.counts["calls"] // 3)
    assert ending.broken is not None
    while left_behind(root):
        assert time.monotonic() < ending.broken + PATIENCE, "processes are left behind"
        time.sleep(0.02)
    print(f"the last process was gone {time.monotonic() - ending.broken:.2f} s after Ctrl-C")
    assert ending.code == 1
    assert ending.err.endswith(f"{INTERRUPTED}\n"), ending.err[-1000:]
    assert "failed" not in ending.err
    finished = {path: path.stat().st_mtime_ns for path in (root / "home" / "cache").rglob("*.safetensors")}
    assert finished, "nothing was finished before"
    assert start(root, case.arguments).code == 0
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, "something was trained twice"
    assert result(case, root, alone) == result(case, tmp_path / "alone", alone)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked for in /proc")
@pytest.mark.parametrize("name", CASES)
def test_a_command_under_faults(name: str, prepared: Path, tmp_path: Path) -> None:
    case, rng, slowest = CASES[name], random.Random(zlib.crc32(name.encode())), 0.0

    def place(label: str) -> Path:
        root = tmp_path / label
        shutil.copytree(prepared, root)
        for arguments in case.before:
            done(root, *arguments)
        return root

    root = place("alone")
    alone = done(root, *case.arguments)
    expected = result(case, root, alone)
    kinds: Callable[[], list[Fault]] = lambda: rng.sample(KINDS, len(KINDS))  # noqa: E731
    faults = [fault for _ in range(FAULTS) for fault in kinds()][:FAULTS]
    for number, fault in enumerate(faults):
        root = place(str(number))
        count = alone.counts[fault.counter]
        moment = rng.randint(1, count) if count else 0
        slowest = max(slowest, disturbed(case, root, fault, moment) or 0.0)
        assert result(case, root, again(case, root)) == expected, (fault, moment)
        assert beside_outputs(root) == [], (fault, moment)
        shutil.rmtree(root)
    print(f"{name}: {', '.join(faults)}; {alone.counts}; the last process was gone {slowest:.2f} s after a signal")
