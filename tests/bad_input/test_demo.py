"""The whole product on bad pictures, as a person would show it: `scf-workers demo BAD… --json`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from messages.codes import Code, text_of
from tests.bad_input import pictures
from tests.bad_input.pictures import BLUE, GREEN, RED, WHITE
from tests.secrets.plants import Plants
from tests.support.patience import PATIENCE_S

ROOT: Final = Path(__file__).parents[2]
FILES: Final[Mapping[str, tuple[Callable[[], bytes], Code | None]]] = {
    "text.jpg": (lambda: pictures.TEXT, Code.BAD_PICTURE),
    "zip.jpg": (pictures.zipped, Code.BAD_PICTURE),
    "cut.jpg": (lambda: pictures.jpeg()[:400], Code.BAD_PICTURE),
    "empty.png": (lambda: b"", Code.EMPTY_FILE),
    "bomb.png": (pictures.bomb, Code.PICTURE_TOO_LARGE),
    "huge.jpg": (lambda: pictures.jpeg() + bytes(33 << 20), Code.PICTURE_TOO_LARGE),
    "inks.jpg": (pictures.cmyk, None),
    "turned.jpg": (lambda: pictures.rotated(6), None),
    "alpha.png": (lambda: pictures.encoded(pictures.see_through(), "PNG"), None),
    "moving.webp": (pictures.animated, None),
    "deep.png": (pictures.deep_colour, None),
}
"""File -> its bytes, and the code it fails with."""

SHOWN: Final[Mapping[str, tuple[tuple[int, int, int] | None, ...]]] = {
    "alpha.png": (RED, GREEN, BLUE, None),
    "deep.png": (RED, GREEN, RED, GREEN),
}
"""File -> colours of its quarters, if they are not the flag's; None: transparent."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "names"),
    [("basic_clean", tuple(FILES)), ("model_pose12", ("text.jpg", "empty.png", "bomb.png", "zip.jpg"))],
)
def test_the_demo_shows_how_each_bad_picture_ends(tmp_path: Path, kind: str, names: Sequence[str]) -> None:
    files = {name: FILES[name] for name in names}
    for name, (make, _) in files.items():
        (tmp_path / name).write_bytes(make())
    photos = [str(tmp_path / name) for name in files]
    argv = [sys.executable, "-m", "console", "demo", *photos, "--kind", kind, "--out", str(tmp_path / "out"), "--json"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, check=False, text=True, timeout=2 * PATIENCE_S)
    assert done.returncode == 0, done.stderr[-3000:]
    Plants({}).assert_none_in([("output", done.stdout), ("errors", done.stderr)])
    report = json.loads(done.stdout.splitlines()[-1])
    failed = [code for _, code in files.values() if code]
    assert report["quota"] == {"charged": len(files), "refunded": len(failed)}
    for (name, (_, code)), task in zip(files.items(), report["tasks"], strict=True):
        check_callbacks(task, "failed" if code else "success")
        if code:
            assert task["error"] == {"code": code, "message": text_of(code)}
            assert (task["outputs"], task["files"], task["vendor_calls"]["create"]) == ([], [], 0)
        else:
            check_colours(task, *SHOWN.get(name, (RED, GREEN, BLUE, WHITE)))


def check_callbacks(task: Mapping[str, Any], status: str) -> None:
    assert task["status"] == status
    assert [call["status"] for call in task["callbacks"]] == [status]
    assert all(call["signature_ok"] and call["http_status"] == 200 for call in task["callbacks"])


def check_colours(task: Mapping[str, Any], *expected: tuple[int, int, int] | None) -> None:
    (file,) = task["files"]
    picture = pictures.opened(Path(file).read_bytes()).convert("RGBA")
    assert picture.size == pictures.SIZE
    for pixel, colour in zip(pictures.corners(picture), expected, strict=True):
        if colour is None:
            assert pixel[3] == 0
        else:
            assert pixel[3] == 255
            assert all(abs(one - other) <= 16 for one, other in zip(pixel[:3], colour, strict=True))
