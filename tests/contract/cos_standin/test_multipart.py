"""Multipart uploads through the real SDK."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from qcloud_cos import CosServiceError

PART = 1 << 20


def refused(status: int, code: str, call: Any, **named: Any) -> None:
    with pytest.raises(CosServiceError) as caught:
        call(**named)
    assert (caught.value.get_status_code(), caught.value.get_error_code()) == (status, code)


def test_upload_file_goes_in_parts_and_comes_out_whole(standin: Any, tmp_path: Path) -> None:
    body = bytes(range(256)) * 10_000
    (tmp_path / "big").write_bytes(body)
    client = standin.client()
    done = client.upload_file(
        Bucket=standin.bucket,
        Key="大/big.bin",
        LocalFilePath=str(tmp_path / "big"),
        PartSize=1,
        MAXThread=3,
        Metadata={"x-cos-meta-a": "1"},
        StorageClass="STANDARD_IA",
    )
    digests = b"".join(hashlib.md5(body[at : at + PART]).digest() for at in range(0, len(body), PART))  # noqa: S324 - the ETag's rule
    assert done["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-3"'  # noqa: S324 - as above
    head = client.head_object(Bucket=standin.bucket, Key="大/big.bin")
    assert (head["ETag"], head["x-cos-meta-a"], head["x-cos-storage-class"]) == (done["ETag"], "1", "STANDARD_IA")
    got = client.get_object(Bucket=standin.bucket, Key="大/big.bin")["Body"]
    assert b"".join(got.get_stream(PART)) == body
    assert "Upload" not in client.list_multipart_uploads(Bucket=standin.bucket)


class Begun:
    """An upload with parts."""

    def __init__(self, client: Any, bucket: str, *sizes: int, **headers: Any) -> None:
        self.client = client
        self.named = {"Bucket": bucket, "Key": "a"}
        self.named["UploadId"] = client.create_multipart_upload(**self.named, **headers)["UploadId"]
        self.parts = [
            {
                "PartNumber": number,
                "ETag": client.upload_part(**self.named, PartNumber=number, Body=bytes(size))["ETag"],
            }
            for number, size in enumerate(sizes, start=1)
        ]

    def complete(self, parts: list[dict[str, Any]] | None = None, **headers: Any) -> Any:
        chosen = self.parts if parts is None else parts
        return self.client.complete_multipart_upload(**self.named, MultipartUpload={"Part": chosen}, **headers)


def test_parts_are_listed_until_the_upload_is_aborted(standin: Any) -> None:
    client = standin.client()
    begun = Begun(client, standin.bucket, PART, 10)
    listed = client.list_parts(**begun.named)["Part"]
    assert [(part["PartNumber"], part["Size"]) for part in listed] == [("1", str(PART)), ("2", "10")]
    uploads = client.list_multipart_uploads(Bucket=standin.bucket)["Upload"]
    assert [(upload["Key"], upload["UploadId"]) for upload in uploads] == [("a", begun.named["UploadId"])]
    client.abort_multipart_upload(**begun.named)
    refused(404, "NoSuchUpload", client.list_parts, **begun.named)
    refused(404, "NoSuchUpload", client.abort_multipart_upload, **begun.named)
    assert standin.keys() == []


def test_wrong_completions_are_refused_and_can_be_mended(standin: Any) -> None:
    begun = Begun(standin.client(), standin.bucket, PART, 10, 10)
    first, second, third = begun.parts
    refused(400, "EntityTooSmall", begun.complete)
    refused(400, "InvalidPartOrder", begun.complete, parts=[second, first])
    refused(400, "InvalidPart", begun.complete, parts=[first, {"PartNumber": 9, "ETag": second["ETag"]}])
    refused(400, "InvalidPart", begun.complete, parts=[first, {"PartNumber": 2, "ETag": '"no"'}])
    begun.complete(parts=[first, third])
    refused(404, "NoSuchUpload", begun.complete)


def test_part_numbers_have_bounds(standin: Any) -> None:
    client = standin.client()
    begun = Begun(client, standin.bucket)
    for number in (0, 10_001):
        refused(400, "InvalidArgument", client.upload_part, **begun.named, PartNumber=number, Body=b"")


@pytest.mark.parametrize("at_the_end", [True, False])
def test_create_only_holds_for_uploads_too(standin: Any, at_the_end: bool) -> None:  # noqa: FBT001 - a table's column
    client = standin.client()
    client.put_object(Bucket=standin.bucket, Key="a", Body=b"first")
    forbid: dict[str, Any] = {"Metadata": {"x-cos-forbid-overwrite": "true"}}
    begun = Begun(client, standin.bucket, 10, **({} if at_the_end else forbid))
    refused(409, "FileAlreadyExists", begun.complete, **(forbid if at_the_end else {}))
    assert client.head_object(Bucket=standin.bucket, Key="a")["Content-Length"] == "5"
    client.delete_object(Bucket=standin.bucket, Key="a")
    begun.complete()
    assert "x-cos-forbid-overwrite" not in client.head_object(Bucket=standin.bucket, Key="a")
