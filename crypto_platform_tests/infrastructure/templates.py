"""The templates as values, and what their functions come to."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cfnlint import decode

from crypto_platform_tests.aws.stack import BOOTSTRAP, PLATFORM

TEMPLATES = (BOOTSTRAP, PLATFORM)


def template(path: Path) -> dict[str, Any]:
    """A template, its short forms written out."""
    found, _ = decode.decode(str(path))
    written: dict[str, Any] = json.loads(json.dumps(found))
    return written


def resources(*paths: Path) -> dict[str, dict[str, Any]]:
    """The resources of templates by their names there; no two have one name."""
    return {
        name: resource for path in paths for name, resource in template(path)["Resources"].items()
    }


def of_type(kind: str, *paths: Path) -> dict[str, dict[str, Any]]:
    """The properties of a type's resources, by their names in the templates."""
    return {
        name: found["Properties"]
        for name, found in resources(*paths).items()
        if found["Type"] == kind
    }


def documents(*paths: Path) -> dict[str, dict[str, Any]]:
    """The policies that allow roles anything, by where they stand."""
    inline = {
        f"{name}/{policy['PolicyName']}": policy["PolicyDocument"]
        for name, role in of_type("AWS::IAM::Role", *paths).items()
        for policy in role.get("Policies", ())
    }
    managed = {
        name: policy["PolicyDocument"]
        for name, policy in of_type("AWS::IAM::ManagedPolicy", *paths).items()
    }
    return {**inline, **managed}


def statements(*paths: Path) -> list[dict[str, Any]]:
    """All statements of those policies."""
    return [each for policy in documents(*paths).values() for each in policy["Statement"]]


def actions(statement: dict[str, Any]) -> list[str]:
    """The actions of a statement."""
    listed = statement["Action"]
    return [listed] if isinstance(listed, str) else listed


def texts(part: Any) -> Iterator[str]:
    """All texts within a part of a template, but the names of what stands there."""
    if isinstance(part, str):
        yield part
    for inner in (
        part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    ):
        yield from texts(inner)
