import shutil
from pathlib import Path

import pytest
import yaml

from dyntransnet.config import Params
from dyntransnet.errors import ParamsError
from dyntransnet.networks.registry import build
from dyntransnet.recipes import FOLDER, use, write

ROOT = Path(__file__).parents[1]
OURS, RECIPES = ROOT / "params.yaml", ROOT / FOLDER
NAMES = sorted(path.stem for path in RECIPES.glob("*.yaml"))


@pytest.fixture
def params(tmp_path) -> Path:
    return Path(shutil.copy(OURS, tmp_path / "params.yaml"))


def test_the_recipes_of_the_readme_are_there():
    assert NAMES == ["base", "paper_like", "tiny"]


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_fits_its_network(name, params):
    use(name, params=params, folder=RECIPES)
    found = Params.load(params)
    build(found.network, found.train.patch_size)
    assert found.ingest == Params.load(OURS).ingest


def test_tiny_is_what_params_yaml_comes_with(params):
    use("paper_like", params=params, folder=RECIPES)
    assert Params.load(params) != Params.load(OURS)
    use("tiny", params=params, folder=RECIPES)
    assert Params.load(params) == Params.load(OURS)


def test_comments_and_other_sections_stay(params):
    before = params.read_text().splitlines()
    use("base", params=params, folder=RECIPES)
    after = params.read_text().splitlines()
    assert len(after) == len(before)
    comments = [[line.partition("#")[2] for line in lines] for lines in (before, after)]
    assert comments[0] == comments[1]
    assert "  patch_size: [128, 128, 96]" in after
    assert "  experiment: dyntransnet       # in MLflow" in after


def test_options_of_another_network_do_not_stay(params, tmp_path):
    (tmp_path / "one.yaml").write_text("network: {name: segresnet, options: {init_filters: 8}}")
    (tmp_path / "other.yaml").write_text("network: {name: dyntransnet_tiny, options: {}}")
    for name in ("one", "other"):
        use(name, params=params, folder=tmp_path)
    assert Params.load(params).network == Params.load(OURS).network


def test_a_recipe_leaves_the_intensities_of_mri_alone(params):
    values = yaml.safe_load(params.read_text())
    rule = {"kind": "zscore", "percentiles": [0.5, 99.5], "deviations": 3.0}
    values["ingest"]["modality"] = "MR"
    values["preprocess"]["intensity"] = rule
    params.write_text(yaml.safe_dump(values))
    use("paper_like", params=params, folder=RECIPES)
    found = Params.load(params).preprocess
    assert found.intensity.model_dump(mode="json") == rule
    assert found.spacing_mm == (1.5, 1.5, 2.0)


def test_an_unknown_recipe_is_refused(params):
    rule = r"^recipe must be one of base, paper_like, tiny, got 'huge'$"
    with pytest.raises(ParamsError, match=rule):
        use("huge", params=params, folder=RECIPES)


def test_a_recipe_that_breaks_a_rule_changes_nothing(params, tmp_path):
    (tmp_path / "broken.yaml").write_text("train: {steps: -1, widths: 3}")
    before = params.read_bytes()
    with pytest.raises(ParamsError, match=r"train\.steps: .*train\.widths: is not a known key"):
        use("broken", params=params, folder=tmp_path)
    assert params.read_bytes() == before


def test_values_can_be_written_without_a_recipe_of_their_own(params):
    before = Params.load(params)
    write("train: {batch_size: 3}", params=params)
    assert Params.load(params).train == before.train.model_copy(update={"batch_size": 3})
    with pytest.raises(ParamsError, match=r"train\.batch_size: input should be greater than 0"):
        write("train: {batch_size: 0}", params=params)
    assert Params.load(params).train.batch_size == 3
