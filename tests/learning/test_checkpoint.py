import copy
import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from builders import contract_of
from dyntransnet.contract import Contract
from dyntransnet.errors import ModelError
from dyntransnet.learning import checkpoint
from dyntransnet.learning.checkpoint import (
    WEIGHTS_FILE,
    Progress,
    TrainingState,
    load_state,
    load_weights,
    resume_key,
    save_checkpoint,
    save_state,
)
from dyntransnet.learning.clock import Reading
from models import flip_a_bit

PROGRESS = Progress(
    run_id="run",
    steps=9,
    step=7,
    best_step=5,
    best_score=0.25,
    recent=[0.5, 0.1 + 0.2],
    losses=[{"step": 5, "loss": 1 / 3}],
    scores=[{"step": 5, "dice_liver": 0.25}],
    taken=Reading(budget_s=1.5, steps_s=2.5, waited_s=0.1 + 0.2),
)


def new_state(*, seed: int = 0, layout=torch.contiguous_format) -> TrainingState:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv3d(2, 4, 3), nn.InstanceNorm3d(4, affine=True))
    network = network.to(memory_format=layout)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    return TrainingState(network, copy.deepcopy(network), {}, optimizer, scaler)


def trained(state: TrainingState, steps: int, *, seed: int = 1) -> TrainingState:
    chance = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        image = torch.randn(2, 2, 4, 5, 6, generator=chance)
        state.optimizer.zero_grad()
        state.network(image).pow(3).mean().backward()
        state.optimizer.step()
    state.best.update({name: t.clone() for name, t in state.network.state_dict().items()})
    return state


def weights() -> dict[str, torch.Tensor]:
    return trained(new_state(), 1).best


def assert_same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_a_checkpoint_gives_its_weights_back_and_is_signed(tmp_path):
    save_checkpoint(weights(), contract_of(), tmp_path / "model")
    contract = Contract.load(tmp_path / "model")
    assert contract == contract_of(model_sha256=contract.model_sha256)
    assert_same(load_weights(tmp_path / "model", contract), weights())


def test_a_fingerprint_goes_along_where_there_is_one(tmp_path):
    for name, known in (("model", {"cases": 3}), ("other", None)):
        save_checkpoint(weights(), contract_of(), tmp_path / name, fingerprint=known)
    assert json.loads((tmp_path / "model" / "fingerprint.json").read_text()) == {"cases": 3}
    assert not (tmp_path / "other" / "fingerprint.json").exists()


def test_weights_in_any_memory_layout_are_kept(tmp_path):
    network = nn.Conv3d(4, 4, 3).to(memory_format=torch.channels_last_3d)
    save_checkpoint(network.state_dict(), contract_of(), tmp_path / "model")
    found = load_weights(tmp_path / "model", Contract.load(tmp_path / "model"))
    assert_same(found, network.state_dict())


def test_one_flipped_bit_in_the_weights_is_refused(tmp_path):
    save_checkpoint(weights(), contract_of(), tmp_path / "model")
    path = tmp_path / "model" / WEIGHTS_FILE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    contract = Contract.load(tmp_path / "model")
    rule = (
        rf"model/weights\.safetensors: sha256 must be {contract.model_sha256}, got [0-9a-f]{{64}}$"
    )
    with pytest.raises(ModelError, match=rule):
        load_weights(tmp_path / "model", contract)


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(ModelError, match=r"must hold weights\.safetensors, got none$"):
        load_weights(tmp_path, contract_of())


def test_a_checkpoint_that_fails_half_way_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "save_file", half_written)
    with pytest.raises(RuntimeError, match="power cut"):
        save_checkpoint(weights(), contract_of(), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def half_written(tensors, path, **_):
    path.write_bytes(b"half")
    raise RuntimeError("power cut")


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_a_resumed_state_goes_on_as_if_it_had_not_stopped(tmp_path, layout):
    whole = trained(new_state(layout=layout), 3)
    save_state(whole, PROGRESS, tmp_path / "state")
    resumed = new_state(seed=9, layout=layout)
    load_state(resumed, tmp_path / "state")
    for state in (whole, resumed):
        trained(state, 4, seed=2)
    assert_same(resumed.network.state_dict(), whole.network.state_dict())


def test_everything_in_a_state_comes_back(tmp_path):
    state = trained(new_state(), 3)
    save_state(state, PROGRESS, tmp_path / "state")
    found = new_state(seed=9)
    assert load_state(found, tmp_path / "state") == PROGRESS
    assert_same(found.average.state_dict(), state.average.state_dict())
    assert_same(found.best, state.best)
    moments, same = (one.optimizer.state_dict()["state"] for one in (state, found))
    for index, tensors in moments.items():
        assert_same(tensors, same[index])
        assert tensors["exp_avg"].any()


def test_a_state_of_no_step_comes_back(tmp_path):
    save_state(new_state(), Progress("", 1), tmp_path / "state")
    assert load_state(new_state(seed=9), tmp_path / "state") == Progress("", 1)


@pytest.mark.parametrize("kept", [0, 5, 300, -1])
def test_a_truncated_state_is_named(tmp_path, kept):
    save_state(trained(new_state(), 1), PROGRESS, tmp_path / "state")
    content = (tmp_path / "state").read_bytes()
    (tmp_path / "state").write_bytes(content[:kept])
    with pytest.raises(ModelError, match="state: must be a whole resume state, got "):
        load_state(new_state(), tmp_path / "state")


def test_one_flipped_bit_in_a_state_is_refused(tmp_path):
    save_state(trained(new_state(), 1), PROGRESS, tmp_path / "state")
    flip_a_bit(tmp_path / "state")
    with pytest.raises(ModelError, match=r"state: sha256 must be .*, got .*: the file is damaged"):
        load_state(new_state(), tmp_path / "state")


def test_the_scale_of_gradients_comes_back(tmp_path):
    state, found = new_state(), new_state()
    state.scaler.load_state_dict(state.scaler.state_dict() | {"scale": 2.0**7})
    save_state(state, PROGRESS, tmp_path / "state")
    load_state(found, tmp_path / "state")
    assert found.scaler.state_dict() == state.scaler.state_dict()
    assert found.scaler.get_scale() == 2.0**7


def test_a_file_that_is_no_state_is_named(tmp_path):
    save_file(weights(), tmp_path / "state")
    with pytest.raises(ModelError, match="state: must be a whole resume state, got "):
        load_state(new_state(), tmp_path / "state")


def test_a_state_that_fails_half_way_leaves_the_old_one(tmp_path, monkeypatch):
    save_state(trained(new_state(), 1), PROGRESS, tmp_path / "state")
    monkeypatch.setattr(checkpoint, "save_file", half_written)
    with pytest.raises(RuntimeError, match="power cut"):
        save_state(new_state(), Progress("other", 1), tmp_path / "state")
    assert load_state(new_state(), tmp_path / "state") == PROGRESS
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_run_is_named_by_everything_that_decides_it():
    key = resume_key({"seed": 1, "steps": 2}, "splits")
    assert key == resume_key({"steps": 2, "seed": 1}, "splits")
    assert len({key, resume_key({"seed": 2, "steps": 2}, "splits"), resume_key({}, "splits")}) == 3
