"""How a new response is merged into what a window already holds: nothing is ever lost.

Asking again must not make a window poorer. A coin that fails today, or has slid out of the
plan's history, keeps the record of yesterday; five-minute points are not replaced by the hourly
ones that a later response has, nor a whole window by a part of it; and a response that says the
same again leaves the window as it is, so that repeating a run changes nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from crypto_platform.core.streams import Dataset, Stream, Window
from crypto_platform.ingestion.responses import PricesResponse, WrittenObject
from crypto_platform.lake.layers import Layer, from_json_lines, sha256, to_json_lines
from crypto_platform.lake.manifests import Absence, LakeFile, Manifest

Record = Mapping[str, Any]
CoinKey = tuple[str, str]

_FINENESS = {"daily": 0, "hourly": 1, "5-minute": 2}
# That the source has nothing stays true when it can no longer be asked.
_CERTAINTY = {"failed": 0, "out_of_plan": 1, "quarantined": 2, "missing_at_source": 2}
_SERIES = ("prices", "market_caps", "total_volumes")


@dataclass(frozen=True)
class MergedRecords:
    """The records that count in a window from now on.

    Attributes:
        records: One a coin.
        all_old: Whether each of them was there before.
        all_new: Whether each of them comes from the new response.
    """

    records: list[Record]
    all_old: bool
    all_new: bool


def merge(old: Iterable[Record], new: Iterable[Record]) -> MergedRecords:
    """Choose, coin by coin, between what a window holds and what a new response says.

    Args:
        old: The window's records, one a coin.
        new: The response's, one a coin.
    """
    held = {_coin(record): record for record in old}
    fetched = {_coin(record): record for record in new}
    chosen = {
        coin: _better(held.get(coin), fetched.get(coin)) for coin in held.keys() | fetched.keys()
    }
    return MergedRecords(
        records=[chosen[coin] for coin in sorted(chosen)],
        all_old=all(record is held.get(coin) for coin, record in chosen.items()),
        all_new=all(record is fetched.get(coin) for coin, record in chosen.items()),
    )


def merge_absences(
    old: Iterable[Absence], new: Iterable[Absence], present: set[CoinKey]
) -> tuple[Absence, ...]:
    """Which coins are absent from a window, and since when that is known.

    Args:
        old: What the window's manifest says.
        new: What the new response says.
        present: Coins that have a record; they are not absent.
    """
    held, told = ({(one.coin_id, one.vs_currency): one for one in some} for some in (old, new))
    absent = sorted((held.keys() | told.keys()) - present)
    return tuple(_more_certain(held.get(coin), told.get(coin)) for coin in absent)


@dataclass(frozen=True)
class Committed:
    """What became of the windows of a run.

    Attributes:
        manifests: One a window, in the order of the windows.
        unchanged: How many windows the response left as they were.
    """

    manifests: list[Manifest]
    unchanged: int


def commit_response(  # noqa: PLR0913 - what was asked, what came, and where it goes
    layer: Layer,
    stream: Stream,
    windows: Sequence[Window],
    response: PricesResponse,
    *,
    snapshots: Mapping[Window, Sequence[WrittenObject]],
    vs_currency: str,
    run_id: str,
) -> Committed:
    """Make a response count, window by window, merged with what the windows held before.

    Args:
        layer: The raw lake.
        stream: The stream of the windows.
        windows: The windows that were asked for, in the order of the request.
        response: What ingestion wrote and missed.
        snapshots: The market snapshot of a window, where one was taken.
        vs_currency: The currency that was asked for.
        run_id: The run that asked.
    """
    objects: dict[int, list[WrittenObject]] = defaultdict(list)
    for written in response.objects:
        objects[written.window].append(written)
    absences = _absences_by_window(response, vs_currency, run_id)

    def merge_window(index: int) -> tuple[Manifest, bool]:
        window = windows[index]
        written = objects.get(index, [])
        new = Manifest(
            stream=stream.name,
            window=window,
            run_id=run_id,
            written_at=datetime.now(UTC),
            coins=sum(one.rows for one in written),
            points=sum(one.points for one in written),
            files=(
                *(_as_file(layer, "prices", one) for one in written),
                *(_as_file(layer, "snapshots", one) for one in snapshots.get(window, ())),
            ),
            absent=tuple(sorted(absences.get(index, ()), key=lambda absence: absence.coin_id)),
        )
        held = layer.manifest(stream, window)
        merged = _merged(layer, stream, held, new) if held else new
        return merged, merged is held

    merged = layer.each(merge_window, range(len(windows)))
    layer.commit(stream, [manifest for manifest, _ in merged])
    return Committed(
        manifests=[manifest for manifest, _ in merged],
        unchanged=sum(unchanged for _, unchanged in merged),
    )


def _merged(layer: Layer, stream: Stream, held: Manifest, new: Manifest) -> Manifest:
    """The window as it is from now on: ``held`` itself where ``new`` adds nothing to it."""
    old = _records(layer, held.files_of("prices"))
    merged = merge(old, _records(layer, new.files_of("prices")))
    present = {_coin(record) for record in merged.records if record["prices"]}
    absent = merge_absences(held.absent, new.absent, present)
    # A snapshot is of its moment: the first one of a window stays.
    snapshots = held.files_of("snapshots") or new.files_of("snapshots")
    # A file that was damaged has nothing to keep; what the new response has takes its place.
    if merged.all_old and len(old) == held.coins:
        if snapshots == held.files_of("snapshots") and absent == held.absent:
            return held
        prices = held.files_of("prices")
    elif merged.all_new:
        prices = new.files_of("prices")
    else:
        folder = f"{stream.window_folder(new.window)}/run={new.run_id}"
        content = to_json_lines(merged.records)
        path = f"{folder}/prices-merged.json.gz"
        layer.put(path, content)
        prices = (layer.describe_file("prices", path, len(merged.records), content),)
    return new.model_copy(
        update={
            "coins": len(merged.records),
            "points": sum(len(record["prices"]) for record in merged.records),
            "files": (*prices, *snapshots),
            "absent": absent,
        }
    )


def _records(layer: Layer, files: Sequence[LakeFile]) -> list[Record]:
    """The records of the files that are as they were written."""
    contents = [(file, layer.read(file.path)) for file in files]
    intact = [content for file, content in contents if content and sha256(content) == file.sha256]
    return [record for content in intact for record in from_json_lines(content)]


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


def _coin(record: Record) -> CoinKey:
    return record["coin_id"], record["vs_currency"]


def _better(old: Record | None, new: Record | None) -> Record:
    if old is None or new is None:
        return old or new or {}
    if _richness(new) < _richness(old):
        return old
    same = all(new[field] == old[field] for field in ("granularity", *_SERIES))
    return old if same else new


def _richness(record: Record) -> tuple[int, ...]:
    # By stamps: a point that came twice is not two.
    stamps = ({stamp for stamp, value in record[series] if value is not None} for series in _SERIES)
    return (_FINENESS[record["granularity"]], *map(len, stamps))
