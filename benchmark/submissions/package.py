"""Reads the files of a submission from a folder or a zip that nobody vouches for.

Nothing is ever unpacked: files are opened by the names that a submission may have, after the whole listing has been
checked, and every size is bounded before a byte is read.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from benchmark.runtime.zips import DAMAGED_ZIP
from benchmark.submissions.problems import PackagingError, Problem, listed, shown

CARD, WEIGHTS, HEAD = "card.json", "model.safetensors", "head.safetensors"
ONNX = "model.onnx"  # in place of the weights: a network of any architecture
FILES = (CARD, WEIGHTS, ONNX, HEAD)
MAX_BYTES = {CARD: 256 * 1024, WEIGHTS: 2**30, ONNX: 2**30, HEAD: 2**30}
MAX_ENTRIES = 64
MAX_DIRECTORY = 64 * 1024  # bytes of a zip's central directory
MAX_RATIO = 100  # unpacked / packed; floats reach about 1.1, JSON about 10

_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".joblib", ".npy", ".npz")
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst")
_LITTER = frozenset((".ds_store", "thumbs.db", "desktop.ini"))  # what systems add by themselves; nobody's fault
_REPACK = "Pack again: only card.json, model.safetensors or model.onnx, and perhaps head.safetensors, none of them in a folder."
_END = struct.Struct("<4s4H2LH")  # end of central directory (APPNOTE.TXT 4.3.16)
_ZIP64_LOCATOR, _ZIP64_LOCATOR_SIZE = b"PK\x06\x07", 20


def is_packed(folder: Path) -> bool:
    """True where a submission stands in ``folder``: packing renames it into place as a whole."""
    return (folder / CARD).exists()


@dataclass(frozen=True)
class PackageFile:
    """One file: its size in bytes and how to open it for reading."""

    name: str
    size: int
    open: Callable[[], BinaryIO]

    def read(self) -> bytes:
        """The whole file.

        Raises:
            PackagingError: it is damaged or changed while it was read.
        """
        with self.open() as stream:
            return read_exactly(stream, self.size, self.name)


@dataclass
class Package:
    """The files of a submission that can be read, by name, and what is wrong with the rest."""

    names: set[str] = field(default_factory=set)  # everything in the listing
    sources: dict[str, PackageFile] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    strays: dict[str, list[str]] = field(default_factory=dict)  # names by what is wrong with them, told once for all

    def refuse(self, code: str, message: str, remedy: str = _REPACK) -> None:
        """Notes a problem."""
        self.problems.append(_problem(code, message, remedy))


def _problem(code: str, message: str, remedy: str = _REPACK) -> Problem:
    return Problem(part="packaging", code=code, message=message, remedy=remedy)


def _refusal(code: str, message: str, remedy: str = _REPACK) -> PackagingError:
    return PackagingError([_problem(code, message, remedy)])


def read_exactly(stream: BinaryIO, size: int, name: str) -> bytes:
    """The next ``size`` bytes of a stream.

    Raises:
        PackagingError: there are fewer, or the zip is damaged.
    """
    try:
        data = stream.read(size)
    except DAMAGED_ZIP as error:
        raise _refusal("damaged", f"{name} cannot be read: {shown(str(error), 160)}.") from None
    if len(data) != size:
        raise _refusal("truncated", f"{name} ends after {len(data)} of {size} bytes.")
    return data


@contextmanager
def open_package(path: Path) -> Iterator[Package]:
    """The files of a submission folder or zip, every problem of the listing noted.

    Raises:
        PackagingError: there is no such path, it is neither folder nor zip, or its listing itself is hostile.
    """
    if path.is_dir():
        yield _complete(_from_folder(path))
        return
    try:
        stream = path.open("rb") if path.is_file() else None
    except OSError as error:
        raise _refusal("not_readable", f"{path} cannot be opened: {error.strerror}.", "Give yourself read access.") from None
    if stream is None:
        raise _refusal("not_found", f"{path} is neither a folder nor a file.", "Give the path of a submission folder or zip.")
    with stream, _open_zip(stream, path) as archive:
        yield _complete(_from_zip(archive))


_STRAYS = {
    "folder": (("is a folder or lies in one.", "are folders or lie in one"), _REPACK),
    "extra_file": (("does not belong to a submission.", "do not belong to a submission"), f"Remove it. {_REPACK}"),
}


def _is_litter(name: str) -> bool:
    parts = name.lower().rstrip("/").split("/")
    return "__macosx" in parts or parts[-1] in _LITTER or parts[-1].startswith("._")


def _complete(package: Package) -> Package:
    for code, names in package.strays.items():
        what, remedy = _STRAYS[code]
        one = f"{shown(names[0])}: {what[0]}" if len(names) == 1 else f"{len(names)} files {what[1]}: {listed(sorted(names))}."
        package.refuse(code, one, remedy)
    if CARD not in package.names:
        package.refuse("missing_file", f"{CARD} is missing.")
    models = package.names & {WEIGHTS, ONNX}
    if not models:
        package.refuse("missing_file", f"{WEIGHTS} is missing (or {ONNX} in its place).")
    elif len(models) > 1:
        package.refuse("two_models", f"it holds both {WEIGHTS} and {ONNX}.", "Leave one of them out.")
    return package


def _from_folder(path: Path) -> Package:
    package = Package()
    try:
        entries = os.scandir(path)
    except OSError as error:
        raise _refusal("not_readable", f"{path} cannot be listed: {error.strerror}.", "Give yourself read access.") from None
    with entries:
        for count, entry in enumerate(entries, start=1):
            if count > MAX_ENTRIES:
                raise _refusal("too_many_entries", f"{path} holds more than {MAX_ENTRIES} files.")
            if _is_litter(entry.name):
                continue
            package.names.add(entry.name)
            _add_file(package, entry)
    return package


def _add_file(package: Package, entry: os.DirEntry[str]) -> None:
    status = entry.stat(follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        package.refuse("symlink", f"{shown(entry.name)}: is a symbolic link.", "Put the file itself in its place.")
    elif _check_name(package, entry.name):
        if stat.S_ISREG(status.st_mode):
            _add(package, entry.name, status.st_size, lambda: _open_regular(entry.path))
        else:
            package.refuse("not_a_file", f"{shown(entry.name)}: is not a regular file.")


def _open_regular(path: str) -> BinaryIO:
    """Opens a file without following a link or waiting on a pipe that was put there since the listing."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise _refusal("damaged", f"{shown(path)} cannot be opened: {error.strerror}.") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _refusal("not_a_file", f"{shown(path)}: is not a regular file.")
    return os.fdopen(handle, "rb")


