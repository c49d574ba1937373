"""What docs/engines.md says of Spark engines: each row is asked anew, and the jobs keep to it."""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest
from pyspark.sql import Column, functions

from crypto_platform.transformation.local import process
from crypto_platform.transformation.spark_engines import Engine
from crypto_platform_tests.glue_jobs import engine_cases
from crypto_platform_tests.glue_jobs.engine_cases import CASES
from glue_jobs.job import PRICES, SNAPSHOTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "engines.md").read_text()
LOOK_AGAIN = (
    "A version of an engine has moved: look whether docs/engines.md still holds, whose questions "
    "these tests ask anew, then state the new version there."
)

# What says nothing of values.
_STRUCTURAL = {"alias", "asc", "desc", "broadcast", "col", "expr", "lit", "window"}
_PLAIN_METHODS = {
    *("alias", "asc_nulls_last", "cast", "desc_nulls_last", "eqNullSafe", "isNotNull", "isNull"),
    *("isin", "otherwise", "over"),
}

# What is made text, where no double or time becomes text by it.
_TEXTS = {"_rank('granularity').cast('string')": "a whole number"}
_UNIONS = {"one.union(other)": "each is selected by the output's schema"}


class Part(NamedTuple):
    """A question to which the engines have different answers."""

    sail: str
    spark: str


def rows_of(heading: str) -> dict[str, list[str]]:
    """The rows of the table below a heading of the page, by their first column."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first: others for first, *others in cells}


AGREED, PARTED = rows_of("Where they agree"), rows_of("Where they part")
ANSWERS: Mapping[str, Part] = {
    **{name: Part(row[0].strip("`"), row[0].strip("`")) for name, row in AGREED.items()},
    **{name: Part(row[0].strip("`"), row[1].strip("`")) for name, row in PARTED.items()},
}
ALLOWED = {name for row in AGREED.values() for name in re.findall(r"`(\w+)`", row[1])}


@pytest.fixture(scope="module")
def answers(
    engine: Engine, cache_folder: str, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, str]:
    """What an engine says now."""
    folder = tmp_path_factory.mktemp("cases")
    process(engine, cache_folder).run(engine_cases.__name__, [str(folder)])
    said: dict[str, str] = json.loads((folder / engine_cases.ANSWERS).read_text())
    return said


@pytest.mark.integration
@pytest.mark.parametrize("name", CASES)
def test_an_engine_answers_as_the_page_says(
    name: str, engine: Engine, answers: Mapping[str, str]
) -> None:
    assert answers[name] == getattr(ANSWERS[name], engine), LOOK_AGAIN


def test_the_page_has_a_row_for_each_question_and_a_question_for_each_row() -> None:
    assert not AGREED.keys() & PARTED.keys()
    assert ANSWERS.keys() == CASES.keys()
    assert all(row[0] != row[1] for row in PARTED.values())


def test_the_page_states_the_versions_that_are_pinned() -> None:
    pinned = re.findall(r'"pyspark==([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    next_one = re.findall(
        r"pyspark==([\d.]+)", (ROOT / ".github" / "workflows" / "test.yml").read_text()
    )
    stated = re.findall(r"\*\*(?:Sail|Apache Spark) ([\d.]+)\*\*", PAGE)
    assert stated == [version("pysail"), *pinned, *next_one], LOOK_AGAIN
    assert version("pyspark") in stated, LOOK_AGAIN


# The guard


@cache
def sources() -> Mapping[str, ast.Module]:
    files = sorted((ROOT / "glue_jobs").glob("*.py"))
    return {file.name: ast.parse(file.read_text()) for file in files}


def nodes() -> Iterator[ast.AST]:
    for tree in sources().values():
        yield from ast.walk(tree)


def called(*names: str) -> list[ast.Call]:
    """The calls of methods of some names."""
    return [
        node
        for node in nodes()
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in names
    ]


def used_functions() -> set[str]:
    """Functions of Spark that the jobs use: of its module, of columns, and within SQL texts."""
    from_module = {
        node.attr
        for node in nodes()
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "sf"
    }
    methods = {
        node.func.attr
        for node in nodes()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    of_columns = {name for name in dir(Column) if not name.startswith("_")} - _PLAIN_METHODS
    texts = (node.value for node in nodes() if isinstance(node, ast.Constant))
    in_sql = {
        name.lower()
        for text in texts
        if isinstance(text, str)
        for name in re.findall(r"\b([A-Za-z_]\w*)\(", text)
        if name.lower() in dir(functions) or name.lower() == "if"
    }
    return (from_module | in_sql | (methods & of_columns)) - _STRUCTURAL


def test_the_jobs_use_no_function_but_those_on_which_the_engines_agree() -> None:
    assert used_functions() - ALLOWED == set(), (
        "A job uses a function that docs/engines.md does not have among those on which the engines "
        "agree: add a question to engine_cases.py, run it on all of them, and give it a row."
    )


def test_the_guard_sees_functions_of_every_kind() -> None:
    assert {"pmod", "array_max", "rlike", "if", "when"} <= used_functions()


def test_only_max_and_min_look_at_a_frame() -> None:
    framed = [ast.unparse(call) for call in called("over") if "Between(" in ast.unparse(call)]
    assert framed
    assert all(re.match(r"sf\.(max|min)\(", text) for text in framed)


def test_what_is_made_text_is_neither_a_double_nor_a_time() -> None:
    texts = {ast.unparse(call) for call in called("cast") if "string" in ast.unparse(call).lower()}
    assert texts == _TEXTS.keys()


def test_every_union_is_of_one_schema() -> None:
    unions = called("union", "unionAll", "unionByName")
    assert {ast.unparse(call) for call in unions} == _UNIONS.keys()


def test_raw_files_are_read_without_whole_numbers_and_no_broken_line_passes() -> None:
    schemas = [output.raw_schema for output in (PRICES, SNAPSHOTS)]
    whole = r"\b(tinyint|smallint|int|integer|bigint|long)\b"
    assert [schema for schema in schemas if re.search(whole, str(schema))] == []
    modes = {ast.unparse(call.args[1]) for call in called("option") if len(call.args) > 1}
    assert modes == {"'FAILFAST'"}


def test_files_are_appended_to_folders_that_are_never_named_by_null() -> None:
    [write] = [text for text in map(ast.unparse, called("partitionBy")) if ".write." in text]
    assert ".write.mode('append').partitionBy(*PLACE)" in write
