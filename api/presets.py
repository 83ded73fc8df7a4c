"""The presets as clients see them: their story, and what each scale declares and costs."""

from functools import cache
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from db import costs, queue
from db.experiments.arms import expand
from db.experiments.declaration import Declaration
from db.presets.table import PRESETS
from db.spec.job import JobSpec
from db.status import Status
from db.tables import Job

#: Ended jobs that the speed of the machine is taken from.
RECENT = 20


def entries(session: Session) -> list[dict[str, Any]]:
    """All presets, with an estimate for each scale on the machines that have run jobs lately."""
    slots = max(1, queue.counts(session).slots)
    slowness = _slowness(session)
    return [
        {
            "name": preset.name,
            "title": preset.title,
            "source": preset.source,
            "reported": preset.reported,
            "expected": preset.expected,
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


def _slowness(session: Session) -> float:
    """How much longer than estimated the newest jobs took; 1 where none has ended."""
    query = select(Job).where(Job.status == Status.SUCCEEDED, Job.spent_seconds > 0).order_by(Job.id.desc())
    taken, expected = 0.0, 0.0
    for job in session.scalars(query.limit(RECENT)):
        try:
            estimate = costs.seconds(JobSpec.model_validate(job.resolved))
        except ValidationError:  # of an older version
            continue
        taken, expected = taken + job.spent_seconds, expected + estimate
    return taken / expected if expected else 1.0
