"""What a job may name."""

from dataclasses import asdict
from typing import Any, get_args

from fastapi import APIRouter
from pydantic import BaseModel

from api.strict import StrictRoute
from db.datasets import DATASETS
from db.spec import optimizer
from db.spec.job import JobSpec
from models.catalog.names import ARCHITECTURES, NORMS

router = APIRouter(prefix="/v1", tags=["catalog"], route_class=StrictRoute)


class Catalog(BaseModel):
    """Entries by name."""

    data: list[dict[str, Any]]
    next_cursor: None = None


@router.get("/catalog/architectures")
def list_architectures() -> Catalog:
    """Networks, with the norms and positions that they take."""
    return Catalog(data=[asdict(info) for info in ARCHITECTURES.values()])


@router.get("/catalog/norms")
def list_norms() -> Catalog:
    """Normalizations, with their options and sources."""
    return Catalog(data=[asdict(info) for info in NORMS.values()])


@router.get("/catalog/datasets")
def list_datasets() -> Catalog:
    """Data sets, with their shapes and sizes."""
    return Catalog(data=[asdict(info) for info in DATASETS.values()])


@router.get("/catalog/optimizers")
def list_optimizers() -> Catalog:
    """Optimizers by torch's names, with their options and defaults."""
    union, _ = get_args(optimizer.Optimizer)
    return Catalog(data=[_optimizer(part) for part in get_args(union)])


def _optimizer(part: type[BaseModel]) -> dict[str, Any]:
    options = {name: field.default for name, field in part.model_fields.items() if name != "name"}
    return {"name": part.__name__, "summary": (part.__doc__ or "").strip(), "options": options}


@router.get("/schemas/job.json")
def job_schema() -> dict[str, Any]:
    """The JSON schema of the job spec."""
    return JobSpec.model_json_schema()
