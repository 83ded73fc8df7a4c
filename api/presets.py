"""The presets as clients see them: their story, and what each scale declares and costs."""

from functools import cache
from typing import Any

from sqlalchemy.orm import Session

from db import costs, queue
from db.experiments.arms import expand
from db.experiments.declaration import Declaration
from db.presets.records import EXPECTED_SCALE
from db.presets.table import PRESETS
from db.spec.job import JobSpec


def entries(session: Session) -> list[dict[str, Any]]:
    """All presets, with an estimate for each scale on the machines that have run jobs lately."""
    slots = max(1, queue.counts(session).slots)
    slowness = costs.slowness(session)
    return [
        {
            "name": preset.name,
            "title": preset.title,
            "source": preset.source,
            "reported": preset.reported,
            "expected": preset.expected,
            "expected_scale": EXPECTED_SCALE,
            "scales": {
                scale: declared | {"estimated_seconds": round(declared["cpu_seconds"] * slowness / slots, 1)}
                for scale in preset.scales
                for declared in [_declared(preset.name, scale)]
            },
        }
        for preset in PRESETS.values()
    ]


@cache
def _declared(name: str, scale: str) -> dict[str, Any]:
    """What does not change while the process lives."""
    declaration = Declaration.model_validate({"preset": name, "scale": scale})
    arms = expand(declaration).arms
    each = [JobSpec.model_validate(arm.spec) for arm in arms]
    seeds = len(declaration.seeds)
    return {
        "arms": len(arms),
        "seeds": seeds,
        "cells": len(arms) * seeds,
        "steps": sum(spec.total_steps() for spec in each) * seeds,
        "datasets": sorted({str(spec.dataset.name) for spec in each}),
        "cpu_seconds": round(sum(map(costs.seconds, each)) * seeds, 1),
        "experiment": declaration.model_dump(mode="json", exclude_defaults=True),
    }
