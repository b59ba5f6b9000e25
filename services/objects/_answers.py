"""Conversion of COS's headers and XML to the port's structs. Pure.

All values of the SDK's XML are text, an empty element is None, and an element that may repeat is a dict when it comes
once and a list when it comes more often (COS and CI; see each function for its document).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from messages.errors import Transient
from services.errors import AuditDown, BadVideo, LabelDown
from services.objects.port import (
    Audit,
    ObjectInfo,
    Page,
    PictureInfo,
    PictureRule,
    Processed,
    Result,
    VideoInfo,
)
from services.retry_after import http_time

__all__ = [
    "audited_text_of",
    "audits_of",
    "copied_of",
    "etag_of",
    "failed_keys",
    "info_of",
    "media_ended_of",
    "media_job_of",
    "page_of",
    "processed_of",
    "stored_of",
    "time_of",
    "versioned_of",
    "video_audit_of",
    "video_info_of",
    "video_job_of",
]

_META: Final = "x-cos-meta-"
_AT_WORK: Final = frozenset({"Submitted", "Snapshoting", "Auditing"})
_MEDIA_AT_WORK: Final = frozenset({"Submitted", "Running", "Pause"})
_RESULTS: Final = {"0": (False, False), "1": (True, False), "2": (False, True)}


def info_of(key: str, headers: Mapping[str, str]) -> ObjectInfo:
    """Return an object from the headers of a GET or HEAD (COS, "HEAD Object").

    Args:
        key: its key.
        headers: case-insensitive.
    """
    return ObjectInfo(
        key=key,
        etag=etag_of(headers.get("ETag")),
        size=int(headers.get("Content-Length") or 0),
        modified=time_of(headers.get("Last-Modified") or headers.get("Date")),
        content_type=headers.get("Content-Type") or "",
        meta={
            name.lower()[len(_META) :]: _text_of(value)
            for name, value in headers.items()
            if name.lower().startswith(_META)
        },
        date=time_of(headers.get("Date")),
    )


def stored_of(key: str, headers: Mapping[str, str], *, size: int, content_type: str) -> ObjectInfo:
    """Return an object from the answer to its PUT (COS, "PUT Object").

    Raises:
        KeyError: the answer has no ETag, so it is not COS's.
    """
    # The answer to a PUT has no Last-Modified: the time of the answer is the nearest value.
    date = time_of(headers.get("Date"))
    etag = etag_of(headers["ETag"])
    return ObjectInfo(key=key, etag=etag, size=size, modified=date, content_type=content_type, date=date)


def copied_of(key: str, result: Mapping[str, Any], headers: Mapping[str, str]) -> ObjectInfo:
    """Return the copy from the answer to a copy, which does not give its size (COS, "PUT Object - Copy")."""
    date = time_of(headers.get("Date"))
    modified = time_of(result.get("LastModified")) or date
    return ObjectInfo(key=key, etag=etag_of(result["ETag"]), size=0, modified=modified, date=date)


def page_of(listing: Mapping[str, Any], headers: Mapping[str, str]) -> Page:
    """Return a page of a listing (COS, "GET Bucket (List Objects)"); the marker of the next page is its last key.

    Raises:
        KeyError: it lacks a field that every listing has.
    """
    date = time_of(headers.get("Date"))
    items = tuple(
        ObjectInfo(
            key=str(row["Key"]),
            etag=etag_of(row["ETag"]),
            size=int(row["Size"]),
            modified=time_of(row["LastModified"]),
            date=date,
        )
        for row in _rows(listing.get("Contents"))
    )
    more = str(listing["IsTruncated"]).lower() == "true"
    return Page(items, next_after=items[-1].key if more and items else "", date=date)


def versioned_of(result: Mapping[str, Any]) -> bool:
    """Return True if versioning was ever switched on: only then the answer has a Status (COS, "GET Bucket versioning").

    Raises:
        KeyError: the answer is not about versioning.
    """
    if "Status" not in result and not any(name.endswith("VersioningConfiguration") for name in result):
        raise KeyError("VersioningConfiguration")
    return bool(result.get("Status"))


def failed_keys(result: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return key and error code of each object that a batch delete did not delete (COS, "DELETE Multiple Objects").

    Raises:
        KeyError: the answer is not about a delete.
    """
    if not any(name.endswith(("DeleteResult", "Deleted", "Error")) for name in result):
        raise KeyError("DeleteResult")
    return tuple((str(row.get("Key") or ""), str(row.get("Code") or "")) for row in _rows(result.get("Error")))


