import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

import dagster as dg
import pytest

from crypto_platform.assets.stages import API_POOL
from crypto_platform.core.errors import RETRIES
from crypto_platform.core.settings import Settings, SettingsError
from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, STREAMS, Stream
from crypto_platform.definitions import build_definitions

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions(Settings.from_environment({}))


def test_the_graph_has_the_tracked_coins_three_stages_a_stream_and_the_models(
    definitions: dg.Definitions,
) -> None:
    graph = definitions.resolve_asset_graph()

    parents = {
        node.key.to_user_string(): {parent.to_user_string() for parent in node.parent_keys}
        for node in graph.asset_nodes
    }

    assert parents == {
        "tracked_coins": set(),
        **{f"{stream.name}/raw_prices": {"tracked_coins"} for stream in STREAMS},
        **{
            f"{stream.name}/transformed_prices": {f"{stream.name}/raw_prices"} for stream in STREAMS
        },
        **{
            f"{stream.name}/snowflake_prices": {f"{stream.name}/transformed_prices"}
            for stream in STREAMS
        },
        "fear_and_greed": set(),
        "daily_prices": {"historical/snowflake_prices", "intra_day/snowflake_prices"},
        "price_moves": {"daily_prices", "intra_day/snowflake_prices"},
        "trading_volumes": {"daily_prices"},
        "market_sentiment": {"daily_prices", "price_moves", "fear_and_greed"},
        "market_report": {"price_moves", "trading_volumes", "market_sentiment"},
        "ingestion_ledger": {f"{stream.name}/snowflake_prices" for stream in STREAMS},
    }


def test_all_jobs_load_together_as_a_code_location_loads_them(definitions: dg.Definitions) -> None:
    definitions.get_repository_def().load_all_definitions()


