"""A column is added in one place, and warehouses of older versions gain it."""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Stream
from crypto_platform.lake.layers import Lake
from crypto_platform.lake.manifests import Absence, LakeFile, Manifest
from crypto_platform.lake.upgrade import upgrade
from crypto_platform.models.build import make_models
from crypto_platform.warehouse import catalogue, sql
from crypto_platform.warehouse.catalogue import column_schema, tables, with_columns
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.schema_changes import SchemaChangeRefusedError
from crypto_platform.warehouse.snowflake_apply import Step, apply
from crypto_platform_tests.transformed_lake import TransformedLake, price, snapshot

VERSIONS = Path(__file__).parent / "versions"
WINDOWS = (
    (HISTORICAL, ("2026-11-22", "2026-11-23")),
    (INTRA_DAY, ("2026-11-27-18:00",)),
)
CACHES = (
    catalogue.tables,
    catalogue._own_tables,  # noqa: SLF001 - a test that changes the scripts forgets what was read
    catalogue.relations,
    sql._statements,  # noqa: SLF001
    sql.model_definition,
    sql.duckdb_definition,
    sql.duckdb_creation,
    sql.script_statements,
)

Change = Callable[[str, str, str], None]


@pytest.fixture
def change_script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Change]:
    """Put one text in place of another in a script, and nothing anywhere else."""
    changes: list[tuple[str, str, str]] = []
    read = catalogue.files

    class Scripts:
        def __init__(self, name: str = "") -> None:
            self.name = name

        def joinpath(self, name: str) -> "Scripts":
            return Scripts(name)

        def read_text(self, encoding: str) -> str:
            text = read("snowflake_scripts").joinpath(self.name).read_text(encoding=encoding)
            for script, old, new in changes:
                if script == self.name:
                    assert old in text
                    text = text.replace(old, new, 1)
            return text

    def forget() -> None:
        for cached in CACHES:
            cached.cache_clear()

    def change(script: str, old: str, new: str) -> None:
        changes.append((script, old, new))
        forget()

    monkeypatch.setattr(catalogue, "files", lambda _: Scripts())
    yield change
    monkeypatch.undo()
    forget()


def add_to_snapshots(change_script: Change, definition: str) -> None:
    """A line in the middle of the table, where no ALTER puts it."""
    before = "    high_24h DOUBLE COMMENT 'Highest price of the 24 hours before, in vs_currency; "
    before += "null where the API has none',\n"
    change_script("1_creation_tables.sql", before, f"    {definition},\n{before}")


WATCHLIST = "watchlist_users DOUBLE COMMENT 'People who watch the coin''s price, a count'"


