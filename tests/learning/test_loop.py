import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from builders import contract_of
from caches import SMALL, STILL, balls, save_case, train_params
from dyntransnet.contract import NetworkSpec
from dyntransnet.errors import TrainingError
from dyntransnet.learning import loop
from dyntransnet.learning.cache import CachedCase
from dyntransnet.learning.checkpoint import Progress
from dyntransnet.learning.clock import Clock, Reading
from dyntransnet.learning.cohort import Cohort
from dyntransnet.learning.loop import fit, learn, out_of_patience, start_state, steps_within
from dyntransnet.learning.processes import Team

pytestmark = pytest.mark.usefixtures("one_thread")

PATCH = (12, 20, 16)
ALONE = Team(torch.device("cpu"))
SUPERVISED = SMALL | {"depths": [1, 1, 1], "heads": [1, 2, 2], "windows": [2, 1, None]}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Cohort:
    root = tmp_path_factory.mktemp("cohort")
    for seed in range(2):
        save_case(root / str(seed), balls(seed=seed))
    cases = [CachedCase.open(root / str(seed)) for seed in range(2)]
    return Cohort(cases, cases[:1], (2.0, 3.0, 2.5))


def contract(patch_size=PATCH, **options):
    spec = NetworkSpec(name="dyntransnet_tiny", options=SMALL | options)
    return contract_of(network=spec, patch_size=patch_size)


def fitted(cohort, folder, *, options=None, **changes):
    """State and progress after a run."""
    params = train_params(**{"steps": 4, "save_every": 2, "validate_every": 2} | changes)
    state = start_state(contract(params.patch_size, **options or {}), params, ALONE)
    progress = Progress("", params.steps)
    curve = []
    fit(
        state, progress, cohort, params, ALONE,
        saved=folder / "state", log=lambda values, step: curve.append((step, dict(values))),
    )  # fmt: skip
    return state, progress, curve


def weights(state) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in state.network.parameters()])


def test_the_log_is_given_every_point_of_the_curves(cohort, tmp_path):
    _, progress, curve = fitted(cohort, tmp_path)
    assert [step for step, _ in curve] == [2, 4, 4]
    assert curve[1][1] == {"loss": progress.losses[0]["loss"]}
    assert set(curve[2][1]) == {"validation_dice_liver", "validation_dice_tumor"}


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns_nearly_the_same(cohort, tmp_path, precision):
    exact, found = (fitted(cohort, tmp_path, precision=name)[1] for name in ("fp32", precision))
    assert found.losses[0]["loss"] == pytest.approx(exact.losses[0]["loss"], rel=0.01)
    assert found.losses[0]["loss"] != exact.losses[0]["loss"]


def test_a_step_on_a_wide_batch_shows_the_network_as_much_as_inference_does(cohort, tmp_path):
    wide = (24, 20, 16)
    params = train_params(steps=2, tile_size=wide, wide_share=1.0)
    state, seen = start_state(contract(wide), params, ALONE), []
    state.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[2:]))
    progress = Progress("", params.steps)
    fit(state, progress, cohort, params, ALONE, saved=tmp_path / "state", log=lambda *_: None)
    assert set(map(tuple, seen)) == {wide}


def test_a_network_of_slices_starts_with_its_channels_last():
    spec = NetworkSpec(name="unet2d", options={"encoder": "mobilenet_v2"})
    params = train_params(channels_last=True)
    state = start_state(contract_of(network=spec, patch_size=(32, 32, 4)), params, ALONE)
    weights = [weight for weight in state.network.parameters() if weight.ndim == 4]
    assert weights
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in weights)


def test_fp16_leaves_out_a_step_whose_gradients_overflow_and_halves_their_scale(cohort):
    params = train_params(precision="fp16")
    state = start_state(contract(), params, ALONE)
    state.scaler.load_state_dict(state.scaler.state_dict() | {"scale": 2.0**60})
    before = weights(state).clone()
    windows = loop._windows(cohort, params, ALONE, first=0)
    clock = Clock(torch.device("cpu"), Reading())
    learn(state, state.network.train(), windows, Progress("", 4), params, ALONE, clock)
    assert torch.equal(weights(state), before)
    assert state.scaler.get_scale() == 2.0**59


def test_only_fp16_scales_its_gradients():
    enabled = {
        name: start_state(contract(), train_params(precision=name), ALONE).scaler.is_enabled()
        for name in ("fp32", "bf16", "fp16")
    }
    assert enabled == {"fp32": False, "bf16": False, "fp16": True}


def test_recomputed_activations_give_the_same_weights(cohort, tmp_path):
    plain, thrifty = (fitted(cohort, tmp_path, recompute=on)[0] for on in (False, True))
    torch.testing.assert_close(weights(thrifty), weights(plain), rtol=0, atol=0)


