"""What a response without data means: for this request, or for all of them."""

import json
import re
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TypeVar

import requests

from lambda_function.errors import (
    InvalidRequest,
    InvalidSettings,
    OutOfPlan,
    RateLimited,
    RequestProblem,
    Unauthorized,
)
from lambda_function.plans import ApiSettings

_OUT_OF_PLAN = 10012
_ADVICE_ON_CODE = {
    10002: "The API saw no key: set COINGECKO_API_KEY, or COINGECKO_PLAN to keyless.",
    10005: "The plan does not include this request: check COINGECKO_PLAN and the key's plan.",
    10010: "COINGECKO_API_KEY is the key of a paid plan: set COINGECKO_PLAN to that plan.",
    10011: "COINGECKO_API_KEY is the key of a demo plan: set COINGECKO_PLAN to demo.",
}
_TRANSIENT = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT})
# What the status should have been where a success carries an error.
_STATUS_BY_WORDS = (
    (r"coin not found|could not find coin", HTTPStatus.NOT_FOUND),
    (r"throttled|rate limit|error code: 1015", HTTPStatus.TOO_MANY_REQUESTS),
    (r"vs_currency", HTTPStatus.BAD_REQUEST),
    (r"internal server error|bad gateway|unavailable", HTTPStatus.SERVICE_UNAVAILABLE),
)

T = TypeVar("T")


def classify(
    response: requests.Response,
    flaw: Exception | None,
    now: datetime,
    settings: ApiSettings,
    advice_on_404: str | None,
) -> Exception:
    """What a response without data means: by its status first, then by its body.

    Args:
        response: The response.
        flaw: Why its body is not the data that was asked for, where it looks like a success.
        now: When it was there, which a ``Retry-After`` may be relative to.
        settings: How the API is called: what must not be quoted, and what to advise.
        advice_on_404: What to do where the API has no such thing; ``None`` for the address's.

    Returns:
        A ``RequestProblem`` where one request is concerned, an ``IngestionError`` where all are.
    """
    code, words = _error_in(settings.redact(response.content.decode(errors="replace")))
    coded = f", code {code}" if code else ""
    said = f"The API answered HTTP {response.status_code}{coded}: {words!r}."
    status = response.status_code
    if status == HTTPStatus.OK:
        status = _status_meant(code, words)
    if status == HTTPStatus.OK:
        return RequestProblem(
            f"{said} That is no response to this request ({flaw}).",
            # A body that is not JSON may have been cut; one that is would come again.
            transient=isinstance(flaw, json.JSONDecodeError),
            body=response.content,
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRANSIENT:
        kind = RateLimited if status == HTTPStatus.TOO_MANY_REQUESTS else RequestProblem
        return kind(said, transient=True, retry_after=_retry_after(response, now))
    return _permanent(status, code, said, settings, advice_on_404)


def _permanent(
    status: int, code: int | None, said: str, settings: ApiSettings, advice_on_404: str | None
) -> Exception:
    """What a response means that would be the same if the request was made again."""
    if code == _OUT_OF_PLAN:
        return OutOfPlan(said)
    if code in _ADVICE_ON_CODE or status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        advice = _ADVICE_ON_CODE.get(code or 0, settings.advice)
        return Unauthorized(f"{said} {advice}")
    if status < HTTPStatus.BAD_REQUEST:
        return InvalidSettings(
            f"{said} {settings.url_variable} must be the address of the API itself."
        )
    if status == HTTPStatus.NOT_FOUND:
        return RequestProblem(f"{said} {advice_on_404 or f'Check {settings.url_variable}.'}")
    if "vs_currency" in said:
        return InvalidRequest(f"{said} Set VS_CURRENCY to a currency that the API has.")
    return RequestProblem(said)


def _error_in(body: str) -> tuple[int | None, str]:
    """The error code and the words of a body, in whichever shape it has them."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    code = _find(found, int, "error_code")
    words = _find(found, str, "error_message", "error", "message")
    if words is None:
        words = re.sub(r"<[^>]*>", " ", body[:4096])
    return code, " ".join(words.split())[:300]


def _find(node: object, kind: type[T], *keys: str) -> T | None:
    if not isinstance(node, dict):
        return None
    here = [node[key] for key in keys if isinstance(node.get(key), kind)]
    deeper = (_find(child, kind, *keys) for child in node.values())
    return here[0] if here else next((found for found in deeper if found is not None), None)


def _status_meant(code: int | None, words: str) -> int:
    if code is not None:
        return code if code in set(HTTPStatus) else HTTPStatus.UNAUTHORIZED
    found = (
        status for pattern, status in _STATUS_BY_WORDS if re.search(pattern, words, re.IGNORECASE)
    )
    return next(found, HTTPStatus.OK)


def _retry_after(response: requests.Response, now: datetime) -> float | None:
    text = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        return (parsedate_to_datetime(text) - now).total_seconds()
    except (ValueError, TypeError):
        return None