def snapshots_of(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    rows = warehouse.query(
        "SELECT coin_id, high_24h, watchlist_users FROM market_snapshots ORDER BY coin_id"
    )
    return [tuple(row.values()) for row in rows]


def with_column(lake: TransformedLake, manifest: Manifest, name: str, value: float) -> Manifest:
    """The manifest, once its file of one snapshot has a further column."""
    (file,) = manifest.files_of("snapshots")
    path = Path(lake.root) / file.path
    pq.write_table(pq.read_table(path).append_column(name, [[value]]), path)
    content = path.read_bytes()
    described = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    files = [one.model_copy(update=described if one == file else {}) for one in manifest.files]
    return replace(manifest, files=tuple(files))


def load_snapshots(warehouse: Warehouse, lake: TransformedLake, **columns: float) -> None:
    manifest = lake.six_hours(
        "2026-11-22-18:00",
        price("bitcoin", "2026-11-22T19:00"),
        snapshots=[snapshot("bitcoin", "2026-11-23T00:10", high_24h=7.0)],
    )
    for name, value in columns.items():
        manifest = with_column(lake, manifest, name, value)
    warehouse.load(INTRA_DAY, [manifest], lake.root)


def test_a_column_of_snapshots_is_one_line_of_its_script(
    warehouse: Warehouse, lake: TransformedLake, change_script: Change
) -> None:
    load_snapshots(warehouse, lake)
    add_to_snapshots(change_script, WATCHLIST)
    if not isinstance(warehouse, DuckDBWarehouse):
        settings = Settings.from_environment({})
        with warehouse.session(read_only=False) as session:
            todo = [
                Step("1", text)
                for text in sql.script_statements("1_creation_tables.sql")
                if "CREATE TABLE" in text
            ]
            changed = [
                one.step.sql for one in apply(session, todo, settings) if one.change == "changed"
            ]
        assert changed == [
            "ALTER TABLE transformed.market_snapshots ADD COLUMN watchlist_users DOUBLE",
            (
                "COMMENT ON COLUMN transformed.market_snapshots.watchlist_users IS "
                "'People who watch the coin''s price, a count'"
            ),
        ]

    assert snapshots_of(warehouse) == [("bitcoin", 7.0, None)]
    if isinstance(warehouse, DuckDBWarehouse):
        # A file of an older version; Snowflake reads null of it too, fakesnow an error.
        load_snapshots(warehouse, lake)
        assert snapshots_of(warehouse) == [("bitcoin", 7.0, None)]
    load_snapshots(warehouse, lake, watchlist_users=12.0)
    assert snapshots_of(warehouse) == [("bitcoin", 7.0, 12.0)]

    (shown,) = (
        column
        for column in column_schema("market_snapshots").columns
        if column.name == "watchlist_users"
    )
    assert shown.description == "People who watch the coin's price, a count"
    landed = sql.script_statements("3_creating_pipe_for_intra_day.sql")
    assert sum("$1:watchlist_users::DOUBLE" in text for text in landed) == 1
    assert "watchlist_users" in {column.name for column in tables()["market_snapshots_landing"]}


@pytest.mark.parametrize("newer", [0, 1])
def test_files_of_both_versions_may_be_loaded_at_once(
    duckdb_warehouse: DuckDBWarehouse, lake: TransformedLake, change_script: Change, newer: int
) -> None:
    add_to_snapshots(change_script, WATCHLIST)
    keys = ["2026-11-22-12:00", "2026-11-22-18:00"]
    manifests = [
        lake.six_hours(
            key,
            price(coin, f"2026-11-22T{key[11:13]}:30"),
            snapshots=[snapshot(coin, f"2026-11-22T{key[11:13]}:50", high_24h=7.0)],
        )
        for key, coin in zip(keys, ["bitcoin", "ethereum"], strict=True)
    ]
    manifests[newer] = with_column(lake, manifests[newer], "watchlist_users", 12.0)

    duckdb_warehouse.load(INTRA_DAY, manifests, lake.root)

    values = [None, None, 12.0]
    assert snapshots_of(duckdb_warehouse) == [
        ("bitcoin", 7.0, values[2 - newer * 2]),
        ("ethereum", 7.0, values[1 + newer]),
    ]


def test_a_column_of_a_model_is_one_line_of_its_script_and_its_expression(
    duckdb_warehouse: DuckDBWarehouse, lake: TransformedLake, change_script: Change
) -> None:
    days = ["2026-11-21", "2026-11-22"]
    manifests = [lake.day(day, price("bitcoin", day, 2.0)) for day in days]
    duckdb_warehouse.load(HISTORICAL, manifests, lake.root)
    make_models(duckdb_warehouse)
    before = "    volume DOUBLE COMMENT 'As in daily_prices; null where it is null there',\n"
    line = "    is_traded BOOLEAN COMMENT 'Whether there was any volume',\n"
    change_script("5_creation_models.sql", before, line + before)
    change_script(
        "models.sql",
        "    turnover,\n    market_share,",
        "    volume > 0 AS is_traded,\n    turnover,\n    market_share,",
    )

    make_models(duckdb_warehouse)

    rows = duckdb_warehouse.query("SELECT DISTINCT volume, is_traded FROM trading_volumes")
    assert {"volume": 3.5, "is_traded": True} in rows
    assert "is_traded" in {column.name for column in column_schema("trading_volumes").columns}


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        (
            "quality VARCHAR NOT NULL COMMENT 'x'",
            (
                "ADD COLUMN quality VARCHAR; UPDATE transformed.market_snapshots SET quality = ?; "
                "ALTER TABLE transformed.market_snapshots ALTER COLUMN quality SET NOT NULL;"
            ),
        ),
        (
            "last_updated VARCHAR COMMENT 'x'",
            (
                "ALTER TABLE transformed.market_snapshots ALTER COLUMN last_updated "
                "SET DATA TYPE VARCHAR;"
            ),
        ),
        (
            "last_updated TIMESTAMP_NTZ(6) NOT NULL COMMENT 'x'",
            "ALTER COLUMN last_updated SET NOT NULL;",
        ),
    ],
    ids=["not null", "another type", "no longer null"],
)
def test_what_may_change_rows_is_refused_with_what_to_run(
    duckdb_warehouse: DuckDBWarehouse,
    lake: TransformedLake,
    change_script: Change,
    definition: str,
    said: str,
) -> None:
    load_snapshots(duckdb_warehouse, lake)
    if definition.startswith("last_updated"):
        old = (
            "last_updated TIMESTAMP_NTZ(6) "
            "COMMENT 'When the API itself last updated the coin, UTC; null where the API has none'"
        )
        change_script("1_creation_tables.sql", old, definition)
    else:
        add_to_snapshots(change_script, definition)

    with pytest.raises(SchemaChangeRefusedError) as refused:
        duckdb_warehouse.query("SELECT * FROM coins")

    column = definition.partition(" ")[0]
    assert f"market_snapshots.{column}" in str(refused.value.description)
    assert said in str(refused.value.description)
    with duckdb.connect(duckdb_warehouse.path) as connection:
        statements = str(refused.value.description).partition("and run: ")[2].split(";")
        for statement in filter(None, map(str.strip, statements)):
            connection.execute(statement, ["good"] if "?" in statement else None)
    assert duckdb_warehouse.query("SELECT coin_id FROM market_snapshots")


