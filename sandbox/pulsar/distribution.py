"""Server distribution of Pulsar: downloaded once with Maven, verified by its digest, its jars unpacked into a cache.

One file holds all jars. Downloading `pulsar-broker` and its dependencies one by one does not work: some of them are in
no public repository.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["VERSION", "BrokerFailed", "DistributionMissing", "cache_folder", "jars", "java", "unavailable_reason"]

VERSION: Final = "4.0.8"
"""Version of the broker."""

_SHA512: Final = (
    "65b769b10696cdfebf7fc5bcdc95dd663702e27051e616c1a13cb100e9127952"
    "5be35352171befe7b0011176330aab29bd0a6c8a0f2f0646641af46d2e33cbd6"
)
_PLUGIN: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
_ARTIFACT: Final = f"org.apache.pulsar:pulsar-server-distribution:{VERSION}:tar.gz:bin"
_FETCH_LIMIT: Final = 900.0
_OLDEST_JAVA: Final = 17


class BrokerFailed(RuntimeError):
    """The broker did not start, or refused a request; the message holds the reason."""


class DistributionMissing(BrokerFailed):
    """The broker cannot run on this machine; the message names what is missing."""


def cache_folder() -> Path:
    """Return the folder of the jars: `SCF_WORKERS_CACHE`, or `scf-workers` in the user's cache folder."""
    given = os.environ.get("SCF_WORKERS_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given) if given else base / "scf-workers"


def java(name: str = "java") -> str:
    """Return the path of a program of the JDK; empty if there is none."""
    home = os.environ.get("JAVA_HOME")
    return shutil.which(name, path=str(Path(home) / "bin") if home else None) or shutil.which(name) or ""


def unavailable_reason() -> str:
    """Return why no broker can be started here; empty if one can. Downloads nothing."""
    if not java():
        return "there is no Java"
    if not _unpacked().exists() and not shutil.which("mvn"):
        return "there is no Maven to download the broker with"
    return "" if _java_version() >= _OLDEST_JAVA else f"Java {_OLDEST_JAVA} or newer is needed"


def jars() -> Path:
    """Return the folder of the broker's jars; the first call downloads them (about 250 MB).

    Raises:
        DistributionMissing: they could not be downloaded, or their digest is wrong.
    """
    target = _unpacked()
    if target.exists():
        return target
    if not shutil.which("mvn"):
        raise DistributionMissing("there is no Maven to download the broker with")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetch-") as folder:
        archive = _fetch(Path(folder))
        _check(archive)
        _unpack(archive, Path(folder) / "lib")
        try:
            (Path(folder) / "lib").rename(target)
        except OSError:
            if not target.exists():  # else another process unpacked them first
                raise
    return target


def _unpacked() -> Path:
    return cache_folder() / f"pulsar-{VERSION}" / "lib"


def _java_version() -> int:
    """Return the feature release, such as 17; 0 if it is unknown."""
    done = subprocess.run([java(), "-version"], capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - the JDK's own program
    found = re.search(r'version "(\d+)', done.stderr)
    return int(found[1]) if found else 0


def _fetch(folder: Path) -> Path:
    command = ["mvn", "-B", "-ntp", "-q", _PLUGIN, f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={folder}"]
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=_FETCH_LIMIT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DistributionMissing(f"Maven did not download the broker: {type(error).__name__}") from error
    found = sorted(folder.glob("pulsar-server-distribution-*"))
    if done.returncode or not found:
        raise DistributionMissing(f"Maven did not download {_ARTIFACT}:\n{(done.stdout + done.stderr)[-2000:]}")
    return found[0]


def _check(archive: Path) -> None:
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").hexdigest()
    if digest != _SHA512:
        raise DistributionMissing(f"{archive.name} is not the pinned file: its SHA-512 is {digest}")


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack the jars only."""
    folder.mkdir()
    with tarfile.open(archive) as tar:
        for member in tar:
            name = Path(member.name)
            if member.isfile() and name.parent.name == "lib" and (source := tar.extractfile(member)) is not None:
                with source, (folder / name.name).open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
