"""A terminal for tests: the screen that a person would see, from what a program writes to a pseudo-terminal."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

__all__ = ["Screen", "Terminal"]

_SEQUENCE: Final = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b[()][A-Z0-9]|\x1b[=>78]")
_PART_OF_ONE: Final = re.compile(r"\x1b(\[[?\d;]*)?$")


class Screen:
    """The visible rows, and the rows that were scrolled out above them.

    It knows the movements that rich uses, and fails on any other, so that no frame is read wrongly.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self.columns = columns
        self.rows = rows
        self.scrolled: list[str] = []
        self.cursor_shown = True
        self.coloured = False
        self._cells = [[" "] * columns for _ in range(rows)]
        self._row = 0
        self._column = 0
        self._pending = ""

    @property
    def lines(self) -> list[str]:
        """The visible rows, without blanks at their ends."""
        return ["".join(row).rstrip() for row in self._cells]

    @property
    def text(self) -> str:
        """Everything that a person can read, with what scrolled away."""
        return "\n".join([*self.scrolled, *self.lines]).rstrip()

    def feed(self, text: str) -> None:
        """Write a text of a program."""
        text, self._pending = self._pending + text, ""
        if half := _PART_OF_ONE.search(text):
            text, self._pending = text[: half.start()], half[0]
        at = 0
        for found in _SEQUENCE.finditer(text):
            self._write(text[at : found.start()])
            if found[2]:
                self._obey(found[1], found[2])
            at = found.end()
        self._write(text[at:])

    def _write(self, text: str) -> None:
        for letter in text:
            if letter == "\r":
                self._column = 0
            elif letter == "\n":
                self._down()
            else:
                assert letter.isprintable(), repr(letter)
                self._put(letter)

    def _put(self, letter: str) -> None:
        width = 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if self._column + width > self.columns:
            self._column = 0
            self._down()
        self._cells[self._row][self._column : self._column + width] = [letter, *[""] * (width - 1)]
        self._column += width

    def _down(self) -> None:
        if self._row < self.rows - 1:
            self._row += 1
            return
        self.scrolled.append("".join(self._cells.pop(0)).rstrip())
        self._cells.append([" "] * self.columns)

    def _obey(self, arguments: str, command: str) -> None:
        number = int(arguments) if arguments.isdecimal() else None
        match command:
            case "A":
                self._row = max(0, self._row - (number or 1))
            case "K" if number == 2:
                self._cells[self._row] = [" "] * self.columns
            case "K" if not number:
                self._cells[self._row][self._column :] = [" "] * (self.columns - self._column)
            case "m":
                self.coloured |= any(_is_colour(int(number or 0)) for number in arguments.split(";"))
            case "h" | "l" if arguments == "?25":
                self.cursor_shown = command == "h"
            case _:
                raise AssertionError(f"unknown sequence {arguments}{command}")


def _is_colour(number: int) -> bool:
    return 30 <= number <= 49 or 90 <= number <= 107


class Terminal:
    """A command in a pseudo-terminal of a given size.

    Args:
        argv: the command.
        columns: width.
        rows: height.
        cwd: its folder.
        env: its environment.
    """

    def __init__(self, argv: Sequence[str], columns: int, rows: int, cwd: Path, env: Mapping[str, str]) -> None:
        self.screen = Screen(columns, rows)
        self.frames: list[list[str]] = []
        """The visible rows after each read."""
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._end, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(
            argv, cwd=cwd, env=dict(env), stdin=inside, stdout=inside, stderr=inside, start_new_session=True
        )
        os.close(inside)

    def read_until(self, condition: Callable[[Screen], bool] | None, limit_s: float) -> None:
        """Read until the screen fulfils the condition; without one until the program has ended.

        Raises:
            AssertionError: it did not within the limit.
        """
        end = time.monotonic() + limit_s
        while condition is None or not condition(self.screen):
            assert time.monotonic() < end, self.screen.text
            if not self._read():
                assert condition is None, self.screen.text
                self.process.wait(limit_s)
                return

    def interrupt(self) -> None:
        """Send what Ctrl-C sends: the signal to the whole group of the terminal."""
        os.killpg(self.process.pid, signal.SIGINT)

    def close(self) -> None:
        """End the program, whatever its state."""
        self.process.kill()
        self.process.wait()
        os.close(self._end)

    def _read(self) -> bool:
        """Read the available output for at most a fraction of a second; False at the end."""
        if not select.select([self._end], [], [], 0.1)[0]:
            return True
        try:
            read = os.read(self._end, 65536)
        except OSError:
            # Linux raises this once no process has the other end.
            return False
        self.screen.feed(self._decode.decode(read))
        self.frames.append(self.screen.lines)
        return bool(read)
