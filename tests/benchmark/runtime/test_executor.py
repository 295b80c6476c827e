"""Tasks run once each, wherever they run; a failure is told."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmark.interfaces import FaceVeilError
from benchmark.runtime.executor import Engine
from benchmark.runtime.threads import cores, threads_per_process


@dataclass(frozen=True)
class Note:
    """Writes the number of its process; picklable, as tasks must be."""

    path: Path
    fails: bool = False

    def __call__(self) -> None:
        if self.fails:
            raise FaceVeilError(f"task {self.path.name} failed")
        with self.path.open("a") as file:
            file.write(f"{os.getpid()}\n")


def notes(folder: Path, count: int) -> list[Note]:
    return [Note(folder / str(n)) for n in range(count)]


def test_in_this_process_tasks_run_in_order_and_are_counted(tmp_path):
    seen: list[int] = []
    Engine().run(notes(tmp_path, 3), seen.append)
    assert seen == [1, 2, 3]
    assert {(tmp_path / str(n)).read_text() for n in range(3)} == {f"{os.getpid()}\n"}


@pytest.mark.slow
def test_other_processes_run_each_task_once(tmp_path):
    seen: list[int] = []
    Engine(workers=2).run(notes(tmp_path, 4), seen.append)
    assert seen == [1, 2, 3, 4]
    written = [(tmp_path / str(n)).read_text().split() for n in range(4)]
    assert all(len(lines) == 1 and lines[0] != str(os.getpid()) for lines in written)


def test_a_failure_stops_what_has_not_begun(tmp_path):
    tasks = [Note(tmp_path / "a"), Note(tmp_path / "b", fails=True), Note(tmp_path / "c")]
    with pytest.raises(FaceVeilError, match="task b failed"):
        Engine().run(tasks)
    assert (tmp_path / "a").exists()
    assert not (tmp_path / "c").exists()


def test_the_default_uses_every_core_of_a_cpu_and_one_process_on_a_gpu():
    assert Engine.fitting("cpu").workers == max(1, cores() // threads_per_process())
    assert Engine.fitting("cuda").workers == 1
    assert Engine.fitting("cpu", 3).workers == 3
    with pytest.raises(FaceVeilError, match="1 or more"):
        Engine.fitting("cpu", 0)


def test_without_ray_the_remedy_is_told(tmp_path):
    if importlib.util.find_spec("ray"):
        pytest.skip("ray is installed")
    with pytest.raises(FaceVeilError, match=r"pip install 'faceveil\[cluster\]'"):
        Engine(address="auto").run(notes(tmp_path, 2))


@pytest.mark.slow
def test_a_ray_cluster_runs_each_task_once(tmp_path):
    pytest.importorskip("ray", reason="needs the extra [cluster]")
    Engine(address="local").run(notes(tmp_path, 3))
    assert all(len((tmp_path / str(n)).read_text().split()) == 1 for n in range(3))
