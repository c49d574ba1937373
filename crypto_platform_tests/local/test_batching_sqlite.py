import sqlite3
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from crypto_platform.assets.metadata import add_partition_metadata
from crypto_platform.local.batching_sqlite import BatchingEventLog
from crypto_platform.local.instance import instance_environment

pytestmark = pytest.mark.integration

DAYS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-08", timezone="UTC")
KEYS = DAYS.get_partition_keys()
SINGLE_RUN = dg.BackfillPolicy.single_run()

OpenInstance = Callable[[str], Any]


with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.BetaWarning)

    @dg.asset(partitions_def=DAYS, backfill_policy=SINGLE_RUN)
    def first(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        for number, key in enumerate(context.partition_keys):
            context.add_asset_metadata({"number": number}, partition_key=key)
        return dg.MaterializeResult(tags={"color": "green"})

    @dg.asset(
        partitions_def=DAYS,
        backfill_policy=SINGLE_RUN,
        deps=[first],
        check_specs=[dg.AssetCheckSpec("fine", asset="second")],
    )
    def second() -> Iterator[dg.MaterializeResult[None]]:
        yield dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])


def backfill(instance: dg.DagsterInstance) -> str:
    """Run both assets over all days as one run; returns its id."""
    both = dg.Definitions([first, second], jobs=[dg.define_asset_job("both")])
    result = both.resolve_job_def("both").execute_in_process(
        instance=instance,
        run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
        tags={
            "dagster/asset_partition_range_start": KEYS[0],
            "dagster/asset_partition_range_end": KEYS[-1],
        },
    )
    return result.run_id


@pytest.fixture
def open_instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenInstance:
    """Open the instance of a folder: ``ours``, or ``plain``, as Dagster makes it by itself."""
    # What opening ours sets for the process ends with the test.
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "5")

    @contextmanager
    def opened(kind: str) -> Iterator[dg.DagsterInstance]:
        folder = Path(instance_environment(tmp_path / kind)["DAGSTER_HOME"])
        if kind == "plain":
            (folder / "dagster.yaml").write_text("telemetry: {enabled: false}")
        monkeypatch.setenv("DAGSTER_HOME", str(folder))
        with dg.DagsterInstance.get() as instance:
            yield instance

    return opened


