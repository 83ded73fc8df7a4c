"""What a job may name."""

from dataclasses import asdict
from typing import Any, get_args

from fastapi import APIRouter
from pydantic import BaseModel

from api import presets
from api.deps import ServiceDep
from api.options import options
from api.strict import StrictRoute
from db.datasets import datasets
from db.spec import optimizer
from db.spec.architectures import union as architecture_parts
from db.spec.job import JobSpec
from db.spec.norms import union as norm_parts
from db.spec.schedulers.union import Scheduler
from models.catalog.registry import architectures, norms

router = APIRouter(prefix="/v1", tags=["catalog"], route_class=StrictRoute)


class Catalog(BaseModel):
    """Entries by name."""

    data: list[dict[str, Any]]
    next_cursor: None = None


@router.get("/catalog/architectures")
def list_architectures() -> Catalog:
    """Networks, with their options and the norms and positions that they take."""
    parts = {part_name(part): part for part in architecture_parts.PARTS}
    return Catalog(data=[_entry(asdict(info), parts[name]) for name, info in architectures().items()])


@router.get("/catalog/norms")
def list_norms() -> Catalog:
    """Normalizations, with their formulas, options, pitfalls and sources, and the networks that take them."""
    parts = {part_name(part): part for part in norm_parts.PARTS}
    takers = {name: [a.name for a in architectures().values() if name in a.norms] for name in norms()}
    return Catalog(
        data=[
            _entry(asdict(info), parts[name]) | {"architectures": takers[name]} for name, info in norms().items()
        ]
    )


@router.get("/catalog/datasets")
def list_datasets() -> Catalog:
    """Data sets, with their tasks, shapes and sizes; `classes` is null in regression."""
    return Catalog(data=[asdict(info) | {"classes": info.classes} for info in datasets().values()])


@router.get("/catalog/optimizers")
def list_optimizers() -> Catalog:
    """Optimizers by torch's names, with their options and defaults."""
    return _of_torch(optimizer.Optimizer, "torch.optim")


@router.get("/catalog/schedulers")
def list_schedulers() -> Catalog:
    """Schedulers of the learning rate by torch's names, with their options and defaults, in optimizer steps."""
    return _of_torch(Scheduler, "torch.optim.lr_scheduler")


@router.get("/catalog/presets")
def list_presets(service: ServiceDep) -> Catalog:
    """Experiments of the literature: what was reported, what to expect, and what each scale costs here."""
    with service.database.read() as session:
        return Catalog(data=presets.entries(session))


def _of_torch(choice: object, module: str) -> Catalog:
    """The parts of a discriminated union, each named and documented as a class of torch's `module`."""
    union, _ = get_args(choice)
    return Catalog(
        data=[
            _entry({"name": part.__name__, "summary": " ".join(part.__doc__.split()), "reference": module}, part)
            for part in get_args(union)
        ]
    )


def part_name(part: type[BaseModel]) -> str:
    """The name by which a spec chooses a part."""
    (name,) = get_args(part.model_fields["name"].annotation)
    return str(name)


def _entry(known: dict[str, Any], part: type[BaseModel]) -> dict[str, Any]:
    return known | {"options": [option.model_dump() for option in options(part, known["reference"])]}


@router.get("/schemas/job.json")
def job_schema() -> dict[str, Any]:
    """The JSON schema of the job spec."""
    return JobSpec.model_json_schema()