def processed_of(key: str, rules: Sequence[PictureRule], result: Mapping[str, Any]) -> Processed:
    """Return the result of the picture service (CI, "Persistent image processing", document 460/18147).

    Raises:
        messages.errors.Transient: a rule is missing in it, or it names another object.
    """
    try:
        original = result["OriginalInfo"]
        stored = {_key_of(row["Key"]): row for row in _rows(result["ProcessResults"]["Object"])}
        outputs = tuple(_picture_of(rule.key, stored[rule.key], stored.pop(rule.key)) for rule in rules)
        if stored:
            raise Transient(f"process {key!r}: {len(stored)} results were not asked for")
        return Processed(_picture_of(key, original, original["ImageInfo"]), outputs)
    except (KeyError, TypeError, ValueError):
        raise Transient(f"process {key!r}: the answer lacks a result") from None


def audits_of(keys: Sequence[str], result: Mapping[str, Any]) -> tuple[Audit, ...]:
    """Return the findings in the order of `keys` (CI, "Batch image moderation", document 436/63593).

    Raises:
        services.errors.AuditDown: an element failed or is missing.
    """
    found: dict[int, Mapping[str, Any]] = {}
    for row in _rows(result.get("JobsDetail")):
        place = _place_of(keys, row)
        if place is not None:
            found[place] = row
    return tuple(Audit(key, _result_of(key, found.get(place))) for place, key in enumerate(keys))


def audited_text_of(result: Mapping[str, Any]) -> Result:
    """Return the finding about a text (CI, "Submitting text moderation job", document 460/56285).

    Raises:
        services.errors.AuditDown: there is none.
    """
    return _result_of("", next(iter(_rows(result.get("JobsDetail"))), None))


def video_info_of(key: str, result: Mapping[str, Any]) -> VideoInfo:
    """Return the first video stream of a file (CI, "Querying media information", document 436/55672).

    Raises:
        services.errors.BadVideo: it has none.
        KeyError: the answer is not about a file.
    """
    found = next(iter(_rows(result["MediaInfo"])), {})
    streams = found.get("Stream") or {}
    video = next(iter(_rows(streams.get("Video"))), None)
    if video is None or not _number(video.get("Width")) or not _number(video.get("Height")):
        raise BadVideo(f"video_info {key!r}: no video stream")
    seconds = _number(video.get("Duration")) or _number((found.get("Format") or {}).get("Duration"))
    codec = str(video.get("CodecName") or "").lower()
    return VideoInfo(codec, int(_number(video["Width"])), int(_number(video["Height"])), seconds)


def video_job_of(key: str, result: Mapping[str, Any]) -> str:
    """Return the id of a new audit of a video (CI, "Submitting video moderation job", document 460/46427).

    Raises:
        services.errors.AuditDown: there is none.
    """
    return _new_job_of(result, lambda why: AuditDown(f"submit_video_audit {key!r}: {why}", key=key))


def video_audit_of(job: str, result: Mapping[str, Any]) -> Result | None:
    """Return the finding about a video (CI, "Querying video moderation job result", document 436/48250).

    Raises:
        services.errors.AuditDown: the job failed, or its answer has neither state nor result.
    """
    row = _first_job_of(result)
    if str(row.get("State")) in _AT_WORK:
        return None
    if str(row.get("State")) != "Success" or str(row.get("Result")) not in _RESULTS:
        why = row.get("Code") or row.get("State") or "no job"
        raise AuditDown(f"video_audit of job {job[:64]!r}: {why}")
    # Unlike that of a picture, this Code says Success too; nor is there one score.
    violation, suspect = _RESULTS[str(row["Result"])]
    return Result(violation, suspect, label=str(row.get("Label") or ""), score=int(_number(row.get("Score"))))


