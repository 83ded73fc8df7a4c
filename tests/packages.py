"""Small packages with entry points, laid out as an installer leaves them."""

from collections.abc import Mapping
from pathlib import Path


def write_package(
    site: Path, name: str, code: str, points: Mapping[str, Mapping[str, str]], version: str = "1.0"
) -> Path:
    """A module `name` and its metadata in the folder `site`; `points` are entry points by group and name."""
    metadata = site / f"{name}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (site / f"{name}.py").write_text(code)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = (
        f"[{group}]\n" + "".join(f"{point} = {target}\n" for point, target in named.items())
        for group, named in points.items()
    )
    (metadata / "entry_points.txt").write_text("\n".join(groups))
    return site
