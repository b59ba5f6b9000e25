"""Objects on disk: bodies in files with random names, everything else in one SQLite index.

A body is written under `incoming/`, moved to `blobs/`, and then named by the index in one transaction. So after a crash
an object is complete or does not exist; bodies without a name are deleted at the next start. Keys never become file
names. All methods block (call them in threads) and may be called by several threads at once. One process at a time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import threading
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sandbox.cos.errors import Refused

__all__ = ["Blob", "BlobWriter", "Entry", "Listing", "Part", "Store", "Upload"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
  bucket TEXT, key TEXT, blob TEXT, etag TEXT, size INTEGER, modified REAL, headers TEXT, PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (bucket TEXT, key TEXT, name TEXT, body BLOB, PRIMARY KEY (bucket, key, name));
CREATE TABLE IF NOT EXISTS uploads (id TEXT PRIMARY KEY, bucket TEXT, key TEXT, begun REAL, headers TEXT);
CREATE TABLE IF NOT EXISTS parts (
  upload TEXT, number INTEGER, blob TEXT, etag TEXT, size INTEGER, modified REAL, PRIMARY KEY (upload, number)
) WITHOUT ROWID;
"""
_ENTRY = "key, etag, size, modified, headers, blob"


@dataclass(frozen=True, slots=True)
class Blob:
    """Body on disk that has no name yet."""

    name: str
    etag: str
    """Hex MD5, without quotes."""
    size: int


@dataclass(frozen=True, slots=True)
class Entry:
    """Stored object."""

    key: str
    etag: str
    """Without quotes."""
    size: int
    modified: float
    """Seconds since the epoch, by the store's clock."""
    headers: Mapping[str, str]
    """Headers of the upload by lower-case name: content-type, x-cos-meta-*, …"""
    blob: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Page of a bucket's listing."""

    entries: tuple[Entry, ...]
    prefixes: tuple[str, ...]
    next_marker: str
    """Empty on the last page."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An unfinished multipart upload."""

    id: str
    key: str
    begun: float
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """Part of a multipart upload."""

    number: int
    etag: str
    size: int
    modified: float
    blob: str


class BlobWriter:
    """Writes one body in pieces, with constant memory."""

    def __init__(self, incoming: Path, blobs: Path) -> None:
        self._name = uuid.uuid4().hex
        self._incoming = incoming / self._name
        self._blobs = blobs
        self._file: BinaryIO | None = None
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._size = 0

    def write(self, piece: bytes) -> None:
        """Append a piece."""
        if self._file is None:
            self._file = self._incoming.open("wb")
        self._file.write(piece)
        self._md5.update(piece)
        self._size += len(piece)

    def finish(self, piece: bytes = b"") -> Blob:
        """Append the last piece and return the complete body."""
        self.write(piece)
        if self._file is not None:
            self._file.close()
        self._incoming.rename(self._blobs / self._name)
        return Blob(self._name, self._md5.hexdigest(), self._size)

    def discard(self) -> None:
        """Delete the body."""
        if self._file is not None:
            self._file.close()
        self._incoming.unlink(missing_ok=True)


