"""What Python's ``zipfile`` raises over a zip that was cut, of which a bit has flipped, or that somebody made up."""

from __future__ import annotations

import struct
import zipfile
import zlib

# NotImplementedError: a version or a method of another century; RuntimeError: a password; ValueError: a name that is no text
DAMAGED_ZIP = (
    *(zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, OSError, struct.error),
    IndexError,
)
