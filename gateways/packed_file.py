"""Files that arrive in a zip, as PSPs and banks hand out large ones: their members are read as if each came alone."""

import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import PurePosixPath
from typing import BinaryIO, TypeVar

from gateways.settlement_file import Reading, SettlementFileError

T = TypeVar("T")

MEMBERS_MAX = 1_000
UNPACKED_MAX_BYTES = 4_000_000_000
"""Bytes of all members together, as their headers say; no more is read of a member than its header says."""

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_GZIP = b"\x1f\x8b"
_OF_SYSTEMS = ("", "Thumbs.db", "desktop.ini")


def read_packed(file: BinaryIO, read: Callable[[BinaryIO, Reading], Iterator[T]], reading: Reading) -> Generator[T]:
    """The lines of a file or, where it is a zip, of each file in it by name. Raises SettlementFileError."""
    start = _start(file, 4)
    if start.startswith(_GZIP):
        raise SettlementFileError(1, "a gzip file: unpack it first, or send a zip")
    if start not in _ZIP:
        yield from read(file, reading)
        return
    try:
        with zipfile.ZipFile(file) as archive:
            for member in _members(archive):
                yield from _read_member(archive, member, read, reading)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise SettlementFileError(1, f"a zip that cannot be unpacked ({str(error)[:100]}): unpack it first") from None


def looks_like_xml(file: BinaryIO) -> bool:
    """True if the file, or the first in a zip, begins as XML does; its position is the beginning afterwards."""
    try:
        if _start(file, 4) in _ZIP:
            with zipfile.ZipFile(file) as archive, archive.open(_members(archive)[0]) as member:
                return _begins_as_xml(member.read(200))
        return _begins_as_xml(file.read(200))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, SettlementFileError):
        return False  # whoever reads it says what is wrong with it
    finally:
        file.seek(0)


def _start(file: BinaryIO, size: int) -> bytes:
    start = file.read(size)
    file.seek(0)
    return start


def _begins_as_xml(start: bytes) -> bool:
    """In UTF-8 or UTF-16, with or without a byte order mark."""
    return start.replace(b"\0", b"").removeprefix(b"\xef\xbb\xbf").lstrip(b"\xff\xfe \t\r\n").startswith(b"<")


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files in it, by name, without what a Mac or Windows adds."""
    found = [info for info in archive.infolist() if not info.is_dir() and not _hidden(info.filename)]
    if any(info.filename == "[Content_Types].xml" for info in found):
        raise SettlementFileError(1, "a workbook of a spreadsheet: save its sheet as CSV")
    if not found:
        raise SettlementFileError(1, "a zip with no file in it")
    if len(found) > MEMBERS_MAX or sum(info.file_size for info in found) > UNPACKED_MAX_BYTES:
        raise SettlementFileError(1, "a zip with too much in it: send its files one by one")
    return sorted(found, key=lambda info: info.filename)


def _hidden(name: str) -> bool:
    path = PurePosixPath(name)
    return "__MACOSX" in path.parts or path.name.startswith(".") or path.name in _OF_SYSTEMS


def _read_member(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    read: Callable[[BinaryIO, Reading], Iterator[T]],
    reading: Reading,
) -> Iterator[T]:
    reading.begin_part()
    with archive.open(member) as file:
        try:
            if _start(file, 4) in _ZIP:  # type: ignore[arg-type]
                raise SettlementFileError(1, "a zip in a zip: unpack it first")
            yield from read(file, reading)  # type: ignore[arg-type]
        except SettlementFileError as error:
            raise SettlementFileError(
                error.line_no, f"of {member.filename[:100]!r} in the zip: {error.reason}"
            ) from None
