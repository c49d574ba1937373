"""Prices for notebooks and tools, over a real DuckDB file."""

import re
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import crypto_platform
from crypto_platform.cli.main import main
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform.warehouse.price_frames import COLUMNS, length, moment
from crypto_platform_tests.warehouse_rows import put_coin, put_price

DAY = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with three days of bitcoin, the last of them hourly too, and a price of ethereum."""
    home = tmp_path_factory.mktemp("home")
    warehouse = DuckDBWarehouse(path=str(home / "crypto_db.duckdb"))
    put_coin(warehouse, "bitcoin", symbol="btc", name="Bitcoin")
    put_coin(warehouse, "ethereum", symbol="eth", name="Ethereum")
    for days in range(3):
        put_price(warehouse, "bitcoin", DAY + timedelta(days=days), 100.0 + days)
    for minutes in (3, 63, 93, 123):
        at = DAY + timedelta(days=2, minutes=minutes)
        put_price(warehouse, "bitcoin", at, 102.0 + minutes / 1000, granularity="hourly")
    put_price(warehouse, "ethereum", DAY, 10.0, market_cap=None)
    return home


@pytest.fixture
def warehouse(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment names is filled."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRYPTO_HOME", str(filled))


def test_importing_the_package_loads_neither_dagster_nor_pandas() -> None:
    heavy = "{'dagster', 'pandas', 'duckdb', 'pydantic', 'matplotlib'} & set(sys.modules)"
    program = f"import sys, crypto_platform; print({heavy} or 'cheap')"

    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert ran.stdout.strip() == "cheap"


@pytest.mark.usefixtures("warehouse")
def test_a_frame_has_a_row_a_coin_a_day_in_order_of_time() -> None:
    frame = crypto_platform.prices(["ethereum", "bitcoin"])

    assert list(frame.columns) == list(COLUMNS)
    assert list(zip(frame["time"], frame["coin_id"], frame["price"], strict=True)) == [
        (pd.Timestamp(DAY), "bitcoin", 100.0),
        (pd.Timestamp(DAY), "ethereum", 10.0),
        (pd.Timestamp(DAY + timedelta(days=1)), "bitcoin", 101.0),
        (pd.Timestamp(DAY + timedelta(days=2)), "bitcoin", 102.0),
    ]
    assert str(frame["time"].dtype) == str(frame["price_at"].dtype) == "datetime64[us, UTC]"
    assert frame["market_cap"].isna().sum() == 1


@pytest.mark.usefixtures("warehouse")
def test_an_hour_has_the_price_nearest_to_its_start() -> None:
    frame = crypto_platform.prices("bitcoin", start=DAY + timedelta(days=2), granularity="hourly")

    assert list(frame["time"].dt.strftime("%H:%M")) == ["00:00", "01:00", "02:00"]
    assert list(frame["price_at"].dt.strftime("%H:%M")) == ["00:00", "01:03", "02:03"]


@pytest.mark.usefixtures("warehouse")
def test_the_finest_granularity_has_every_price_at_its_own_moment() -> None:
    frame = crypto_platform.prices("bitcoin", start=DAY + timedelta(days=2), granularity="finest")

    assert list(frame["price"]) == [102.0, 102.003, 102.063, 102.093, 102.123]
    assert (frame["time"] == frame["price_at"]).all()


@pytest.mark.usefixtures("warehouse")
def test_the_start_is_in_and_the_end_is_not() -> None:
    frame = crypto_platform.prices("bitcoin", "2026-11-21", date(2026, 11, 22))

    assert list(frame["price"]) == [101.0]


@pytest.mark.usefixtures("warehouse")
def test_a_time_in_which_nothing_was_seen_gives_an_empty_frame_of_the_same_types() -> None:
    some = crypto_platform.prices("bitcoin")
    none = crypto_platform.prices("bitcoin", start=datetime(2030, 1, 1, tzinfo=UTC))

    assert none.empty
    assert list(none.columns) == list(some.columns)
    numeric = ["time", "price_at", "price", "market_cap", "total_volume"]
    assert list(none[numeric].dtypes) == list(some[numeric].dtypes)


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize(
    ("coin", "said"),
    [
        ("bitcon", "'bitcon' (did you mean bitcoin?)"),
        ("zzz", "'zzz'. Those that there are: bitcoin, ethereum."),
        ("x' OR 1=1 --", "Those that there are: bitcoin, ethereum."),
    ],
)
def test_an_unknown_coin_is_refused_with_the_nearest(coin: str, said: str) -> None:
    with pytest.raises(ValueError, match="There is no such coin") as raised:
        crypto_platform.prices(coin)

    assert said in str(raised.value)


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"coins": []}, "No coin was named"),
        ({"start": datetime(2026, 1, 1)}, "start 2026-01-01 00:00:00 has no zone"),  # noqa: DTZ001
        ({"end": "2026-01-01T06:00"}, "end 2026-01-01 06:00:00 has no zone"),
        ({"start": "yesterday"}, "start 'yesterday' is no time"),
        ({"start": "2026-01-02", "end": "2026-01-02"}, "is not before the end"),
        ({"granularity": "weekly"}, "'weekly' is no granularity; those are finest, hourly, daily"),
        ({"granularity": "finest", "fill": True}, "no holes to fill in finest"),
    ],
)
def test_bad_input_is_refused_with_what_would_fit(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        crypto_platform.prices(**{"coins": "bitcoin", **arguments})  # type: ignore[arg-type]


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize("named", ["bitcoin", "BTC", "btc", "Bitcoin"])
def test_a_coin_is_named_by_id_ticker_or_name(named: str) -> None:
    assert set(crypto_platform.prices([named, "bitcoin"])["coin_id"]) == {"bitcoin"}


@pytest.mark.usefixtures("warehouse")
def test_a_day_that_began_before_the_start_is_left_out() -> None:
    frame = crypto_platform.prices("bitcoin", DAY + timedelta(days=1, hours=12))

    assert list(frame["time"]) == [DAY + timedelta(days=2)]


@pytest.mark.usefixtures("warehouse")
def test_hours_of_days_that_have_daily_prices_alone_are_warned_of() -> None:
    with pytest.warns(crypto_platform.CoarserPricesWarning) as warned:
        frame = crypto_platform.prices(["bitcoin", "ethereum"], granularity="hourly", fill=True)

    (warning,) = warned
    assert "ethereum: 2026-11-20; bitcoin: 2026-11-20 to 2026-11-21. " in str(warning.message)
    assert warning.filename == __file__
    assert len(frame) == 51 + 1


def test_where_there_is_no_warehouse_asking_says_so_and_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("CRYPTO_HOME", str(home))

    with pytest.raises(ValueError, match="has no prices yet"):
        crypto_platform.prices("bitcoin")

    assert not home.exists()


def test_the_env_file_says_where_the_warehouse_is(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that what is read from the file is gone with the test.
    monkeypatch.setenv("CRYPTO_HOME", "")
    monkeypatch.delenv("CRYPTO_HOME")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(f"CRYPTO_HOME={filled}\n")

    assert len(crypto_platform.prices("bitcoin")) == 3


@pytest.mark.usefixtures("warehouse")
def test_the_command_prints_a_table() -> None:
    ran = CliRunner().invoke(main, ["prices", "bitcoin", "--start", "2026-11-21"])

    assert ran.exit_code == 0
    assert "(simulated)" in ran.output
    assert "┃ price (usd) ┃ market cap (usd) ┃" in ran.output
    assert "2026-11-21 00:00 │ bitcoin │         101 │" in ran.output
    assert "100" not in ran.output


def test_a_number_is_never_cut_however_narrow_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "40")
    small = "a-coin-whose-name-takes-most-of-a-terminal"
    warehouse = DuckDBWarehouse(path=str(tmp_path / "crypto_db.duckdb"))
    put_coin(warehouse, small, symbol="pepe", name="Pepe")
    put_price(warehouse, small, DAY, 6.3101635e-06, market_cap=1.2345e15, total_volume=98765.4321)

    ran = CliRunner().invoke(main, ["prices", small, "--start", "2026-11-20"])

    assert ran.exit_code == 0
    (row,) = [line for line in ran.output.splitlines() if small in line]
    assert row.replace(" ", "") == f"│2026-11-2000:00│{small}│6.3101635e-06│1,234.50T│98.77K│daily│"
    assert "…" not in ran.output


@pytest.mark.usefixtures("warehouse")
def test_all_times_of_a_csv_file_have_one_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "odd"
    monkeypatch.setenv("CRYPTO_HOME", str(home))
    warehouse = DuckDBWarehouse(path=str(home / "crypto_db.duckdb"))
    put_coin(warehouse, "bitcoin", symbol="btc", name="Bitcoin")
    for at in (DAY, DAY + timedelta(minutes=5, milliseconds=417)):
        put_price(warehouse, "bitcoin", at, 100.0, granularity="5-minute")
    file = tmp_path / "p.csv"

    ran = CliRunner().invoke(
        main, ["prices", "bitcoin", "--granularity", "finest", "--csv", str(file)]
    )

    assert ran.exit_code == 0, ran.output
    read = pd.read_csv(file, parse_dates=["time", "price_at"])
    assert list(read["time"]) == [DAY, DAY + timedelta(minutes=5, milliseconds=417)]
    assert {len(text) for text in pd.read_csv(file)["price_at"]} == {
        len("2026-11-20T00:00:00.000000Z")
    }


@pytest.mark.usefixtures("warehouse")
def test_the_command_writes_files_that_hold_the_same(tmp_path: Path) -> None:
    files = ["--csv", str(tmp_path / "p.csv"), "--parquet", str(tmp_path / "p.parquet")]

    ran = CliRunner().invoke(main, ["prices", "bitcoin", "ethereum", *files])

    assert ran.exit_code == 0, ran.output
    assert "4 prices of 2 coins" in ran.output
    frame = crypto_platform.prices(["bitcoin", "ethereum"])
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "p.parquet"), frame)
    written = pd.read_csv(tmp_path / "p.csv", parse_dates=["time", "price_at"])
    pd.testing.assert_frame_equal(written, frame, check_dtype=False)


@pytest.mark.usefixtures("warehouse")
def test_the_output_can_be_the_csv_file_and_is_nothing_else() -> None:
    hourly = ["prices", "BTC", "--granularity", "hourly"]

    ran = CliRunner().invoke(main, [*hourly, "--fill", "--csv", "-"])

    assert ran.exit_code == 0, ran.output
    written = pd.read_csv(StringIO(ran.stdout), parse_dates=["time", "price_at"])
    assert len(written) == 51
    assert list(written[~written["filled"]]["price"]) == [100.0, 101.0, 102.0, 102.063, 102.123]
    assert ran.stderr.startswith("Warning: There are only daily prices of bitcoin: 2026-11-20 to")


@pytest.mark.usefixtures("warehouse")
def test_what_is_filled_is_shown_with_the_moment_that_it_is_from() -> None:
    hourly = ["--granularity", "hourly", "--start", "2026-11-21T22:00Z"]

    ran = CliRunner().invoke(main, ["prices", "BTC", *hourly, "--fill"])

    rows = [re.split(r" *[│┃] *", line)[1:-1] for line in ran.stdout.splitlines()]
    filled = {row[0]: row[6] for row in rows if row and row[1:2] == ["bitcoin"]}
    assert filled == {
        "2026-11-21 22:00": "2026-11-21 00:00",
        "2026-11-21 23:00": "2026-11-21 00:00",
        "2026-11-22 00:00": "",
        "2026-11-22 01:00": "",
        "2026-11-22 02:00": "",
    }


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bitcon"], "did you mean bitcoin?"),
        (["bitcoin", "--last", "soon"], "'soon' is no length of time; write 12h, 30d or 8w."),
        (["bitcoin", "--last", "3d", "--end", "2026-01-01"], "--last reaches from now back"),
        (["bitcoin", "--granularity", "5m"], "'5m' is not one of"),
    ],
)
def test_the_command_says_what_is_wrong_without_a_traceback(
    arguments: list[str], said: str
) -> None:
    ran = CliRunner().invoke(main, ["prices", *arguments])

    assert ran.exit_code in {1, 2}
    assert said in ran.output


def test_lengths_of_time_are_hours_days_and_weeks() -> None:
    assert length("12h") == timedelta(hours=12)
    assert length("30d") == timedelta(days=30)
    assert length(" 8W ") == timedelta(weeks=8)


@given(
    st.datetimes(datetime(2010, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001
    st.integers(-23 * 60, 23 * 60),
)
def test_a_moment_is_the_same_in_any_zone_and_as_text(naive: datetime, minutes: int) -> None:
    aware = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))

    assert moment(aware, "start") == aware == moment(aware.isoformat(), "start")
    assert moment(aware, "start").tzinfo is UTC