def _open_zip(stream: BinaryIO, path: Path) -> zipfile.ZipFile:
    """Opens a zip whose central directory has been bounded first: ``zipfile`` would read a million entries into memory."""
    start = stream.read(4)
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - _END.size - _ZIP64_LOCATOR_SIZE))
    tail = stream.read()
    if start != b"PK\x03\x04" or len(tail) < _END.size:
        raise _refusal("not_a_zip", f"{path} is neither a folder nor a zip.")
    magic, _, _, _, entries, directory, _, comment = _END.unpack(tail[-_END.size :])
    if magic != b"PK\x05\x06" or comment:
        raise _refusal("not_a_zip", f"{path} does not end as a zip does: it is cut off, or has a comment or bytes behind it.")
    if tail.startswith(_ZIP64_LOCATOR):
        raise _refusal("too_many_entries", f"{path} is a zip64 archive, which a submission never needs.")
    if entries > MAX_ENTRIES or directory > MAX_DIRECTORY:
        raise _refusal("too_many_entries", f"{path} declares {entries} files in a listing of {directory} bytes.")
    try:
        return zipfile.ZipFile(stream)
    except DAMAGED_ZIP as error:
        raise _refusal("damaged", f"{path} cannot be read as a zip: {shown(str(error), 160)}.") from None


