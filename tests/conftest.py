"""What all tests share: a home of their own, one thread, and one backbone that has overfitted."""

from __future__ import annotations

import importlib.util
import os
import random
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from filelock import FileLock

ROOT = Path(__file__).parent.parent
found = importlib.util.find_spec("benchmark")
if found is None or found.origin is None:  # an editable install: the folder tests/benchmark hides the package
    sys.path.insert(0, str(ROOT))


def pytest_configure() -> None:
    os.environ["COLUMNS"] = "200"  # tables in one piece, whatever terminal the tests run in
    torch.set_num_threads(1)
    hypothesis.settings.register_profile("same every time", derandomize=True, deadline=None)
    hypothesis.settings.load_profile("same every time")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Shuffles the tests where FACEVEIL_TEST_ORDER gives a seed: none may depend on which ones ran before."""
    if seed := os.environ.get("FACEVEIL_TEST_ORDER"):
        random.Random(seed).shuffle(items)


@pytest.fixture(autouse=True)
def seeds(request: pytest.FixtureRequest) -> None:
    """What a test draws from a global generator follows from its name, whatever ran before it."""
    seed = zlib.crc32(request.node.nodeid.encode())
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries still draw from it
    torch.manual_seed(seed)


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """FACEVEIL_HOME of this session: nothing is read from, or left in, the user's own."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACEVEIL_HOME", str(folder))
        patch.setenv("FACEVEIL_WORKERS", "1")  # the tests are what runs in parallel
        (folder / "noise.secret").write_text("5e" * 32)  # tests of noise are repeatable
        yield folder


@pytest.fixture
def fresh_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home for one test."""
    folder = tmp_path / "fresh-home"
    monkeypatch.setenv("FACEVEIL_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def testdata() -> Path:
    """The folder of real faces."""
    folder = os.environ.get("FACEVEIL_TEST_DATA", "")
    if not folder:
        pytest.skip("FACEVEIL_TEST_DATA is not set: no real faces to test on")
    if not Path(folder).is_dir():
        pytest.skip(f"FACEVEIL_TEST_DATA names {folder}, which is no folder")
    return Path(folder)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory):
    """The overfitted world of ``tiny_world``; trained when first asked for, once for all processes of a session."""
    from tiny_world import TINY, World

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    world = World(TINY, shared / "tiny")
    with FileLock(shared / "tiny.lock"):
        world.models()
        list(world.shadows())
    return world


@pytest.fixture(scope="session")
def flow(tmp_path_factory: pytest.TempPathFactory):
    """The world in which every step takes a moment and nothing can be concluded."""
    from tiny_world import FLOW, World

    return World(FLOW, tmp_path_factory.mktemp("flow"))


@pytest.fixture
def plugin_table() -> Iterator[Callable[[type], None]]:
    """Adds attacks and defences defined in a test to the registry, for the length of the test."""
    from benchmark.protocol import registry

    def add(plugin: type) -> None:
        group = next(group for group, kinds in registry.GROUPS.items() if issubclass(plugin, kinds))
        registry._add(registry._table(group), plugin)

    yield add
    registry._table.cache_clear()
    registry.tracks.cache_clear()
    registry._from_files.clear()
    registry._files.clear()


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server of this session's own."""
    import postgres_server

    pytest.importorskip("psycopg", reason="the driver of PostgreSQL is not installed")
    if postgres_server.programs() is None:
        pytest.skip("PostgreSQL's programs are not installed")
    with postgres_server.running() as server:
        yield server
