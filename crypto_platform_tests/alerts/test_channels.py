"""The local outbox: a file of JSON lines."""

import errno
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crypto_platform.alerts.channels import (
    AlertNotSentError,
    AlertStateUnreadableError,
    FileChannel,
)
from crypto_platform.alerts.messages import Alert


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
def outbox(tmp_path: Path) -> FileChannel:
    return FileChannel(path=str(tmp_path / "alerts" / "outbox.jsonl"), state_root=str(tmp_path))


def test_what_is_sent_can_be_read_in_order(outbox: FileChannel) -> None:
    for number in range(3):
        outbox.send(alert(number))

    assert outbox.sent() == [alert(0), alert(1), alert(2)]


def test_the_file_has_one_line_a_message(outbox: FileChannel) -> None:
    outbox.send(alert(1))
    outbox.send(alert(2))

    assert len(Path(outbox.path).read_text().splitlines()) == 2


def test_sending_twice_is_sending_once(outbox: FileChannel) -> None:
    outbox.send(alert(1))
    outbox.send(alert(1))

    assert outbox.sent() == [alert(1)]


def test_a_line_that_a_full_disk_cut_off_costs_no_other_message(
    outbox: FileChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.send(alert(1))
    write = os.write

    def half(descriptor: int, content: bytes) -> int:
        return write(descriptor, content[: len(content) // 2])

    with monkeypatch.context() as full:
        full.setattr(os, "write", half)
        with pytest.raises(AlertNotSentError, match="only a part"):
            outbox.send(alert(2))
    outbox.send(alert(2))
    outbox.send(alert(3))

    assert outbox.sent() == [alert(1), alert(2), alert(3)]


def test_a_full_disk_is_explained(outbox: FileChannel, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)

    with pytest.raises(AlertNotSentError, match=r"No space left.*Make room on the disk"):
        outbox.send(alert(1))


def test_only_its_owner_may_read_the_file(outbox: FileChannel) -> None:
    outbox.send(alert(1))

    assert Path(outbox.path).stat().st_mode & 0o077 == 0


def test_a_document_that_cannot_be_read_says_where_it_is(outbox: FileChannel) -> None:
    folder = Path(outbox.state_root, "incidents")
    folder.mkdir()
    (folder / "an-instance.json").write_text("{")

    with pytest.raises(AlertStateUnreadableError, match=str(folder)):
        outbox.latest_state()


def test_a_damaged_document_is_named_with_what_to_do(outbox: FileChannel) -> None:
    folder = Path(outbox.state_root, "incidents")
    folder.mkdir()
    (folder / "an-instance.json").write_text('{"updated_at": "')

    with pytest.raises(AlertStateUnreadableError, match=r"an-instance\.json.*Move it away"):
        outbox.read_state("an-instance")
