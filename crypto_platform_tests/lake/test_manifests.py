from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from crypto_platform.core.streams import HISTORICAL, INTRA_DAY, Dataset, Stream
from crypto_platform.lake.manifests import Absence, LakeFile, Manifest, MonthManifest

NOW = datetime(2026, 11, 28, 6, 30, tzinfo=UTC)

moments = st.datetimes(datetime(2009, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the strategy adds the zone
names = st.text(min_size=1, max_size=8)
counts = st.integers(0, 10**9)
coins = st.tuples(
    st.sampled_from(["bitcoin", "ethereum", "_", "é 1"]), st.sampled_from(["usd", "eur"])
)
datasets: st.SearchStrategy[Dataset] = st.sampled_from(["prices", "snapshots", "rejected"])


@st.composite
def files(draw: st.DrawFn) -> list[LakeFile]:
    paths = draw(st.lists(names, unique=True, max_size=4))
    return [
        LakeFile(
            dataset=draw(datasets), path=path, rows=draw(counts), bytes=draw(counts), sha256=path
        )
        for path in paths
    ]


@st.composite
def months(draw: st.DrawFn) -> MonthManifest:
    stream: Stream = draw(st.sampled_from([HISTORICAL, INTRA_DAY]))
    there = draw(files())
    absences = draw(
        st.lists(
            st.builds(
                Absence,
                coin_id=st.sampled_from(["bitcoin", "ethereum", "tether"]),
                vs_currency=st.sampled_from(["usd", "eur"]),
                status=st.sampled_from(["missing_at_source", "out_of_plan", "failed"]),
                reason=names,
                run_id=names,
                seen_at=moments,
            ),
            unique_by=lambda absence: (absence.coin_id, absence.vs_currency),
            max_size=3,
        )
    )
    windows = {}
    for place in sorted(draw(st.sets(st.integers(0, 29), max_size=5))):
        window = stream.window_of_index(stream.index_at(datetime(2026, 11, 1, tzinfo=UTC)) + place)
        told = draw(st.lists(st.sampled_from(absences), unique=True) if absences else st.just([]))
        windows[window.start] = Manifest(
            stream=stream.name,
            window=window,
            run_id=draw(names),
            written_at=draw(moments),
            coins=draw(counts),
            points=draw(counts),
            files=tuple(draw(st.lists(st.sampled_from(there), unique=True))) if there else (),
            absent=tuple(sorted(told, key=lambda one: (one.coin_id, one.vs_currency))),
            rejected=draw(counts),
            snapshots=draw(counts),
            present=draw(st.frozensets(coins, max_size=3)),
        )
    return MonthManifest(stream.name, windows, draw(st.dictionaries(names, moments, max_size=3)))


@given(months())
def test_a_month_reads_back_as_it_was_written(month: MonthManifest) -> None:
    assert MonthManifest.from_json(month.to_json()) == month


@given(months(), months())
def test_a_file_is_named_or_replaced_and_none_is_forgotten(
    month: MonthManifest, other: MonthManifest
) -> None:
    changed = [replace(one, stream=month.stream) for one in other.windows.values()]

    after = month.with_windows(changed, NOW)

    named = {file.path for file in after.files()}
    before = {file.path for file in month.files()} | month.replaced.keys()
    assert named.isdisjoint(after.replaced)
    assert before <= named | after.replaced.keys()


def test_how_long_a_file_is_replaced_counts_from_when_it_was_first() -> None:
    month = MonthManifest(HISTORICAL.name, {}, {"old": NOW - timedelta(days=3)})

    assert month.with_windows([], NOW).replaced == {"old": NOW - timedelta(days=3)}
