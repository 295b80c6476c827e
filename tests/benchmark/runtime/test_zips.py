from __future__ import annotations

import io
import random
import zipfile

from benchmark.runtime.zips import DAMAGED_ZIP


def test_reading_a_damaged_zip_raises_nothing_else():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one.txt", "one " * 50)
        archive.writestr("two.txt", "two")
    rng, refused = random.Random(0), 0
    for _ in range(2000):
        data = bytearray(out.getvalue())
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for member in archive.infolist():
                    archive.open(member).read()
        except DAMAGED_ZIP:
            refused += 1
    assert refused > 1000
