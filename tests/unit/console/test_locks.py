"""A lock file, held by one running process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from console.processes.locks import InUse, own_file

HOLD = """
import sys
from pathlib import Path
from console.processes.locks import own_file
with own_file(Path(sys.argv[1])) as file:
    print(4711, file=file, flush=True)
    print("held", flush=True)
    sys.stdin.read()
"""


def test_it_is_private_while_it_is_held_and_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "made/on the way/file"
    with own_file(path) as file:
        print("words", file=file, flush=True)
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.read_text(encoding="utf-8") == "words\n"
    assert not path.exists()


def test_a_file_that_was_there_is_emptied_and_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("of a dead process", encoding="utf-8")
    path.chmod(0o644)
    with own_file(path):
        assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"", 0o600)


def test_a_living_process_keeps_it_and_a_killed_one_does_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    argv = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(InUse) as taken, own_file(path):
            pass
        assert taken.value.pid == "4711"
        assert path.read_text(encoding="utf-8") == "4711\n"
        other.kill()
    with own_file(path):
        assert path.read_bytes() == b""


def test_what_is_written_there_is_not_told_unless_it_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with own_file(path) as file:
        print("SECRET=planted", file=file, flush=True)
        with pytest.raises(InUse) as taken, own_file(path):
            pass
    assert taken.value.pid == ""


def test_a_file_that_somebody_put_in_its_place_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with own_file(path):
        path.unlink()
        path.write_text("another's", encoding="utf-8")
    assert path.read_text(encoding="utf-8") == "another's"


@pytest.mark.parametrize("name", ["file/below", "folder", "/dev/null"])
def test_where_no_file_can_be_the_system_says_why(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"\S"), own_file(tmp_path / name):
        pass
    assert Path("/dev/null").exists()
