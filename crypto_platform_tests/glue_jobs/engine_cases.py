"""Small questions to a Spark engine, whose answers show where engines agree and where they part.

A process that runs jobs asks its engine all of them as a job. Run as a script it does so on an
engine of its own, and prints the answers.
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from crypto_platform.transformation.spark_engines import start

Case = Callable[[SparkSession, Path], Any]

CASES: dict[str, Case] = {}

ANSWERS = "answers.json"

NUMBERS = "VALUES (1, 1.5D), (2, double('NaN')), (3, 2.5D), (4, -0.0D), (5, NULL) AS t(k, v)"


def sql(name: str, query: str) -> None:
    """A case that is one query; its answer is the rows, in the order of the query."""
    CASES[name] = lambda spark, _folder: [list(row) for row in spark.sql(query).collect()]


def case(name: str) -> Callable[[Case], Case]:
    """A case that needs more than a query."""

    def add(function: Case) -> Case:
        CASES[name] = function
        return function

    return add


def read_json(kind: str, line: str, shown: str = "v", **options: str) -> Case:
    """A case that reads a line of JSON whose field ``v`` is of a type."""

    def ask(spark: SparkSession, folder: Path) -> Any:
        path = folder / "lines.json"
        path.write_text(line)
        rows = spark.read.schema(f"v {kind}").options(**options).json(str(path))
        return [list(row) for row in rows.selectExpr(shown).collect()]

    return ask


CASES |= {
    "a JSON number as timestamp": read_json("timestamp", '{"v": 1700000000}', "unix_millis(v)"),
    "a JSON text as timestamp": read_json(
        "timestamp", '{"v": "2026-01-01T00:00:00.123Z"}', "unix_millis(v)"
    ),
    "a JSON 1.5 as bigint": read_json("bigint", '{"v": 1.5}'),
    "a JSON 1.0 as bigint": read_json("bigint", '{"v": 1.0}'),
    "a JSON 1 as double": read_json("double", '{"v": 1}'),
    "a JSON text as double": read_json("double", '{"v": "1.5"}'),
    "a broken JSON line, PERMISSIVE": read_json("double", '{"v": 1', mode="PERMISSIVE"),
    "a broken JSON line, DROPMALFORMED": read_json("double", '{"v": 1', mode="DROPMALFORMED"),
    "a broken JSON line, FAILFAST": read_json("double", '{"v": 1', mode="FAILFAST"),
}

sql("timestamp_seconds of a fraction", "SELECT unix_millis(timestamp_seconds(1.5D))")
sql(
    "timestamp_millis",
    "SELECT unix_millis(timestamp_millis(1500L)), unix_millis(timestamp_millis(-1L))",
)
sql("text of a timestamp", "SELECT string(timestamp_millis(1500L))")
sql("unix_millis", "SELECT unix_millis(timestamp '1969-12-31 23:59:59.999Z')")
sql(
    "text of doubles",
    "SELECT string(1e7D), string(1.5e-5D), string(123456789.125D), string(1e20D)",
)
sql("round of a half", "SELECT round(2.5D), round(-2.5D), round(1.005D, 2), round(0.285D, 2)")
sql("bround of a half", "SELECT bround(2.5D), bround(-2.5D), bround(1.005D, 2)")
sql("floor and ceil", "SELECT floor(-1.5D), ceil(-1.5D), floor(1e15D + 0.5D)")
sql("pmod", "SELECT pmod(-7L, 3L), pmod(7L, 3L), pmod(-0.5D, 3D)")
sql("abs", "SELECT abs(-1.5D), abs(-0.0D), abs(CAST(NULL AS DOUBLE))")
sql(
    "percentile_approx",
    "SELECT percentile_approx(v, 0.5), percentile_approx(v, 0.9), percentile_approx(v, 0.25) "
    "FROM VALUES (1D), (2D), (3D), (10D), (20D), (100D) AS t(v)",
)
sql("percentile", "SELECT percentile(v, 0.5) FROM VALUES (1D), (2D), (3D), (10D) AS t(v)")
sql(
    "count distinct beside count",
    "SELECT count(DISTINCT v), count(*) FROM VALUES (0.0D), (-0.0D) AS t(v)",
)
sql("count distinct alone", "SELECT count(DISTINCT v) FROM VALUES (0.0D), (-0.0D) AS t(v)")
sql("max and min with a NaN", f"SELECT max(v), min(v) FROM {NUMBERS}")
sql(
    "a moving sum after a NaN",
    "SELECT k, sum(v) OVER (ORDER BY k ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) "
    "FROM VALUES (1, 1D), (2, double('NaN')), (3, 1D), (4, 1D) AS t(k, v) ORDER BY k",
)
sql(
    "a moving sum after a large value",
    "SELECT k, sum(v) OVER (ORDER BY k ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) "
    "FROM VALUES (1, 1e17D), (2, 1D), (3, 1D), (4, 1D) AS t(k, v) ORDER BY k",
)
sql(
    "a moving avg after a large value",
    "SELECT k, avg(v) OVER (ORDER BY k ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) "
    "FROM VALUES (1, 1e17D), (2, 1D), (3, 1D), (4, 1D) AS t(k, v) ORDER BY k",
)
sql(
    "a moving max of whole numbers",
    "SELECT k, max(v) OVER (ORDER BY k RANGE BETWEEN 1 PRECEDING AND 1 FOLLOWING) "
    "FROM VALUES (1, 1), (2, 3), (3, 2), (5, 1), (9, NULL) AS t(k, v) ORDER BY k",
)
sql(
    "lag and row_number",
    "SELECT k, lag(v) OVER (ORDER BY k), row_number() OVER (ORDER BY v DESC NULLS LAST, k) "
    f"FROM {NUMBERS} ORDER BY k",
)
sql("order of a NaN, a null and a negative zero", f"SELECT k FROM {NUMBERS} ORDER BY v, k")
sql("equality of NaN and of zeros", "SELECT double('NaN') = double('NaN'), 0.0D = -0.0D")
sql("comparison with a NaN", "SELECT double('NaN') > double('inf'), double('NaN') < 1D")
sql("groups of zeros", "SELECT count(*) FROM VALUES (0.0D), (-0.0D) AS t(v) GROUP BY v")
sql("division by zero", "SELECT 1D / 0D")
sql("text that is no number", "SELECT CAST('a' AS DOUBLE)")
sql("text as double", "SELECT CAST('1.5' AS DOUBLE), CAST(' 1e3 ' AS DOUBLE)")
sql("try_cast of text", "SELECT try_cast('a' AS DOUBLE), try_cast('1e3' AS DOUBLE)")
sql(
    "try_to_timestamp",
    "SELECT unix_millis(try_to_timestamp('a')), "
    "unix_millis(try_to_timestamp('2026-01-01T00:00:00.123Z'))",
)
sql(
    "get_json_object",
    """SELECT get_json_object('{"a": "1.50"}', '$.a'), get_json_object('{"a": null}', '$.a'),
       get_json_object('{"a": true}', '$.a'), get_json_object('{"a": []}', '$.a')""",
)
sql("get_json_object of a number", """SELECT get_json_object('{"a": 1.50}', '$.a')""")
sql(
    "get_json_object of a number, as double",
    """SELECT CAST(get_json_object('{"a": 1.50}', '$.a') AS DOUBLE),
       CAST(get_json_object('{"a": 1e5}', '$.a') AS DOUBLE),
       CAST(get_json_object('{"a": 0.30000000000000004}', '$.a') AS DOUBLE)""",
)
sql("a larger number as integer", "SELECT CAST(1.9D AS INT), CAST(-1.9D AS INT)")
sql(
    "array functions",
    "SELECT get(array(1, 2), 0), get(array(1, 2), 5), array_max(array(1, NULL, 3)), "
    "size(array(1, 2)), filter(array(1, NULL, 3), x -> x IS NOT NULL), "
    "transform(array(1, 2), (x, i) -> x + i), coalesce(NULL, 1)",
)
sql("size of a null array", "SELECT size(CAST(NULL AS ARRAY<INT>))")
sql(
    "arrays_zip of arrays of other lengths",
    "SELECT place, z.a, z.b FROM (SELECT posexplode(arrays_zip(a, b)) AS (place, z) "
    "FROM (SELECT array(1, 2) AS a, array(3) AS b)) ORDER BY place",
)
sql(
    "explode",
    "SELECT k, e FROM (SELECT k, explode(v) AS e FROM VALUES (1, array(1, 2)), (2, array()) "
    "AS t(k, v)) ORDER BY k, e",
)
sql(
    "sort_array of collected structs",
    "SELECT transform(sort_array(collect_list(struct(v, k)), false), s -> s.k) "
    "FROM VALUES (1, 1.5D), (2, NULL), (3, 2.5D), (4, double('NaN')) AS t(k, v)",
)
sql(
    "concat and substring",
    "SELECT concat('1', 'daily'), substring('1daily', 2, 1000), concat('a', NULL)",
)
sql(
    "length",
    "SELECT length('1.5'), length('ä\U0001f600'), length(''), length(CAST(NULL AS STRING))",
)
sql(
    "rlike",
    r"SELECT '1.5e3' RLIKE '^-?[0-9]+([.][0-9]+)?(e[0-9]+)?$', 'a1' RLIKE '[0-9]', "
    "CAST(NULL AS STRING) RLIKE 'a'",
)
sql("if and when", "SELECT IF(NULL, 1, 2), CASE WHEN 1 > 2 THEN 1 END")


@case("a union of int and double")
def _(spark: SparkSession, _folder: Path) -> Any:
    rows = spark.sql("SELECT 1 AS v UNION ALL SELECT 1.5D").collect()
    return sorted(row[0] for row in rows)


@case("a DataFrame union of int and double")
def _(spark: SparkSession, _folder: Path) -> Any:
    joined = spark.sql("SELECT 1 AS v").union(spark.sql("SELECT 1.5D AS v"))
    values = sorted(row[0] for row in joined.collect())
    return [joined.schema["v"].dataType.simpleString(), values]


@case("a missing file")
def _(spark: SparkSession, folder: Path) -> Any:
    return int(spark.read.schema("v double").json(str(folder / "nowhere.json")).count())


@case("a frame without rows, written")
def _(spark: SparkSession, folder: Path) -> Any:
    target = folder / "empty"
    spark.sql("SELECT 1 AS v WHERE false").write.parquet(str(target))
    return target.exists()


@case("a null partition value")
def _(spark: SparkSession, folder: Path) -> Any:
    target = folder / "partitioned"
    rows = spark.sql("SELECT * FROM VALUES (1, 'a'), (2, NULL) AS t(v, p)")
    rows.write.partitionBy("p").parquet(str(target))
    return sorted(path.name for path in target.iterdir() if path.is_dir())


@case("an overwrite of one partition")
def _(spark: SparkSession, folder: Path) -> Any:
    target = folder / "overwritten"
    rows = spark.sql("SELECT * FROM VALUES (1, 'a'), (2, 'b') AS t(v, p)")
    rows.write.partitionBy("p").parquet(str(target))
    rows.where("p = 'a'").write.mode("overwrite").partitionBy("p").parquet(str(target))
    return sorted(path.name for path in target.iterdir() if path.is_dir())


@case("a NaN beside Parquet's statistics")
def _(spark: SparkSession, folder: Path) -> Any:
    path = str(folder / "nan.parquet")
    pq.write_table(pa.table({"v": [1.0, float("nan"), 2.0]}), path)
    return int(spark.read.parquet(path).where("v > 5").count())


@case("input_file_name")
def _(spark: SparkSession, folder: Path) -> Any:
    path = str(folder / "named.parquet")
    pq.write_table(pa.table({"v": [1.0]}), path)
    named = spark.read.parquet(path).selectExpr("input_file_name() AS name")
    return named.collect()[0]["name"].endswith("named.parquet")


SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    # As on Glue 5.1; Spark 4 has another default.
    "spark.sql.ansi.enabled": "false",
    "spark.sql.sources.partitionOverwriteMode": "dynamic",
}


def main(argv: Sequence[str], spark: SparkSession) -> None:
    """Write the engine's answer to every case into a file of the folder, as text or ``error``."""
    folder = Path(argv[0])
    for setting, value in SETTINGS.items():
        spark.conf.set(setting, value)
    answers = {}
    for place, (name, ask) in enumerate(CASES.items()):
        own = folder / str(place)
        own.mkdir()
        try:
            answers[name] = repr(ask(spark, own))
        except Exception as error:  # noqa: BLE001 - that it is refused is an answer
            answers[name] = "error"
            sys.stderr.write(f"{name}: {str(error).splitlines()[0][:200]}\n")
    for setting in SETTINGS:
        spark.conf.unset(setting)
    (folder / ANSWERS).write_text(json.dumps(answers))


if __name__ == "__main__":
    _folder = Path(sys.argv[2])
    main([str(_folder)], start(sys.argv[1], _folder / "cache").spark)  # type: ignore[arg-type]
    print((_folder / ANSWERS).read_text())  # noqa: T201 - the answer
