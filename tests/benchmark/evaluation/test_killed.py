"""kill -9 at random moments of an evaluation and of a sweep: what is resumed ends in the record of an undisturbed run."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable

import pytest
from tiny_world import FLOW, command

from benchmark.records.record import Record

KILLS = int(os.environ.get("FACEVEIL_KILLS", "100"))
PATIENCE = 900  # seconds that an undisturbed run may take on a busy machine


def run(arguments: list[str], environment: dict[str, str]) -> float:
    """Undisturbed; returns its seconds."""
    started = time.monotonic()
    subprocess.run(arguments, env=environment, check=True, capture_output=True, timeout=PATIENCE)
    return time.monotonic() - started


def killed(arguments: list[str], environment: dict[str, str], after: float) -> bool:
    """Killed after some seconds; False where it ended before, which must be well."""
    process = subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert process.wait(after) == 0
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True


def disturb(arguments: list[str], environment: dict[str, str], seconds: float, whole: Callable[[], None]) -> int:
    """Kills a command :data:`KILLS` times, beginning anew whenever it came to its end; returns how often it did.

    Args:
        seconds: what it takes undisturbed: moments are drawn from all of it.
        whole: looks at a finished run and removes what it left.
    """
    rng, kills, ends = random.Random(13), 0, 0
    while kills < KILLS:
        if killed(arguments, environment, rng.uniform(0.2, seconds)):
            kills += 1
        else:
            whole()
            ends += 1
    run(arguments, environment)
    whole()
    return ends + 1


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_evaluation(tmp_path, workers):
    environment = os.environ | {"FACEVEIL_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    entry, out = str(tmp_path / "entry"), tmp_path / "record.json"
    run([*command(), "train", "--track", FLOW.name, "--out", entry], environment)
    arguments = [*command(), "evaluate", entry, "--track", FLOW.name, "--no-keep", "--workers", workers, "--out", str(out)]

    def found() -> Record:
        record = Record.model_validate_json(out.read_text())
        out.unlink()
        for name in ("evaluations", "signals", "gates", "shadows"):
            shutil.rmtree(tmp_path / "home" / "cache" / name)
        return record

    run(arguments, environment)
    undisturbed = found()
    seconds = run(arguments, environment)
    assert found().fingerprint == undisturbed.fingerprint

    def same() -> None:
        assert found().fingerprint == undisturbed.fingerprint

    disturb(arguments, environment, seconds, same)


def numbers(record: Record) -> tuple[object, ...]:
    """Weights, scores and headline: a training that is done again has another duration on its card, and the same weights."""
    scores = [c.scores_sha256 for attack in record.membership for c in attack.contrasts.values()]
    return record.population, record.utility, scores, record.headline


@pytest.mark.slow
def test_a_sweep(tmp_path):
    environment = os.environ | {"FACEVEIL_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    file, out = tmp_path / "grid.yaml", tmp_path / "out"
    file.write_text(f"track: {FLOW.name}\nshadows: 0\nentries:\n  - defense: undefended\n  - defense: early_stopping\n")
    arguments = [*command(), "sweep", str(file), "--out", str(out), "--no-keep", "--workers", "2"]

    def found() -> list[tuple[object, ...]]:
        made = [numbers(Record.model_validate_json(path.read_text())) for path in sorted(out.glob("*/record.json"))]
        shutil.rmtree(out)
        shutil.rmtree(tmp_path / "home" / "cache")
        return made

    seconds = run(arguments, environment)
    undisturbed = found()
    assert len(undisturbed) == 2

    def same() -> None:
        assert found() == undisturbed

    disturb(arguments, environment, seconds, same)
