"""What the raw lake holds of a window after several runs have asked for it."""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path

import pytest

from crypto_platform.core.streams import HISTORICAL, Window, WindowBatch
from crypto_platform.ingestion.raw_windows import commit_response, merge_absences
from crypto_platform.ingestion.responses import AbsentWindows, PricesResponse, WrittenObject
from crypto_platform.lake.layers import Layer
from crypto_platform.lake.manifests import Absence, AbsenceStatus, Manifest
from crypto_platform.lake.storage import sha256

FETCHED_AT = datetime(2026, 11, 23, 0, 45, tzinfo=UTC)
WINDOWS = HISTORICAL.windows(datetime(2026, 1, 30, tzinfo=UTC), datetime(2026, 2, 2, tzinfo=UTC))
BITCOIN, ETHEREUM = ("bitcoin", "usd"), ("ethereum", "usd")


@pytest.fixture
def layer(tmp_path: Path) -> Layer:
    return Layer(str(tmp_path), "raw", "raw_prices")


def asked(
    layer: Layer,
    run_id: str,
    coins: Sequence[str] = ("bitcoin", "ethereum"),
    *,
    absent: Mapping[str, AbsenceStatus] | None = None,
    windows: Sequence[Window] = WINDOWS,
) -> list[Manifest]:
    """A run asks for coins in windows; those absent have no price in any of them."""
    absent = absent or {}
    there = len(set(coins) - absent.keys())
    objects = []
    for folder, of_month in HISTORICAL.by_folder(windows).items() if there else ():
        path = f"{folder}/prices-{run_id}-00000.json.gz"
        content = f"{run_id} {folder}".encode()
        layer.put(path, content)
        places = [windows.index(window) for window in of_month]
        objects.append(
            WrittenObject(
                uri=layer.uri(path),
                rows=there,
                points=there * len(of_month),
                bytes=len(content),
                sha256=sha256(content),
                windows=((places[0], places[-1]),),
            )
        )
    response = PricesResponse(
        objects=tuple(objects),
        absent=tuple(
            AbsentWindows(
                coin_id=coin, status=status, reason="because", windows=((0, len(windows) - 1),)
            )
            for coin, status in absent.items()
        ),
        window_points=(there,) * len(windows),
        rejected=(),
        calls=1,
        credits=1,
        source="simulated",
        fetched_at=FETCHED_AT,
    )
    return commit_response(
        layer,
        WindowBatch(HISTORICAL, windows),
        coins,
        response,
        snapshots={},
        vs_currency="usd",
        run_id=run_id,
    )


def names(manifest: Manifest) -> list[str]:
    return [os.path.basename(file.path) for file in manifest.files]  # noqa: PTH119 - a path in a lake


def test_a_run_writes_one_file_and_one_manifest_a_month(layer: Layer) -> None:
    manifests = asked(layer, "first")

    assert [manifest.window for manifest in manifests] == WINDOWS
    assert {(one.coins, one.points, len(one.files)) for one in manifests} == {(2, 2, 1)}
    assert [path for path in layer.paths("historical_data") if "lock" not in path] == [
        "historical_data/month=2026-01/_manifest.json",
        "historical_data/month=2026-01/prices-first-00000.json.gz",
        "historical_data/month=2026-02/_manifest.json",
        "historical_data/month=2026-02/prices-first-00000.json.gz",
    ]


def test_a_second_answer_stands_beside_the_first(layer: Layer) -> None:
    asked(layer, "first")
    before = layer.read("historical_data/month=2026-01/prices-first-00000.json.gz")

    manifest = asked(layer, "second")[0]

    assert names(manifest) == ["prices-first-00000.json.gz", "prices-second-00000.json.gz"]
    assert (manifest.coins, manifest.points) == (2, 4)
    assert layer.read("historical_data/month=2026-01/prices-first-00000.json.gz") == before