def stored(database: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


def reported(instance: dg.DagsterInstance) -> dict[str, Any]:
    """All that a run left in the instance, without ids and times."""
    run_id = backfill(instance)
    logs = Path(instance.root_directory) / "history" / "runs"
    events = "SELECT dagster_event_type, step_key, asset_key, partition FROM event_logs"
    return {
        "log": Counter(stored(logs / f"{run_id}.db", events)),
        "index": Counter(stored(logs / "index.db", events)),
        "tags": stored(
            logs / "index.db",
            "SELECT asset_event_tags.asset_key, key, partition FROM asset_event_tags "
            "JOIN event_logs ON event_logs.id = event_id ORDER BY event_id, key",
        ),
        "checks": stored(
            logs / "index.db",
            "SELECT asset_key, check_name, partition, execution_status FROM asset_check_executions",
        ),
        "newest": {
            asset.key: instance.get_latest_materialization_event(
                asset.key
            ).asset_materialization.partition
            for asset in (first, second)
        },
        "partitions": {
            asset.key: instance.get_materialized_partitions(asset.key) for asset in (first, second)
        },
        "numbers": [
            event.asset_materialization.metadata["number"].value
            for event in instance.all_logs(
                run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
            )
            if event.asset_materialization.asset_key == first.key
        ],
    }


def test_a_run_leaves_the_same_records_as_in_dagsters_own_storage(
    open_instance: OpenInstance,
) -> None:
    with open_instance("plain") as plain:
        expected = reported(plain)
    with open_instance("ours") as ours:
        assert isinstance(ours.event_log_storage, BatchingEventLog)
        assert reported(ours) == expected
    assert expected["partitions"][first.key] == set(KEYS)


def test_what_is_said_of_many_partitions_is_what_dagster_records_one_by_one() -> None:
    def said(add: Callable[[dg.AssetExecutionContext], None]) -> dict[Any, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)

            @dg.asset(partitions_def=DAYS, backfill_policy=SINGLE_RUN)
            def numbered(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
                context.add_asset_metadata({"shared": True})
                add(context)
                return dg.MaterializeResult(metadata={"said": "last"})

        with dg.DagsterInstance.ephemeral() as instance:
            ran = dg.materialize(
                [numbered],
                instance=instance,
                tags={
                    "dagster/asset_partition_range_start": KEYS[0],
                    "dagster/asset_partition_range_end": KEYS[-1],
                },
            )
        events = ran.asset_materializations_for_node("numbered")
        return {event.partition: event.metadata for event in events}

    def one_by_one(context: dg.AssetExecutionContext) -> None:
        for number, key in enumerate(context.partition_keys):
            context.add_asset_metadata({"number": number}, partition_key=key)
        context.add_asset_metadata({"more": "of it"}, partition_key=KEYS[0])

    def together(context: dg.AssetExecutionContext) -> None:
        numbers = enumerate(context.partition_keys)
        add_partition_metadata(context, ((key, {"number": number}) for number, key in numbers))
        add_partition_metadata(context, [(KEYS[0], {"more": "of it"})])
        with pytest.raises(ValueError, match="does not materialize the partition 2025-01-01"):
            add_partition_metadata(context, [("2025-01-01", {"number": 0})])

    assert said(together) == said(one_by_one)
    assert len(said(together)) == len(KEYS)


def test_events_of_partitions_are_written_in_batches(
    open_instance: OpenInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE")
    alone: Counter[str] = Counter()
    store_event = BatchingEventLog.store_event

    def counted(self: BatchingEventLog, event: Any) -> None:
        alone[str(event.dagster_event_type)] += 1
        store_event(self, event)

    monkeypatch.setattr(BatchingEventLog, "store_event", counted)

    with open_instance("ours") as instance:
        backfill(instance)

    assert not {name for name in alone if "ASSET_MATERIALIZATION" in name and alone[name] > 1}


def test_a_batch_that_fails_is_stored_event_by_event_and_once(
    open_instance: OpenInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_instance("plain") as plain:
        expected = reported(plain)
    name = "_store_asset_event_tags"
    store_tags = getattr(BatchingEventLog, name)

    def refuse_batches(self: BatchingEventLog, index: Any, events: Any, ids: Any) -> None:
        if len(events) > 1:
            raise sqlite3.OperationalError("database is locked")
        store_tags(self, index, events, ids)

    monkeypatch.setattr(BatchingEventLog, name, refuse_batches)

    with open_instance("ours") as ours:
        assert reported(ours) == expected


def test_a_batch_that_fails_at_its_last_event_leaves_nothing_behind(
    open_instance: OpenInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_instance("plain") as plain:
        expected = reported(plain)
    store_event = BatchingEventLog.store_event
    refusals = iter([True])

    def refuse_once(self: BatchingEventLog, event: Any) -> None:
        store_event(self, event)
        if "CHECK_EVALUATION_PLANNED" in str(event.dagster_event_type) and next(refusals, False):
            raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(BatchingEventLog, "store_event", refuse_once)

    with open_instance("ours") as ours:
        assert reported(ours) == expected
    assert next(refusals, None) is None


def test_many_runs_are_logged_side_by_side(open_instance: OpenInstance) -> None:
    def logged(instance: dg.DagsterInstance, run_id: str) -> int:
        for number in range(5):
            instance.report_engine_event(str(number), job_name="any", run_id=run_id)
        return len(instance.all_logs(run_id))

    runs = [f"run-{number}" for number in range(20)]
    with open_instance("ours") as ours, ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda run_id: logged(ours, run_id), runs))

    assert counts == [5] * 20


def test_every_run_of_a_process_has_a_file_with_the_same_tables_and_its_own_events(
    open_instance: OpenInstance,
) -> None:
    with open_instance("ours") as ours:
        for run_id in ("one", "other"):
            ours.report_engine_event(f"of {run_id}", job_name="any", run_id=run_id)
        logs = Path(ours.root_directory) / "history" / "runs"
        one, other = (
            stored(logs / f"{run_id}.db", "SELECT sql FROM sqlite_master ORDER BY name")
            for run_id in ("one", "other")
        )
        messages = [entry.message for entry in ours.all_logs("other")]

    assert one == other
    assert messages == ["of other"]
    assert not [path for path in logs.iterdir() if path.suffix.lstrip(".").isdecimal()]


def test_an_instance_that_dagster_made_keeps_its_runs(open_instance: OpenInstance) -> None:
    with open_instance("plain") as plain:
        run_id = backfill(plain)
        folder = Path(plain.root_directory)

    instance_environment(folder.parent)
    with dg.DagsterInstance.from_config(str(folder)) as ours:
        assert isinstance(ours.event_log_storage, BatchingEventLog)
        assert ours.get_run_by_id(run_id) is not None
        assert ours.get_materialized_partitions(first.key) == set(KEYS)
