"""What the doctor looks at in the lake: does this version keep it, or did an earlier one?"""

from functools import partial

from crypto_platform.core.streams import STREAMS
from crypto_platform.doctor.preflight import Preflight, PreflightCheck
from crypto_platform.lake.layers import Layer
from crypto_platform.lake.upgrade import refuse_old_layout


def layout_checks(place: str) -> list[PreflightCheck]:
    """A check a layer, that no earlier version made it.

    Args:
        place: What a layer is called in the names of the profile's checks, ``lake`` or ``bucket``.
    """
    return [
        PreflightCheck(
            f"{name} layout",
            partial(_layout, name),
            "Stop Dagster, run crypto-platform lake upgrade, and start Dagster again.",
            needs=f"{name} {place}",
        )
        for name in ("raw", "transformed")
    ]


def _layout(name: str, preflight: Preflight) -> str:
    layer: Layer = getattr(preflight.lake, name)
    for stream in STREAMS:
        refuse_old_layout(layer, stream)
    return f"{layer.root} has nothing of an earlier version's layout"
