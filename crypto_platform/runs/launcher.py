"""How the daemon launches runs, and notices that one is gone whose code server is gone too."""

from dagster import DagsterRun
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher

from crypto_platform.runs.liveness import is_gone


class WatchfulRunLauncher(DefaultRunLauncher):
    """Dagster's default launcher, which can also say whether a run's process lives.

    Dagster's monitoring asks that, and records the run as failed.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether ``check_run_worker_health`` can be asked."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether a run's process lives.

        Args:
            run: A run that was started and has not ended.
        """
        if not is_gone(self._instance, run.run_id):
            # Or nobody can tell; the longest time that a run may take holds for it.
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        # Here, since from its end on monitoring waits before it frees them.
        self._instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        return CheckRunHealthResult(
            WorkerStatus.NOT_FOUND, "its process is gone: killed, or its machine stopped"
        )
