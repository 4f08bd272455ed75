from pathlib import Path

import pytest
import yaml

from dyntransnet.config import Params
from dyntransnet.errors import ParamsError
from dyntransnet.networks.registry import build
from dyntransnet.study import Study, load, load_study

ROOT = Path(__file__).parents[1]
OURS = ROOT / "experiments/params.yaml"
LITS = ROOT / "experiments/lits.yaml"


def changed(tmp_path, **values) -> Path:
    """Our study with other values."""
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(OURS.read_text()) | values))
    return path


def test_a_file_with_variants_is_a_study_and_one_without_is_not():
    assert isinstance(load(OURS), Study)
    assert isinstance(load(ROOT / "params.yaml"), Params)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (path, name)
        for path, key in ((OURS, "variants"), (LITS, "chosen"))
        for name in yaml.safe_load(path.read_text())[key]
    ],
)
def test_every_variant_of_ours_can_be_trained(path, name):
    network, train = load_study(path).training(name, seed=3, fold=1)
    build(network, train.patch_size)
    assert (train.seed, train.fold, train.keep) == (3, 1, "last")


def test_the_study_on_scans_chooses_among_the_same_variants():
    assert load_study(LITS).variants == load_study(OURS).variants


def test_a_variant_changes_what_it_says_and_nothing_else(tmp_path):
    variants = {
        "plain": {"network": {"name": "segresnet", "options": {}}},
        "own": {
            "network": {"name": "segresnet", "options": {}},
            "train": {"channels_last": False, "learning_rate": 0.5},
        },
    }
    study = load_study(changed(tmp_path, variants=variants, chosen=["own"]))
    plain, own = (study.training(name, seed=1, fold=0)[1] for name in ("plain", "own"))
    assert own == plain.model_copy(update={"channels_last": False, "learning_rate": 0.5})


def test_an_unknown_variant_is_refused():
    with pytest.raises(ParamsError, match=r"^variant must be one of .*, got 'huge'$"):
        load_study(OURS).training("huge", seed=0, fold=0)


def test_a_chosen_variant_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ParamsError, match="chosen must name variants, got huge"):
        load(changed(tmp_path, chosen=["huge"]))


def test_a_variant_that_breaks_a_rule_of_training_is_refused(tmp_path):
    variants = {"x": {"network": {"name": "segresnet", "options": {}}, "train": {"widths": 3}}}
    with pytest.raises(ParamsError, match=r"variants\.x\.train: widths: is not a known key, got 3"):
        load(changed(tmp_path, variants=variants, chosen=["x"]))


def test_the_pipelines_params_are_no_study():
    with pytest.raises(ParamsError, match="variants: must be given, got nothing"):
        load_study(ROOT / "params.yaml")
