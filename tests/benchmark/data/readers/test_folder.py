from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.data.readers import archives, scan
from benchmark.data.readers.encoded import NoPhotosError
from benchmark.data.readers.folder import open_folder
from benchmark.data.readers.open import open_faces
from benchmark.interfaces import FaceVeilError

KINDS = ("folder", "stored.zip", "deflated.zip", "plain.tar", "small.tar.gz")
REAL = os.environ.get("FACEVEIL_TEST_DATA")


def pixels(seed: int, height: int = 16, width: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encode(array: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, kind, **options)
    return out.getvalue()


def people(count: int = 3, photos: int = 4) -> dict[str, bytes]:
    return {f"p{p}/{i}.png": encode(pixels(100 * p + i)) for p in range(count) for i in range(photos)}


def pack(files: dict[str, bytes], path: Path) -> Path:
    """Write ``files`` as the kind of container that the name of ``path`` says."""
    if path.suffix == ".zip":
        method = zipfile.ZIP_DEFLATED if "deflated" in path.name else zipfile.ZIP_STORED
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    elif ".tar" in path.name:
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    else:
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_set(tmp_path: Path, kind: str) -> None:
    files = people()
    wrapped = {f"some/wrapping/{name}": data for name, data in reversed(files.items())}
    plain = open_folder(pack(files, tmp_path / "reference"), 16)
    photos = open_folder(pack(wrapped, tmp_path / kind), 16)
    assert photos.digest == plain.digest
    assert photos.keys == tuple(sorted(files))
    assert photos.names == ("p0", "p1", "p2")
    assert photos.identity.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert (photos.report.people, photos.report.photos, photos.report.skipped) == (3, 12, ())
    loaded = photos.load([11, 0])
    assert loaded.dtype == torch.uint8
    assert loaded.shape == (2, 3, 16, 16)
    assert np.array_equal(loaded[0].permute(1, 2, 0).numpy(), pixels(203))
    assert np.array_equal(loaded[1].permute(1, 2, 0).numpy(), pixels(0))


def test_digest_tells_content_names_size_and_order_apart(tmp_path: Path) -> None:
    files = people()
    base = open_folder(pack(files, tmp_path / "a.zip"), 16)
    other = open_folder(pack(files | {"p0/0.png": encode(pixels(999))}, tmp_path / "b.zip"), 16)
    renamed = open_folder(pack({n.replace("p0/", "q0/"): d for n, d in files.items()}, tmp_path / "c.zip"), 16)
    smaller = open_folder(tmp_path / "a.zip", 8)
    digests = {base.digest, other.digest, renamed.digest, smaller.digest, base.take([0, 1]).digest, base.take([1, 0]).digest}
    assert len(digests) == 6


def test_take_keeps_people_and_pixels(tmp_path: Path) -> None:
    photos = open_folder(pack(people(), tmp_path / "a.zip"), 16)
    part = photos.take(photos.identity == 2).take([3, 1])
    assert part.identity.tolist() == [2, 2]
    assert part.keys == ("p2/3.png", "p2/1.png")
    assert torch.equal(part.load([1, 0]), photos.load([9, 11]))
    assert len(photos.take([])) == 0
    assert photos.load([]).shape == (0, 3, 16, 16)
    with pytest.raises(IndexError):
        photos.load([12])


def test_formats_and_grey(tmp_path: Path) -> None:
    array = pixels(1)
    grey = array[..., 0]
    deep = grey.astype(np.uint16) * 257
    files = {
        "a/colour.png": encode(array),
        "a/colour.bmp": encode(array, "BMP"),
        "a/colour.PPM": encode(array, "PPM"),
        "a/grey.pgm": encode(grey, "PPM"),
        "a/grey.png": encode(grey),
        "a/deep.png": encode(deep),
        "a/deep.pgm": b"P5 16 16 65535\n" + deep.astype(">u2").tobytes(),
        "a/palette.png": _palette(grey),
        "a/photo.JPEG": encode(np.full((16, 16, 3), (200, 100, 50), np.uint8), "JPEG", quality=95),
    }
    photos = open_folder(pack(files, tmp_path / "a.tar"), 16)
    assert photos.report.skipped == ()
    images = photos.load(range(len(photos))).permute(0, 2, 3, 1).numpy()
    got = dict(zip(photos.keys, images, strict=True))
    for name in ("colour.png", "colour.bmp", "colour.PPM"):
        assert np.array_equal(got[f"a/{name}"], array), name
    for name in ("grey.pgm", "grey.png", "deep.png", "deep.pgm", "palette.png"):
        assert np.array_equal(got[f"a/{name}"], np.repeat(grey[..., None], 3, 2)), name
    assert np.abs(got["a/photo.JPEG"].astype(int) - (200, 100, 50)).max() <= 3


def _palette(grey: np.ndarray) -> bytes:
    image = Image.fromarray(grey).convert("P")
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def test_orientation_is_applied(tmp_path: Path) -> None:
    array = np.zeros((16, 16, 3), np.uint8)
    array[:4] = 255  # bright on top
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise: the top comes to the right
    photos = open_folder(pack({"a/1.jpg": encode(array, "JPEG", exif=exif, quality=95)}, tmp_path / "a.zip"), 16)
    shown = photos.load([0])[0].float().mean(0)
    assert shown[:, 13:].mean() > 240
    assert shown[:, :11].mean() < 15


def test_larger_squares_are_reduced_without_aliasing(tmp_path: Path) -> None:
    fine = np.indices((128, 128)).sum(0) % 2 * 255  # a checkerboard of single pixels: its area mean is grey
    smooth = np.add.outer(np.arange(128), np.arange(128)).astype(np.uint8)
    files = {"a/fine.png": encode(fine.astype(np.uint8)), "a/smooth.png": encode(smooth), "a/exact.png": encode(pixels(5))}
    photos = open_folder(pack(files, tmp_path / "a.zip"), 16)
    exact, checker, ramp = photos.load([0, 1, 2]).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(exact, pixels(5))
    assert np.abs(checker[2:-2, 2:-2].astype(int) - 128).max() <= 2
    means = smooth.reshape(16, 8, 16, 8).mean((1, 3))
    assert np.abs(ramp[1:-1, 1:-1, 0] - means[1:-1, 1:-1]).max() <= 2


def test_a_large_jpeg_is_reduced_like_a_png(tmp_path: Path) -> None:
    y, x = np.mgrid[:512, :512]
    array = np.stack([128 + 100 * np.sin(x / 40), 128 + 100 * np.cos(y / 50), (x + y) / 4], -1).clip(0, 255).astype(np.uint8)
    files = {"a/1.jpg": encode(array, "JPEG", quality=95), "a/2.png": encode(array)}
    jpeg, png = open_folder(pack(files, tmp_path / "a.zip"), 32).load([0, 1]).float()
    assert (jpeg - png).abs().mean() < 2


def test_unusable_photos_are_named_and_the_rest_is_used(tmp_path: Path) -> None:
    whole = encode(pixels(1), "JPEG")
    files = people() | {
        "p0/cut.jpg": whole[: len(whole) // 2],
        "p0/text.jpg": b"not an image at all",
        "p0/empty.png": b"",
        "p1/wide.png": encode(pixels(7, 16, 20)),
        "p1/small.png": encode(pixels(8, 8, 8)),
        "p1/notes.txt": b"hello",
        "p1/again.png": people()["p1/0.png"],
        "p9/float.pnm": b"Pf\n16 16\n-1.0\n" + bytes(16 * 16 * 4),
    }
    report = open_folder(pack(files, tmp_path / "a.zip"), 16).report
    skipped = dict(report.skipped)
    assert (report.people, report.photos) == (3, 13)
    assert report.treated == {"20x16 cropped to 16x16": 1}
    assert skipped["p0/cut.jpg"].startswith("corrupt:")
    assert "truncated" in skipped["p0/cut.jpg"].lower()
    assert skipped["p0/text.jpg"].startswith("not an image:")
    assert skipped["p0/empty.png"] == "empty file"
    assert skipped["p1/small.png"] == "wrong size: 8x8 is smaller than 16x16"
    assert skipped["p1/notes.txt"].startswith("not an image by its name")
    assert skipped["p1/again.png"] == "repeated photo: the same file as p1/0.png"
    assert skipped["p9/float.pnm"].startswith("unsupported")
    assert len(skipped) == 7
    assert report.reasons()["wrong size"] == 1
    assert report.sizes[16, 16] == 13
    assert "p1/small.png (wrong size: 8x8 is smaller than 16x16)" in report.describe()
    assert "20x16 cropped to 16x16: 1 of the photos" in report.describe()


def test_size_none_is_what_most_square_photos_have(tmp_path: Path) -> None:
    files = people(2, 3) | {"p0/large.png": encode(pixels(1, 64, 64)), "p0/small.png": encode(pixels(2, 8, 8))}
    photos = open_folder(pack(files, tmp_path / "a.zip"))
    assert photos.size == 16
    assert len(photos) == 7
    assert photos.load(range(7)).shape == (7, 3, 16, 16)


def test_photos_that_are_not_aligned(tmp_path: Path) -> None:
    path = pack({f"p{i}/1.png": encode(pixels(i, 20, 16 + i)) for i in range(3)}, tmp_path / "a.tar")
    with pytest.raises(NoPhotosError, match="faceveil data align") as caught:
        open_folder(path, 40)
    assert caught.value.report.reasons() == {"wrong size": 3}
    cropped = open_folder(path, 16)
    assert cropped.load([0, 1, 2]).shape == (3, 3, 16, 16)
    assert "look unaligned (3 of 3 photos are not square)" in cropped.report.warnings[0]
    assert "faceveil data align" in cropped.report.warnings[0]
    photos = open_folder(path, aligned=False)
    assert [photos.image(i).shape for i in range(3)] == [(20, 16, 3), (20, 17, 3), (20, 18, 3)]
    with pytest.raises(FaceVeilError, match="differ in size"):
        photos.load([0, 1])


def test_people_are_folders_below_the_common_one(tmp_path: Path) -> None:
    one, two, three = (encode(pixels(i)) for i in range(3))
    single = open_folder(pack({"wrap/anna/1.png": one, "wrap/anna/2.png": two}, tmp_path / "single.zip"))
    assert single.names == ("anna",)
    deep = open_folder(pack({"w/b/c/1.png": one, "w/a/2.png": two}, tmp_path / "deep.zip"))
    assert deep.names == ("a", "b")
    files = {"w/cover.png": three, "w/a/1.png": one, "w/b/1.png": two, "w/a/.hidden.png": three, "__MACOSX/w/a/._1.png": b"x"}
    stray = open_folder(pack(files, tmp_path / "stray.zip"))
    assert stray.keys == ("a/1.png", "b/1.png")
    assert stray.report.skipped == (("w/cover.png", "no person: not in a folder of its identity"),)
    with pytest.raises(NoPhotosError, match="identity/image"):
        open_folder(pack({"1.png": one, "2.png": two}, tmp_path / "flat.zip"))


def test_unsafe_members_of_a_tar_are_skipped(tmp_path: Path) -> None:
    path = pack(people(1), tmp_path / "a.tar")
    secret = tmp_path / "secret.png"
    secret.write_bytes(encode(pixels(1)))
    with tarfile.open(path, "a") as archive:
        for name in ("/p0/absolute.png", "../p0/outside.png", "p0/../../up.png"):
            member = tarfile.TarInfo(name)
            member.size = secret.stat().st_size
            archive.addfile(member, io.BytesIO(secret.read_bytes()))
        for name, kind in (("p0/soft.png", tarfile.SYMTYPE), ("p0/hard.png", tarfile.LNKTYPE), ("p0/dev.png", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, str(secret)
            archive.addfile(member)
    photos = open_folder(path, 16)
    assert len(photos) == 4
    reasons = dict(photos.report.skipped)
    assert {name for name, why in reasons.items() if why.startswith("unsafe path")} == {
        "/p0/absolute.png",
        "../p0/outside.png",
        "p0/../../up.png",
    }
    assert {name for name, why in reasons.items() if "link" in why} == {"p0/soft.png", "p0/hard.png"}
    assert "device" in reasons["p0/dev.png"]


def test_unsafe_members_of_a_zip_are_skipped(tmp_path: Path) -> None:
    path = pack(people(1), tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as archive:
        for name in ("/p0/absolute.png", "../outside.png", "p0\\..\\..\\up.png", "C:\\p0\\drive.png"):
            archive.writestr(name, encode(pixels(1)))
        link = zipfile.ZipInfo("p0/soft.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("p0/lzma.png", encode(pixels(2)), zipfile.ZIP_LZMA)
    photos = open_folder(path, 16)
    assert len(photos) == 4
    assert photos.report.reasons() == {"unsafe path": 4, "not a regular file": 1, "unknown compression": 1}


def test_bombs_are_bounded(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    many_pixels = b"\x89PNG\r\n\x1a\n" + chunk + encode(pixels(1))[33:]
    files = people(1) | {"p0/long.png": bytes(40 << 20), "p0/pixels.png": many_pixels}
    path = pack(files, tmp_path / "deflated.zip")
    lie = path.read_bytes().replace(struct.pack("<I", 40 << 20), struct.pack("<I", 1000))  # the index claims a small file
    (tmp_path / "lie.zip").write_bytes(lie)
    tracemalloc.start()
    honest, lying = open_folder(path, 16).report, open_folder(tmp_path / "lie.zip", 16).report
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert honest.photos == lying.photos == 4
    assert dict(honest.skipped)["p0/long.png"] == "too large: more than 32 MiB"
    assert dict(lying.skipped)["p0/long.png"].startswith("corrupt: size or checksum")
    assert (
        dict(honest.skipped)["p0/pixels.png"].startswith("too large: ")
        or "exceeds limit" in dict(honest.skipped)["p0/pixels.png"]
    )
    assert peak < 80 << 20


def test_a_large_compressed_tar_is_refused_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(people(), tmp_path / "a.tar.gz")
    assert len(open_folder(path)) == 12
    monkeypatch.setattr(archives, "MAX_UNPACKED_TAR", 4096)
    with pytest.raises(FaceVeilError, match=r"repack it as a zip or as a plain tar \(gunzip"):
        open_folder(path)


@pytest.mark.parametrize("kind", ["bz2", "xz"])
def test_a_tar_of_another_compression_is_named(tmp_path: Path, kind: str) -> None:
    with tarfile.open(tmp_path / "faces.tar", f"w:{kind}") as archive:
        archive.add(pack(people(), tmp_path / "a.zip"), "a/1.png")
    with pytest.raises(FaceVeilError, match="unpack it"):
        open_folder(tmp_path / "faces.tar")


def test_damaged_archives(tmp_path: Path) -> None:
    files = people()
    tar = pack(files, tmp_path / "a.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(tar[: 5 * 1536 + 700])  # five members of header + two blocks each, and a bit
    cut = open_folder(tmp_path / "cut.tar", 16)
    assert 0 < len(cut) < 12
    assert "cut.tar" in dict(cut.report.skipped)
    gz = pack(files, tmp_path / "a.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(gz[: len(gz) // 2])
    packed = pack(files, tmp_path / "a.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(packed[: len(packed) // 2])
    for name in ("cut.tar.gz", "cut.zip"):
        with pytest.raises(FaceVeilError, match="damaged"):
            open_folder(tmp_path / name)


def test_what_is_no_set_of_photos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pointer.zip").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    (tmp_path / "notes.txt").write_text("hello " * 200)
    (tmp_path / "empty").mkdir()
    (tmp_path / "lfw.bin").write_bytes(b"x")
    for name, message in {
        "pointer.zip": "git lfs pull",
        "notes.txt": r"RecordIO \.rec",
        "empty": "identity/image",
        "missing": "no such file or folder",
        "lfw.bin": "verification pairs",
    }.items():
        with pytest.raises(FaceVeilError, match=message):
            open_faces(tmp_path / name, 16)


def test_the_scan_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, cache = pack(people() | {"p0/bad.png": b"bad"}, tmp_path / "set"), tmp_path / "cache"
    seen: list[int] = []
    inspect = scan.inspect
    monkeypatch.setattr(scan, "inspect", lambda data: seen.append(len(data)) or inspect(data))
    progress: list[tuple[int, int]] = []
    first = open_folder(path, 16, cache=cache, progress=lambda *done: progress.append(done))
    assert len(seen) == 13
    assert progress[-1] == (13, 13)
    again = open_folder(path, 16, cache=cache)
    assert len(seen) == 13
    assert (again.digest, again.report) == (first.digest, first.report)
    (path / "p1/0.png").write_bytes(encode(pixels(77, 17, 17)))
    changed = open_folder(path, 16, cache=cache)
    assert len(seen) == 14
    assert changed.digest != first.digest
    (log,) = cache.iterdir()
    log.write_text(log.read_text()[:-25])  # as a killed process leaves it
    assert open_folder(path, 16, cache=cache).digest == changed.digest
    assert len(seen) == 15


def test_an_interrupted_scan_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, cache = pack(people(4, 5), tmp_path / "a.zip"), tmp_path / "cache"
    monkeypatch.setattr(scan, "CHUNK", 6)

    def stop(done: int, _all: int) -> None:
        if done >= 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_folder(path, 16, cache=cache, progress=stop)
    done: list[int] = []
    assert open_folder(path, 16, cache=cache, progress=lambda n, _: done.append(n)).digest == open_folder(path, 16).digest
    assert done == [18, 20]


def test_a_photo_that_changes_after_the_scan_is_named(tmp_path: Path) -> None:
    path = pack(people(), tmp_path / "set")
    photos = open_folder(path, 16)
    (path / "p1/2.png").write_bytes(b"gone")
    with pytest.raises(FaceVeilError, match=r"photo p1/2\.png of .*faceveil data check"):
        photos.load(range(12))
    (path / "p1/2.png").unlink()
    with pytest.raises(FaceVeilError, match=r"p1/2\.png"):
        photos.load([6])


@pytest.mark.parametrize("kind", KINDS)
def test_reading_from_threads_processes_and_copies(tmp_path: Path, kind: str) -> None:
    photos = open_folder(pack(people(8, 10), tmp_path / kind), 16)
    expected = photos.load(range(80)).numpy()
    orders = [np.random.default_rng(seed).permutation(80) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for order, loaded in zip(orders, pool.map(photos.load, orders), strict=True):
            assert np.array_equal(loaded.numpy(), expected[order])
    with multiprocessing.get_context("fork").Pool(2, _keep, (photos,)) as pool:
        for order, loaded in zip(orders, pool.map(_load_kept, orders), strict=True):
            assert np.array_equal(loaded, expected[order])
    assert np.array_equal(pickle.loads(pickle.dumps(photos)).load(range(80)).numpy(), expected)


@pytest.mark.parametrize("kind", ["stored.zip", "plain.tar"])
def test_forked_processes_do_not_share_a_place_in_the_file(tmp_path: Path, kind: str) -> None:
    photos = open_folder(pack(people(8, 10), tmp_path / kind), 16)
    expected = [photos.source.read(i) for i in range(80)]  # opens the file in this thread, which children inherit
    with multiprocessing.get_context("fork").Pool(4, _keep, (photos,)) as pool:
        wrong = pool.starmap(_count_wrong, [(seed, expected) for seed in range(4)], chunksize=1)
    assert wrong == [0, 0, 0, 0]


def test_a_changed_byte_in_a_zip_is_noticed(tmp_path: Path) -> None:
    bitmap = encode(pixels(50), "BMP")
    path = pack(people() | {"p0/bitmap.bmp": bitmap}, tmp_path / "a.zip")
    whole = path.read_bytes()
    at = whole.index(bitmap) + len(bitmap) - 100  # a pixel: still a readable image
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    photos = open_folder(path, 16)
    assert photos.report.skipped == (("p0/bitmap.bmp", "corrupt: size or checksum differ from the index of the zip"),)


_KEPT = []


def _count_wrong(seed: int, expected: list[bytes]) -> int:
    wrong = 0
    for i in np.random.default_rng(seed).integers(0, 80, 8000):
        try:
            wrong += _KEPT[0].source.read(i) != expected[i]
        except FaceVeilError:
            wrong += 1
    return wrong


def _keep(photos: object) -> None:
    _KEPT.append(photos)


def _load_kept(order: np.ndarray) -> np.ndarray:
    return _KEPT[0].load(order).numpy()


@pytest.mark.parametrize("kind", ["folder", "stored.zip", "plain.tar"])
def test_memory_does_not_hold_the_photos(tmp_path: Path, kind: str) -> None:
    path = pack({f"p{i % 20}/{i}.png": encode(pixels(i, 112, 112)) for i in range(200)}, tmp_path / kind)  # 7.5 MB
    tracemalloc.start()
    photos = open_folder(path, 112)
    for start in range(0, 200, 10):
        photos.load(range(start, start + 10))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 << 20


@pytest.mark.realdata
@pytest.mark.skipif(not REAL, reason="FACEVEIL_TEST_DATA is not set")
@pytest.mark.parametrize(
    ("name", "size", "people", "photos"),
    [("lfw_arcface112.zip", 112, 1680, 7381), ("orl_arcface112.zip", 112, 40, 400), ("london_arcface112.tar", 64, 102, 204)],
)
def test_real_sets(name: str, size: int, people: int, photos: int) -> None:
    faces = open_faces(Path(REAL) / name, size)
    assert (faces.report.people, faces.report.photos, faces.report.skipped) == (people, photos, ())
    batch = faces.load(range(0, len(faces), len(faces) // 8)).float()
    assert batch.shape[1:] == (3, size, size)
    assert 60 < batch.mean() < 180
    assert batch.std() > 30


@pytest.mark.realdata
@pytest.mark.skipif(not REAL, reason="FACEVEIL_TEST_DATA is not set")
def test_real_photos_as_published() -> None:
    faces = open_faces(Path(REAL) / "orl_faces.tar.gz", aligned=False)
    assert (faces.report.people, faces.report.photos) == (40, 400)
    assert faces.report.sizes == {(92, 112): 400}
    assert faces.keys[0] == "s1/1.pgm"
    assert [name for name, _ in faces.report.skipped] == ["att_faces/README"]
    batch = faces.load(range(40))
    assert batch.shape == (40, 3, 112, 92)
    assert torch.equal(batch[:, 0], batch[:, 2])
