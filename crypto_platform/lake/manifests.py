"""What windows hold: the documents that, written last, make a run's other files count.

A month's manifest names its windows, and for each of them the files that hold it. In memory a
window has a ``Manifest`` of its own; stored, what many windows share stands once.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, NonNegativeInt, TypeAdapter, ValidationError

from crypto_platform.core.errors import PermanentFailure
from crypto_platform.core.streams import Dataset, Window

AbsenceStatus = Literal["missing_at_source", "out_of_plan", "quarantined", "failed"]

CoinKey = tuple[str, str]
"""A coin and the currency of its prices."""

FORMAT = 3
"""The version of the documents; that of 0.2 was one document a window, without a number."""


class UnreadableManifestError(ValueError):
    """A document is not what ``MonthManifest.to_json`` gives."""


class NewerManifestError(PermanentFailure):
    """A newer version of the platform wrote a document."""


class LakeFile(BaseModel, frozen=True):
    """One file of the lake; several windows share it.

    Attributes:
        dataset: Which of the datasets its rows belong to.
        path: Where it is, relative to the root of the raw or of the transformed lake.
        rows: Lines of raw JSON, or rows of Parquet, of all its windows.
        bytes: Its size as stored, compressed.
        sha256: Of the bytes as stored, in hexadecimal.
    """

    dataset: Dataset
    path: str
    rows: int
    bytes: int
    sha256: str


class Absence(BaseModel, frozen=True):
    """Why a coin that was asked for has no price in a window.

    Attributes:
        coin_id: The API's id of the coin.
        vs_currency: The currency that was asked for.
        status: The kind of reason.
        reason: The reason in a sentence.
        run_id: The run that learned it.
        seen_at: When it learned it.
    """

    coin_id: str
    vs_currency: str
    status: AbsenceStatus
    reason: str
    run_id: str
    seen_at: AwareDatetime


@dataclass(frozen=True)
class Manifest:
    """A window's truth: a file that no manifest names does not exist.

    Attributes:
        stream: Name of the stream.
        window: The window.
        run_id: The run that last changed it.
        written_at: When that was.
        coins: How many coins have a price in the window.
        points: How many prices: in the transformed lake the window's rows; in the raw lake the sum
            over all answers, which may repeat each other.
        files: The files that hold it, and maybe other windows.
        absent: The coins that have no price in the window, with the reason.
        rejected: How many of its stamps were rejected; of transformed windows.
        snapshots: How many rows of market snapshots it has; of transformed windows.
        present: The coins that have a price; of raw windows, whose answers add up.
    """

    stream: str
    window: Window
    run_id: str
    written_at: datetime
    coins: int
    points: int
    files: tuple[LakeFile, ...]
    absent: tuple[Absence, ...] = ()
    rejected: int = 0
    snapshots: int = 0
    present: frozenset[CoinKey] = frozenset()

    def files_of(self, dataset: Dataset) -> tuple[LakeFile, ...]:
        """The window's files of one dataset."""
        return tuple(file for file in self.files if file.dataset == dataset)


def files_of(manifests: Iterable[Manifest], *datasets: Dataset) -> list[LakeFile]:
    """The files that hold any of some windows, each once, in the order of the windows.

    Args:
        manifests: One a window.
        datasets: Of which datasets; none is all.
    """
    named = {
        file.path: file
        for manifest in manifests
        for file in manifest.files
        if not datasets or file.dataset in datasets
    }
    return list(named.values())