def test_deep_supervision_trains_the_coarser_heads_too(cohort, tmp_path):
    options, patch = SUPERVISED | {"deep_supervision": True}, (16, 24, 8)
    start = start_state(contract(patch, **options), train_params(), ALONE)
    before = copy.deepcopy(start.network.side_heads.state_dict())
    state, _, _ = fitted(cohort, tmp_path, options=options, patch_size=patch)
    after = state.network.side_heads.state_dict()
    assert before.keys() == after.keys()
    assert len(after) == 4
    assert all(not torch.equal(before[name], after[name]) for name in after)


def test_accumulated_batches_are_one_larger_batch(cohort):
    """With a loss that is a mean over windows; soft Dice over a batch is none."""
    params = train_params(batch_size=4, loss="dice", learning_rate=1e-2, augment=STILL)
    whole = next(loop._windows(cohort, params, ALONE, first=0))
    halves = [
        replace(
            whole, image=whole.image[part], label=whole.label[part], chances=whole.chances[part]
        )
        for part in (slice(0, 2), slice(2, 4))
    ]
    found = []
    for batches in ([whole], halves):
        state = start_state(contract(), params, ALONE)
        changed = params.model_copy(update={"accumulate": len(batches)})
        clock = Clock(torch.device("cpu"), Reading())
        forward = state.network.train()
        learn(state, forward, iter(batches), Progress("", 4), changed, ALONE, clock)
        found.append(weights(state))
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # torch's own use
def test_a_compiled_network_learns_the_same(cohort, tmp_path, monkeypatch):
    # Another network than ours: torch.compile cannot look into the shape checks of these tests.
    monkeypatch.setattr(loop, "build", lambda *_: nn.Conv3d(1, 2, 3, padding=1))
    plain, compiled = (fitted(cohort, tmp_path, steps=2, compile=on) for on in (False, True))
    assert compiled[1].losses[0]["loss"] == pytest.approx(plain[1].losses[0]["loss"], rel=1e-4)


def test_patience_ends_a_run_after_validations_without_a_gain(cohort, tmp_path, monkeypatch):
    scores = iter([0.5, 0.6, 0.6, 0.55, 0.9])
    monkeypatch.setattr(loop, "validate", lambda *_: {"liver": next(scores)})
    _, progress, _ = fitted(cohort, tmp_path, steps=9, validate_every=1, patience=2)
    assert (progress.step, progress.best_step) == (4, 2)


def test_a_run_that_patience_ended_before_it_was_saved_knows_its_time(
    cohort, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "validate", lambda *_: {"liver": 0.5})
    _, progress, _ = fitted(cohort, tmp_path, steps=9, validate_every=1, patience=1, save_every=100)
    assert progress.step == 2
    assert progress.taken.steps_s > 0


def test_a_loss_of_the_last_steps_before_patience_ended_must_be_finite(
    cohort, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "validate", lambda *_: {"liver": 0.5})
    monkeypatch.setattr(loop, "supervise", lambda *_: torch.tensor(math.nan, requires_grad=True))
    with pytest.raises(TrainingError, match="the loss must stay finite, got nan at step 1"):
        fitted(cohort, tmp_path, steps=9, validate_every=1, patience=1, save_every=100)


def test_without_patience_set_a_run_goes_to_its_end():
    rows = [{"step": step, "dice_liver": 0.1} for step in range(2, 9)]
    progress = Progress("", 9, step=8, best_step=1, best_score=0.9, scores=rows)
    assert not out_of_patience(progress, train_params(patience=0))
    assert out_of_patience(progress, train_params(patience=7))
    assert not out_of_patience(progress, train_params(patience=8))


def test_a_run_validates_on_no_more_cases_than_asked_for(cohort, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(loop, "validate", lambda _, cases, *__: seen.append(len(cases)) or {})
    both = replace(cohort, validation=cohort.train)
    fitted(both, tmp_path, steps=1, validate_cases=1)
    fitted(both, tmp_path, steps=1, validate_cases=None)
    assert seen == [1, 2]


def test_a_budget_holds_as_many_steps_as_its_pace_allows(cohort, monkeypatch):
    ticks = iter(range(1000))
    monkeypatch.setattr(Clock, "budget_now_s", lambda _: 2.0 * next(ticks))
    # Two seconds pass between two looks at the clock: over the five steps timed, one look apart.
    assert steps_within(1.0, contract(), cohort, train_params(), ALONE) == 60 * 5 // 2


def test_a_tiny_budget_still_takes_a_step(cohort):
    assert steps_within(1e-9, contract(), cohort, train_params(), ALONE) == 1
