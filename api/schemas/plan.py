"""What a job would be, as clients see it before they submit it."""

from dataclasses import asdict
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from api.limits import too_large
from db.memory import training_memory
from db.spec.job import JobSpec
from db.spec.lints.base import Severity
from db.spec.warnings import warnings
from models.shapes import layers, sites


class PlanSite(BaseModel):
    """A place where a norm stands, with what it normalizes and how many numbers of each kind it records."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    norm: str
    channels: int
    positions: int
    moments: int
    time_steps: int | None


class PlanWarning(BaseModel):
    """Something that is taken but may not be what was meant; `pointer` is a JSON pointer into the spec."""

    code: str
    pointer: str
    message: str
    severity: Severity = Severity.WARN


class PlanOut(BaseModel):
    """What a job would be. `operations` are pairs of a multiplication and an addition, forward, for one sample.

    `memory_bytes` is an estimate, good to about a factor of 2; a job over `memory_limit_bytes` is refused.
    """

    resolved: dict[str, Any]
    spec_hash: str
    steps: int
    layers: int
    parameters: int
    operations: int
    sites: list[PlanSite]
    memory_bytes: int
    memory_limit_bytes: int
    warnings: list[PlanWarning]

    @classmethod
    def of(cls, spec: JobSpec, memory_limit: int) -> Self:
        """The plan of a spec."""
        blueprint, resolved = spec.blueprint(), spec.resolved()
        steps = layers(blueprint)
        found = [PlanWarning(**asdict(warning)) for warning in warnings(spec)]
        if (wrong := too_large(spec, memory_limit)) is not None:
            found.append(PlanWarning(code=wrong.code, pointer=wrong.pointer, message=wrong.message))
        return cls(
            resolved=resolved.to_json(),
            spec_hash=resolved.digest(),
            steps=resolved.total_steps(),
            layers=len(steps),
            parameters=sum(step.parameters for step in steps),
            operations=sum(step.operations for step in steps),
            sites=[PlanSite.model_validate(site) for site in sites(blueprint)],
            memory_bytes=training_memory(spec).total,
            memory_limit_bytes=memory_limit,
            warnings=found,
        )
