"""The executor of all jobs: each run is one process, which waits for pools and heeds signals.

Dagster's executor in one process waits for a pool by asking without a pause, hears no signal while
it waits, and waits for ever for a run that was killed.
"""

import os
import time
from collections.abc import Iterator
from typing import Any, cast

import dagster as dg
from dagster._core.definitions.executor_definition import IN_PROC_CONFIG
from dagster._core.errors import DagsterExecutionInterruptedError, raise_execution_interrupts
from dagster._core.events import EngineEventData
from dagster._core.execution.api import ExecuteRunWithPlanIterable
from dagster._core.execution.context.system import PlanExecutionContext, PlanOrchestrationContext
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.execution.plan.execute_plan import inner_plan_execution_iterator
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.in_process import InProcessExecutor
from dagster_shared.error import SerializableErrorInfo

from crypto_platform.runs.liveness import free_slots_of_the_dead, mark_alive

_PAUSE_SECONDS = 1.0


class _Claims(InstanceConcurrencyContext):
    """A run's claims to pools; waiting for them ends on a signal, and costs nothing."""

    def __init__(self, context: PlanExecutionContext) -> None:
        """Of the run of a context."""
        super().__init__(context.instance, context.dagster_run)
        self._log = context.log

    def claim(self, concurrency_key: str, step_key: str, step_priority: int = 0) -> bool:
        """As Dagster's; where another run has the pool, see whether it still exists."""
        if super().claim(concurrency_key, step_key, step_priority):
            return True
        for run_id in free_slots_of_the_dead(self._instance, concurrency_key):
            self._log.warning(
                "Took the pool %s from run %s, whose process is gone.", concurrency_key, run_id
            )
            # Ask again now.
            self._pending_timeouts[step_key] = 0.0
        return False

    def interval_to_next_pending_claim_check(self) -> float:
        """Wait here, where a signal is heard; 0 so that the loop does not wait once more."""
        with raise_execution_interrupts():
            time.sleep(_PAUSE_SECONDS)
        return 0.0


def _execute_steps(
    job_context: PlanExecutionContext, execution_plan: ExecutionPlan
) -> Iterator[dg.DagsterEvent]:
    try:
        with _Claims(job_context) as claims:
            for event in inner_plan_execution_iterator(job_context, execution_plan, claims):
                yield event
                if _was_interrupted(event):
                    raise DagsterExecutionInterruptedError
    finally:
        # Dagster keeps those of a step that was interrupted.
        storage = job_context.instance.event_log_storage
        storage.free_concurrency_slots_for_run(job_context.run_id)


def _was_interrupted(event: dg.DagsterEvent) -> bool:
    """Whether a step is about to be tried again that a signal was to end."""
    if event.event_type != dg.DagsterEventType.STEP_UP_FOR_RETRY:
        return False
    error: SerializableErrorInfo | None = event.step_retry_data.error
    while error is not None:
        if error.cls_name == DagsterExecutionInterruptedError.__name__:
            return True
        error = error.cause
    return False


class OneProcessExecutor(InProcessExecutor):
    """Dagster's executor in one process, but for how it waits."""

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Execute the steps.

        Args:
            plan_context: The run, its job and instance.
            execution_plan: The steps.

        Yields:
            What happens.
        """
        mark_alive(plan_context.instance, plan_context.run_id)
        pid, steps = os.getpid(), execution_plan.step_keys_to_execute
        yield dg.DagsterEvent.engine_event(
            plan_context,
            f"Executing steps in process (pid: {pid})",
            event_specific_data=EngineEventData.in_process(pid, steps),
        )
        yield from ExecuteRunWithPlanIterable(
            execution_plan=plan_context.execution_plan,
            iterator=_execute_steps,
            execution_context_manager=PlanExecutionContextManager(
                job=plan_context.job,
                retry_mode=plan_context.retry_mode,
                execution_plan=plan_context.execution_plan,
                run_config=plan_context.run_config,
                dagster_run=plan_context.dagster_run,
                instance=plan_context.instance,
                raise_on_error=plan_context.raise_on_error,
                output_capture=plan_context.output_capture,
                step_dependency_config=self.step_dependency_config,
            ),
        )


@dg.executor(name="in_process", config_schema=IN_PROC_CONFIG)
def one_process_executor(init_context: dg.InitExecutorContext) -> OneProcessExecutor:
    """The executor by Dagster's name for its own, whose configuration it takes."""
    retries = RetryMode.from_config(cast("dict[str, Any]", init_context.executor_config)["retries"])
    return OneProcessExecutor(retries=retries or RetryMode.ENABLED)