def _from_zip(archive: zipfile.ZipFile) -> Package:
    package = Package()
    infos = archive.infolist()
    if len(infos) > MAX_ENTRIES:
        raise _refusal("too_many_entries", f"the zip holds {len(infos)} files.")
    # orig_filename: zipfile cuts `filename` at a NUL byte
    twice = sorted(name for name, n in Counter(info.orig_filename for info in infos).items() if n > 1)
    if twice:
        raise _refusal("duplicate_file", f"the zip holds {listed(twice)} more than once.")
    kept = [info for info in infos if not _is_litter(info.orig_filename)]
    top = _only_folder([info.orig_filename for info in kept])
    for info in kept:
        name = info.orig_filename.removeprefix(top)
        if name:
            package.names.add(name)
            _add_member(package, archive, info, name)
    return package


def _only_folder(names: list[str]) -> str:
    """The folder, with its slash, in which everything lies that a zip holds; "" where there is none.

    Packing a folder by its name puts it around its files.  Nothing is unpacked, so that its name does not matter.
    """
    top = names[0].partition("/")[0] if names else ""
    around = f"{top}/"
    return around if top not in ("", ".", "..") and "\\" not in top and all(n.startswith(around) for n in names) else ""


def _add_member(package: Package, archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> None:
    mode = info.external_attr >> 16
    if stat.S_ISLNK(mode):
        package.refuse("symlink", f"{shown(name)}: is a symbolic link.", "Put the file itself in its place.")
    elif not _check_name(package, name):
        return
    elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        package.refuse("not_a_file", f"{shown(name)}: is not a regular file.")
    elif info.flag_bits & 0x1:
        package.refuse("encrypted", f"{shown(name)}: is encrypted.")
    elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        package.refuse("compression", f"{shown(name)}: is compressed by a method other than deflate.")
    elif info.file_size > MAX_RATIO * max(info.compress_size, 1):
        ratio = info.file_size / max(info.compress_size, 1)
        package.refuse("zip_bomb", f"{shown(name)}: unpacks to {ratio:.0f} times its packed size (allowed: {MAX_RATIO}).")
    else:
        _add(package, name, info.file_size, lambda: _open_member(archive, info))


def _open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> BinaryIO:
    try:
        return archive.open(info)  # type: ignore[return-value]
    except DAMAGED_ZIP as error:
        raise _refusal("damaged", f"{info.filename} cannot be read: {shown(str(error), 160)}.") from None


def _add(package: Package, name: str, size: int, opener: Callable[[], BinaryIO]) -> None:
    if size > MAX_BYTES[name]:
        package.refuse("too_large", f"{shown(name)}: has {size} bytes (allowed: {MAX_BYTES[name]}).", "Submit a smaller model.")
    else:
        package.sources[name] = PackageFile(name, size, opener)


def _check_name(package: Package, name: str) -> bool:
    """True for the names of a submission; otherwise notes why this one may not be there."""
    if name in MAX_BYTES:
        return True
    lower = name.lower()
    parts = lower.replace("\\", "/").split("/")
    if lower.startswith(("/", "\\")) or lower[1:2] == ":":
        package.refuse("absolute_path", f"{shown(name)}: is an absolute path.")
    elif ".." in parts:
        package.refuse("parent_path", f"{shown(name)}: leads out of the submission.")
    elif lower.endswith(_PICKLES):
        package.refuse(
            "pickle",
            f"{shown(name)}: is of a kind that can hold a pickle, which can run code when it is opened.",
            "Save the tensors with safetensors as model.safetensors; `faceveil import` reads public checkpoints.",
        )
    elif lower.endswith(_ARCHIVES):
        package.refuse("nested_archive", f"{shown(name)}: is an archive inside the submission.")
    elif len(parts) > 1:
        package.strays.setdefault("folder", []).append(name)
    else:
        package.strays.setdefault("extra_file", []).append(name)
    return False
