"""What the doctor looks at in the lake: who made it, and whether its manifests can be read."""

from functools import partial

from crypto_platform.core.streams import STREAMS
from crypto_platform.doctor.preflight import Preflight, PreflightCheck, skip_for_deployment
from crypto_platform.lake.layers import Layer
from crypto_platform.lake.upgrade import refuse_old_layout

_LAYERS = ("raw", "transformed")


def lake_checks(place: str) -> list[PreflightCheck]:
    """Two checks a layer: that no earlier version made it, and that its manifests can be read.

    Args:
        place: What a layer is called in the names of the profile's checks, ``lake`` or ``bucket``.
    """
    layouts = [
        PreflightCheck(
            f"{name} layout",
            partial(_layout, name),
            "Stop Dagster, run crypto-platform lake upgrade, and start Dagster again.",
            needs=f"{name} {place}",
        )
        for name in _LAYERS
    ]
    manifests = [
        PreflightCheck(
            f"{name} manifests",
            partial(_manifests, name),
            "Materialize the asset that the message names: no file of the lake is lost.",
            needs=f"{name} layout",
        )
        for name in _LAYERS
    ]
    return [*layouts, *manifests]


def _layout(name: str, preflight: Preflight) -> str:
    layer: Layer = getattr(preflight.lake, name)
    for stream in STREAMS:
        refuse_old_layout(layer, stream)
    return f"{layer.root} has nothing of an earlier version's layout"


def _manifests(name: str, preflight: Preflight) -> str:
    skip_for_deployment(preflight)
    layer: Layer = getattr(preflight.lake, name)
    months = [(stream, folder) for stream in STREAMS for folder in layer.folders(stream)]
    layer.each(lambda month: layer.month(*month), months)
    return f"{len(months)} month(s) in {layer.root}"
