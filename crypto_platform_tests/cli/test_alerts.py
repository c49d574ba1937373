"""What ``crypto-platform alerts`` shows."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from crypto_platform.alerts.channels import FileChannel
from crypto_platform.alerts.messages import (
    Alert,
    AlertState,
    FailedDelivery,
    Incident,
    UndeliverableAlert,
)
from crypto_platform.cli.main import main

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def alert(number: int) -> Alert:
    return Alert(
        alert_id=f"run_failed/{number}/opened",
        at=NOON,
        kind="run_failed",
        severity="error",
        status="opened",
        stream="intra_day",
        subject=f"[ERROR] number {number} failed",
        body="why",
    )


@pytest.fixture
def channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileChannel:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    folder = tmp_path / "alerts"
    return FileChannel(path=str(folder / "outbox.jsonl"), state_root=str(folder))


def remember(channel: FileChannel) -> None:
    incident = Incident(
        identity="run_failed/1",
        kind="run_failed",
        title="intra_day/raw_prices failed: 2026-11-24-06:00",
        stream="intra_day",
        opened_at=NOON,
        seen_at=NOON,
        affected={"intra_day/raw_prices": frozenset({"2026-11-24-06:00"})},
        correlation_keys=frozenset(),
    )
    channel.write_state(
        "an-instance",
        AlertState(
            updated_at=NOON,
            incidents=(incident,),
            unsent=(alert(3),),
            failed_deliveries={
                alert(3).alert_id: FailedDelivery(attempts=2, next_at=NOON, reason="no way there")
            },
            put_aside=(
                UndeliverableAlert(
                    alert=alert(4),
                    delivery=FailedDelivery(attempts=12, next_at=NOON, reason="InvalidParameter"),
                ),
            ),
        ),
    )


def show(*options: str) -> str:
    shown = CliRunner().invoke(main, ["alerts", *options])
    assert shown.exit_code == 0, shown.output
    return shown.output


def test_before_the_first_tick_it_says_who_would_look(channel: FileChannel) -> None:
    assert f"Alerts go to the file {channel.path}" in show()
    assert "The sensor has not looked yet" in show()


def test_it_lists_what_was_sent_what_waits_and_what_is_open(channel: FileChannel) -> None:
    channel.send(alert(1))
    channel.send(alert(2))
    remember(channel)

    shown = show()

    assert shown.index("number 1 failed") < shown.index("number 2 failed")
    assert "Waiting to be sent" in shown
    assert "number 3 failed" in shown
    assert "intra_day/raw_prices 2026-11-24-06:00" in shown


def test_it_shows_why_messages_were_not_delivered_and_which_were_put_aside(
    channel: FileChannel,
) -> None:
    remember(channel)

    (waiting, aside) = (
        line for line in show().splitlines() if "no way there" in line or "Invalid" in line
    )

    assert "number 3 failed" in waiting
    assert "number 4 failed" in aside
    assert "none: put aside" in aside


def test_programs_get_all_of_it_as_json(channel: FileChannel) -> None:
    for number in (1, 2):
        channel.send(alert(number))
    remember(channel)

    document = json.loads(show("--json", "--limit", "1"))

    assert [one["alert_id"] for one in document["alerts"]] == ["run_failed/2/opened"]
    assert document["alerts"][0]["body"] == "why"
    assert document["incidents"][0]["affected"] == {"intra_day/raw_prices": ["2026-11-24-06:00"]}
    assert len(document["unsent"]) == 1
    assert document["put_aside"][0]["delivery"]["reason"] == "InvalidParameter"


def test_what_the_sensor_remembers_being_unreadable_is_reported_without_a_trace(
    channel: FileChannel,
) -> None:
    remember(channel)
    Path(channel.state_root, "incidents", "an-instance.json").write_text("{")

    shown = CliRunner().invoke(main, ["alerts"])

    assert shown.exit_code == 1
    assert "cannot be read" in shown.output
