"""Heartbeats: a thread that renews a lease while its job is worked on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmark.service.database import StoreError
from benchmark.service.jobs import Lease, LeaseLostError
from benchmark.service.leases import Leases

BEATS = 4  # in one lease, so that some may fail


class Heart:
    """Whether a lease still holds, as far as the last heartbeat could tell."""

    def __init__(self, leases: Leases, lease: Lease) -> None:
        self._leases = leases
        self._lease = lease
        self._over = threading.Event()
        self._lost = threading.Event()

    def check(self) -> None:
        """To be called between steps of the work.

        Raises:
            LeaseLostError: the job is no longer ours.
        """
        if self._lost.is_set():
            raise LeaseLostError(
                f"job {self._lease.job.id} is no longer held by {self._lease.worker}: withdrawn, or taken up again."
            )

    def beat(self) -> None:
        """Renews the lease until :meth:`stop`; a store that cannot be reached is asked again."""
        while not self._over.wait(self._leases.limits.lease_seconds / BEATS):
            try:
                if not self._leases.heartbeat(self._lease):
                    self._lost.set()
                    return
            except StoreError:
                continue  # the lease may still hold; if it does not, the next step is refused

    def stop(self) -> None:
        """Ends the heartbeats."""
        self._over.set()


@contextmanager
def heartbeat(leases: Leases, lease: Lease) -> Iterator[Heart]:
    """Renews a lease while the block runs."""
    heart = Heart(leases, lease)
    thread = threading.Thread(target=heart.beat, name=f"heart {lease.job.id}", daemon=True)
    thread.start()
    try:
        yield heart
    finally:
        heart.stop()
        thread.join()
