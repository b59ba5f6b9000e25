"""TC3 signatures: those of the official client, and those that the stand-in refuses, as the vendor does."""

from __future__ import annotations

from typing import Any

import pytest

from messages.errors import Permanent
from services.errors import VendorDown, VendorFull
from services.objects.credentials import Credentials
from services.vendors.tc3 import signed_headers
from telemetry.secrets import Secret
from tests.contract.vod.calls import create, failed, opened
from tests.contract.vod.conftest import KEYS, ROLE

BODY = b'{"SubAppId": 1500000000, "Limit": 1}'
OFFICIAL = "5916183435ab264c5e6818f8983902732549c648ce52805e7e171eb0b389c9b7"
"""Made by tencentcloud-sdk-python-common 3.1.195 at second 1700000000."""


@pytest.mark.parametrize("token", ["", "tmp-token"])
def test_the_signature_is_the_official_clients(token: str) -> None:
    headers = signed_headers(
        Credentials(Secret("AKIDEXAMPLE"), Secret("SECRETEXAMPLE"), Secret(token)),
        host="vod.tencentcloudapi.com",
        service="vod",
        action="DescribeTasks",
        version="2018-07-17",
        body=BODY,
        now=1_700_000_000.7,
    )
    scope = "Credential=AKIDEXAMPLE/2023-11-14/vod/tc3_request, SignedHeaders=content-type;host"
    assert headers == {
        "Authorization": f"TC3-HMAC-SHA256 {scope}, Signature={OFFICIAL}",
        "Content-Type": "application/json",
        "Host": "vod.tencentcloudapi.com",
        "X-TC-Action": "DescribeTasks",
        "X-TC-Timestamp": "1700000000",
        "X-TC-Version": "2018-07-17",
        **({"X-TC-Token": token} if token else {}),
    }


@pytest.mark.parametrize("credentials", [KEYS, ROLE], ids=["key pair", "role"])
async def test_a_key_pair_and_a_role_are_taken(credentials: Credentials, client_for: Any, standin: Any) -> None:
    async with opened(client_for(credentials=credentials)) as client:
        await client.check_room()
        assert await create(client)
    assert standin.core.stats()["refused"] == 0


WRONG = {
    "AuthFailure.SecretIdNotFound": Credentials(Secret("AKIDnobody0123456789"), Secret("secret-of-the-role")),
    "AuthFailure.SignatureFailure": Credentials(ROLE.secret_id, Secret("another-secret-key"), ROLE.token),
    "AuthFailure.TokenFailure": Credentials(ROLE.secret_id, ROLE.secret_key, Secret("an-older-token")),
}


@pytest.mark.parametrize("code", WRONG)
async def test_wrong_credentials_are_an_outage_and_an_alarm(code: str, client_for: Any, standin: Any) -> None:
    async with opened(client_for(credentials=WRONG[code])) as client:
        with pytest.raises(VendorDown, match=code):
            await client.check_room()
        with pytest.raises(VendorDown, match=code):
            await client.query("1-AigcImageTask-0t")
        error = await failed(client, VendorFull)
    assert code in str(error)
    assert WRONG[code].secret_key.reveal() not in str(error)
    assert standin.jobs == 0


async def test_a_clock_that_errs_by_more_than_five_minutes_is_refused(client_for: Any, standin: Any) -> None:
    async with opened(client_for(clock=lambda: standin.clock.now - 301)) as client:
        assert "SignatureExpire" in str(await failed(client, VendorFull))
    async with opened(client_for(clock=lambda: standin.clock.now - 299)) as client:
        assert await create(client)


async def test_credentials_that_change_are_read_for_every_call(standin: Any, client_for: Any) -> None:
    now = [WRONG["AuthFailure.TokenFailure"]]
    client = client_for()
    client._credentials = lambda: now[0]
    async with opened(client):
        with pytest.raises(VendorDown):
            await client.check_room()
        now[0] = ROLE
        await client.check_room()
        assert await create(client)


async def test_another_application_is_refused(client_for: Any, standin: Any) -> None:
    async with opened(client_for(sub_app_id=1)) as client:
        with pytest.raises(VendorDown, match="SubAppId"):
            await client.check_room()
    async with opened(client_for(sub_app_id=0)) as client:
        with pytest.raises(VendorDown, match="SubAppId"):
            await client.check_room()


@pytest.mark.parametrize("part", ["a\nb", "", "schlüssel"])
def test_credentials_that_no_header_can_carry(part: str) -> None:
    with pytest.raises(Permanent) as caught:
        signed_headers(
            Credentials(Secret(part), Secret("key")), host="h", service="vod", action="A", version="1", body=b"", now=0
        )
    assert not part or part not in str(caught.value)