def test_only_the_windows_that_were_asked_for_change(layer: Layer) -> None:
    asked(layer, "first")

    asked(layer, "second", windows=WINDOWS[:1])

    assert list(map(names, layer.manifests(HISTORICAL, WINDOWS[:2]))) == [
        ["prices-first-00000.json.gz", "prices-second-00000.json.gz"],
        ["prices-first-00000.json.gz"],
    ]


def test_other_coins_of_a_window_add_up(layer: Layer) -> None:
    asked(layer, "first", ["bitcoin"])

    manifest = asked(layer, "second", ["ethereum"])[0]

    assert manifest.present == {BITCOIN, ETHEREUM}
    assert manifest.coins == 2


def test_a_coin_that_fails_today_is_not_absent_while_an_older_answer_has_it(layer: Layer) -> None:
    asked(layer, "first")

    manifest = asked(layer, "second", absent={"ethereum": "failed"})[0]

    assert (manifest.coins, manifest.absent) == (2, ())


def test_a_coin_that_is_there_at_last_is_no_longer_absent(layer: Layer) -> None:
    (before, *_) = asked(layer, "first", absent={"ethereum": "failed"})

    manifest = asked(layer, "second")[0]

    assert [absence.coin_id for absence in before.absent] == ["ethereum"]
    assert (manifest.coins, manifest.absent) == (2, ())


def test_a_response_without_anything_new_leaves_the_window_as_it_is(layer: Layer) -> None:
    before = asked(layer, "first", absent={"bitcoin": "failed", "ethereum": "failed"})

    assert asked(layer, "second", absent={"bitcoin": "failed", "ethereum": "failed"}) == before


def test_a_damaged_file_has_nothing_to_keep(layer: Layer) -> None:
    asked(layer, "first", ["bitcoin"])
    layer.put("historical_data/month=2026-01/prices-first-00000.json.gz", b"damaged")

    manifest = asked(layer, "second", ["ethereum"])[0]

    assert names(manifest) == ["prices-second-00000.json.gz"]
    assert manifest.present == {ETHEREUM}


def test_the_order_of_runs_does_not_matter(tmp_path: Path) -> None:
    runs = {"first": ["bitcoin"], "second": ["bitcoin", "ethereum"], "third": ["ethereum"]}
    outcomes = []
    for number, order in enumerate(permutations(runs)):
        layer = Layer(str(tmp_path / str(number)), "raw", "raw_prices")
        for run_id in order:
            held = asked(layer, run_id, runs[run_id])[0]
        outcomes.append((held.present, sorted(names(held)), held.points))

    assert all(outcome == outcomes[0] for outcome in outcomes)


def absence(coin: str = "bitcoin", *, status: str = "failed", run_id: str = "first") -> Absence:
    return Absence.model_validate(
        {
            "coin_id": coin,
            "vs_currency": "usd",
            "status": status,
            "reason": "because",
            "run_id": run_id,
            "seen_at": datetime(2026, 11, 23, tzinfo=UTC),
        }
    )


def test_a_coin_with_a_price_is_not_absent() -> None:
    assert merge_absences([absence()], [absence()], frozenset({BITCOIN})) == ()


def test_an_absence_that_is_still_so_keeps_its_first_run() -> None:
    assert merge_absences([absence()], [absence(run_id="second")], frozenset()) == (absence(),)


def test_an_absence_for_another_reason_is_told_anew() -> None:
    now = absence(status="missing_at_source", run_id="second")

    assert merge_absences([absence()], [now], frozenset()) == (now,)


def test_that_the_source_has_nothing_is_not_forgotten_when_it_cannot_be_asked() -> None:
    known = absence(status="missing_at_source")

    for status in ("failed", "out_of_plan"):
        assert merge_absences([known], [absence(status=status)], frozenset()) == (known,)


def test_an_absence_that_nobody_asked_about_again_stays() -> None:
    assert merge_absences([absence("ethereum")], [absence()], frozenset()) == (
        absence(),
        absence("ethereum"),
    )
