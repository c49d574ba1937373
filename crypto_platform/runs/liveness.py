"""Whether the process of a run is gone, and what a run leaves behind that was killed.

Each process that executes a run holds a lock on a file of that run until it ends. The system lets
go of the lock whatever ends the process; unlike a process id, it cannot be another's by then.
"""

from pathlib import Path

import filelock
from dagster import DagsterInstance, DagsterRunStatus

_HELD: dict[str, filelock.BaseFileLock] = {}
"""The locks of this process, by run."""


def mark_alive(instance: DagsterInstance, run_id: str) -> None:
    """Have others see that a run's process lives, until this process ends.

    Not until the run ends: it is recorded as ended a moment after its last step.

    Args:
        instance: Where the run is recorded.
        run_id: The run that this process executes.
    """
    folder = _folder(instance)
    folder.mkdir(parents=True, exist_ok=True)
    if run_id not in _HELD:
        lock = filelock.FileLock(folder / run_id, thread_local=False)
        lock.acquire()
        _HELD[run_id] = lock
    for path in folder.iterdir():
        if _lives(instance, path.name) is False and _has_ended(instance, path.name):
            path.unlink(missing_ok=True)


def is_gone(instance: DagsterInstance, run_id: str) -> bool:
    """Whether a run that is not recorded as ended was ended by the end of its process.

    Args:
        instance: Where the run is recorded.
        run_id: The run.

    Returns:
        False also where nobody can tell, as of a run that has not started its steps.
    """
    # In this order: a process ends after its run.
    return _lives(instance, run_id) is False and not _has_ended(instance, run_id)


def free_slots_of_the_dead(instance: DagsterInstance, pool: str) -> list[str]:
    """Take a pool from those that hold it, or are next in its line, and no longer exist.

    Their runs are recorded as failed, unless they are recorded as ended.

    Args:
        instance: Where pools and runs are recorded.
        pool: The pool.

    Returns:
        The runs whose slots were freed.
    """
    storage = instance.event_log_storage
    info = storage.get_concurrency_info(pool)
    freed = []
    for run_id in sorted(info.active_run_ids | info.pending_run_ids | info.assigned_run_ids):
        # A run that ended holds nothing, unless somebody else recorded its end while it worked on.
        if _lives(instance, run_id) or not (
            _has_ended(instance, run_id) or is_gone(instance, run_id)
        ):
            continue
        record_death(instance, run_id)
        storage.free_concurrency_slots_for_run(run_id)
        freed.append(run_id)
    return freed


def record_death(instance: DagsterInstance, run_id: str) -> None:
    """Record the end of a run whose process is gone, unless its end is recorded.

    Args:
        instance: Where the run is recorded.
        run_id: The run.
    """
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return
    message = (
        f"The process of this run is gone: it was killed, or its machine stopped. What it left "
        f"unfinished counts for nothing; launch it again. (job {run.job_name}, run {run_id})"
    )
    if run.status == DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, message)
    else:
        instance.report_run_failed(run, message)


def _folder(instance: DagsterInstance) -> Path:
    return Path(instance.storage_directory()) / "running"


def _lives(instance: DagsterInstance, run_id: str) -> bool | None:
    """Whether a process holds the run's lock; None where none ever did."""
    if run_id in _HELD:
        return True
    path = _folder(instance) / run_id
    if not path.exists():
        return None
    try:
        with filelock.FileLock(path, timeout=0):
            return False
    except filelock.Timeout:
        return True


def _has_ended(instance: DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is None or run.is_finished
