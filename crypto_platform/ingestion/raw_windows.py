"""How a response is added to what the raw lake holds: nothing that was ever said is lost.

An answer of the API is a fact, and its file is never rewritten. A run adds its files to the windows
that it asked for; which value counts where answers differ is decided in the transformation. That a
coin has no price in a window is only true as long as no answer has one.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from operator import attrgetter
from typing import Literal, cast

from crypto_platform.core.streams import Dataset, Window, WindowBatch
from crypto_platform.ingestion.responses import PricesResponse, WrittenObject
from crypto_platform.lake.layers import DamagedManifestError, Layer
from crypto_platform.lake.manifests import Absence, CoinKey, LakeFile, Manifest
from lambda_function.absence import EMPTY, ENDED, MISSING, UNPROVEN

PROOF_PAUSE = timedelta(minutes=10)
"""How far apart two answers are of which the second proves that a coin has no price.

The API caches an answer for five minutes, and a step's retries follow within four; healing asks for
the second time half an hour after its first attempt.
"""

PROVEN = "The API answered twice, at least ten minutes apart, and had no price in the window."
GONE = "The API has had no price of the coin since a window before, where that is certain."

# How far back it is looked what a coin had last: that may be in the month before.
_LOOK_BACK = timedelta(days=31)

_Last = Literal["present", "gone", "inside"] | None
"""What a coin last had before a window: a price, certainly none, or nothing that is known; or that
the window lies inside of its prices."""

# That the source has nothing stays true when it can no longer be asked.
_CERTAINTY = {"failed": 0, "out_of_plan": 2, "quarantined": 3, "missing_at_source": 3}
_CERTAINTY_OF_ONE_ANSWER = 1


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
    _judge_unproven(layer, batch, absent, came=any(response.window_points))
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


def _judge_unproven(
    layer: Layer, batch: WindowBatch, absent: dict[int, list[Absence]], *, came: bool
) -> None:
    """Decide which absences one answer proves after all, by what is known of windows before.

    An answer without a price is what the API also gives while it is out of order. It is believed
    of a coin that is known to have ended, and of one that never had a price; else the absence stays
    ``failed`` until a second answer proves it.

    Args:
        layer: The raw lake.
        batch: The windows.
        absent: The absences by place; changed in place.
        came: Whether the response has a price of any coin: else nothing in it is believed.
    """
    told = {place: {_key(one): one for one in some} for place, some in absent.items()}
    unproven = {
        coin for of_window in told.values() for coin in of_window if _is_unproven(of_window[coin])
    }
    if not (came and unproven):
        return
    held = _held_until(layer, batch)
    gone = {
        start: {_key(one) for one in manifest.absent if one.status == "missing_at_source"}
        for start, manifest in held.items()
    }
    places = {window.start: place for place, window in enumerate(batch.windows)}
    starts = sorted({*held, *places})
    for coin in unproven:
        alive = max(
            (s for s, place in places.items() if coin not in told.get(place, {})), default=None
        )
        last: _Last = None
        for start in starts:
            if start in held and coin in held[start].present:
                last = "present"
            elif start in held and coin in gone[start]:
                last = "gone"
            if start not in places:
                continue
            one = told.get(places[start], {}).get(coin)
            if one:
                inside = one.reason == ENDED and alive is not None and start < alive
                told[places[start]][coin] = _judged(one, "inside" if inside else last)
            # An answer that ends had prices before the window, be they in the lake or not.
            if one is None or one.reason == ENDED:
                last = "present"
    for place, of_window in told.items():
        absent[place] = list(of_window.values())


def _judged(absence: Absence, last: _Last) -> Absence:
    """An absence after what is known of the windows around it."""
    believed = last in {"gone", "inside"} or (last is None and absence.reason == EMPTY)
    if not (_is_unproven(absence) and believed):
        return absence
    reason = GONE if last == "gone" else MISSING
    return absence.model_copy(update={"status": "missing_at_source", "reason": reason})


def _held_until(layer: Layer, batch: WindowBatch) -> dict[datetime, Manifest]:
    """What the lake holds of the windows and of those before them."""
    stream = batch.stream
    folders: set[str] = set()
    for windows in stream.by_folder(batch.windows).values():
        first, last = (pick(windows, key=attrgetter("start")).start for pick in (min, max))
        folders.update(stream.by_folder(stream.windows(first - _LOOK_BACK, last)))

    def windows_of(folder: str) -> Mapping[datetime, Manifest]:
        try:
            return layer.month(stream, folder).windows
        except DamagedManifestError:
            # It tells nothing; a run that asks for its windows makes it again.
            return {}

    months = layer.each(windows_of, folders)
    return {start: held for month in months for start, held in month.items()}


def _is_unproven(absence: Absence) -> bool:
    return absence.reason in UNPROVEN


def _key(absence: Absence) -> CoinKey:
    return absence.coin_id, absence.vs_currency


def _more_certain(old: Absence | None, new: Absence | None) -> Absence:
    if old is None or new is None:
        return cast(Absence, old or new)
    if _is_unproven(old) and _is_unproven(new):
        if new.seen_at - old.seen_at < PROOF_PAUSE:
            return old
        return new.model_copy(update={"status": "missing_at_source", "reason": PROVEN})
    if _certainty(new) < _certainty(old):
        return old
    return old if (old.status, old.reason) == (new.status, new.reason) else new


def _certainty(absence: Absence) -> int:
    return _CERTAINTY_OF_ONE_ANSWER if _is_unproven(absence) else _CERTAINTY[absence.status]
