"""Manifests to commit, and a process that commits: what the tests of layers share."""

import sys
from datetime import UTC, datetime, timedelta

from crypto_platform.core.streams import HISTORICAL, Stream, Window
from crypto_platform.lake.layers import Layer
from crypto_platform.lake.manifests import Manifest

WINDOW = HISTORICAL.window("2026-11-22")
FOLDER = "historical_data/month=2026-11"
WRITTEN_AT = datetime(2026, 11, 23, tzinfo=UTC)


def naming(
    layer: Layer,
    *contents: bytes,
    run_id: str = "r1",
    window: Window = WINDOW,
    stream: Stream = HISTORICAL,
) -> Manifest:
    """A window's manifest whose files have some contents."""
    files = []
    for number, content in enumerate(contents):
        path = f"{stream.window_folder(window)}/prices-{run_id}-{number:05d}.json.gz"
        layer.put(path, content)
        files.append(layer.describe_file("prices", path, 1, content))
    return Manifest(
        stream=stream.name,
        window=window,
        run_id=run_id,
        written_at=WRITTEN_AT,
        coins=1,
        points=1,
        files=tuple(files),
    )


def commit_days(layer: Layer, first: int, count: int) -> None:
    """Commit days of November 2026, one at a time, as a run of its own each."""
    for day in range(first, first + count):
        start = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=day - 1)
        window = Window(start=start, end=start + timedelta(days=1))
        layer.commit(HISTORICAL, [naming(layer, b"content", run_id=f"day-{day}", window=window)])


if __name__ == "__main__":
    commit_days(Layer(sys.argv[1], "raw", "raw_prices"), int(sys.argv[2]), int(sys.argv[3]))