def test_the_stages_of_a_stream_are_a_group(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()

    groups = {node.key.to_user_string(): node.group_name for node in graph.asset_nodes}

    assert (groups["tracked_coins"], groups["ingestion_ledger"]) == ("coins", "health")
    staged = {key: group for key, group in groups.items() if "/" in key}
    assert len(staged) == 3 * len(STREAMS)
    assert all(key.startswith(f"{group}/") for key, group in staged.items())


def test_a_range_of_partitions_is_one_run(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()

    policies = {node.backfill_policy for node in graph.asset_nodes if node.is_partitioned}

    assert policies == {dg.BackfillPolicy.single_run()}


def test_what_asks_the_api_shares_a_pool_and_what_loads_a_table_has_its_own(
    definitions: dg.Definitions,
) -> None:
    graph = definitions.resolve_asset_graph()

    pools = {node.key.to_user_string(): node.pools for node in graph.asset_nodes}

    assert pools["tracked_coins"] == {API_POOL}
    assert pools["historical/raw_prices"] == pools["intra_day/raw_prices"] == {API_POOL}
    assert pools["historical/snowflake_prices"] == {"load_historical_prices"}
    assert pools["intra_day/snowflake_prices"] == {"load_intra_day_prices"}


def test_every_asset_says_what_it_is_for_and_whose_it_is(definitions: dg.Definitions) -> None:
    for node in definitions.resolve_asset_graph().asset_nodes:
        assert node.description
        assert node.owners
        assert node.kinds


@pytest.mark.parametrize(
    ("stream", "tick", "key"),
    [
        (INTRA_DAY, datetime(2026, 11, 22, 18, 10, tzinfo=UTC), "2026-11-22-12:00"),
        (INTRA_DAY, datetime(2026, 11, 22, 0, 10, tzinfo=UTC), "2026-11-21-18:00"),
        # The clock of most of Europe is changed between these two.
        (INTRA_DAY, datetime(2026, 10, 25, 6, 10, tzinfo=UTC), "2026-10-25-00:00"),
        (HISTORICAL, datetime(2026, 11, 22, 0, 45, tzinfo=UTC), "2026-11-21"),
    ],
)
def test_a_schedule_materializes_the_window_that_has_just_closed(
    definitions: dg.Definitions, stream: Stream, tick: datetime, key: str
) -> None:
    schedule = definitions.resolve_schedule_def(f"{stream.name}_schedule")

    with dg.build_schedule_context(scheduled_execution_time=tick) as context:
        request = schedule(context)

    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == key


def test_a_schedule_skips_while_no_window_has_closed(definitions: dg.Definitions) -> None:
    schedule = definitions.resolve_schedule_def("intra_day_schedule")

    with dg.build_schedule_context(
        scheduled_execution_time=datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
    ) as context:
        assert isinstance(schedule(context), dg.SkipReason)


def test_the_six_hourly_schedule_runs_by_default_and_the_daily_one_does_not(
    definitions: dg.Definitions,
) -> None:
    statuses = {
        stream.name: definitions.resolve_schedule_def(f"{stream.name}_schedule").default_status
        for stream in STREAMS
    }

    assert statuses == {
        "historical": dg.DefaultScheduleStatus.STOPPED,
        "intra_day": dg.DefaultScheduleStatus.RUNNING,
    }


LOADING = "from crypto_platform.definitions import defs\ndefs()\n"


@pytest.mark.integration
def test_the_definitions_load_without_secrets_network_or_java(tmp_path: Path) -> None:
    code = (
        "import sys, json\n"
        + LOADING
        + "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )

    # A PATH that has no Java, and an address where nothing answers.
    loaded = subprocess.run(
        [sys.executable, "-W", "error::dagster.BetaWarning", "-c", code],
        env={"PATH": "", "COINGECKO_BASE_URL": "http://127.0.0.1:9", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    dagsters = subprocess.run(
        [sys.executable, "-c", code.replace(LOADING, "import dagster\n")],
        capture_output=True,
        text=True,
        check=True,
    )
    added = set(json.loads(loaded.stdout)) - set(json.loads(dagsters.stdout))
    # What else stands in pyproject.toml takes its time, which only those pay that use it.
    assert added - sys.stdlib_module_names <= {
        "crypto_platform",
        "lambda_function",
        "snowflake_scripts",
    }
    # It is half as much again as all of Dagster, and migrates databases.
    assert "alembic" not in json.loads(loaded.stdout)
    assert list(tmp_path.iterdir()) == []


def test_what_is_loaded_with_the_definitions_is_left_alone_by_the_collector() -> None:
    code = f"import gc\n{LOADING}print(gc.get_freeze_count())"
    frozen = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert int(frozen) > 0


def test_importing_the_package_reads_no_file_but_code(tmp_path: Path) -> None:
    code = """
        import sys
        opened = []
        sys.addaudithook(lambda event, args: event == "open" and opened.append(str(args[0])))
        from crypto_platform import definitions
        print(*[path for path in opened if path.startswith(sys.argv[1])], sep="\\n")
    """

    said = subprocess.run(
        [sys.executable, "-c", dedent(code), str(ROOT)],
        env={"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    ours = [path for path in said.split() if ".venv" not in path]
    # A byte-code cache that is being written has a number behind its name.
    assert [path for path in ours if not path.endswith(".py") and ".pyc" not in path] == []
    assert ours


def test_importing_the_module_builds_nothing(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", "import crypto_platform.definitions"],
        # A profile that cannot be built here: it lacks the login to Snowflake.
        env={"CRYPTO_PROFILE": "aws", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        check=True,
    )


AWS = {
    "CRYPTO_PROFILE": "aws",
    "SNOWFLAKE_ACCOUNT": "organization-account",
    "SNOWFLAKE_USER": "loader",
    "SNOWFLAKE_PRIVATE_KEY_PATH": "/nowhere/key.p8",
}


def test_both_profiles_have_the_same_graph(definitions: dg.Definitions) -> None:
    on_aws = build_definitions(Settings.from_environment(AWS))

    assert (
        on_aws.resolve_asset_graph().get_all_asset_keys()
        == definitions.resolve_asset_graph().get_all_asset_keys()
    )


def test_the_aws_profile_names_what_it_lacks_to_reach_snowflake() -> None:
    with pytest.raises(SettingsError, match="SNOWFLAKE_ACCOUNT"):
        build_definitions(Settings.from_environment({"CRYPTO_PROFILE": "aws"}))


@pytest.mark.integration
def test_a_malformed_variable_stops_the_code_location_with_its_name(tmp_path: Path) -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", LOADING],
        env={**os.environ, "TRACKED_COINS": "top:many", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert loaded.returncode != 0
    assert "TRACKED_COINS='top:many'" in loaded.stderr


def test_every_step_is_tried_again_where_that_may_help(definitions: dg.Definitions) -> None:
    ops = {
        asset.op.name: asset.op.retry_policy
        for asset in definitions.assets or []
        if isinstance(asset, dg.AssetsDefinition)
    }

    assert ops == dict.fromkeys(ops, RETRIES)
    assert f"{HISTORICAL.name}__transformed_prices" in ops
