"""The market report: what it shows of a warehouse, over a real DuckDB file and in a real page."""

import itertools
import json
import math
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_platform.core.numbers import percent
from crypto_platform.core.settings import Settings
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY
from crypto_platform.definitions import build_definitions
from crypto_platform.lake.layers import Lake
from crypto_platform.models.build import make_models
from crypto_platform.report import charts
from crypto_platform.report.asset import LATEST, render, report_metadata, write_report
from crypto_platform.report.components import Panel
from crypto_platform.report.day_series import correlation
from crypto_platform.report.facts import Facts, read_facts
from crypto_platform.report.panels import panels, sparkline_rows
from crypto_platform.report.tiles import tiles
from crypto_platform.warehouse.duckdb import DuckDBWarehouse
from crypto_platform.warehouse.resource import Warehouse
from crypto_platform.warehouse.sql import model_statement
from crypto_platform_tests.warehouse_rows import price_row, put

NEWEST = datetime(2026, 11, 22, tzinfo=UTC)


def coin_names(count: int) -> list[str]:
    names = ["bitcoin", "ethereum", "tether", "solana"]
    return (names + [f"coin-{place}" for place in range(len(names), count)])[:count]


def fill(
    warehouse: Warehouse,
    coins: Sequence[str],
    days: int,
    *,
    missing: Callable[[str, int], bool] = lambda *_: False,
    source: str = "simulated",
) -> None:
    """Daily prices of coins up to NEWEST, larger coins first, and the models of them."""
    wander = np.random.default_rng(1)
    prices: list[dict[str, Any]] = []
    ledger: list[dict[str, Any]] = []
    for place, coin in enumerate(coins):
        steps = np.exp(np.cumsum(wander.normal(0, 0.03, days)))
        for day in range(days):
            at = NEWEST - timedelta(days=days - 1 - day)
            absent = missing(coin, day)
            if not absent:
                cap = 1e12 / (place + 1)
                row = price_row(coin, at, 100 * float(steps[day]), market_cap=cap, source=source)
                prices.append(row)
            ledger.append(
                {
                    "stream": "historical",
                    "coin_id": coin,
                    "vs_currency": "usd",
                    "window_start": at,
                    "status": "missing_at_source" if absent else "present",
                    "reason": "the API has nothing <there> & says so" if absent else None,
                    "points": 0 if absent else 1,
                    "run_id": "run",
                    "updated_at": NEWEST,
                }
            )
    put(warehouse, "historical_prices", prices)
    put(warehouse, "ingestion_ledger", ledger)
    stream = {"stream": "historical", "vs_currency": "usd", "window_minutes": 24 * 60}
    put(warehouse, "streams", [{**stream, "first_window": NEWEST - timedelta(days=1_000)}])
    known = [
        {
            "coin_id": coin,
            "symbol": coin[:3],
            "name": coin.title(),
            "first_tracked_at": NEWEST,
            "tracked": True,
        }
        for coin in coins
    ]
    put(warehouse, "coins", known)
    make_models(warehouse)


def facts_of(warehouse: Warehouse) -> Facts:
    """The facts as of a moment after NEWEST was loaded, when nothing later is due."""
    return read_facts(warehouse, "usd", NEWEST + timedelta(days=1, hours=3))


@pytest.fixture
def warehouse(tmp_path: Path) -> DuckDBWarehouse:
    return DuckDBWarehouse(path=str(tmp_path / "crypto_db.duckdb"))


