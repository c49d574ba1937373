"""Where alerts go, and what is remembered beside it."""

import errno
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crypto_platform.alerts.channels import (
    AlertChannel,
    AlertNotSentError,
    AlertStateUnreadableError,
    FileChannel,
)
from crypto_platform.alerts.messages import Alert, AlertState

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def alert(number: int) -> Alert:
    return Alert(
        alert_id=f"run_failed/{number}/opened",
        at=datetime(2026, 11, 24, tzinfo=UTC),
        kind="run_failed",
        severity="error",
        status="opened",
        stream="intra_day",
        subject=f"[ERROR] {number}",
        body="two\nlines",
    )


@pytest.fixture
def channel(tmp_path: Path) -> FileChannel:
    return FileChannel(path=str(tmp_path / "alerts" / "outbox.jsonl"), state_root=str(tmp_path))


def test_what_is_sent_can_be_read_in_order(channel: FileChannel) -> None:
    for number in range(3):
        channel.send(alert(number))

    assert channel.sent() == [alert(0), alert(1), alert(2)]


def test_the_file_has_one_line_a_message(channel: FileChannel) -> None:
    channel.send(alert(1))
    channel.send(alert(2))

    assert len(Path(channel.path).read_text().splitlines()) == 2


def test_sending_twice_is_sending_once(channel: FileChannel) -> None:
    channel.send(alert(1))
    channel.send(alert(1))

    assert channel.sent() == [alert(1)]


def test_a_line_that_a_full_disk_cut_off_costs_no_other_message(
    channel: FileChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel.send(alert(1))
    write = os.write

    def half(descriptor: int, content: bytes) -> int:
        return write(descriptor, content[: len(content) // 2])

    with monkeypatch.context() as full:
        full.setattr(os, "write", half)
        with pytest.raises(AlertNotSentError, match="only a part"):
            channel.send(alert(2))
    channel.send(alert(2))
    channel.send(alert(3))

    assert channel.sent() == [alert(1), alert(2), alert(3)]


def test_a_full_disk_is_explained(channel: FileChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)

    with pytest.raises(AlertNotSentError, match=r"No space left.*Make room on the disk"):
        channel.send(alert(1))


def test_only_its_owner_may_read_the_file(channel: FileChannel) -> None:
    channel.send(alert(1))

    assert Path(channel.path).stat().st_mode & 0o077 == 0


def test_a_document_that_cannot_be_read_says_where_it_is(channel: FileChannel) -> None:
    folder = Path(channel.state_root, "incidents")
    folder.mkdir()
    (folder / "an-instance.json").write_text("{")

    with pytest.raises(AlertStateUnreadableError, match=str(folder)):
        channel.latest_state()


def test_a_damaged_document_is_named_with_what_to_do(channel: FileChannel) -> None:
    folder = Path(channel.state_root, "incidents")
    folder.mkdir()
    (folder / "an-instance.json").write_text('{"updated_at": "')

    with pytest.raises(AlertStateUnreadableError, match=r"an-instance\.json.*Move it away"):
        channel.read_state("an-instance")


def test_incidents_that_version_0_2_left_open_stay_open_and_are_written_as_today(
    channel: FileChannel,
) -> None:
    folder = Path(channel.state_root, "incidents")
    folder.mkdir()
    (folder / "an-instance.json").write_text("""{
      "updated_at": "2026-11-24T12:00:00Z", "run_events": 7, "other_events": 3,
      "backfills_until": 0.5, "retrying": ["a-run"],
      "schedules": {"watch": {"cron": "'0 * * * *'", "until": "2026-11-24T12:00:00Z"}},
      "unsent": [{
        "alert_id": "run_failed/1/opened", "at": "2026-11-24T00:00:00Z", "kind": "run_failed",
        "severity": "error", "status": "opened", "stream": "intra_day", "subject": "[ERROR] 1",
        "body": "why"
      }],
      "incidents": [{
        "identity": "run_failed/1", "kind": "run_failed", "title": "raw_prices failed",
        "stream": "intra_day", "opened_at": "2026-11-23T12:00:00Z",
        "seen_at": "2026-11-24T11:00:00Z",
        "affected": {"intra_day/raw_prices": ["2026-11-24-06:00"]},
        "lineage": ["backfill b", "run 1"], "joined": 2
      }]
    }""")

    state = channel.read_state("an-instance")
    assert state is not None
    channel.write_state("an-instance", state)

    (incident,) = state.incidents
    assert incident.correlation_keys == {"backfill b", "run 1"}
    assert incident.affected == {"intra_day/raw_prices": {"2026-11-24-06:00"}}
    assert [alert.alert_id for alert in state.unsent] == ["run_failed/1/opened"]
    written = (folder / "an-instance.json").read_text()
    assert "lineage" not in written
    assert '"correlation_keys": [' in written
    assert channel.read_state("an-instance") == channel.latest_state() == state


class Pager(AlertChannel):
    """All that another channel has to be."""

    @property
    def place(self) -> str:
        return "a pager"

    def send(self, alert: Alert) -> None:
        raise AlertNotSentError(alert.subject)


def test_another_channel_is_a_place_and_a_way_to_send(tmp_path: Path) -> None:
    pager = Pager(state_root=str(tmp_path))
    pager.write_state("an-instance", AlertState(updated_at=NOON))

    assert pager.verify(send=False) == "alerts go to a pager"
    assert pager.sent() is None
    assert pager.read_state("an-instance") == pager.latest_state()
