"""What is asked of AWS, written down where everybody's calls arrive: at moto's server.

So the AWS CLI's, Sail's and the function's own calls are seen like boto3's, each with who made it.
A request is read by botocore's own description of the service.
"""

import html
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl

import botocore.session
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.sts.models import sts_backends

from crypto_platform_tests.aws.account import OWN_CALLS
from crypto_platform_tests.infrastructure.iam.templates import ACCOUNT

_SERVICES = {"monitoring": "cloudwatch"}
_CREDENTIAL = re.compile(r"Credential=([^/]+)/[^/]+/[^/]+/([^/]+)/aws4_request")


@dataclass(frozen=True)
class Call:
    """A call.

    Attributes:
        caller: ARN of the role that makes it, or the access key where it is nobody's role.
        service: As botocore names it.
        operation: As botocore names it.
        parameters: Those that say what it is about.
    """

    caller: str
    service: str
    operation: str
    parameters: Mapping[str, Any]


@contextmanager
def recorded() -> Iterator[list[Call]]:
    """While this lasts, write down all calls but those that the tests make for themselves."""
    calls: list[Call] = []
    dispatch = DomainDispatcherApplication.__call__

    def written_down(
        self: DomainDispatcherApplication, environ: dict[str, Any], start_response: Any
    ) -> Any:
        signed = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
        if signed and OWN_CALLS not in environ.get("HTTP_USER_AGENT", ""):
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = BytesIO(body)
            key, signing_name = signed.groups()
            service = _SERVICES.get(signing_name, signing_name)
            calls.append(Call(_caller(key), service, *_read(service, environ, body)))
        return dispatch(self, environ, start_response)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DomainDispatcherApplication, "__call__", written_down)
        yield calls


def _caller(access_key: str) -> str:
    role = sts_backends[ACCOUNT]["aws"].get_assumed_role_from_access_key(access_key)
    return str(role.role_arn) if role else access_key


def _read(service: str, environ: Mapping[str, Any], body: bytes) -> tuple[str, dict[str, Any]]:
    """The operation of a request, and its parameters."""
    protocol = _model(service).metadata["protocol"]
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return target.rsplit(".", 1)[1], json.loads(body)
    if protocol == "query":
        form = dict(parse_qsl(body.decode()))
        return form.pop("Action"), form
    assert protocol.startswith("rest-"), (service, protocol)
    return _read_rest(service, environ, body)


def _read_rest(service: str, environ: Mapping[str, Any], body: bytes) -> tuple[str, dict[str, Any]]:
    given = {
        "querystring": dict(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True)),
        "header": {
            name.removeprefix("HTTP_").replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        },
    }
    fitting = [
        (sum(len(place) for place in needed.values()), name, found.groupdict())
        for name, method, path, needed in _operations(service)
        if method == environ["REQUEST_METHOD"]
        and (found := path.fullmatch(environ["PATH_INFO"]))
        and all(
            # Where the model has a value, it must be that one.
            key in given[place] and value in (None, given[place][key])
            for place, keys in needed.items()
            for key, value in keys.items()
        )
    ]
    # The one that asks for most is meant: a part of an upload is a PUT of an object as well.
    _, operation, parameters = max(fitting, key=lambda one: one[0])
    for name, member in _model(service).operation_model(operation).input_shape.members.items():
        place, key = member.serialization.get("location"), member.serialization.get("name", name)
        if place in given and (
            value := given[place].get(key.lower() if place == "header" else key)
        ):
            parameters[name] = value
    if operation == "DeleteObjects":
        parameters["Keys"] = [
            html.unescape(key) for key in re.findall(r"<Key>(.*?)</Key>", body.decode())
        ]
    return operation, parameters


@cache
def _model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)


@cache
def _operations(
    service: str,
) -> list[tuple[str, str, re.Pattern[str], dict[str, dict[str, str | None]]]]:
    """Name, method, path, and what else a request must have, of each operation of a service."""
    operations = []
    for name in _model(service).operation_names:
        operation = _model(service).operation_model(name)
        path, _, query = operation.http["requestUri"].partition("?")
        needed: dict[str, dict[str, str | None]] = {
            "querystring": {
                key: value or None for key, value in parse_qsl(query, keep_blank_values=True)
            },
            "header": {},
        }
        shape = operation.input_shape
        for member in shape.required_members if shape else ():
            where = shape.members[member].serialization
            if where.get("location") in needed:
                key = where["name"]
                needed[where["location"]][key.lower() if where["location"] == "header" else key] = (
                    None
                )
        pattern = re.sub(
            r"\\\{(\w+)(\\\+)?\\\}",
            lambda label: f"(?P<{label[1]}>{'.+' if label[2] else '[^/]+'})",
            re.escape(path),
        )
        operations.append((name, operation.http["method"], re.compile(pattern), needed))
    return operations
