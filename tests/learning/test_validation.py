import pytest
import torch

from caches import save_workspace, train_params
from dyntransnet.learning.cohort import Cohort
from dyntransnet.learning.processes import Team
from dyntransnet.learning.validation import validate

pytestmark = pytest.mark.usefixtures("one_thread")

ALONE = Team(torch.device("cpu"))


class Oracle(torch.nn.Module):
    """Says liver where it is bright, tumor where it is less so."""

    def forward(self, image):
        return torch.cat([image, (0.4 - image) * image.sign()], dim=1)


@pytest.mark.parametrize("changes", [{}, {"precision": "bf16", "channels_last": True}], ids=str)
def test_a_perfect_network_validates_at_one(tmp_path, changes):
    root = save_workspace(tmp_path)
    cases = Cohort.open(root / "cache", root / "splits.json", 0).validation
    found = validate(Oracle(), cases, train_params(**changes), ALONE)
    assert found == {"liver": pytest.approx(1, abs=0.01), "tumor": pytest.approx(1, abs=0.03)}


def test_validation_scores_nobody_where_nobody_validates():
    assert validate(Oracle(), [], train_params(), ALONE) == {}
