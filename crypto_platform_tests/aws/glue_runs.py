"""What runs the job runs of moto's Glue, which by itself reports success for any script.

The script and its library are fetched from where the job says they are, and run as Glue runs them,
as a program with arguments, on Sail, which reads and writes the account's buckets.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from moto.glue.models import FakeJob, FakeJobRun
from moto.glue.responses import GlueResponse

from crypto_platform_tests.aws.account import client
from crypto_platform_tests.aws.permissions import credentials_of

LOG_GROUP = "/crypto/glue/output"
ON_SAIL = """
import os, runpy, sys
from pysail.spark import SparkConnectServer
server = SparkConnectServer("127.0.0.1", 0)
server.start(background=True)
os.environ["SPARK_REMOTE"] = "sc://{}:{}".format(*server.listening_address)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
ENDED_WELL = 0

start_in_moto = FakeJob.start_job_run
describe_in_moto = FakeJobRun.as_dict


@dataclass
class GlueRuns:
    """The job runs of an account.

    Attributes:
        scripted: How job runs end that are not really run: a state and a message.
        reported: How job runs are said to have ended that really ended well.
        started: Arguments of each job run.
        stopped: Ids of the job runs that were stopped.
    """

    folder: Path
    scripted: tuple[str, str] | None = None
    reported: tuple[str, str] | None = None
    started: list[dict[str, str]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, job: FakeJob, **options: Any) -> str:
        """Takes the place of moto's ``FakeJob.start_job_run``."""
        run_id = start_in_moto(job, **options)
        run = job.job_runs[-1]
        run._transitions = []  # noqa: SLF001 - moto moves a state on by itself otherwise
        run.status = "RUNNING"
        self.started.append(run.arguments or {})
        if self.scripted is None:
            self._processes[run_id] = self._run(job, run_id, run.arguments or {})
        return run_id

    def describe(self, run: FakeJobRun) -> dict[str, Any]:
        """Takes the place of moto's ``FakeJobRun.as_dict``."""
        run.status, message = self._state(run.job_run_id)
        described = describe_in_moto(run)
        return {
            **described,
            "GlueVersion": "5.1",
            "DPUSeconds": 180.0,
            **({"ErrorMessage": message} if message else {}),
        }

    def stop(self, run_id: str) -> None:
        self.stopped.append(run_id)
        if run_id in self._processes:
            self._processes[run_id].kill()
            self._processes[run_id].wait()

    def end_all(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()

    def _state(self, run_id: str) -> tuple[str, str]:
        if self.scripted is not None:
            return self.scripted
        if run_id in self.stopped:
            return "STOPPED", ""
        status = self._processes[run_id].poll()
        if status is None:
            return "RUNNING", ""
        if status == ENDED_WELL:
            return self.reported or ("SUCCEEDED", "")
        lines = self._output(run_id).read_text().splitlines()
        self._log(run_id, lines)
        return "FAILED", lines[-1]

    def _run(
        self, job: FakeJob, run_id: str, arguments: dict[str, str]
    ) -> "subprocess.Popen[bytes]":
        folder = self.folder / run_id
        folder.mkdir(parents=True)
        script = self._fetch(job.command["ScriptLocation"], folder)
        library = self._fetch(arguments["--extra-py-files"], folder)
        argv = [text for argument in arguments.items() for text in argument]
        launch = f"import sys; sys.path.insert(0, sys.argv.pop(1)); exec({ON_SAIL!r})"
        with self._output(run_id).open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-c", launch, str(library), str(script), *argv],
                cwd=folder,
                env={**os.environ, **credentials_of(job.role), "RUST_LOG": "off"},
                stdout=output,
                stderr=output,
            )

    def _fetch(self, uri: str, folder: Path) -> Path:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        path = folder / Path(key).name
        path.write_bytes(client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
        return path

    def _output(self, run_id: str) -> Path:
        return self.folder / f"{run_id}.txt"

    def _log(self, run_id: str, lines: list[str]) -> None:
        logs = client("logs")
        stream = {"logGroupName": LOG_GROUP, "logStreamName": f"{run_id}-driver"}
        logs.create_log_group(logGroupName=LOG_GROUP)
        logs.create_log_stream(**stream)
        now = int(time.time() * 1000)
        logs.put_log_events(
            **stream, logEvents=[{"timestamp": now, "message": line or " "} for line in lines]
        )


@contextmanager
def running_jobs(folder: Path) -> Iterator[GlueRuns]:
    """While this lasts, the scripts of moto's Glue jobs really run."""
    runs = GlueRuns(folder)

    def start(self: FakeJob, **options: Any) -> str:
        return runs.start(self, **options)

    def describe(self: FakeJobRun) -> dict[str, Any]:
        return runs.describe(self)

    def stop(self: GlueResponse) -> str:
        for run_id in self.parameters["JobRunIds"]:
            runs.stop(run_id)
        return json.dumps({"SuccessfulSubmissions": [], "Errors": []})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeJob, "start_job_run", start)
        patch.setattr(FakeJobRun, "as_dict", describe)
        # moto has no BatchStopJobRun.
        patch.setattr(GlueResponse, "batch_stop_job_run", stop, raising=False)
        try:
            yield runs
        finally:
            runs.end_all()
