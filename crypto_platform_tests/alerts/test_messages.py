"""What a message says, and what it must not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_platform.alerts.messages import BODY_LIMIT, SUBJECT_LIMIT
from crypto_platform_tests.alerts.events import check, failed, fold, succeeded


def test_the_message_says_what_where_why_and_what_to_do() -> None:
    (alert,) = fold([failed("run-1", "2026-11-24-06:00", backfill="b-1")])[1]

    assert alert.subject == "[ERROR] intra_day/raw_prices failed: 2026-11-24-06:00"
    for fact in (
        "2026-11-24-06:00",
        "ConnectionError: no way to the API",
        "http://ui.example:3000/runs/run-1",
        "materialize the same partitions again",
        "docs/runbook.md#run_failed",
        "b-1",
    ):
        assert fact in alert.body
    assert alert.attributes == {
        "severity": "error",
        "status": "opened",
        "stream": "intra_day",
        "kind": "run_failed",
        "alert_id": "run_failed/run-1/opened",
    }


def test_a_range_is_reported_by_its_ends() -> None:
    (alert,) = fold([failed("1", *(f"2026-01-{day:02}" for day in range(1, 32)))])[1]

    assert alert.subject.endswith("31 from 2026-01-01 to 2026-01-31")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("key CG-the-real-key refused", "CG-the-real-key"),
        ("https://api/x?x_cg_demo_api_key=abc123&vs=usd", "abc123"),
        ("GET https://user:hunter2@host/x", "hunter2"),
        ("{'x-cg-pro-api-key': 'abc123'}", "abc123"),
        ('{"password": "hunter2"}', "hunter2"),
        ("Authorization: Bearer abc.def-123", "abc.def-123"),
        ("CG-abcdefghijklmnopqrstuvwx", "CG-abcdefghijklmnopqrstuvwx"),
        ("aws AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----", "MIIE"),
        ("x" * 3_990 + " CG-the-real-key", "CG-the"),
    ],
)
def test_no_secret_stands_in_a_message(text: str, secret: str) -> None:
    run = failed("1", "A", cause=text, failed=(text,))
    checked = check("1", passed=False, description=text, what_to_do=text)

    for alert in fold([run, checked, succeeded("2", "A")])[1]:
        assert secret not in alert.subject + alert.body


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_gives_a_subject_that_sns_takes(what: str, where: str) -> None:
    for alert in fold([failed("1", where, failed=(what,)), succeeded("2", where)])[1]:
        assert 1 <= len(alert.subject) <= SUBJECT_LIMIT
        assert alert.subject.isascii()
        assert alert.subject.isprintable()
        assert alert.subject.startswith("[")
        assert alert.body.strip()


def test_a_body_fits_into_a_message() -> None:
    run = failed("1", "A", cause="€" * 1_000_000, checks=[check("1", passed=False)] * 10_000)

    (alert,) = fold([run])[1]

    assert len(alert.body) <= BODY_LIMIT + 1
    assert len(alert.body.encode()) < 256 * 1024
