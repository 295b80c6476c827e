"""Tasks run once each, wherever they run; a failure is told."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from worker_tasks import DiesOnce, Note, Sleeps, raises_odd, visible_gpus

from benchmark.interfaces import FaceVeilError
from benchmark.runtime.executor import Engine, Graph, Node
from benchmark.runtime.ray_cluster import RayCluster
from benchmark.runtime.threads import cores, threads_per_process


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


@pytest.mark.slow
def test_on_gpus_of_a_cluster_each_task_has_one_of_its_own():
    """Ray believes in two GPUs here: what is tested is who gets which."""
    ray = pytest.importorskip("ray", reason="needs the extra [cluster]")
    ray.init(num_cpus=4, num_gpus=2, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}})
    try:
        cluster = RayCluster("local", gpu=True)
        assert cluster.slots == 4, "two run, two wait"
        for number in range(4):
            cluster.start(number, visible_gpus)
        found = []
        while len(found) < 4:
            found += cluster.wait(60)
        assert all(one.error is None for one in found)
        assert {one.value for one in found} == {"0", "1"}
    finally:
        ray.shutdown()


def test_a_lost_worker_costs_its_task_only(tmp_path):
    with Engine(workers=2) as engine:
        nodes = [
            Node("dies", DiesOnce(tmp_path / "d")),
            Node("lives", Sleeps(tmp_path / "l")),
            Node("after", Sleeps(tmp_path / "a"), ("dies",)),
        ]
        outcome = engine.run_graph(nodes)
    assert outcome.errors == {}
    assert set(outcome.values) == {"dies", "lives", "after"}


def test_a_task_that_kills_every_worker_is_told_with_the_signal(tmp_path):
    with Engine(workers=2) as engine:
        outcome = engine.run_graph(
            [Node("a", DiesOnce(tmp_path / "a", True)), Node("b", Sleeps(tmp_path / "b"))], keep_going=True
        )
    assert outcome.values == {"b": "b"}
    assert "signal 9" in str(outcome.errors["a"])


def test_workers_are_kept_between_runs_and_end_with_the_engine(tmp_path):
    engine = Engine(workers=2)
    for turn in range(2):
        engine.run([Sleeps(tmp_path / f"{turn}-{n}", 0.2) for n in range(2)])
    first, second = ({(tmp_path / f"{turn}-{n}").read_text() for n in range(2)} for turn in range(2))
    assert first == second
    engine.close()
    assert not any(alive(int(pid)) for pid in first)


def test_an_error_that_cannot_travel_is_told_by_its_text():
    with Engine(workers=2) as engine, pytest.raises(RuntimeError, match="Odd: odd"):
        engine.run([raises_odd, raises_odd])


def test_statuses_tell_what_runs_and_how_long_it_will_take(tmp_path):
    seen = []
    nodes = [
        Node("a", Sleeps(tmp_path / "a", 1.5), kind="sleep", label="first"),
        Node("b", Sleeps(tmp_path / "b"), ("a",), kind="sleep"),
    ]
    durations = tmp_path / "durations.json"
    with Engine(workers=2, durations=durations) as engine:
        engine.run_graph(nodes, seen.append)
        assert any(s.running == ("first (half way)",) for s in seen)
        assert seen[0].seconds_left is None  # nothing was measured yet
        assert [(s.done, s.total) for s in seen if s.finished] == [(1, 2), (2, 2)]
        assert (
            1.4
            < engine.estimate(Graph([Node("c", nodes[0].task, kind="sleep"), Node("d", nodes[0].task, kind="sleep")])) * 2
            < 4
        )


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z" if Path("/proc").exists() else True


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_parent(how, tmp_path):
    code = (
        "import signal, sys; from pathlib import Path; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "  # ignored where the tests run in the background
        "from benchmark.runtime.executor import Engine; from worker_tasks import Sleeps; "
        "Engine(workers=2).run([Sleeps(Path(sys.argv[1]) / str(n), 600) for n in range(2)])"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=environment, stderr=subprocess.DEVNULL)
    files = [tmp_path / "0", tmp_path / "1"]
    deadline = time.monotonic() + 60
    while not all(f.exists() and f.read_text() for f in files):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.send_signal(how)
    parent.wait(60)
    end = time.monotonic() + 60  # two seconds on a machine that is not overloaded
    while any(alive(int(f.read_text())) for f in files):
        assert time.monotonic() < end
        time.sleep(0.05)
