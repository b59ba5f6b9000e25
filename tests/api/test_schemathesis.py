"""Schemathesis over the OpenAPI document, through a real socket: no 5xx, no answer that the document does not name."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from producer.api.context import Api
from producer.api.document.openapi import document
from producer.api.http.app import create_app
from producer.api.routes import OPERATIONS
from recipes.table import RECIPES
from sandbox.server import Server
from tests.api.conftest import opened, token

SCHEMA = schemathesis.openapi.from_dict(json.loads(msgspec.json.encode(document(OPERATIONS, RECIPES))))
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@asynccontextmanager
async def _api() -> AsyncGenerator[Api]:
    async with opened(per_minute=0, respond_within_s=0.7) as door:
        yield door.api


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with Server(create_app(_api)) as server:
        yield server.url


@pytest.mark.slow
@SCHEMA.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_the_document_names(case: schemathesis.Case, url: str) -> None:
    headers = {"Authorization": f"Bearer {token(role='operator')}"}
    case.call_and_validate(base_url=url, headers=headers, checks=CHECKS)