def test_a_column_that_a_person_added_is_left_alone_and_disturbs_no_load(
    duckdb_warehouse: DuckDBWarehouse, lake: TransformedLake
) -> None:
    load_snapshots(duckdb_warehouse, lake)
    with duckdb.connect(duckdb_warehouse.path) as connection:
        for table in ("market_snapshots", "intra_day_prices", "ingestion_ledger", "coins"):
            connection.execute(f"ALTER TABLE transformed.{table} ADD COLUMN note INTEGER")
        connection.execute("UPDATE transformed.intra_day_prices SET note = 5")

    load_snapshots(duckdb_warehouse, lake)

    assert duckdb_warehouse.query("SELECT price, market_cap, source FROM prices") == [
        {"price": 1.5, "market_cap": 2.5, "source": "simulated"}
    ]


def test_a_reader_goes_on_with_an_older_file_that_others_have_open(
    duckdb_warehouse: DuckDBWarehouse, lake: TransformedLake, change_script: Change
) -> None:
    load_snapshots(duckdb_warehouse, lake)
    add_to_snapshots(change_script, WATCHLIST)

    with duckdb.connect(duckdb_warehouse.path, read_only=True):
        rows = duckdb_warehouse.query("SELECT high_24h FROM market_snapshots")
        assert [change.fault for change in duckdb_warehouse.schema_changes()] == [
            "market_snapshots.watchlist_users is not there"
        ]

    assert rows == [{"high_24h": 7.0}]
    assert snapshots_of(duckdb_warehouse) == [("bitcoin", 7.0, None)]
    assert duckdb_warehouse.schema_changes() == []


def test_a_line_that_is_no_column_is_an_error(change_script: Change) -> None:
    add_to_snapshots(change_script, "watchlist_users DOUBLE")

    with pytest.raises(ValueError, match="market_snapshots: no column is defined by"):
        with_columns("{columns:market_snapshots}")


# Warehouses and lakes that earlier versions made


def older(version: str, tmp_path: Path) -> tuple[DuckDBWarehouse, Lake]:
    home = tmp_path / "home"
    shutil.copytree(VERSIONS / version, home)
    path = str(home / "crypto_db.duckdb")
    with duckdb.connect(path) as connection:
        connection.execute((home / "warehouse.sql").read_text(encoding="utf-8"))
    return DuckDBWarehouse(path=path), Lake(
        raw_root=str(home / "raw"), transformed_root=str(home / "transformed")
    )


