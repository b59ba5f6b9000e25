"""Forms of the settings' values. A value of another form is refused with the text that describes the form."""

from __future__ import annotations

from typing import Annotated

import msgspec

from services.objects.bucket.rules import CLASSES, MAX_DAYS

__all__ = [
    "Bucket",
    "Calls",
    "HostPorts",
    "Hosts",
    "InputDays",
    "Label",
    "Labels",
    "LedgerDays",
    "Model",
    "Number",
    "Origins",
    "OutputDays",
    "Provider",
    "PulsarName",
    "Region",
    "Seconds",
    "Transitions",
    "Url",
]

Seconds = Annotated[float, msgspec.Meta(ge=0, le=1_000_000, description="a number of seconds from 0 to 1000000")]

Url = Annotated[
    str,
    msgspec.Meta(pattern=r"^(https?://[^\s?#]+)?\Z", description="an http or https URL without query or fragment"),
]
Bucket = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([a-z0-9][a-z0-9-]*-[0-9]+)?\Z",
        description="a bucket's name with the appid, such as name-1250000000",
    ),
]
Region = Annotated[
    str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]*\Z", description="a region's name, such as ap-guangzhou")
]
Label = Annotated[
    str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}\Z", description="up to 32 of a-z, 0-9, _ and -")
]
Model = Annotated[
    str,
    msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z", description="up to 64 letters, digits and . _ -"),
]
Labels = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(\s*[a-z0-9][a-z0-9_-]{0,31}\s*(,|\Z))*\Z", description="labels of keys, separated by commas"
    ),
]
Provider = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[^{}\x00-\x1f\x7f]{0,128}\Z", description="up to 128 characters without braces or control characters"
    ),
]
Number = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{0,18}\Z", description="a whole number")]
Calls = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
PulsarName = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.=:-]{1,128}\Z", description="letters, digits and . _ = : -")
]
Hosts = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(\s*(\*\.)?[A-Za-z0-9._-]+\s*(,|\Z))*\Z",
        description="host names, separated by commas; *. before one takes all below it",
    ),
]
HostPorts = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(\s*[A-Za-z0-9._-]+:[0-9]{1,5}\s*(,|\Z))*\Z", description="host:port pairs, separated by commas"
    ),
]
Origins = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(\s*https?://[^\s,/?#]+\s*(,|\Z))*\Z",
        description="origins such as https://shop.example, separated by commas",
    ),
]
InputDays = Annotated[int, msgspec.Meta(ge=3, le=MAX_DAYS)]
OutputDays = Annotated[int, msgspec.Meta(ge=0, le=MAX_DAYS)]
LedgerDays = Annotated[int, msgspec.Meta(ge=40, le=MAX_DAYS)]
Transitions = Annotated[
    str,
    msgspec.Meta(
        pattern=rf"^(\s*[0-9]{{1,4}}:({'|'.join(CLASSES)})\s*(,|\Z))*\Z",
        description=f"days:class pairs, separated by commas, with a class of {', '.join(CLASSES)}",
    ),
]
