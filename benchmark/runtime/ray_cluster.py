"""Tasks on a Ray cluster whose nodes see the same folders."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmark.interfaces import FaceVeilError
from benchmark.runtime.graph import Task
from benchmark.runtime.memory import freed_memory_kept
from benchmark.runtime.pools import Finished
from benchmark.runtime.threads import VARIABLES

RETRIES = 3  # of a task whose worker or node is lost


class RayCluster:
    """One task a core of the cluster, or a GPU; those of a lost node run again elsewhere.

    Args:
        address: of the cluster, ``auto`` for the one that this machine belongs to, or ``local`` for one of its own.
        gpu: each task takes a GPU.

    Raises:
        FaceVeilError: Ray is not installed, or no cluster answers at the address.
    """

    def __init__(self, address: str, gpu: bool = False) -> None:
        try:
            import ray
        except ImportError:
            raise FaceVeilError("a Ray cluster needs the package ray: pip install 'faceveil[cluster]'.") from None
        self._ray = ray
        self._own = not ray.is_initialized()
        self.notes: dict[int, str] = {}
        self._numbers: dict[Any, int] = {}
        if self._own:
            variables = {name: value for name, value in os.environ.items() if name.startswith("FACEVEIL_") or name in VARIABLES}
            try:
                ray.init(
                    address=None if address == "local" else address,
                    log_to_driver=False,
                    logging_level=logging.WARNING,
                    runtime_env={"env_vars": variables},
                )
            except ConnectionError as error:
                raise FaceVeilError(f"no Ray cluster answers at {address!r}: {error}") from None
        self._gpu = gpu
        options: dict[str, Any] = {"max_retries": RETRIES, "num_cpus": 1} | ({"num_gpus": 1} if gpu else {})
        self._call = ray.remote(**options)(_call)

    @property
    def slots(self) -> int:
        """Twice what the cluster can run at once, as it is now: tasks wait there, and no node is idle between two."""
        found = self._ray.cluster_resources()
        return 2 * max(1, int(found.get("GPU" if self._gpu else "CPU", 1)))

    def start(self, number: int, task: Task) -> None:
        self._numbers[self._call.remote(task)] = number

    def wait(self, timeout: float) -> list[Finished]:
        if not self._numbers:
            return []
        ready, _ = self._ray.wait(list(self._numbers), num_returns=1, timeout=timeout)
        found = []
        for reference in ready:
            number = self._numbers.pop(reference)
            try:
                value, seconds, processor = self._ray.get(reference)
            except self._ray.exceptions.RayTaskError as error:
                found.append(Finished(number, None, error.cause))
            except self._ray.exceptions.RayError as error:
                lost = FaceVeilError(f"{1 + RETRIES} workers of the cluster were lost on this step: {error}")
                found.append(Finished(number, None, lost))
            else:
                found.append(Finished(number, value, None, seconds, processor))
        return found

    def close(self) -> None:
        for reference in self._numbers:
            self._ray.cancel(reference, force=True)
        self._numbers.clear()
        if self._own:
            self._ray.shutdown()


@contextmanager
def ray_nodes(count: int) -> Iterator[Any]:
    """A Ray cluster on this machine: a head without cores and ``count`` nodes (``.nodes``) of one core each."""
    try:
        from ray.cluster_utils import Cluster
    except ImportError:
        raise FaceVeilError("Ray nodes need the package ray: pip install 'faceveil[cluster]'.") from None
    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    cluster.nodes = [cluster.add_node(num_cpus=1) for _ in range(count)]
    cluster.wait_for_nodes()
    try:
        yield cluster
    finally:
        cluster.shutdown()


def _call(task: Task) -> tuple[Any, float, float]:
    started, processor = time.perf_counter(), time.process_time()
    with freed_memory_kept():
        value = task()
    return value, time.perf_counter() - started, time.process_time() - processor
