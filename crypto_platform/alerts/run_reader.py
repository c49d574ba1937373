"""What a run did, and what its checks said, read from the run's own events."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    BACKFILL_ID_TAG,
    PARTITION_NAME_TAG,
    WILL_RETRY_TAG,
)
from sqlalchemy.exc import DBAPIError

from crypto_platform.alerts.events import UNPARTITIONED, WITHIN, CheckEvaluated, RunEnded
from crypto_platform.alerts.root_causes import root_cause
from crypto_platform.alerts.schedule_times import in_utc
from crypto_platform.checks.results import FAULTS, PARTITIONS_AT_FAULT, TIME_BASED, WHAT_TO_DO
from crypto_platform.core.run_tags import HEAL_TAG


@dataclass(frozen=True)
class RunReader:
    """Reads the runs of one instance.

    Attributes:
        instance: The instance.
        repository: The code location's definitions, for the partitions of its assets.
    """

    instance: dg.DagsterInstance
    repository: dg.RepositoryDefinition

    def ended(self, run_id: str, entry: dg.EventLogEntry) -> RunEnded | None:
        """What is known of a run that ended; ``None`` where it was deleted since.

        Args:
            run_id: The run.
            entry: The event of its end.
        """
        try:
            return self._read(run_id, entry)
        except DBAPIError:
            # The storage is busy or away; the next tick reads the same events.
            raise
        except Exception as error:  # noqa: BLE001 - one odd run must not silence all after it
            return RunEnded(
                run_id=run_id,
                at=in_utc(entry.timestamp),
                job=entry.job_name or "a job",
                succeeded=entry.dagster_event_type == dg.DagsterEventType.RUN_SUCCESS,
                cause=f"What happened in the run could not be read: {error!r}",
            )

    def _read(self, run_id: str, entry: dg.EventLogEntry) -> RunEnded | None:
        run = self.instance.get_run_by_id(run_id)
        if run is None:
            # Deleted since.
            return None
        succeeded = entry.dagster_event_type == dg.DagsterEventType.RUN_SUCCESS
        steps = (
            []
            if succeeded
            else self.instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        )
        failed_steps = [step.step_key.split("[")[0] for step in steps if step.step_key]
        planned = self.instance.get_asset_keys_for_run(
            run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
        )
        failed_assets = [key for key in planned if self._step(key) in failed_steps]
        materialized = self.instance.get_asset_partitions_for_run(
            run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        done = {
            _name(key): frozenset(partition or UNPARTITIONED for partition in partitions)
            for key, partitions in materialized.items()
            if key not in failed_assets
        }
        wanted = {_name(key): self._partitions(key, run.tags) for key in planned}
        missing = {name: wanted[name] - done.get(name, frozenset()) for name in sorted(wanted)}
        broken = {name: partitions for name, partitions in missing.items() if partitions}
        failed_names = sorted(_name(key) for key in failed_assets)
        other_steps = sorted(set(failed_steps) - {self._step(key) for key in failed_assets})
        return RunEnded(
            run_id=run_id,
            at=in_utc(entry.timestamp),
            job=_job(run.job_name, planned),
            succeeded=succeeded,
            will_retry=run.tags.get(WILL_RETRY_TAG) == "true",
            heals=HEAL_TAG in run.tags,
            root_run=run.root_run_id,
            backfill=run.tags.get(BACKFILL_ID_TAG),
            partitions=frozenset().union(*wanted.values(), _tagged(run.tags)) - {UNPARTITIONED},
            done=done,
            broken={} if succeeded else broken,
            failed=(*failed_names, *(f"op {step}" for step in other_steps)),
            cause=root_cause(entry, steps),
            checks=self._checks(run),
        )

    def _checks(self, run: dg.DagsterRun) -> tuple[CheckEvaluated, ...]:
        """The last evaluation of each check: a step that was retried evaluates it again."""
        entries = self.instance.all_logs(
            run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
        )
        checks = [self.check(entry, run, run.run_id) for entry in entries]
        return tuple({(check.check, check.partitions): check for check in checks}.values())

    def check(
        self, entry: dg.EventLogEntry, run: dg.DagsterRun | None, identity: str
    ) -> CheckEvaluated:
        """What an asset check said.

        Args:
            entry: The event of its evaluation.
            run: The run that it was part of, if of any.
            identity: Tells the evaluation from others of the check.
        """
        found = entry.get_dagster_event().asset_check_evaluation_data
        tags = run.tags if run else {}
        if found.partition:
            partitions = frozenset({found.partition})
        elif TIME_BASED in found.metadata:
            partitions = frozenset({UNPARTITIONED})
        else:
            partitions = self._partitions(found.asset_key, tags)
        name = f"{_name(found.asset_key)}:{found.check_name}"
        what_to_do = found.metadata.get(WHAT_TO_DO)
        return CheckEvaluated(
            identity=f"{name}/{found.partition or ''}/{identity}",
            at=in_utc(entry.timestamp),
            check=name,
            passed=found.passed,
            is_error=found.severity == dg.AssetCheckSeverity.ERROR,
            partitions=partitions,
            at_fault=_at_fault(found.metadata, partitions),
            description=found.description or "",
            what_to_do=str(what_to_do.value) if what_to_do else "",
            run_id=run.run_id if run else None,
            backfill=tags.get(BACKFILL_ID_TAG),
        )

    def _partitions(self, key: dg.AssetKey, tags: Mapping[str, str]) -> frozenset[str]:
        """Those of an asset's partitions that a run is about."""
        tagged = _tagged(tags)
        if not self.repository.asset_graph.has(key):
            return tagged or frozenset({UNPARTITIONED})
        partitions = self.repository.asset_graph.get(key).partitions_def
        if partitions is None or not tagged:
            return frozenset({UNPARTITIONED})
        if PARTITION_NAME_TAG in tags:
            return tagged
        span = dg.PartitionKeyRange(
            tags[ASSET_PARTITION_RANGE_START_TAG], tags[ASSET_PARTITION_RANGE_END_TAG]
        )
        try:
            with dg.partition_loading_context(dynamic_partitions_store=self.instance):
                return frozenset(partitions.get_partition_keys_in_range(span))
        except dg.DagsterError:
            # The partitions were redefined since.
            return tagged

    def _step(self, key: dg.AssetKey) -> str | None:
        definition = self.repository.assets_defs_by_key.get(key)
        return definition.node_def.name if definition else key.to_python_identifier()