def media_job_of(key: str, result: Mapping[str, Any]) -> str:
    """Return the id of a new media job (CI, "Submitting transcoding job", document 436/85032).

    Raises:
        services.errors.LabelDown: there is none.
    """
    return _new_job_of(result, lambda why: LabelDown(f"submit_video_label {key!r}: {why}"))


def media_ended_of(job: str, result: Mapping[str, Any]) -> bool:
    """Return True if a media job has succeeded, False while it is at work (CI, "Querying job", document 436/47211).

    Raises:
        services.errors.LabelDown: it failed, was cancelled, or is unknown.
    """
    row = _first_job_of(result)
    if str(row.get("State")) in _MEDIA_AT_WORK:
        return False
    if str(row.get("State")) != "Success":
        raise LabelDown(f"video_label of job {job[:64]!r}: {row.get('Code') or row.get('State') or 'no job'}")
    return True


def time_of(text: str | None) -> float:
    """Return the seconds since the epoch of an HTTP date or of a date in COS's XML; 0 where there is none."""
    if not text or not text[:1].isdigit():
        return http_time(text or "") or 0.0
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def etag_of(text: str | None) -> str:
    """Return an ETag without its quotes."""
    return (text or "").strip('"')


def _rows(value: Any) -> tuple[Mapping[str, Any], ...]:  # noqa: ANN401 - as the SDK gives it
    if not value:
        return ()
    return tuple(value) if isinstance(value, list) else (value,)


def _number(value: Any) -> float:  # noqa: ANN401 - as the SDK gives it
    """Return a number that is not negative; 0 for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0.0
    return number if 0 <= number < 1e9 else 0.0  # noqa: PLR2004 - no true figure is larger


def _key_of(text: str) -> str:
    # CI's examples show keys both with and without the slash that `fileid` begins with.
    return text.removeprefix("/")


def _text_of(value: str) -> str:
    # HTTP header values are bytes; the library reads them as Latin-1, writers send UTF-8.
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _picture_of(key: str, stored: Mapping[str, Any], shape: Mapping[str, Any]) -> PictureInfo:
    name = str(shape["Format"]).lower()
    return PictureInfo(
        key=key,
        etag=etag_of(stored["ETag"]),
        format="jpeg" if name == "jpg" else name,
        width=int(shape["Width"]),
        height=int(shape["Height"]),
        size=int(shape.get("Size") or 0),
    )


def _place_of(keys: Sequence[str], row: Mapping[str, Any]) -> int | None:
    label = str(row.get("DataId") or "")
    if label.isdecimal() and int(label) < len(keys):
        return int(label)
    key = _key_of(str(row.get("Object") or ""))
    return keys.index(key) if key in keys else None


def _result_of(key: str, row: Mapping[str, Any] | None) -> Result:
    if row is None or row.get("Code") or str(row.get("Result")) not in _RESULTS:
        why = "not answered" if row is None else row.get("Code") or "no result"
        raise AuditDown(f"audit {key!r}: {why}" if key else f"audit of a text: {why}", key=key)
    violation, suspect = _RESULTS[str(row["Result"])]
    return Result(violation, suspect, label=str(row.get("Label") or ""), score=int(row.get("Score") or 0))


def _new_job_of(result: Mapping[str, Any], down: Callable[[str], AuditDown | LabelDown]) -> str:
    row = _first_job_of(result)
    job = str(row.get("JobId") or "")
    if not job:
        raise down(str(row.get("Code") or "no job"))
    return job


def _first_job_of(result: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(iter(_rows(result.get("JobsDetail"))), {})
