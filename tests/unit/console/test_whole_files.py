"""Files of the stand-ins: a reader finds all of a file or none of it, also while another process writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.runninghub.model import Job, Shape
from sandbox.runninghub.pictures import Pictures
from sandbox.whole_files import beside, write_whole


@pytest.fixture
def halves(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The names beside a file when half of it is written, for each write."""
    seen: list[list[str]] = []
    write = Path.write_bytes

    def write_half(path: Path, body: bytes) -> int:
        write(path, body[: len(body) // 2])
        seen.append([one.name for one in path.parent.iterdir() if not one.name.startswith(".")])
        return write(path, body)

    monkeypatch.setattr(Path, "write_bytes", write_half)
    return seen


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_file_is_not_there_before_it_is_whole(tmp_path: Path, halves: list[list[str]]) -> None:
    path = tmp_path / "folder" / "file"
    write_whole(path, b"one two")
    assert halves == [[]]
    assert path.read_bytes() == b"one two"
    write_whole(path, b"three", mode=0o600)
    assert (path.read_bytes(), names(path.parent)) == (b"three", ["file"])
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"before")

    def fail() -> None:
        with beside(path) as draft:
            draft.write_bytes(b"after")
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - it is raised above
        fail()
    assert (path.read_bytes(), names(tmp_path)) == (b"before", ["file"])


def test_the_result_of_a_job_is_not_read_before_it_is_whole(tmp_path: Path, halves: list[list[str]]) -> None:
    job = Job(
        id="1",
        number=1,
        key="key",
        workflow="w",
        shape=Shape({}),
        values={},
        photos=(),
        created=0.0,
        duration=1.0,
        webhook="",
        base_url="",
        failure=None,
        count=12,
    )
    body, _ = Pictures(tmp_path, 7).result(job, 1)
    assert halves == [[]]
    assert Pictures(tmp_path, 7).result(job, 1) == (body, "image/png")