def _name(key: dg.AssetKey) -> str:
    return key.to_user_string()


def _job(name: str, assets: Iterable[dg.AssetKey]) -> str:
    # What the UI and backfills start has no job of its own, and a name that nobody knows.
    hidden = name.startswith("__")
    return ", ".join(sorted(map(_name, assets))) or name if hidden else name


def _tagged(tags: Mapping[str, str]) -> frozenset[str]:
    """The partitions that a run's tags name: its one, or the two ends of its range."""
    names = (PARTITION_NAME_TAG, ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG)
    return frozenset(tags[name] for name in names if name in tags)


def _at_fault(
    metadata: Mapping[str, dg.MetadataValue[Any]], partitions: frozenset[str]
) -> frozenset[str]:
    """What a check's metadata names as failed, in terms of the partitions that it looked at."""
    names = _named(metadata, FAULTS)
    if not names:
        return _named(metadata, PARTITIONS_AT_FAULT) & partitions
    if partitions == {UNPARTITIONED}:
        return frozenset(f"{UNPARTITIONED}{WITHIN}{name}" for name in names)
    return names


def _named(metadata: Mapping[str, dg.MetadataValue[Any]], name: str) -> frozenset[str]:
    """The partitions or coins that a check's metadata lists under a name."""
    listed = metadata.get(name)
    if listed is None:
        return frozenset()
    keys = listed.value
    return frozenset(map(str, keys)) if isinstance(keys, list | tuple) else frozenset({str(keys)})
