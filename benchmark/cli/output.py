"""What commands print: one JSON document or a table on stdout; progress, logs and errors on stderr."""

from __future__ import annotations

import errno
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmark.cli import logfile
from benchmark.interfaces import FaceVeilError
from benchmark.runtime.progress import duration
from benchmark.runtime.unfinished import remove_abandoned

if TYPE_CHECKING:
    from benchmark.records.results import Metric
    from benchmark.runtime.executor import Status
    from benchmark.runtime.progress import TrainingProgress

if os.environ.get("COLUMNS", "1").strip() == "0":  # as some editors and containers set it: nothing at all would be printed
    del os.environ["COLUMNS"]
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout instead of text.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, envvar="FACEVEIL_WORKERS", help="Processes that work at once; default every core, or one on a GPU."),
]
Ray = Annotated[
    str | None,
    typer.Option("--ray", help="Run the steps on the Ray cluster at this address instead; its nodes see this home."),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, or auto (a GPU where there is one).")]
QUIET = 60.0  # seconds after which a log tells what runs though nothing was finished


def fail(message: str) -> NoReturn:
    """Reports what went wrong and exits with 1."""
    err.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    if logfile.failed is not None:
        err.print(f"log: {escape(str(logfile.failed))}", soft_wrap=True)
    sys.exit(1)


def check_out(out_: Path | None, *read: Path | None) -> None:
    """Refuses at once what could otherwise be told only when the work is done.

    Args:
        read: files, and folders of submissions, that the command reads.

    Raises:
        FaceVeilError: ``out_`` is a folder, or one of the files that are read, or would lie among them.
        OSError: nothing can be written there.
    """
    if out_ is None:
        return
    if out_.is_dir():
        raise FaceVeilError(f"{out_} is a folder; --out takes the name of a file.")
    if out_.exists() and not out_.is_file():  # a pipe or a device
        return
    place = out_.resolve()
    for path in (path.resolve() for path in read if path is not None):
        if place == path or path in place.parents:
            raise FaceVeilError(f"{out_} belongs to what is read; choose another --out.")
    place.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(place.parent)
    if not os.access(place.parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place.parent))


def unreadable(reason: str) -> None:
    """Names a record that is left out."""
    err.print(f"[yellow]left out:[/] {escape(reason)}", soft_wrap=True)


def emit(value: Any, as_json: bool, show: Callable[[], None]) -> None:
    """Prints ``value`` as JSON, or calls ``show``."""
    if as_json:
        print(json.dumps(value, indent=2, default=str), flush=True)  # a full disk is told here, not at the end of Python
    else:
        show()


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], whole: Sequence[int] = ()) -> None:
    """A plain table; cells are text, never markup.  ``whole``: columns that are never wrapped, such as ids and intervals."""
    grid = Table(
        title=escape(title) or None,
        title_justify="left",
        header_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for number, column in enumerate(columns):
        grid.add_column(column, overflow="fold", no_wrap=number in whole)
    for row in rows:
        grid.add_row(*(escape(str(cell)) for cell in row))
    out.print(grid)


def numbered(names: Iterable[str]) -> dict[str, str]:
    """Each name with its number, in order of appearance: long names go below a table, not into it."""
    return {name: str(number) for number, name in enumerate(dict.fromkeys(names), start=1)}


def legend(title: str, numbers: Mapping[str, str]) -> None:
    """The names behind the numbers, one per line."""
    if numbers:
        out.print(f"{title}:")
    for name, number_ in numbers.items():
        out.print(f"{number_:>4}  {name}", markup=False, soft_wrap=True)


def facts(values: Mapping[str, Any]) -> None:
    """Names and values, one per line; nested ones indented, empty ones left out."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            out.print(f"{key}:", markup=False)
            for inner, detail in value.items():
                out.print(f"  {inner}: {detail}", markup=False, soft_wrap=True)
        elif value not in (None, "", {}, []):
            out.print(f"{key}: {value}", markup=False, soft_wrap=True)


def number(metric: Metric | None, digits: int = 3) -> str:
    """``0.812 [0.790, 0.833]``, or why there is no number."""
    if metric is None:
        return "–"
    if metric.value is None:
        return metric.note or "not measurable"
    if metric.low is None or metric.high is None:
        return f"{metric.value:.{digits}f}"
    return f"{metric.value:.{digits}f} [{metric.low:.{digits}f}, {metric.high:.{digits}f}]"


def pick_device(name: str) -> str:
    """The torch device of ``--device``.

    Raises:
        typer.BadParameter: no such device here.
    """
    import torch

    if name != "auto":
        try:
            torch.empty(0, device=name)
        except (RuntimeError, AssertionError) as error:
            raise typer.BadParameter(f"--device {name} cannot be used: {str(error).splitlines()[0]}") from None
        return name
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def settings(pairs: Sequence[str]) -> dict[str, Any]:
    """``key=value`` options as data; values are read as JSON where they can be, as text otherwise.

    Raises:
        typer.BadParameter: a pair without ``=``.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"--set takes key=value, got {pair!r}")
        try:
            found[key] = json.loads(value)
        except json.JSONDecodeError:
            found[key] = value
    return found


def log(text: str) -> None:
    """A line of a log on stderr, with its time."""
    err.print(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {escape(text)}", soft_wrap=True)


class Steps:
    """Progress on stderr: a line with the current step, and a bar while something is trained."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None)
        self._what = ""
        self._told = -math.inf  # when a log heard of tasks

    def step(self, text: str) -> None:
        """The current step."""
        self._what, self._told = text, -math.inf
        logfile.note(text)
        self._progress.update(self._task, description=escape(text), total=None, completed=0)
        if not self._progress.console.is_terminal:
            log(text)

    def tasks(self, status: Status) -> None:
        """How far a graph of tasks is; in a log, a line at its start, after each task, and after a minute without one."""
        self._progress.update(self._task, description=escape(status.line), total=status.total, completed=status.done)
        now = time.monotonic()
        if status.finished is None and now < self._told + QUIET:
            return
        self._told, text = now, status.line
        if status.finished is not None:
            text = f"{status.finished.name}: {duration(status.seconds)}; {text}"
        logfile.note(text)
        if not self._progress.console.is_terminal:
            log(text)

    def training(self, report: TrainingProgress) -> None:
        """One finished epoch."""
        text = f"{self._what}: epoch {report.epoch}/{report.epochs} loss {report.loss:.2f}"
        logfile.note(text)
        self._progress.update(self._task, description=escape(text), total=report.epochs, completed=report.epoch)


def complain(warnings: Iterable[str]) -> None:
    """Warns on stderr about what may be wrong with the input."""
    for warning in warnings:
        logfile.note(f"warning: {warning}")
        err.print(f"warning: {warning}", markup=False, soft_wrap=True)


@contextmanager
def steps() -> Iterator[Steps]:
    """Shows progress while open, and writes it to a log."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
    with logfile.opened(), Progress(*columns, console=err, transient=True) as progress:
        yield Steps(progress)
