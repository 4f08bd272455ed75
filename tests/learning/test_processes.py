import json

import pytest
import torch
from torch import nn

from caches import train_params
from dyntransnet.errors import ParamsError
from dyntransnet.learning.processes import Team, joined, mean_over, summed, synchronized
from launch import together

TOGETHER = """
import json, sys
import torch
from torch import nn
from dyntransnet.learning.loss import soft_dice
from dyntransnet.learning.processes import joined, mean_over, summed, synchronized

def window(index):
    chance = torch.Generator().manual_seed(index)
    image = torch.randn(1, 1, 4, 5, 6, generator=chance)
    return image, (torch.rand(1, 2, 4, 5, 6, generator=chance) > 0.7).float()

with joined() as team:
    torch.manual_seed(0)
    network = nn.Conv3d(1, 2, 3, padding=1)
    places = team.share(range(4))
    image, targets = (torch.cat(parts) for parts in zip(*map(window, places)))
    shared = synchronized(network, team)
    loss = soft_dice(shared(image), targets)
    loss.backward()
    found = {
        "loss": loss.item(),
        "gradient": network.weight.grad.flatten().tolist(),
        "places": team.gathered(list(places)),
        "sum": summed(torch.tensor([1.0 + team.rank])).item(),
        "mean": mean_over(torch.tensor([1.0 + team.rank]), team).item(),
        "leaders": team.leaders(team.rank + 10),
        "uneven": team.gathered(list(team.share(range(3)))),
        "size": team.size,
    }
    with open(sys.argv[1] + str(team.rank), "w") as stream:
        json.dump(found, stream)
"""


def found_by(count: int, folder) -> list[dict]:
    """What each of some processes found."""
    script = folder / "together.py"
    script.write_text(TOGETHER)
    together(count, script, folder / f"of-{count}-")
    return [json.loads((folder / f"of-{count}-{rank}").read_text()) for rank in range(count)]


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[int, list[dict]]:
    folder = tmp_path_factory.mktemp("together")
    return {count: found_by(count, folder) for count in (1, 2)}


def test_a_batch_shared_by_two_has_the_loss_and_gradient_of_a_whole_one(found):
    (alone,) = found[1]
    for one in found[2]:
        assert one["loss"] == pytest.approx(alone["loss"], rel=1e-6)
        assert one["gradient"] == pytest.approx(alone["gradient"], rel=1e-4, abs=1e-7)
    assert max(map(abs, alone["gradient"])) > 1e-4


def test_what_is_dealt_out_comes_back_in_order(found):
    for one in (*found[1], *found[2]):
        assert one["places"] == [0, 1, 2, 3]
        assert one["uneven"] == [0, 1, 2]


def test_sums_means_and_the_leaders_word_are_the_same_for_all(found):
    assert [one["size"] for one in found[2]] == [2, 2]
    assert [one["sum"] for one in found[2]] == [3.0, 3.0]
    assert [one["mean"] for one in found[2]] == [1.5, 1.5]
    assert [one["leaders"] for one in found[2]] == [10, 10]


def test_without_torchrun_a_process_is_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined() as team:
        assert (team.rank, team.size, team.leads) == (0, 1, True)
        network = nn.Linear(2, 2)
        assert synchronized(network, team) is network
        assert summed(torch.ones(3)).tolist() == mean_over(torch.ones(3), team).tolist() == [1] * 3


def test_a_batch_that_cannot_be_dealt_out_evenly_is_refused():
    team = Team(torch.device("cpu"), rank=1, size=3)
    team.check_divides(train_params(batch_size=6))
    rule = r"^train\.batch_size: must be a multiple of the 3 processes, got 4$"
    with pytest.raises(ParamsError, match=rule):
        team.check_divides(train_params(batch_size=4))


def test_wide_batches_that_cannot_be_dealt_out_evenly_are_refused():
    team = Team(torch.device("cpu"), rank=1, size=2)
    wide = {"patch_size": (8, 8, 8), "tile_size": (16, 8, 8), "batch_size": 4}
    team.check_divides(train_params(**wide, wide_share=0.5))
    odd = wide | {"batch_size": 6}
    team.check_divides(train_params(**odd))
    rule = (
        r"^train\.wide_share: must be 0, or wide batches a multiple of the 2 processes, "
        r"got 3 windows of \(16, 8, 8\)$"
    )
    with pytest.raises(ParamsError, match=rule):
        team.check_divides(train_params(**odd, wide_share=0.5))
