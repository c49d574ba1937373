"""A process that runs transformation jobs, as AWS Glue does: apart from the run that asks for them.

It starts its engine at once, so that the engine is ready by the time the first job is. Once it has,
and after each job, it writes what came of it to its standard output. Jobs come through its standard
input, whose end is its own. Both are lines of JSON, and in this module alone.
"""

import atexit
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryFile
from typing import IO, cast

from crypto_platform.core.proxies import direct_loopback
from crypto_platform.transformation.spark_engines import Engine, EngineSession, start

_LAST_LINES = 50

# Seconds in which an engine stops; Apache Spark may write its class-data archive then.
_STOPS_WITHIN = 30

# Seconds in which it starts; a busy machine takes a minute for Apache Spark.
_STARTS_WITHIN = 600.0

# Seconds that a job may take, as on Glue: ten years of 250 coins take minutes.
_ENDS_WITHIN = 3 * 3600.0


class SparkProcessError(RuntimeError):
    """The engine did not start, a job failed, or the process ended.

    Attributes:
        log: The last lines of what there is to read about it.
    """

    def __init__(self, message: str, log: str) -> None:
        """See the class."""
        super().__init__(message)
        self.log = "\n".join(log.splitlines()[-_LAST_LINES:])


class SparkProcess:
    """A process that runs jobs one at a time, seen from the process that started it.

    Args:
        engine: See ``LocalTransform``.
        cache_folder: See ``LocalTransform``.
    """

    def __init__(self, engine: Engine, cache_folder: str) -> None:
        """See the class."""
        # No pipe: nobody would read it until there is a response.
        self._messages = TemporaryFile()  # noqa: SIM115 - closed by ``close``
        self._passed_on = 0
        self._process = subprocess.Popen(  # noqa: S603 - this Python, this module
            [sys.executable, "-P", "-m", __name__, engine, cache_folder],
            # It finds the packages where this process does, which may be its folder.
            env={
                **os.environ,
                **direct_loopback(os.environ),
                "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            text=True,
            encoding="utf-8",
            # Control-C is for the process that asks, which then ends this one.
            process_group=0,
        )
        # Popen makes both where it is given PIPE.
        self._requests = cast("IO[str]", self._process.stdin)
        self._responses = cast("IO[str]", self._process.stdout)
        self._one_at_a_time = threading.Lock()
        self._engine: str | None = None
        atexit.register(self.close)

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it can be asked for a job."""
        return self._process.poll() is None

    def engine(self) -> str:
        """The name and version of its engine, in words, once that runs.

        Raises:
            SparkProcessError: It did not start; the message says why and what to do.
        """
        with self._one_at_a_time:
            return self._started()

    def run(self, job: str, argv: Sequence[str]) -> str:
        """Run a job to its end.

        Args:
            job: Its module, which has a ``main`` that takes arguments and a session.
            argv: The job's arguments.

        Returns:
            The name and version of the engine, in words.

        Raises:
            SparkProcessError: It failed; the message says why.
        """
        with self._one_at_a_time:
            self._started()
            return self._response({"job": job, "argv": list(argv)})

    def close(self) -> None:
        """End it, and a job that it is at."""
        atexit.unregister(self.close)
        # It may have ended by itself.
        with suppress(BrokenPipeError):
            self._requests.close()
        self._wait()
        self._responses.close()
        self._messages.close()

    def _started(self) -> str:
        if self._engine is None:
            try:
                self._engine = self._response()
            except SparkProcessError:
                self.close()
                raise
        return self._engine

    def _response(self, request: object = None) -> str:
        within = _STARTS_WITHIN if request is None else _ENDS_WITHIN
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(within, end)
        timer.daemon = True
        timer.start()
        try:
            if request is not None:
                with suppress(BrokenPipeError):
                    self._requests.write(json.dumps(request) + "\n")
                    self._requests.flush()
            line = self._responses.readline()
        except BaseException:
            # Not only errors: Dagster terminates a run by raising an interruption in here.
            self._end()
            raise
        finally:
            timer.cancel()
        if not line:
            raise self._unexpected_end(within if late.is_set() else None)
        said = self._pass_on_what_it_said()
        try:
            response: dict[str, str] = json.loads(line)
        except ValueError:
            self._end()
            raise SparkProcessError(
                f"The process that runs Spark said what is no response: {line.strip()}", said
            ) from None
        if "error" in response:
            raise SparkProcessError(response["error"], said + response["log"])
        return response["engine"]

    def _unexpected_end(self, waited: float | None) -> SparkProcessError:
        code = self._wait()
        said = self._pass_on_what_it_said()
        if waited is not None:
            return SparkProcessError(
                f"The process that runs Spark gave no response within {waited:g} s, and was ended. "
                "Nothing was committed; materialize again.",
                said,
            )
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
        last = (said.strip() or "It said nothing.").splitlines()[-1]
        return SparkProcessError(
            f"The process that runs Spark ended unexpectedly, {how}: {last}", said
        )

    def _wait(self) -> int:
        try:
            return self._process.wait(_STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            return self._end()

    def _end(self) -> int:
        self._process.kill()
        return self._process.wait()

    def _pass_on_what_it_said(self) -> str:
        """Say it here, where Dagster captures it for the log of the step, and return it."""
        file = self._messages.fileno()
        # The place in the file is the other process's, which goes on writing there.
        new = os.pread(file, os.fstat(file).st_size - self._passed_on, self._passed_on)
        self._passed_on += len(new)
        said = new.decode(errors="backslashreplace")
        # A run may have no stream to say it on, or one that nobody reads.
        with suppress(AttributeError, OSError, ValueError):
            sys.stderr.write(said)
        return said


def main(engine: Engine, cache_folder: str) -> None:
    """Be the process: run what is asked for until nobody can ask any more.

    Args:
        engine: See ``LocalTransform``.
        cache_folder: See ``LocalTransform``.
    """
    responses = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    # What an engine prints is no response.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # pyspark 3.5 compares versions with distutils, and leaves sockets to the collector.
    warnings.filterwarnings("ignore", ".*distutils", DeprecationWarning)
    warnings.filterwarnings("ignore", "unclosed <socket", ResourceWarning)

    def response(of: Callable[[], str]) -> bool:
        try:
            said = {"engine": of()}
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
            said = {"error": str(error), "log": traceback.format_exc()}
        requests.done()
        sys.stdout.flush()
        sys.stderr.flush()
        print(json.dumps(said), file=responses, flush=True)
        return "engine" in said

    requests = _Requests()
    sessions: list[EngineSession] = []

    def started() -> str:
        sessions.append(start(engine, Path(cache_folder)))
        # The first query takes longer.
        sessions[0].spark.range(1).count()
        return sessions[0].engine

    if not response(started):
        return
    while (line := requests.next()) is not None:
        asked = json.loads(line)
        response(partial(_run, sessions[0], asked["job"], asked["argv"]))


class _Requests:
    """The lines of standard input; at its end a job that was asked for is of no use to anyone."""

    def __init__(self) -> None:
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._asked_for = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> str | None:
        """The next one, or ``None`` where there will be no more."""
        return self._lines.get()

    def done(self) -> None:
        """The last one has its response."""
        self._asked_for.clear()

    def _read(self) -> None:
        for line in sys.stdin:
            self._asked_for.set()
            self._lines.put(line)
        if self._asked_for.is_set():
            os._exit(1)
        # An engine that is starting ends in an orderly way, as one that waits does.
        self._lines.put(None)


def _run(session: EngineSession, job: str, argv: Sequence[str]) -> str:
    try:
        module = importlib.import_module(job)
        module.main([*argv, "--path_syntax", session.path_syntax], session.spark)
    except Exception as error:
        raise RuntimeError(f"On {session.engine}: {error}") from error
    return session.engine


if __name__ == "__main__":
    main(*sys.argv[1:])  # type: ignore[arg-type]  # LocalTransform has checked the engine
