"""What a job's record says about its normalization."""

from fastapi import APIRouter, Response
from pydantic import ValidationError
from pydantic_core import to_json

from api.deps import JobId, ServiceDep
from api.schemas.diagnosis import DiagnosisOut
from api.stored import not_taken_any_more
from api.strict import StrictRoute
from worker.diagnosis.load import diagnosis

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["records"], route_class=StrictRoute)


@router.get("/diagnosis", response_class=Response, responses={200: {"model": DiagnosisOut}})
def read_diagnosis(job_id: JobId, service: ServiceDep) -> Response:
    """Findings with evidence and advice, and everything that was checked; made anew from what is recorded."""
    with service.database.read() as session:
        try:
            found = diagnosis(session, job_id)
        except ValidationError as error:
            raise not_taken_any_more(error) from error
    answer = DiagnosisOut.of(found).model_dump()
    # Numbers that are not finite become words.
    return Response(to_json(answer, inf_nan_mode="strings"), media_type="application/json")