@pytest.fixture(scope="module")
def quarter(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """A quarter of a year of 25 coins; one was delisted, one has a gap."""
    warehouse = DuckDBWarehouse(path=str(tmp_path_factory.mktemp("quarter") / "db.duckdb"))
    fill(
        warehouse,
        coin_names(25),
        100,
        missing=lambda coin, day: (
            (coin == "coin-20" and day > 60) or (coin == "ethereum" and 40 <= day < 44)
        ),
    )
    return facts_of(warehouse)


@pytest.fixture(scope="module")
def page(quarter: Facts) -> str:
    """The report of that quarter."""
    return page_of(quarter)


@pytest.fixture(scope="module")
def drawn(quarter: Facts) -> dict[str, Panel]:
    """Its panels."""
    return {panel.key: panel for panel in panels(quarter)}


def page_of(facts: Facts) -> str:
    return render(facts, panels(facts))


class Page(HTMLParser):
    """What a page would ask for, and the text it shows."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "srcset", "action", "data", "poster", "xlink:href"}:
                self.addresses.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(text for text in self.texts if text)


def test_the_page_asks_for_nothing(page: str) -> None:
    parsed = Page(page)

    assert all(address.startswith(("#", "data:")) for address in parsed.addresses)
    assert not {"script", "iframe", "object", "embed", "form"} & set(parsed.tags)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", page)
    assert "default-src 'none'" in page


def test_the_page_is_small(page: str) -> None:
    assert len(page.encode()) < 400_000


def test_what_every_chart_refers_to_is_in_the_page_once(page: str, drawn: dict[str, Panel]) -> None:
    ids = Page(page).ids

    for panel in drawn.values():
        for chart in panel.charts:
            ET.fromstring(chart.svg)  # noqa: S314 - made here
    assert set(re.findall(r'(?:url\(#|href="#)([^)"]+)', page)) <= set(ids)
    own = [name for name in ids if not re.fullmatch(r"[mp][0-9a-f]{10}", name)]
    assert sorted(own) == sorted(set(own))


def test_every_panel_is_there_with_a_chart_or_a_table(drawn: dict[str, Panel]) -> None:
    assert list(drawn) == [
        "prices",
        "coins",
        "drawdown",
        "volatility_30d",
        "correlation",
        "sentiment",
        "volume",
        "health",
    ]
    assert all(panel.charts or panel.tables for panel in drawn.values())
    assert all(chart.alternative for panel in drawn.values() for chart in panel.charts)


def test_simulated_prices_are_said_to_be_so(warehouse: DuckDBWarehouse, page: str) -> None:
    fill(warehouse, ["bitcoin"], 3, source="coingecko")
    real = page_of(facts_of(warehouse))

    assert "No price, volume or mood on this page is real." in page
    assert "(simulated)" in page
    assert "is real" not in real
    assert "from CoinGecko" in real


def test_the_page_says_of_when_it_is_and_that_time_is_utc(page: str) -> None:
    text = Page(page).text

    assert "Monday, 23 November 2026, 00:00 UTC" in text
    assert "historical 2026-11-22" in text
    assert "All days and times are UTC." in text


def test_numbers_of_the_tables_are_those_of_the_models(
    quarter: Facts, drawn: dict[str, Panel]
) -> None:
    (table,) = drawn["coins"].tables
    bitcoin = next(coin for coin in quarter.coins if coin["coin_id"] == "bitcoin")

    row = dict(zip(table.head, table.rows[0], strict=True))
    assert row["Coin"] == "Bitcoin"
    assert row["Price (USD)"].strip() == f"{bitcoin['close']:,.2f}"
    assert row["7 d"] == percent(bitcoin["return_7d"], signed=True)
    assert row["Drawdown"] == percent(bitcoin["drawdown"])


def test_a_delisted_coin_is_stale_and_not_among_the_current_ones(
    quarter: Facts, drawn: dict[str, Panel]
) -> None:
    assert "coin-20" not in {coin["coin_id"] for coin in quarter.current}
    assert [row["coin_id"] for row in quarter.stale] == ["coin-20"]
    assert "Stale, without a price in 26 hours: Coin-20." in drawn["health"].finding
    assert "and so not here: Coin-20." in drawn["coins"].finding


def test_why_prices_are_missing_is_told_and_escaped(page: str) -> None:
    assert "the API has nothing &lt;there&gt; &amp; says so" in page
    assert "nothing <there>" not in page
    assert "not at the source" in Page(page).text


def test_with_250_coins_the_largest_are_shown_and_the_rest_summed_up(
    warehouse: DuckDBWarehouse,
) -> None:
    fill(warehouse, coin_names(250), 40)
    facts = facts_of(warehouse)
    drawn = {panel.key: panel for panel in panels(facts)}
    (table,) = drawn["coins"].tables

    assert len(table.rows) == 26
    assert table.rows[-1][0] == "225 others (medians; volume together)"
    assert len(drawn["prices"].charts) == 8
    assert len(drawn["correlation"].tables[0].rows) == 10


# Of daily prices alone, a day closes with the next one's open.
@pytest.mark.parametrize("days", [1, 2])
def test_with_one_day_of_data_the_page_says_what_is_missing(
    warehouse: DuckDBWarehouse, days: int
) -> None:
    fill(warehouse, coin_names(3), days)
    text = Page(page_of(facts_of(warehouse))).text

    assert "nothing has moved" in text
    assert "takes 30 daily returns in a row" in text
    assert "No two coins have 20 days" in text
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b", text)


def test_an_empty_warehouse_gives_a_page_that_says_so(warehouse: DuckDBWarehouse) -> None:
    facts = facts_of(warehouse)
    text = Page(page_of(facts)).text

    assert "Nothing was loaded yet" in text
    assert panels(facts) == tiles(facts) == []


def test_a_window_in_which_no_coin_had_a_price_gives_no_nonsense(
    warehouse: DuckDBWarehouse,
) -> None:
    fill(warehouse, coin_names(2), 3, missing=lambda *_: True)
    text = Page(page_of(facts_of(warehouse))).text

    assert "0.00 % of 6 coin-windows" in text
    assert "not known" in text
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b", text)


def test_each_window_keeps_its_report_beside_the_latest(
    quarter: Facts, drawn: dict[str, Panel], page: str, tmp_path: Path
) -> None:
    lake = Lake(raw_root=str(tmp_path / "raw"), transformed_root=str(tmp_path / "transformed"))

    path = write_report(lake, quarter, list(drawn.values()))

    assert path == "market_report/historical/date=2026-11-22/hour=00/market_report.html"
    kept = lake.transformed.read(path)
    assert kept == lake.transformed.read(LATEST) == page.encode()


def test_what_cannot_be_judged_yet_is_not_said_to_be_nothing(warehouse: DuckDBWarehouse) -> None:
    fill(warehouse, ["bitcoin", "ethereum"], 10)

    facts = facts_of(warehouse)

    assert {row["unusual"] for row in facts.days_of_the_market} == {None}
    (volume,) = [tile for tile in tiles(facts) if tile.label.startswith("Volume")]
    assert volume.note == "what is unusual shows after 30 days"


def test_a_coin_whose_prices_end_long_ago_shows_when_they_did(warehouse: DuckDBWarehouse) -> None:
    fill(
        warehouse,
        ["bitcoin", "gone"],
        100,
        missing=lambda coin, day: coin == "gone" and day > 40,
    )

    health = {panel.key: panel for panel in panels(facts_of(warehouse))}["health"]

    (stale,) = [table for table in health.tables if table.caption == "Stale coins"]
    assert stale.rows == [("Gone", f"{NEWEST - timedelta(days=59):%Y-%m-%d %H:%M}")]


def test_bitcoin_without_a_market_cap_is_not_called_absent(warehouse: DuckDBWarehouse) -> None:
    fill(warehouse, ["bitcoin", "ethereum"], 3)
    with warehouse.session(read_only=False) as session:
        session.execute("UPDATE historical_prices SET market_cap = NULL WHERE coin_id = 'bitcoin'")
        session.execute(model_statement("clear_inputs"))
    make_models(warehouse)

    (dominance,) = [
        tile for tile in tiles(facts_of(warehouse)) if tile.label == "Bitcoin dominance"
    ]

    assert dominance.note == "bitcoin has no market cap"


def test_the_metadata_links_the_report_and_has_numbers_and_a_preview(
    quarter: Facts, drawn: dict[str, Panel], tmp_path: Path
) -> None:
    shown = list(drawn.values())
    local = Lake(raw_root="raw", transformed_root=str(tmp_path)).transformed
    bucket = Lake(raw_root="s3://raw", transformed_root="s3://bucket").transformed

    metadata = report_metadata(quarter, shown, local, "a.html")

    assert metadata["report"] == dg.MetadataValue.path(f"{tmp_path}/a.html")
    assert report_metadata(quarter, shown, bucket, "a.html")["report"] == dg.MetadataValue.url(
        "s3://bucket/a.html"
    )
    assert metadata["coins"] == 24
    assert metadata["stale_coins"] == 1
    assert 90 < metadata["complete_percent"] < 100
    preview = metadata["preview"].md_str
    assert "Simulated" in preview
    assert "data:image/svg+xml;base64," in preview
    # It is kept with the event, and loaded with each look at the asset.
    assert len(json.dumps(preview)) < 100_000


def test_the_preview_has_a_sparkline_a_coin(quarter: Facts) -> None:
    rows = sparkline_rows(quarter)

    assert [row["coin"] for row in rows[:2]] == ["Bitcoin", "Ethereum"]
    assert all(re.fullmatch(r"[▁▂▃▄▅▆▇█\xa0]{30}", row["last 30 days"]) for row in rows)


def test_drawing_the_report_takes_little_of_a_run(quarter: Facts) -> None:
    page_of(quarter)
    began = time.process_time()

    page_of(quarter)

    assert time.process_time() - began < 3


def test_loading_the_definitions_loads_no_plotting_library() -> None:
    heavy = "{'matplotlib', 'pandas', 'numpy', 'duckdb'} & set(sys.modules)"
    program = f"import sys, crypto_platform.report.asset; print({heavy} or 'cheap')"

    said = subprocess.check_output([sys.executable, "-c", program], text=True)

    assert said.strip() == "cheap"


def test_the_report_is_made_after_the_models_and_apart_from_the_prices() -> None:
    definitions = build_definitions(Settings.from_environment({}))

    nodes = definitions.resolve_job_def("models_and_report").graph.dependency_structure
    upstream = {up.node_name for up in nodes.all_upstream_outputs_from_node("market_report")}
    assert upstream == {"models"}
    for stream in (HISTORICAL, INTRA_DAY):
        job = definitions.resolve_job_def(stream.name)
        assert {key.path[-1] for key in job.asset_layer.executable_asset_keys} == {
            "tracked_coins",
            "raw_prices",
            "transformed_prices",
            "snowflake_prices",
        }


def test_the_report_follows_models_that_were_made_apart_from_it_and_no_others() -> None:
    definitions = build_definitions(Settings.from_environment({}))
    report = dg.AssetSelection.assets("market_report")

    def requested(cursor: Any) -> tuple[int, Any]:
        evaluated = dg.evaluate_automation_conditions(
            definitions, instance, asset_selection=report, cursor=cursor
        )
        return evaluated.total_requested, evaluated.cursor

    with dg.DagsterInstance.ephemeral() as instance:
        before, cursor = requested(None)
        for model in ("price_moves", "trading_volumes", "market_sentiment"):
            instance.report_runless_asset_event(dg.AssetMaterialization(model))
        apart, cursor = requested(cursor)
        instance.report_runless_asset_event(dg.AssetMaterialization("price_moves"))
        instance.report_runless_asset_event(dg.AssetMaterialization("market_report"))
        together, _ = requested(cursor)

    assert (before, apart, together) == (0, 1, 0)


def test_everything_in_the_ui_is_described() -> None:
    definitions = build_definitions(Settings.from_environment({}))
    graph = definitions.resolve_asset_graph()
    repository = definitions.get_repository_def()
    described: dict[str, str | None] = {
        **{node.key.to_user_string(): node.description for node in graph.asset_nodes},
        **{
            f"{key.asset_key.to_user_string()}:{key.name}": graph.get_check_spec(key).description
            for key in graph.asset_check_keys
        },
        **{job.name: job.description for job in repository.get_all_jobs()},
        **{schedule.name: schedule.description for schedule in repository.schedule_defs},
        **{sensor.name: sensor.description for sensor in repository.sensor_defs},
    }
    described.pop("__ASSET_JOB")

    assert [name for name, text in described.items() if not text or len(text) < 20] == []


numbers = st.one_of(st.none(), st.floats(-1, 1).map(lambda value: round(value, 3)))


@given(st.lists(st.tuples(numbers, numbers), max_size=60))
def test_a_correlation_is_numpys_over_the_days_that_both_have(
    pairs: list[tuple[float | None, float | None]],
) -> None:
    one, other = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]

    found = correlation(one, other)

    if len(known) < 20 or any(len({pair[side] for pair in known}) == 1 for side in (0, 1)):
        assert found is None
    else:
        assert found == pytest.approx(np.corrcoef(np.array(known).T)[0, 1], abs=1e-9)


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False, width=32))))
def test_a_sparkline_of_text_has_a_character_a_value_and_blanks_for_gaps(
    values: list[float | None],
) -> None:
    text = charts.sparkline_text(values)

    if any(value is not None for value in values):
        assert [character == "\N{NO-BREAK SPACE}" for character in text] == [
            value is None for value in values
        ]
    else:
        assert text == ""


def test_a_pegged_price_looks_flat_and_a_moving_one_does_not() -> None:
    assert len(set(charts.sparkline_text([1.0, 1.001, 0.999]))) == 1
    assert set(charts.sparkline_text([1.0, 2.0])) == {"▁", "█"}


@pytest.mark.parametrize("count", [1, 2, 3, 91])
def test_charts_of_any_length_and_with_gaps_are_drawn(count: int) -> None:
    days = [(NEWEST - timedelta(days=day)).date() for day in reversed(range(count))]
    gaps: list[float | None] = [None if day % 3 == 1 else day / 91 for day in range(count)]
    drawn = [
        charts.lines(days, [gaps]),
        charts.bars(days, gaps),
        charts.moods(days, gaps, gaps),
        charts.sparkline(gaps),
        charts.correlation_matrix(["A", "B"], [[1, math.pi / 4], [math.pi / 4, 1]]),
    ]

    for svg in drawn:
        assert svg.startswith("<svg ")
        assert "http" not in svg
        assert "nan" not in svg
    assert (
        len(list(itertools.chain.from_iterable(re.findall("currentColor", s) for s in drawn))) > 4
    )
