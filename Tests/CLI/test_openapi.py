"""The description the server gives of itself: valid, true, and followed by a fuzzer."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Reply, Server
from openapi_spec_validator import OpenAPIV31SpecValidator
from processes import clean_environment

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
DUMMY_ID = "00000000-0000-7000-8000-000000000000"
FUZZ_SECONDS = 30

MAIN_JOB = {
    "POST /api/auth/{}/register", "POST /api/auth/{}/login", "POST /api/auth/{}/change-password", "GET /api/auth/me",
    "POST /api/auth/refresh", "POST /api/auth/logout", "GET /api/auth/sessions", "DELETE /api/auth/sessions/{}",
    "POST /api/auth/file-token", "GET /api/admin/setup/status", "POST /api/admin/setup", "POST /api/admin/auth/login",
    "GET /api/admin/settings", "PATCH /api/admin/settings", "GET /api/collections", "POST /api/collections",
    "PATCH /api/records/{}/{}", "GET /api/health", "GET /api/ready",
}  # fmt: skip

Operation = tuple[str, str, dict[str, Any]]


@pytest.fixture(scope="module")
def description(server: Server) -> dict[str, Any]:
    return server.call("GET", "/api/openapi.json").json


@pytest.fixture(scope="module")
def operations(description: dict[str, Any]) -> list[Operation]:
    """Every documented operation: method, path template, and its object."""
    return [
        (method.upper(), path, operation)
        for path, item in description["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


def call_unauthenticated(server: Server, method: str, template: str) -> Reply:
    """Calls an operation of the collection `users`, with an id nobody has and an empty object where a body belongs."""
    path = re.sub(r"\{(\w+)\}", lambda name: "users" if name[1] in ("col", "collection") else DUMMY_ID, template)
    return server.call(method, path, None if method in ("GET", "HEAD") else {})


def test_the_description_is_valid_openapi_3_1(description: dict[str, Any]) -> None:
    assert description["openapi"].startswith("3.1.")
    assert list(OpenAPIV31SpecValidator(description).iter_errors()) == []


def test_the_routes_of_the_main_job_are_described(operations: list[Operation]) -> None:
    described = {f"{method} {re.sub(r'{[^}]*}', '{}', path)}" for method, path, _ in operations}
    assert described >= MAIN_JOB


def test_every_described_operation_exists(server: Server, operations: list[Operation]) -> None:
    unknown = server.call("GET", "/api/no/such/route").refused(404)["code"]
    missing = []
    for method, path, _ in operations:
        answer = call_unauthenticated(server, method, path)
        assert answer.status < 500, f"{method} {path}"
        if answer.status == 405 or (answer.status == 404 and answer.json["code"] == unknown):
            missing.append(f"{method} {path}")
    assert missing == []


def test_every_operation_described_as_guarded_asks_for_a_credential(
    server: Server, description: dict[str, Any], operations: list[Operation]
) -> None:
    everywhere = description.get("security", [])
    guarded = [
        (method, path)
        for method, path, operation in operations
        if (needs := operation.get("security", everywhere)) and {} not in needs
    ]
    assert guarded
    assert [place for place in guarded if call_unauthenticated(server, *place).status != 401] == []


def test_no_request_a_fuzzer_makes_up_is_answered_with_a_5xx(launch: Any, tmp_path: Path) -> None:
    server = launch().admin_setup()
    fuzz = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{server.port}/api/openapi.json"),
            *("--header", f"Authorization: Bearer {server.admin}"),
            *("--exclude-path-regex", "logout|sessions|refresh|admins|inbox/wait"),  # they end the session, or wait
            *("--checks", "not_a_server_error", "--phases", "examples,coverage,fuzzing"),
            *("--max-examples", "10", "--max-time", str(FUZZ_SECONDS), "--seed", "20260101", "--request-timeout", "10"),
            *("--generation-database", "none", "--no-shrink", "--no-color"),
        ],
        cwd=tmp_path,
        env=clean_environment({"NO_PROXY": "127.0.0.1"}),
        capture_output=True,
        text=True,
        timeout=3 * FUZZ_SECONDS,
    )
    assert fuzz.returncode == 0, fuzz.stdout[-5000:] + fuzz.stderr[-2000:]
    assert server.call("GET", "/api/health").data
