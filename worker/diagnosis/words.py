"""Numbers and names as a finding says them."""

from collections.abc import Sequence

#: Names that are said before the rest is only counted.
NAMED = 4


def percent(share: float) -> str:
    """A share in percent, to a tenth where that says more."""
    return f"{100 * share:.1f} %" if abs(share) < 0.1 else f"{100 * share:.0f} %"


def number(value: float) -> str:
    """Three digits."""
    return f"{value:.3g}"


def listed(names: Sequence[str]) -> str:
    """`norm1`, `norm1 and norm2`, `norm1, norm2, norm3, norm4 and 12 more`."""
    said = list(names[:NAMED])
    if len(names) > NAMED:
        said.append(f"{len(names) - NAMED} more")
    *first, last = said
    return f"{', '.join(first)} and {last}" if first else last


def at(names: Sequence[str]) -> str:
    """Where: `site norm1`, `sites norm1 and norm2`."""
    return f"site{'s' if len(names) > 1 else ''} {listed(names)}"
