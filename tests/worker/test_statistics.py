"""What is recorded of each site, against the same numbers from what went through it."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from models.blueprint import Blueprint, Init, NormChoice
from models.catalog.names import ActivationName, NormName
from models.kinds.containers import Chain
from models.kinds.layers import Norm
from models.networks.mlp import mlp
from tests.worker.recording import Recording, by_channel
from worker.percentiles import OutputPercentiles
from worker.statistics import SiteRows

PERCENTILES = (0.0, 12.5, 50.0, 85.0, 100.0)
UNITS = {"norm1": [4, 0], "norm2": [1]}
TOLERANCES = [(torch.float32, {"rtol": 1e-5, "atol": 1e-6}), (torch.float64, {"rtol": 1e-10, "atol": 1e-12})]


def network(norm: NormName) -> Blueprint:
    return mlp(
        (6,),
        3,
        hidden=[5, 4],
        activation=ActivationName.TANH,
        norm=NormChoice(name=norm),
        init=Init(),
    )


def recorded(norm: NormName, units=UNITS, percentiles: Sequence[float] = PERCENTILES, **changes) -> Recording:
    return Recording(network(norm), units=units, percentiles=percentiles, **changes)


@pytest.mark.parametrize(("dtype", "close"), TOLERANCES, ids=str)
@pytest.mark.parametrize("norm", [NormName.NONE, NormName.BATCH])
def test_train_moments_are_those_of_what_each_site_took(norm, dtype, close):
    recording = recorded(norm, dtype=dtype)
    rows = recording.steps([9, 10, 11])
    assert list(rows) == ["norm1", "norm2"]
    for name, site in rows.items():
        assert site.steps == [1, 2, 3]
        for index, (x,) in enumerate(recording.inputs[name]):
            taken = by_channel(x)
            mean, biased = taken.mean(axis=0), taken.var(axis=0)
            np.testing.assert_allclose(site.moments["train.mean"][index], mean, **close)
            np.testing.assert_allclose(site.moments["train.var"][index], biased, **close)


def test_eval_moments_are_the_running_averages_as_stored_after_the_step():
    recording = recorded(NormName.BATCH)
    for name, site in recording.steps([9, 10, 11, 12]).items():
        for index, stored in enumerate(recording.stored[name]):
            np.testing.assert_array_equal(site.moments["eval.mean"][index], stored["mean"])
            np.testing.assert_array_equal(site.moments["eval.var"][index], stored["var"])
    assert not torch.equal(stored["mean"], recording.stored[name][0]["mean"])


def test_a_site_without_a_norm_has_no_eval_moments():
    rows = recorded(NormName.NONE, details=False).steps([9])
    assert all(set(site.moments) == {"train.mean", "train.var"} for site in rows.values())


@pytest.mark.parametrize(("dtype", "close"), TOLERANCES, ids=str)
@pytest.mark.parametrize("norm", [NormName.NONE, NormName.BATCH])
def test_percentiles_are_numpys_linear_ones_of_the_chosen_units_output(norm, dtype, close):
    recording = recorded(norm, dtype=dtype)
    for name, site in recording.steps([9, 10, 11]).items():
        assert list(site.percentiles) == ["0", "12.5", "50", "85", "100"]
        for index, (given,) in enumerate(recording.outputs[name]):
            expected = np.percentile(by_channel(given)[:, UNITS[name]], PERCENTILES, axis=0, method="linear")
            found = np.stack([values[index] for values in site.percentiles.values()])
            np.testing.assert_allclose(found, expected, **close)


@pytest.mark.parametrize("pending", [1, 50, 10**6])
def test_percentiles_do_not_depend_on_how_many_steps_are_sorted_at_once(pending, monkeypatch):
    monkeypatch.setattr("worker.percentiles.PENDING_VALUES", pending)
    outputs = [torch.randn(samples, 4) for samples in (8, 8, 3, 8, 8, 8)]
    percentiles = OutputPercentiles(torch.tensor([3, 0]), [15, 85])
    for output in outputs:
        percentiles.take(output)
    found = percentiles.flush()
    for name in ("15", "85"):
        expected = [np.percentile(output[:, [3, 0]], int(name), axis=0) for output in outputs]
        np.testing.assert_allclose(found[name], expected, rtol=1e-5)


def test_moments_of_images_are_over_every_position():
    blueprint = Blueprint(
        architecture="test",
        input_shape=(3, 4, 5),
        outputs=3,
        init=Init(),
        body=Chain(layers=(("norm", Norm(norm=NormName.BATCH, features=3)),)),
    )
    recording = Recording(blueprint, units={"norm": [2]}, percentiles=[50])
    (rows,) = recording.steps([6]).values()
    (((x,),), ((y,),)) = recording.inputs["norm"], recording.outputs["norm"]
    np.testing.assert_allclose(rows.moments["train.var"][0], by_channel(x).var(axis=0), rtol=1e-5)
    np.testing.assert_allclose(rows.percentiles["50"][0], np.median(by_channel(y)[:, [2]], axis=0), rtol=1e-5)


@pytest.mark.parametrize("norm", [NormName.NONE, NormName.BATCH])
def test_nothing_stays_hooked_after_a_recorded_step(norm):
    recording = recorded(norm)
    recording.steps([9])
    assert not any(module._forward_hooks for module in recording.model.modules())

    with pytest.raises(RuntimeError):
        recording.statistics.watch(recording.model, torch.randn(4, 7))
    assert not any(module._forward_hooks for module in recording.model.modules())


@pytest.mark.parametrize("norm", [NormName.NONE, NormName.BATCH])
def test_watching_changes_neither_output_nor_gradients(norm):
    plain, watched = Recording(network(norm)), Recording(network(norm))
    x = torch.randn(9, 6)
    one, other = plain.model(x), watched.statistics.watch(watched.model, x)
    assert torch.equal(one, other)
    one.square().sum().backward()
    other.square().sum().backward()
    gradients = zip(plain.model.parameters(), watched.model.parameters(), strict=True)
    assert all(torch.equal(a.grad, b.grad) for a, b in gradients)


def test_rows_of_ragged_batches_share_their_shape_and_a_flush_empties():
    recording = recorded(NormName.BATCH)
    rows = recording.steps([9, 10, 11])["norm1"]
    assert rows.moments["train.mean"].shape == (3, 5)
    assert rows.percentiles["50"].shape == (3, 2)
    assert recording.statistics.flush() == []


@pytest.mark.parametrize(("units", "percentiles"), [({}, PERCENTILES), ({"norm1": []}, PERCENTILES), (UNITS, ())])
def test_without_units_or_percentiles_there_are_none(units, percentiles):
    rows = recorded(NormName.BATCH, units, percentiles).steps([9, 10])
    assert all(site.percentiles == {} for site in rows.values())


def test_without_details_only_moments_are_recorded_and_nothing_is_hooked_or_kept_between():
    recording = recorded(NormName.BATCH, details=False, every=5)
    for step in range(1, 11):
        recording.step(step, recording.sample(8), recorded=step % 5 == 0)
    rows = recording.flush()
    assert all(set(site.moments) == {"train.mean", "train.var", "eval.mean", "eval.var"} for site in rows.values())
    assert all(site.percentiles == {} for site in rows.values())
    assert [site.steps for site in rows.values()] == [[5, 10]] * 2


@pytest.mark.parametrize("details", [True, False])
def test_what_a_site_records_does_not_depend_on_when_it_is_flushed(details):
    whole = recorded(NormName.BATCH, details=details, every=3)
    pieces = recorded(NormName.BATCH, details=details, every=3)
    found: dict[str, list[SiteRows]] = {name: [] for name in pieces.sites}
    for recording in (whole, pieces):
        torch.manual_seed(1)
        for step in range(1, 61):
            recording.step(step, recording.sample(6), recorded=step % 3 == 0)
            if recording is pieces and step in (2, 3, 4, 21, 22, 57):
                for name, rows in recording.flush().items():
                    found[name].append(rows)
    for name, rows in pieces.flush().items():
        found[name].append(rows)
    for name, rows in whole.flush().items():
        assert [step for part in found[name] for step in part.steps] == rows.steps
        for column, values in rows.moments.items():
            joined = np.concatenate([part.moments[column] for part in found[name]])
            np.testing.assert_array_equal(joined, values, err_msg=column)


def test_nothing_beyond_the_last_good_step_is_reported():
    recording = recorded(NormName.BATCH)
    for step in range(1, 6):
        recording.step(step, recording.sample(8))
    for rows in recording.statistics.flush(last_step=3):
        assert rows.steps == [1, 2, 3]
        assert {len(values) for values in (rows.moments | rows.percentiles).values()} == {3}
