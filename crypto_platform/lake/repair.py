"""Makes a month's manifest of the raw lake again, from the files beside it.

An answer of the API says itself what was asked, for which coin and windows. What only the manifest
said is lost: why a coin is absent. Such a coin counts as failed, so that it is asked for again.
"""

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import PurePosixPath
from typing import Any

from crypto_platform.core.streams import Dataset, Stream, Window
from crypto_platform.lake.layers import Layer, from_json_lines
from crypto_platform.lake.manifests import Absence, CoinKey, LakeFile, Manifest

_DATASETS: tuple[Dataset, ...] = ("prices", "snapshots")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_LOST = "The month's manifest was damaged, and with it the reason; it is asked for again."


@dataclass(frozen=True)
class RepairedMonth:
    """What became of a month whose manifest was damaged.

    Attributes:
        folder: The month's folder.
        windows: How many windows count again.
        unreadable: Files of the folder that could not be read; they do not count.
    """

    folder: str
    windows: int
    unreadable: Sequence[str] = ()

    @property
    def described(self) -> str:
        """The month in a sentence."""
        lost = f" These files could not be read: {', '.join(self.unreadable)}."
        return (
            f"The manifest of {self.folder} was damaged. It was set aside, and made again with "
            f"{self.windows:,} window(s); what is not among them is to be asked for again."
            f"{lost if self.unreadable else ''}"
        )


@dataclass
class _Found:
    """What the files of a month have of one window."""

    files: dict[str, LakeFile] = field(default_factory=dict)
    points: int = 0
    present: set[CoinKey] = field(default_factory=set)


def repair_raw(
    layer: Layer,
    stream: Stream,
    windows: Sequence[Window],
    tracked: Callable[[], Sequence[str]],
    run_id: str,
) -> list[RepairedMonth]:
    """Make the damaged manifests of windows' months again; most often there is none.

    Args:
        layer: The raw lake.
        stream: The stream of the windows.
        windows: The windows.
        tracked: Says which coins are asked for again where a window has nothing of them; it is
            called where there is something to repair.
        run_id: The run that does it.
    """
    repaired = []
    for folder in layer.damaged(stream, windows):
        found, unreadable = _read(layer, stream, folder)
        manifests = _manifests(stream, found, tracked(), run_id)
        if layer.replace_damaged(stream, folder, manifests):
            repaired.append(RepairedMonth(folder, len(manifests), unreadable))
    return repaired


def _read(layer: Layer, stream: Stream, folder: str) -> tuple[dict[Window, _Found], list[str]]:
    found: dict[Window, _Found] = defaultdict(_Found)
    unreadable = []
    for path in layer.paths(folder):
        dataset = _dataset_of(path)
        if dataset is None:
            continue
        content = layer.read(path) or b""
        try:
            records = from_json_lines(content)
            held = [
                one
                for record in records
                for one in _windows_of(record, dataset, stream)
                if stream.window_folder(one[0]) == folder
            ]
        except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError):
            unreadable.append(path)
            continue
        file = layer.describe_file(dataset, path, len(records), content)
        for window, coin, points in held:
            of_window = found[window]
            of_window.files[path] = file
            of_window.points += points
            if points:
                of_window.present.add(coin)
    return found, unreadable


def _dataset_of(path: str) -> Dataset | None:
    name = PurePosixPath(path).name
    return next((one for one in _DATASETS if name.startswith(f"{one}-")), None)


def _windows_of(
    record: Mapping[str, Any], dataset: Dataset, stream: Stream
) -> Iterator[tuple[Window, CoinKey, int]]:
    """The windows that a line is of, each with how many prices it has there."""
    coin = record["coin_id"], record["vs_currency"]
    start, end = (datetime.fromisoformat(record[name]) for name in ("window_start", "window_end"))
    points: dict[Window, int] = dict.fromkeys(
        stream.windows(start, end - timedelta(milliseconds=1)), 0
    )
    if dataset == "prices":
        for point in record["prices"] or ():
            window = _window_at(point[0] if point else None, stream)
            if window in points:
                points[window] += 1
    for window, count in points.items():
        yield window, coin, count


def _window_at(stamp: object, stream: Stream) -> Window | None:
    """The window of a stamp, where it is one: the API has said stranger things."""
    try:
        return stream.window_at(_EPOCH + timedelta(milliseconds=stamp))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


def _manifests(
    stream: Stream, found: Mapping[Window, _Found], tracked: Sequence[str], run_id: str
) -> list[Manifest]:
    now = datetime.now(UTC)
    seen = {coin for one in found.values() for coin in one.present}
    coins = seen | set(product(tracked, {currency for _, currency in seen}))

    def lost(coin: CoinKey) -> Absence:
        return Absence(
            coin_id=coin[0],
            vs_currency=coin[1],
            status="failed",
            reason=_LOST,
            run_id=run_id,
            seen_at=now,
        )

    return [
        Manifest(
            stream=stream.name,
            window=window,
            run_id=run_id,
            written_at=now,
            coins=len(one.present),
            points=one.points,
            files=tuple(one.files.values()),
            absent=tuple(lost(coin) for coin in sorted(coins - one.present)),
            present=frozenset(one.present),
        )
        for window, one in found.items()
    ]