class Store:
    """All buckets of one stand-in.

    Args:
        root: a folder; created if need be.
        clock: seconds since the epoch.
    """

    def __init__(self, root: Path, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._incoming = root / "incoming"
        self._blobs = root / "blobs"
        for folder in (self._incoming, self._blobs):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._index = sqlite3.connect(root / "index.sqlite", isolation_level=None, check_same_thread=False)
        self._index.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _SCHEMA)
        self._delete_unnamed()

    def close(self) -> None:
        """Close the index. Closing twice is harmless."""
        self._index.close()

    def _delete_unnamed(self) -> None:
        rows = self._index.execute("SELECT blob FROM objects UNION ALL SELECT blob FROM parts")
        named = {name for (name,) in rows}
        for path in (*self._incoming.iterdir(), *self._blobs.iterdir()):
            if path.name not in named:
                path.unlink()

    @contextlib.contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        """Run one change of the index; no other thread reads or writes meanwhile."""
        with self._lock:
            self._index.execute("BEGIN IMMEDIATE")
            try:
                yield self._index
            except BaseException:
                self._index.execute("ROLLBACK")
                raise
            self._index.execute("COMMIT")

    def writer(self) -> BlobWriter:
        """Return a writer for a new body."""
        return BlobWriter(self._incoming, self._blobs)

    def drop(self, blob: Blob) -> None:
        """Delete a body without a name."""
        self._unlink([blob.name])

    def _unlink(self, names: Sequence[str]) -> None:
        for name in names:
            (self._blobs / name).unlink(missing_ok=True)

    def put(self, bucket: str, key: str, blob: Blob, headers: Mapping[str, str], *, new: bool = False) -> Entry:
        """Name a body.

        Args:
            bucket: bucket of the object.
            key: key of the object.
            blob: the body; deleted if this raises.
            headers: headers of the upload.
            new: refuse if the object exists.

        Raises:
            Refused: 409 FileAlreadyExists.
        """
        entry = Entry(key, blob.etag, blob.size, self._clock(), headers, blob.name)
        try:
            with self._transaction() as index:
                old = self._name(index, bucket, entry, new=new)
        except BaseException:
            self.drop(blob)
            raise
        self._unlink(old)
        return entry

    def _name(self, index: sqlite3.Connection, bucket: str, entry: Entry, *, new: bool) -> list[str]:
        """Write the index row. Returns the bodies that lost their name by it."""
        old = _blobs_of(index, "objects WHERE bucket=? AND key=?", bucket, entry.key)
        if old and new:
            raise Refused(409, "FileAlreadyExists", "The object you specified already exists.")
        values = (
            bucket,
            entry.key,
            entry.blob,
            entry.etag,
            entry.size,
            entry.modified,
            json.dumps(dict(entry.headers)),
        )
        index.execute("INSERT OR REPLACE INTO objects VALUES (?,?,?,?,?,?,?)", values)
        index.execute("DELETE FROM notes WHERE bucket=? AND key=?", (bucket, entry.key))
        return old

    def find(self, bucket: str, key: str) -> Entry:
        """Return the object of a key.

        Raises:
            Refused: 404 NoSuchKey.
        """
        with self._lock:
            return self._find(bucket, key)

    def open(self, bucket: str, key: str) -> tuple[Entry, BinaryIO]:
        """Return the object and its open body, which stays readable if the object is replaced or deleted.

        Raises:
            Refused: 404 NoSuchKey.
        """
        with self._lock:
            entry = self._find(bucket, key)
            return entry, (self._blobs / entry.blob).open("rb")

    def _find(self, bucket: str, key: str) -> Entry:
        query = f"SELECT {_ENTRY} FROM objects WHERE bucket=? AND key=?"  # noqa: S608 - constant column names
        row = self._index.execute(query, (bucket, key)).fetchone()
        if row is None:
            raise Refused(404, "NoSuchKey", "The specified key does not exist.")
        return _entry(row)

    def copy(self, source: tuple[str, str], check: Callable[[Entry], None]) -> tuple[Entry, Blob]:
        """Link a stored body a second time, for `put`.

        Args:
            source: bucket and key.
            check: raises if this is not the intended object.

        Raises:
            Refused: 404 NoSuchKey.
        """
        with self._lock:
            entry = self._find(*source)
            check(entry)
            blob = Blob(uuid.uuid4().hex, entry.etag, entry.size)
            os.link(self._blobs / entry.blob, self._blobs / blob.name)
            return entry, blob

    def delete(self, bucket: str, keys: Sequence[str]) -> None:
        """Delete objects; missing ones are ignored."""
        old: list[str] = []
        with self._transaction() as index:
            for key in keys:
                where = (bucket, key)
                old += _blobs_of(index, "objects WHERE bucket=? AND key=?", *where)
                index.execute("DELETE FROM objects WHERE bucket=? AND key=?", where)
                index.execute("DELETE FROM notes WHERE bucket=? AND key=?", where)
        self._unlink(old)

    def page(self, bucket: str, *, prefix: str, delimiter: str, marker: str, limit: int) -> Listing:
        """Return objects in key order after `marker`; keys with the same prefix up to `delimiter` become one prefix."""
        entries: list[Entry] = []
        prefixes: list[str] = []
        last = ""
        with self._lock:
            for entry in self._from(bucket, max(prefix, marker)):
                if not entry.key.startswith(prefix):
                    break
                head, found, _ = entry.key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
                name = prefix + head + delimiter if found else entry.key
                if name <= marker or (found and name == last):
                    continue
                if len(entries) + len(prefixes) == limit:
                    return Listing(tuple(entries), tuple(prefixes), last)
                last = name
                if found:
                    prefixes.append(name)
                else:
                    entries.append(entry)
        return Listing(tuple(entries), tuple(prefixes), "")

    def _from(self, bucket: str, start: str) -> Iterator[Entry]:
        query = f"SELECT {_ENTRY} FROM objects WHERE bucket=? AND key>=? ORDER BY key"  # noqa: S608 - constant column names
        return map(_entry, self._index.execute(query, (bucket, start)))

    def set_note(self, bucket: str, key: str, name: str, body: bytes | None) -> None:
        """Store a document beside an object or (with an empty key) a bucket; None removes it."""
        with self._transaction() as index:
            if key:
                self._find(bucket, key)
            index.execute("DELETE FROM notes WHERE bucket=? AND key=? AND name=?", (bucket, key, name))
            if body is not None:
                index.execute("INSERT INTO notes VALUES (?,?,?,?)", (bucket, key, name, body))

    def note(self, bucket: str, key: str, name: str) -> bytes | None:
        """Return the document beside an object or a bucket, if there is one."""
        with self._lock:
            if key:
                self._find(bucket, key)
            query = "SELECT body FROM notes WHERE bucket=? AND key=? AND name=?"
            row = self._index.execute(query, (bucket, key, name)).fetchone()
            return None if row is None else bytes(row[0])

    def begin(self, bucket: str, key: str, headers: Mapping[str, str]) -> str:
        """Start a multipart upload and return its id."""
        upload = uuid.uuid4().hex
        with self._transaction() as index:
            row = (upload, bucket, key, self._clock(), json.dumps(dict(headers)))
            index.execute("INSERT INTO uploads VALUES (?,?,?,?,?)", row)
        return upload

    def add_part(self, bucket: str, key: str, upload: str, number: int, blob: Blob) -> None:
        """Store a part, and replace an earlier one of the same number. The body is deleted if this raises.

        Raises:
            Refused: 404 NoSuchUpload.
        """
        try:
            with self._transaction() as index:
                self._upload(bucket, key, upload)
                old = _blobs_of(index, "parts WHERE upload=? AND number=?", upload, number)
                row = (upload, number, blob.name, blob.etag, blob.size, self._clock())
                index.execute("INSERT OR REPLACE INTO parts VALUES (?,?,?,?,?,?)", row)
        except BaseException:
            self.drop(blob)
            raise
        self._unlink(old)

    def parts(self, bucket: str, key: str, upload: str) -> tuple[Upload, list[Part]]:
        """Return a multipart upload and its parts in order.

        Raises:
            Refused: 404 NoSuchUpload.
        """
        with self._lock:
            found = self._upload(bucket, key, upload)
            query = "SELECT number, etag, size, modified, blob FROM parts WHERE upload=? ORDER BY number"
            return found, [Part(*row) for row in self._index.execute(query, (upload,))]

    def uploads(self, bucket: str, prefix: str) -> list[Upload]:
        """Return the unfinished uploads in key order."""
        with self._lock:
            query = "SELECT id, key, begun, headers FROM uploads WHERE bucket=? ORDER BY key, begun"
            found = [_read_upload(row) for row in self._index.execute(query, (bucket,))]
        return [upload for upload in found if upload.key.startswith(prefix)]

    def _upload(self, bucket: str, key: str, upload: str) -> Upload:
        query = "SELECT id, key, begun, headers FROM uploads WHERE id=? AND bucket=? AND key=?"
        row = self._index.execute(query, (upload, bucket, key)).fetchone()
        if row is None:
            raise _no_upload()
        return _read_upload(row)

    def join(self, parts: Sequence[Part], etag: str) -> Blob:
        """Join parts into one body, with constant memory.

        Raises:
            Refused: 404 NoSuchUpload: another request ended the upload meanwhile.
        """
        writer = self.writer()
        try:
            for part in parts:
                with (self._blobs / part.blob).open("rb") as file:
                    while piece := file.read(1 << 20):
                        writer.write(piece)
        except FileNotFoundError as error:
            writer.discard()
            raise _no_upload() from error
        except BaseException:
            writer.discard()
            raise
        blob = writer.finish()
        return Blob(blob.name, etag, blob.size)

    def complete(self, bucket: str, upload: Upload, blob: Blob, headers: Mapping[str, str], *, new: bool) -> Entry:
        """Name the joined body and delete the upload, in one step. The body is deleted if this raises.

        Raises:
            Refused: 404 NoSuchUpload; 409 FileAlreadyExists.
        """
        entry = Entry(upload.key, blob.etag, blob.size, self._clock(), headers, blob.name)
        try:
            with self._transaction() as index:
                self._upload(bucket, upload.key, upload.id)
                old = self._name(index, bucket, entry, new=new) + self._forget(index, upload.id)
        except BaseException:
            self.drop(blob)
            raise
        self._unlink(old)
        return entry

    def abort(self, bucket: str, key: str, upload: str) -> None:
        """Delete an upload and its parts.

        Raises:
            Refused: 404 NoSuchUpload.
        """
        with self._transaction() as index:
            self._upload(bucket, key, upload)
            old = self._forget(index, upload)
        self._unlink(old)

    def _forget(self, index: sqlite3.Connection, upload: str) -> list[str]:
        old = _blobs_of(index, "parts WHERE upload=?", upload)
        index.execute("DELETE FROM parts WHERE upload=?", (upload,))
        index.execute("DELETE FROM uploads WHERE id=?", (upload,))
        return old


def _entry(row: tuple[str, str, int, float, str, str]) -> Entry:
    key, etag, size, modified, headers, blob = row
    return Entry(key, etag, size, modified, json.loads(headers), blob)


def _no_upload() -> Refused:
    return Refused(404, "NoSuchUpload", "The specified multipart upload does not exist.")


def _read_upload(row: tuple[str, str, float, str]) -> Upload:
    upload, key, begun, headers = row
    return Upload(upload, key, begun, json.loads(headers))


def _blobs_of(index: sqlite3.Connection, where: str, *values: str | int) -> list[str]:
    """Return the names of the bodies in rows of a table; `where` is a constant: table and condition."""
    return [name for (name,) in index.execute(f"SELECT blob FROM {where}", values)]  # noqa: S608 - see above
