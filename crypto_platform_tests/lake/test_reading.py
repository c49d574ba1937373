from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crypto_platform import lake
from crypto_platform.core.errors import InvalidInputError
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY
from crypto_platform.lake.layers import Layer
from crypto_platform.lake.manifests import Manifest
from crypto_platform.lake.reading import live_files, read_rows
from crypto_platform_tests.transformed_lake import TransformedLake, price, snapshot


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path / "home [1]"))
    return tmp_path / "home [1]"


@pytest.fixture
def layer(home: Path) -> Layer:
    return Layer(str(home / "transformed"), "transformed", "transformed_prices")


@pytest.fixture
def written(layer: Layer) -> TransformedLake:
    return TransformedLake(layer.root)


@pytest.fixture
def days(written: TransformedLake, layer: Layer) -> list[Manifest]:
    """Three days, in two months."""
    keys = ("2026-10-31", "2026-11-01", "2026-11-02")
    manifests = written.months(
        HISTORICAL, {key: {"prices": [price("bitcoin", key)]} for key in keys}
    )
    layer.commit(HISTORICAL, manifests)
    return manifests


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end", "months"),
    [
        (None, None, ["2026-10", "2026-11"]),
        ("2026-11-01", None, ["2026-11"]),
        ("2026-10-31 23:59", None, ["2026-10", "2026-11"]),
        (None, "2026-11-01", ["2026-10"]),
        (None, "2026-11-01 00:01", ["2026-10", "2026-11"]),
        ("2026-11-02 12:00", "2026-11-02 13:00", ["2026-11"]),
        ("2026-11-03", None, []),
        (None, "2026-10-31", []),
    ],
)
@pytest.mark.usefixtures("days")
def test_the_files_of_a_time_are_those_with_any_window_of_it(
    layer: Layer, start: str | None, end: str | None, months: list[str]
) -> None:
    files = live_files(
        layer,
        HISTORICAL,
        "prices",
        moment(start) if start else None,
        moment(end) if end else None,
    )

    assert [file.path for file in files] == [
        f"historical_data/month={month}/prices-run-1.parquet" for month in months
    ]


def test_only_files_of_the_dataset_and_the_stream_are_listed(
    layer: Layer, written: TransformedLake, days: list[Manifest]
) -> None:
    hours = written.six_hours(
        "2026-11-01-00:00",
        price("bitcoin", "2026-11-01 00:05"),
        snapshots=[snapshot("bitcoin", "2026-11-01 05:59")],
    )
    layer.commit(INTRA_DAY, [hours])

    assert live_files(layer, INTRA_DAY, "prices") == [hours.files[0]]
    assert live_files(layer, INTRA_DAY, "snapshots") == [hours.files[1]]
    assert live_files(layer, INTRA_DAY, "rejected") == []
    assert live_files(layer, HISTORICAL, "prices") == [days[0].files[0], days[1].files[0]]


def test_a_replaced_file_is_not_listed_and_stays_readable(
    layer: Layer, written: TransformedLake, days: list[Manifest]
) -> None:
    before = read_rows(layer, HISTORICAL, "prices", start=moment("2026-11-01"))
    again = written.months(
        HISTORICAL,
        {key: {"prices": [price("bitcoin", key, 9.0)]} for key in ("2026-11-01", "2026-11-02")},
    )
    layer.commit(HISTORICAL, again)

    assert [file.path for file in live_files(layer, HISTORICAL, "prices")] == [
        days[0].files[0].path,
        again[0].files[0].path,
    ]
    assert before.to_table()["price"].to_pylist() == [1.5, 1.5]
    assert lake("historical").to_table()["price"].to_pylist() == [1.5, 9.0, 9.0]


@pytest.mark.usefixtures("days")
def test_the_rows_are_those_of_the_windows_of_the_time() -> None:
    rows = lake("historical", "2026-10-31", "2026-11-01T12:00Z").to_table()

    assert rows["price_at"].to_pylist() == [moment("2026-10-31"), moment("2026-11-01")]
    assert lake("historical").count_rows() == 3


@pytest.mark.usefixtures("days")
def test_duckdb_reads_the_rows_as_a_table() -> None:
    rows = lake("historical", start="2026-11-01")

    # A connection of its own: what another test left unread on the module's would refuse it.
    with duckdb.connect() as connection:
        found = connection.from_arrow(rows).aggregate("count(*), min(price_at)").fetchall()

    assert found == [(2, moment("2026-11-01"))]


def test_files_with_other_columns_read_as_one(
    layer: Layer, written: TransformedLake, days: list[Manifest]
) -> None:
    # The oldest of the files is of a version that knew neither column, and of another engine.
    older = written.path(days[0])
    table = pq.read_table(older).drop_columns(["stamp", "reason"])
    coarser = table.schema.field("price_at").with_type(pa.timestamp("ns", tz="UTC"))
    table = table.set_column(
        table.schema.get_field_index("price_at"), coarser, table["price_at"].cast(coarser.type)
    )
    pq.write_table(table.replace_schema_metadata({"made": "by another"}), older)
    added = price("bitcoin", "2026-12-01", stamp=1.0, reason="why")
    layer.commit(HISTORICAL, [written.day("2026-12-01", added)])

    rows = lake("historical").to_table().sort_by("price_at")

    assert rows["reason"].to_pylist() == [None, None, None, "why"]
    assert rows["price_at"].to_pylist()[2:] == [moment("2026-11-02"), moment("2026-12-01")]


def test_what_the_lake_does_not_have_is_said_with_what_would_help(home: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"no prices of historical from 2026-11-01") as told:
        lake("historical", start="2026-11-01")

    assert str(home / "transformed") in str(told.value)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("daily",), r"'daily' is no stream; those are historical, intra_day"),
        (("historical", None, None, "coins"), r"'coins' is no dataset; those are prices, snap"),
        (("historical", "2026-11-02", "2026-11-01"), r"The start 2026-11-02.* is not before"),
        (("historical", "yesterday"), r"start 'yesterday' is no time"),
    ],
)
@pytest.mark.usefixtures("home")
def test_what_cannot_be_asked_for_is_said(asked: tuple[str, ...], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        lake(*asked)  # type: ignore[arg-type]
