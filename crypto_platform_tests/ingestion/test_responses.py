"""The responses of several invocations put together."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from crypto_platform.ingestion.responses import (
    AbsentWindows,
    PricesResponse,
    WrittenObject,
    merge_responses,
)

AT = datetime(2026, 11, 28, tzinfo=UTC)


def response(name: str, window_points: list[int], missing: list[int]) -> PricesResponse:
    """A response that has one object of the windows that have points."""
    filled = tuple((n, n) for n, points in enumerate(window_points) if points)
    absent = AbsentWindows(
        coin_id=name,
        status="failed",
        reason="It failed.",
        windows=tuple((n, n) for n in missing),
    )
    written = WrittenObject(
        uri=name, rows=1, points=sum(window_points), bytes=1, sha256="", windows=filled
    )
    return PricesResponse(
        objects=(written,),
        window_points=tuple(window_points),
        absent=(absent,),
        rejected=(f"{name}/rejected",),
        calls=2,
        credits=1,
        source="coingecko",
        fetched_at=AT,
    )


def test_continuations_of_an_event_add_up_and_further_events_follow() -> None:
    parts = [
        (0, response("first", [1, 0], [1])),
        (0, response("continued", [2, 3], [])),
        (2, response("further", [0, 4], [0])),
    ]

    merged = merge_responses(parts)

    assert merged.window_points == (3, 3, 0, 4)
    assert [(one.uri, one.windows) for one in merged.objects] == [
        ("first", ((0, 0),)),
        ("continued", ((0, 0), (1, 1))),
        ("further", ((3, 3),)),
    ]
    assert [(one.coin_id, one.windows) for one in merged.absent] == [
        ("first", ((1, 1),)),
        ("continued", ()),
        ("further", ((2, 2),)),
    ]
    assert merged.rejected == ("first/rejected", "continued/rejected", "further/rejected")
    assert (merged.calls, merged.credits) == (6, 3)


# The windows of some events, each with the points of its invocations.
events = st.lists(
    st.integers(1, 5).flatmap(
        lambda windows: st.lists(
            st.lists(st.integers(0, 9), min_size=windows, max_size=windows), min_size=1, max_size=3
        )
    ),
    min_size=1,
    max_size=4,
)


@given(asked=events)
def test_no_point_is_lost_and_each_object_names_the_windows_that_it_did(
    asked: list[list[list[int]]],
) -> None:
    parts: list[tuple[int, PricesResponse]] = []
    first = 0
    for invocations in asked:
        parts += [(first, response(f"from {first}", points, [])) for points in invocations]
        first += len(invocations[0])

    merged = merge_responses(parts)

    assert len(merged.window_points) == first
    assert sum(merged.window_points) == sum(one.points for one in merged.objects)
    for (shift, part), written in zip(parts, merged.objects, strict=True):
        assert [index - shift for index, _ in written.windows] == [
            index for index, points in enumerate(part.window_points) if points
        ]
