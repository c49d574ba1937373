"""How a response is added to what the raw lake holds: nothing that was ever said is lost.

An answer of the API is a fact, and its file is never rewritten. A run adds its files to the windows
that it asked for; which value counts where answers differ is decided in the transformation. That a
coin has no price in a window is only true as long as no answer has one.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import cast

from crypto_platform.core.streams import Dataset, Window, WindowBatch
from crypto_platform.ingestion.responses import PricesResponse, WrittenObject
from crypto_platform.lake.layers import Layer
from crypto_platform.lake.manifests import Absence, CoinKey, LakeFile, Manifest

# That the source has nothing stays true when it can no longer be asked.
_CERTAINTY = {"failed": 0, "out_of_plan": 1, "quarantined": 2, "missing_at_source": 2}


def commit_response(  # noqa: PLR0913 - what was asked, what came, and where it goes
    layer: Layer,
    batch: WindowBatch,
    coins: Sequence[str],
    response: PricesResponse,
    *,
    snapshots: Mapping[Window, Sequence[WrittenObject]],
    vs_currency: str,
    run_id: str,
) -> list[Manifest]:
    """Make a response count, beside all that its windows held before.

    Args:
        layer: The raw lake.
        batch: The windows that were asked for, in the order of the request.
        coins: The coins that were asked for.
        response: What ingestion wrote and missed.
        snapshots: The market snapshot of a window, where one was taken.
        vs_currency: The currency that was asked for.
        run_id: The run that asked.

    Returns:
        What the raw lake now holds, one a window, in the order of the batch.
    """
    manifests = _manifests(
        layer,
        batch,
        coins,
        response,
        snapshots=snapshots,
        vs_currency=vs_currency,
        run_id=run_id,
    )

    # Many windows share a file.
    is_intact = cache(layer.is_intact)

    def add(held: Manifest | None, new: Manifest) -> Manifest:
        if held is None:
            return new
        # A file that was damaged has nothing to keep; what the new response has takes its place.
        intact = tuple(filter(is_intact, held.files))
        return merge(held, new, intact)

    return layer.commit(batch.stream, manifests, add)


def merge(held: Manifest, new: Manifest, intact: Sequence[LakeFile]) -> Manifest:
    """A window after a new response: ``held`` itself where it learns nothing.

    Args:
        held: What the raw lake holds of the window.
        new: What the response has of it.
        intact: The files of ``held`` that are as they were written.
    """
    is_whole = len(intact) == len(held.files)
    present = new.present | (held.present if is_whole else frozenset())
    files = tuple({file.path: file for file in (*intact, *new.files)}.values())
    absent = merge_absences(held.absent, new.absent, present)
    if files == held.files and absent == held.absent:
        return held
    return Manifest(
        stream=new.stream,
        window=new.window,
        run_id=new.run_id,
        written_at=new.written_at,
        coins=len(present),
        points=new.points + (held.points if is_whole else 0),
        files=files,
        absent=absent,
        present=present,
    )


def merge_absences(
    old: Iterable[Absence], new: Iterable[Absence], present: frozenset[CoinKey]
) -> tuple[Absence, ...]:
    """Which coins are absent from a window, and since when that is known.

    Args:
        old: What the window's manifest says.
        new: What the new response says.
        present: Coins of which any answer has a price; they are not absent.
    """
    held, told = ({(one.coin_id, one.vs_currency): one for one in some} for some in (old, new))
    absent = sorted((held.keys() | told.keys()) - present)
    return tuple(_more_certain(held.get(coin), told.get(coin)) for coin in absent)


def _manifests(  # noqa: PLR0913 - as for commit_response
    layer: Layer,
    batch: WindowBatch,
    coins: Sequence[str],
    response: PricesResponse,
    *,
    snapshots: Mapping[Window, Sequence[WrittenObject]],
    vs_currency: str,
    run_id: str,
) -> list[Manifest]:
    """What the response alone has of each window."""
    files: dict[int, list[LakeFile]] = defaultdict(list)
    for written in response.objects:
        file = _as_file(layer, "prices", written)
        for first, last in written.windows:
            for place in range(first, last + 1):
                files[place].append(file)
    absent = _absences_by_window(response, vs_currency, run_id)
    now = datetime.now(UTC)
    present = _Present(coins, vs_currency)
    manifests = []
    for place, window in enumerate(batch.windows):
        reasons = absent.get(place, [])
        there = present.without(reasons)
        manifests.append(
            Manifest(
                stream=batch.stream.name,
                window=window,
                run_id=run_id,
                written_at=now,
                coins=len(there),
                points=response.window_points[place],
                files=(
                    *files.get(place, ()),
                    *(_as_file(layer, "snapshots", one) for one in snapshots.get(window, ())),
                ),
                absent=tuple(sorted(reasons, key=lambda absence: absence.coin_id)),
                present=there,
            )
        )
    return manifests


class _Present:
    """The coins that have a price, of those asked for; equal sets are one."""

    def __init__(self, coins: Sequence[str], vs_currency: str) -> None:
        self._asked = frozenset((coin, vs_currency) for coin in coins)
        self._sets: dict[frozenset[CoinKey], frozenset[CoinKey]] = {}

    def without(self, absent: Iterable[Absence]) -> frozenset[CoinKey]:
        gone = frozenset((one.coin_id, one.vs_currency) for one in absent)
        if gone not in self._sets:
            self._sets[gone] = self._asked - gone
        return self._sets[gone]


def _as_file(layer: Layer, dataset: Dataset, written: WrittenObject) -> LakeFile:
    return LakeFile(
        dataset=dataset,
        path=layer.path(written.uri),
        rows=written.rows,
        bytes=written.bytes,
        sha256=written.sha256,
    )


def _absences_by_window(
    response: PricesResponse, vs_currency: str, run_id: str
) -> dict[int, list[Absence]]:
    by_window: dict[int, list[Absence]] = defaultdict(list)
    for entry in response.absent:
        absence = Absence(
            coin_id=entry.coin_id,
            vs_currency=vs_currency,
            status=entry.status,
            reason=entry.reason,
            run_id=run_id,
            seen_at=response.fetched_at,
        )
        for first, last in entry.windows:
            for index in range(first, last + 1):
                by_window[index].append(absence)
    return by_window


def _more_certain(old: Absence | None, new: Absence | None) -> Absence:
    if old is None or new is None:
        return cast(Absence, old or new)
    if _CERTAINTY[new.status] < _CERTAINTY[old.status]:
        return old
    return old if (old.status, old.reason) == (new.status, new.reason) else new