def columns_of(warehouse: DuckDBWarehouse) -> dict[str, list[str]]:
    """The columns of each table as the file has them now."""
    with duckdb.connect(warehouse.path, read_only=True) as connection:
        columns = connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE schema_name = 'transformed'"
            " AND table_name IN (SELECT table_name FROM duckdb_tables()) ORDER BY column_index"
        ).fetchall()
    found: dict[str, list[str]] = {}
    for table, column in columns:
        found.setdefault(table, []).append(column)
    return found


def rows_of(
    warehouse: DuckDBWarehouse, columns: Mapping[str, Sequence[str]] | None = None
) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of each table, in those columns that an earlier version of it had."""
    listed = columns_of(warehouse) | dict(columns or {})
    with duckdb.connect(warehouse.path, read_only=True) as connection:
        return {
            table: connection.execute(
                f"SELECT {', '.join(names)} FROM transformed.{table} ORDER BY ALL"
            ).fetchall()
            for table, names in listed.items()
        }


def without_times_of_load(rows: dict[str, list[tuple[Any, ...]]]) -> dict[str, Any]:
    """All but a snapshot's loaded_at, the last but one of its columns: that of the latest load."""
    return {**rows, "market_snapshots": [row[:-2] for row in rows["market_snapshots"]]}


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_a_warehouse_of_an_earlier_version_keeps_every_row_and_takes_its_windows_again(
    version: str, tmp_path: Path
) -> None:
    warehouse, lake = older(version, tmp_path)
    columns = columns_of(warehouse)
    before = rows_of(warehouse)
    assert {name: len(before[name]) for name in ("historical_prices", "market_snapshots")} == {
        "historical_prices": 4,
        "market_snapshots": 2,
    }

    assert len(warehouse.query("SELECT * FROM prices")) == 148

    after = rows_of(warehouse, columns)
    assert {name: after[name] for name in before} == before
    assert after.keys() == tables().keys() - {name for name in tables() if "landing" in name}
    assert all(after[name] == [] for name in after.keys() - before.keys())

    for stream, keys in WINDOWS:
        manifests = [manifest_of_earlier_version(lake, stream, key) for key in keys]
        result = warehouse.load(stream, manifests, lake.transformed.root)
        assert result.revisions.total == 0
    loaded = rows_of(warehouse, columns)
    assert without_times_of_load({name: loaded[name] for name in before}) == without_times_of_load(
        before
    )


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_the_lake_of_an_earlier_version_is_read(version: str, tmp_path: Path) -> None:
    warehouse, lake = older(version, tmp_path)
    warehouse.query("SELECT * FROM prices")
    before = rows_of(warehouse)

    assert [fault for month in upgrade(lake) for fault in month.faults] == []

    for stream, keys in WINDOWS:
        for layer in (lake.raw, lake.transformed):
            manifests = layer.manifests(stream, windows(stream, keys))
            layer.check(stream, manifests)
            assert [manifest.coins for manifest in manifests] == [2] * len(keys)
            assert all(manifest.files_of("prices") for manifest in manifests)
        result = warehouse.load(stream, manifests, lake.transformed.root)
        assert result.revisions.total == 0
    assert without_times_of_load(rows_of(warehouse)) == without_times_of_load(before)


def manifest_of_earlier_version(lake: Lake, stream: Stream, key: str) -> Manifest:
    """What the document of a window's own, which 0.1 and 0.2 wrote, says of it."""
    window = stream.window(key)
    hour = f"/hour={window.start:%H}" if stream is INTRA_DAY else ""
    content = lake.transformed.read(
        f"{stream.folder}/date={window.start:%Y-%m-%d}{hour}/_manifest.json"
    )
    stored = TypeAdapter(dict[str, Any]).validate_json(content or b"")
    files = tuple(LakeFile(**file) for file in stored["files"])
    return Manifest(
        stream=stream.name,
        window=window,
        run_id=stored["run_id"],
        written_at=datetime.fromisoformat(stored["written_at"]),
        coins=stored["coins"],
        points=stored["points"],
        files=files,
        absent=tuple(Absence(**absence) for absence in stored["absent"]),
        snapshots=sum(file.rows for file in files if file.dataset == "snapshots"),
    )


def windows(stream: Stream, keys: tuple[str, ...]) -> list[Any]:
    return [stream.window(key) for key in keys]
