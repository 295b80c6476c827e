"""Zip and tar archives of photos, read in place."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from benchmark.data.readers.containers import Container, FolderContainer
from benchmark.data.readers.file_ranges import FileRanges
from benchmark.data.readers.images import MAX_BYTES, PhotoError
from benchmark.interfaces import FaceVeilError
from benchmark.runtime.zips import DAMAGED_ZIP

MAX_UNPACKED_TAR = 256 << 20  # bytes of a compressed tar held in memory
KINDS = "a folder of identity/image, a .zip, .tar or small .tar.gz of one, or a RecordIO .rec with its .idx"


class ArchiveContainer(Container):
    """Base of the archives: names in them are not to be trusted."""

    def __init__(self, path: Path, file: FileRanges | _UnpackedTar, people: str | None = None) -> None:
        self._file = file
        super().__init__(path, people)

    def _clean(self, raw: str) -> str:
        """The member's path with / between its parts, or "" where it is unsafe."""
        path = PurePosixPath(raw.replace("\\", "/"))
        if path.is_absolute() or raw[1:2] == ":":
            self.rejected.append((raw, "unsafe path: absolute"))
            return ""
        if ".." in path.parts:
            self.rejected.append((raw, "unsafe path: leads out of the archive"))
            return ""
        return str(path)

    def stamp(self, position: int) -> tuple[int, int]:  # noqa: ARG002 - the archive stands for all its members
        return self._file.length, self._file.modified


class ZipContainer(ArchiveContainer):
    """Members of a zip, stored or deflated.  Only the index comes from ``zipfile``, whose readers do not survive a fork."""

    def __init__(self, path: Path, people: str | None = None) -> None:
        super().__init__(path, FileRanges(path), people)

    def _list(self) -> Iterator[tuple[str, tuple[int, int, int, int, int]]]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                members = archive.infolist()
        except DAMAGED_ZIP as error:
            raise FaceVeilError(f"{self.path} is a damaged zip ({error}); copy or download it again") from None
        for member in members:
            kind = stat.S_IFMT(member.external_attr >> 16) or stat.S_IFREG
            name = self._clean(member.filename)
            if not name or not self._acceptable(
                name, stat.S_IFDIR if member.filename.endswith("/") else kind, member.file_size
            ):
                continue
            if member.flag_bits & 1:
                self.rejected.append((name, "encrypted: repack the zip without a password"))
            elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.compress_size > 2 * MAX_BYTES:
                self.rejected.append((name, "unknown compression: repack as a plain (deflated or stored) zip"))
            else:
                yield name, (member.header_offset, member.compress_type, member.compress_size, member.file_size, member.CRC)

    def read(self, position: int) -> bytes:
        offset, method, stored, size, checksum = self._members[position]
        header = self._file.read(offset, 30)
        if header[:4] != b"PK\x03\x04":
            raise PhotoError("corrupt: the index of the zip points elsewhere")
        name_length, extra_length = struct.unpack("<HH", header[26:30])
        data = self._file.read(offset + 30 + name_length + extra_length, stored)
        if method == zipfile.ZIP_DEFLATED:
            try:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, MAX_BYTES + 1)
            except zlib.error as error:
                raise PhotoError(f"corrupt: {error}") from None
        if len(data) != size or zlib.crc32(data) != checksum:
            raise PhotoError("corrupt: size or checksum differ from the index of the zip")
        return data


class _UnpackedTar:
    """A small compressed tar, decompressed into memory: it has no random access, and unpacking to disk is not ours to do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        status = path.stat()
        self.length, self.modified = status.st_size, status.st_mtime_ns
        try:
            with gzip.open(path) as file:
                self.data = file.read(MAX_UNPACKED_TAR + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise FaceVeilError(f"{path} is a damaged gzip file ({error}); copy or download it again") from None
        if len(self.data) > MAX_UNPACKED_TAR:
            raise FaceVeilError(
                f"{path} unpacks to more than {MAX_UNPACKED_TAR >> 20} MiB, and single photos cannot be read from a "
                f"compressed tar; repack it as a zip or as a plain tar (gunzip -k {path.name})"
            )

    def __reduce__(self) -> tuple[type[_UnpackedTar], tuple[Path]]:
        return _UnpackedTar, (self.path,)  # another process decompresses anew, rather than be sent it all

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


class TarContainer(ArchiveContainer):
    """Regular members of a tar, or of a gzipped one that unpacks to at most ``MAX_UNPACKED_TAR`` bytes."""

    def __init__(self, path: Path, people: str | None = None) -> None:
        with open(path, "rb") as file:
            start = file.read(6)
        if start.startswith((b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
            raise FaceVeilError(
                f"{path} is compressed by bzip2, xz or zstd: unpack it (tar xf {path.name}) and name the folder."
            )
        compressed = start.startswith(b"\x1f\x8b")
        super().__init__(path, _UnpackedTar(path) if compressed else FileRanges(path), people)

    def _list(self) -> Iterator[tuple[str, tuple[int, int]]]:
        unpacked = io.BytesIO(self._file.data) if isinstance(self._file, _UnpackedTar) else None
        try:
            with tarfile.open(None if unpacked else self.path, "r:", fileobj=unpacked) as archive:
                yield from self._members_of(archive)
        except tarfile.TarError as error:  # what came before the damage is kept
            self.rejected.append((self.path.name, f"damaged archive: {error}; copy or download it again"))

    def _members_of(self, archive: tarfile.TarFile) -> Iterator[tuple[str, tuple[int, int]]]:
        for member in archive:
            kind = stat.S_IFCHR
            if member.isdir():
                kind = stat.S_IFDIR
            elif member.issym() or member.islnk():
                kind = stat.S_IFLNK
            elif member.isreg() and not member.issparse():
                kind = stat.S_IFREG
            name = self._clean(member.name)
            if name and self._acceptable(name, kind, member.size):
                yield name, (member.offset_data, member.size)

    def read(self, position: int) -> bytes:
        return self._file.read(*self._members[position])


def open_container(path: Path, people: str | None = None) -> Container:
    """The container at ``path``, told by its content rather than by its name.

    Args:
        people: rule that says who is shown, see :func:`benchmark.data.readers.people.people_of`.

    Raises:
        FaceVeilError: missing, unreadable, of another kind, or unclear who the people are.
    """
    if not path.exists():
        raise FaceVeilError(f"no such file or folder: {path}")
    if path.is_dir():
        return FolderContainer(path, people)
    try:
        with open(path, "rb") as file:
            start = file.read(64)
    except OSError as error:
        raise FaceVeilError(f"cannot read {path}: {error.strerror}") from None
    if start.startswith(b"version https://git-lfs"):
        raise FaceVeilError(f"{path} is a git-LFS pointer, not the data; fetch the data with: git lfs pull")
    if start.startswith(b"PK"):
        return ZipContainer(path, people)
    if start.startswith(b"\x1f\x8b") or tarfile.is_tarfile(path):
        return TarContainer(path, people)
    raise FaceVeilError(f"{path} cannot be read; expected {KINDS} (bzip2, xz and others: repack as zip)")
