"""Raw records that stand at the test of what a job makes of them.

A job takes Apache Spark some seconds whatever it is of, so one runs for all tests of a module: see
``JobRunner.run_apart``.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from crypto_platform.core.streams import HISTORICAL, Stream
from crypto_platform_tests.glue_jobs.jobs import Record, Source

Test = Callable[..., None]


@dataclass(frozen=True)
class Example:
    """What a test is of.

    Attributes:
        records: Makes the raw records, of those of the test's parameters that it names.
        stream: Whose job they are for.
        source: What they are records of.
    """

    records: Callable[..., Sequence[Record]]
    stream: Stream
    source: Source

    def of(self, parameters: Mapping[str, Any]) -> Sequence[Record]:
        """The records of a test with its parameters."""
        return self.records(**{name: parameters[name] for name in self.parameters})

    @property
    def parameters(self) -> Sequence[str]:
        """The names of the test's parameters that the records are made of."""
        return [*inspect.signature(self.records).parameters]


EXAMPLES: dict[Test, Example] = {}
"""By the test that has the fixture ``made``."""


def example(
    records: Sequence[Record] | Callable[..., Sequence[Record]],
    stream: Stream = HISTORICAL,
    source: Source = "prices",
) -> Callable[[Test], Test]:
    """A decorator: the test's fixture ``made`` is what the job makes of these records.

    Args:
        records: The records, or what makes them of the test's parameters.
        stream: See ``Example``.
        source: See ``Example``.
    """

    def add(test: Test) -> Test:
        make = records if callable(records) else lambda: records
        EXAMPLES[test] = Example(make, stream, source)
        # The test itself need not look at them.
        return pytest.mark.usefixtures("made", *EXAMPLES[test].parameters)(test)

    return add
