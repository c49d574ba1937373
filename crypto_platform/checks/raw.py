"""Whether the raw lake holds or explains all that was asked for."""

from collections.abc import Iterable, Sequence

from crypto_platform.checks.definitions import COINS, WARN, Finding
from crypto_platform.core.streams import Stream
from crypto_platform.lake.manifests import Manifest


def evaluate_raw(
    stream: Stream, manifests: Iterable[Manifest], coins: Sequence[str]
) -> list[Finding]:
    """Whether every coin that was asked for is in the raw lake or explained.

    Args:
        stream: The stream of the windows.
        manifests: What the raw lake now holds, one a window.
        coins: The coins that were asked for.
    """
    findings = []
    for manifest in manifests:
        partition = stream.partition_key(manifest.window)
        explained = manifest.coins + len(manifest.absent)
        if explained < len(coins):
            fault = f"{len(coins)} coins were asked for, {explained} are here or explained"
            findings.append(Finding(COINS, partition, None, fault))
        findings += [
            Finding(COINS, partition, absence.coin_id, f"failed: {absence.reason}", WARN)
            for absence in manifest.absent
            if absence.status == "failed"
        ]
    return findings
