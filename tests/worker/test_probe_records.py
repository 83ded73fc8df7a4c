"""From a run's probes to the database."""

import numpy as np

from db import lease, probes
from db.probes import ProbeQuery
from db.spec.job import JobSpec
from db.store import Store
from tests.db.support import claim, job_of, new_job
from tests.worker.support import Kept, make_run
from worker.reporter import DatabaseReporter
from worker.trainer import train


def test_all_that_probes_measure_arrives(database, tmp_path, digits):
    changes = {
        "steps": 30,
        "device": "cpu",
        "architecture": {"name": "mlp", "hidden": [8, 4], "activation": "relu"},
        "probes": [{"name": name, "every": 10} for name in ("landscape", "covariate_shift", "geometry")],
    }
    job_id = new_job(database, **changes)
    hold = claim(database)
    with database.write() as session:
        lease.start_from(session, hold, 0, 0, latest={}, best={})
    spec = JobSpec.model_validate(job_of(database, job_id).resolved)
    kept, reporter = Kept(), DatabaseReporter(database, Store((tmp_path / "store").as_uri()), hold, spec)
    assert train(make_run(digits, **changes), kept, lambda: None) is None
    assert train(make_run(digits, **changes), reporter, lambda: None) is None
    reporter.close()
    for name, rows in kept.probes.items():
        with database.read() as session:
            page = probes.read(session, job_id, ProbeQuery(name=name))
        assert page.step == [step for step, _ in rows] == [10, 20, 30]
        for column, first in rows[0][1].items():
            layer, _, number = column.rpartition("/")
            found = (page.layers[layer] if layer else page.values)[number]
            if number != "seconds":
                np.testing.assert_array_equal(found, [values[column] for _, values in rows], err_msg=column)
                assert found[0] == first