@dataclass(frozen=True)
class MonthManifest:
    """What one folder of the lake holds: all windows of a stream that start in a month.

    Attributes:
        stream: Name of the stream.
        windows: Each window's manifest, by its start.
        replaced: Files that no window names any longer, by when that came to be: readers that
            began before may still be at them.
    """

    stream: str
    windows: Mapping[datetime, Manifest] = field(default_factory=dict)
    replaced: Mapping[str, datetime] = field(default_factory=dict)

    def files(self) -> list[LakeFile]:
        """All files that count, each once."""
        return files_of(self.windows.values())

    def with_windows(self, changed: Iterable[Manifest], now: datetime) -> Self:
        """The same month after some of its windows were replaced.

        Args:
            changed: The windows' new manifests.
            now: When that is.
        """
        windows = dict(sorted({**self.windows, **{m.window.start: m for m in changed}}.items()))
        after = {file.path for file in files_of(windows.values())}
        gone = {file.path: now for file in self.files() if file.path not in after}
        replaced = {path: at for path, at in self.replaced.items() if path not in after}
        return type(self)(self.stream, windows, {**gone, **replaced})

    def to_json(self) -> bytes:
        """The document as it is stored; ``from_json`` reads it back."""
        manifests = list(self.windows.values())
        files = self.files()
        places = {file.path: place for place, file in enumerate(files)}
        present = _Interned()
        windows = [
            {
                "start": _iso(manifest.window.start),
                "end": _iso(manifest.window.end),
                "run_id": manifest.run_id,
                "written_at": _iso(manifest.written_at),
                "coins": manifest.coins,
                "points": manifest.points,
                "rejected": manifest.rejected,
                "snapshots": manifest.snapshots,
                "files": [places[file.path] for file in manifest.files],
                **({"present": present.place(manifest.present)} if manifest.present else {}),
            }
            for manifest in manifests
        ]
        document = {
            "format": FORMAT,
            "stream": self.stream,
            "files": [file.model_dump() for file in files],
            "present": [_by_currency(coins) for coins in present.sets],
            "absent": list(_grouped(manifest.absent for manifest in manifests)),
            "replaced": {path: _iso(at) for path, at in self.replaced.items()},
            "windows": windows,
        }
        # A line a file, a set of coins, an absence and a window, for who looks at it.
        return _lines(document).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Read a document.

        Args:
            content: What ``to_json`` gave.

        Raises:
            UnreadableManifestError: It is damaged; says how.
            NewerManifestError: A newer version wrote it.
        """
        try:
            return cls._of(_Stored.model_validate_json(content))
        except (ValueError, LookupError) as error:
            _refuse_newer(content)
            said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise UnreadableManifestError(said) from error

    @classmethod
    def _of(cls, stored: "_Stored") -> Self:
        absent: list[list[Absence]] = [[] for _ in stored.windows]
        for group in stored.absent:
            absence = Absence(**group.model_dump(exclude={"windows"}))
            for first, last in group.windows:
                for place in range(first, last + 1):
                    absent[place].append(absence)
        present = [
            frozenset((coin, currency) for currency, coins in one.items() for coin in coins)
            for one in stored.present
        ]
        windows = {
            one.start: Manifest(
                stream=stored.stream,
                window=Window(start=one.start, end=one.end),
                run_id=one.run_id,
                written_at=one.written_at,
                coins=one.coins,
                points=one.points,
                files=tuple(stored.files[place] for place in one.files),
                absent=tuple(sorted(reasons, key=_coin)),
                rejected=one.rejected,
                snapshots=one.snapshots,
                present=frozenset() if one.present is None else present[one.present],
            )
            for one, reasons in zip(stored.windows, absent, strict=True)
        }
        return cls(stored.stream, windows, stored.replaced)


class _StoredAbsence(Absence, frozen=True):
    """An absence, with the windows of which it is told: ranges of their places, both ends in."""

    windows: tuple[tuple[NonNegativeInt, NonNegativeInt], ...]


class _StoredWindow(BaseModel, frozen=True):
    start: AwareDatetime
    end: AwareDatetime
    run_id: str
    written_at: AwareDatetime
    coins: int
    points: int
    rejected: int
    snapshots: int
    files: tuple[NonNegativeInt, ...]
    present: NonNegativeInt | None = None


class _Stored(BaseModel, frozen=True):
    format: Literal[3]
    stream: str
    files: tuple[LakeFile, ...]
    present: tuple[dict[str, tuple[str, ...]], ...]
    absent: tuple[_StoredAbsence, ...]
    replaced: dict[str, AwareDatetime]
    windows: tuple[_StoredWindow, ...]


class _Interned:
    """Sets of coins, each once: most windows of a month have the same."""

    def __init__(self) -> None:
        self._places: dict[frozenset[CoinKey], int] = {}

    @property
    def sets(self) -> Iterable[frozenset[CoinKey]]:
        return self._places

    def place(self, coins: frozenset[CoinKey]) -> int:
        return self._places.setdefault(coins, len(self._places))


def ranges(places: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending numbers as ranges, both ends included.

    Args:
        places: The numbers, in ascending order.
    """
    found: list[tuple[int, int]] = []
    for place in places:
        if found and place == found[-1][1] + 1:
            found[-1] = (found[-1][0], place)
        else:
            found.append((place, place))
    return found


def _grouped(absent: Iterable[Sequence[Absence]]) -> Iterator[dict[str, Any]]:
    """The absences of windows, each reason of a coin once."""
    places: dict[Absence, list[int]] = {}
    for place, absences in enumerate(absent):
        for absence in absences:
            places.setdefault(absence, []).append(place)
    for absence, told_of in places.items():
        yield {**absence.model_dump(mode="json"), "windows": ranges(told_of)}


def _by_currency(coins: frozenset[CoinKey]) -> dict[str, list[str]]:
    def currency(coin: CoinKey) -> str:
        return coin[1]

    return {
        name: sorted(coin for coin, _ in of_currency)
        for name, of_currency in groupby(sorted(coins, key=currency), key=currency)
    }


def _lines(document: Mapping[str, Any]) -> str:
    compact = partial(json.dumps, separators=(",", ":"))
    fields = []
    for name, value in document.items():
        text = compact(value)
        if isinstance(value, list) and value:
            text = "[\n" + ",\n".join(map(compact, value)) + "\n]"
        fields.append(f"{compact(name)}:{text}")
    return "{" + ",\n".join(fields) + "}\n"


def _refuse_newer(content: bytes) -> None:
    """What a newer version wrote is whole, though this one cannot read it."""
    with suppress(ValueError):
        document = json.loads(content)
        written = document.get("format") if isinstance(document, dict) else None
        if isinstance(written, int) and written > FORMAT:
            raise NewerManifestError(
                f"A manifest of the lake is of format {written}, and this version reads {FORMAT}: "
                "a newer version wrote it. Nothing was changed; install that version again."
            )


_to_json_time = TypeAdapter(AwareDatetime)


def _iso(moment: datetime) -> str:
    text: str = _to_json_time.dump_python(moment, mode="json")
    return text


def _coin(absence: Absence) -> CoinKey:
    return absence.coin_id, absence.vs_currency
