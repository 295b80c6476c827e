"""Where independent tasks run: in this process, in several on this machine, or on a Ray cluster.

A task is a picklable callable that leaves its result on disk under a name of its own, so that tasks can be run anywhere that
sees the folder, in any order, and again after an interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context

import torch

from benchmark.interfaces import FaceVeilError
from benchmark.runtime.threads import cores, threads_per_process

Task = Callable[[], None]
Done = Callable[[int], None]  # called with the number of tasks finished so far


@dataclass(frozen=True)
class Engine:
    """``workers`` processes of one thread each (1: this process), or the Ray cluster at ``address``."""

    workers: int = 1
    address: str | None = None

    @staticmethod
    def fitting(device: torch.device | str, workers: int | None = None, address: str | None = None) -> Engine:
        """The engine that a command's options ask for: by default as many processes as leave no core idle, one on a GPU."""
        if workers is not None and workers < 1:
            raise FaceVeilError(f"--workers must be 1 or more, not {workers}.")
        alone = torch.device(device).type != "cpu"
        return Engine(workers or (1 if alone else max(1, cores() // threads_per_process())), address)

    def run(self, tasks: Sequence[Task], done: Done = lambda _count: None) -> None:
        """Runs every task; the first failure stops those not yet begun and is raised."""
        if self.address is not None:
            _on_ray(tasks, self.address, done)
        elif self.workers == 1 or len(tasks) <= 1:
            for count, task in enumerate(tasks, start=1):
                task()
                done(count)
        else:
            _in_processes(tasks, min(self.workers, len(tasks)), done)


def _limit_threads() -> None:
    torch.set_num_threads(threads_per_process())


def _in_processes(tasks: Sequence[Task], workers: int, done: Done) -> None:
    # spawn, not fork: torch's thread pools and CUDA do not survive a fork
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_limit_threads) as pool:
        futures = [pool.submit(task) for task in tasks]
        try:
            for count, future in enumerate(as_completed(futures), start=1):
                future.result()
                done(count)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _on_ray(tasks: Sequence[Task], address: str, done: Done) -> None:
    try:
        import ray
    except ImportError:
        raise FaceVeilError("a Ray cluster needs the package ray: pip install 'faceveil[cluster]'.") from None
    own = not ray.is_initialized()
    if own:
        ray.init(address=None if address == "local" else address, log_to_driver=False)
    try:
        remote = ray.remote(max_retries=2)(_call)
        waiting = [remote.remote(task) for task in tasks]
        finished = 0
        while waiting:
            ready, waiting = ray.wait(waiting)
            ray.get(ready)
            finished += len(ready)
            done(finished)
    finally:
        if own:
            ray.shutdown()


def _call(task: Task) -> None:
    task()
