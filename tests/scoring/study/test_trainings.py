import json
import shutil

import pytest

from dyntransnet.errors import InputError, ParamsError
from dyntransnet.scoring.study.trainings import check_same_cases, read_trainings
from studies import NAN, save_training, training_of

DICES = {"a": (0.9, 0.5), "b": (0.8, NAN)}


def test_a_training_is_read_as_it_was_saved(tmp_path):
    saved = training_of("full", DICES, seed=7, fold=2)
    save_training(tmp_path, saved)
    (found,) = read_trainings(tmp_path)
    assert (found.variant, found.seed, found.fold) == ("full", 7, "2")
    assert found.name == "full-seed7-fold2"
    assert (found.losses, found.validations) == (saved.losses, saved.validations)
    assert (found.facts, found.test_set) == (saved.facts, saved.test_set)
    assert found.scores["a"]["tumor"]["dice"] == 0.5


def test_a_variants_name_may_hold_dashes(tmp_path):
    save_training(tmp_path, training_of("no-seed2-fm-m", DICES))
    assert read_trainings(tmp_path)[0].variant == "no-seed2-fm-m"


def test_what_is_no_training_is_left_alone(tmp_path):
    save_training(tmp_path, training_of("full", DICES))
    (tmp_path / "logs").mkdir()
    (tmp_path / "full-seed1-fold0.partial").mkdir()
    (tmp_path / "full-seed2-fold0").write_text("a file")
    assert len(read_trainings(tmp_path)) == 1


def test_every_training_that_is_not_complete_is_named(tmp_path):
    for seed in (1, 2, 3):
        folder = save_training(tmp_path, training_of("full", DICES, seed=seed))
        if seed > 1:
            shutil.rmtree(folder / "scores")
    with pytest.raises(InputError, match=r"full-seed2-.*scores/cases\.csv.*full-seed3-") as raised:
        read_trainings(tmp_path)
    assert "full-seed1" not in str(raised.value)


@pytest.mark.parametrize("told", [0.86, None])
def test_scores_and_summary_of_two_evaluations_are_refused(tmp_path, told):
    folder = save_training(tmp_path, training_of("full", DICES))
    file = folder / "scores/metrics.json"
    metrics = json.loads(file.read_text())
    assert metrics["liver"]["dice"] == pytest.approx(0.85)
    metrics["liver"]["dice"] = told
    file.write_text(json.dumps(metrics))
    with pytest.raises(InputError, match=r"mean Dice of cases\.csv, got another in full-seed1"):
        read_trainings(tmp_path)


def test_folds_that_every_variant_shares_are_comparable():
    check_same_cases(
        [
            training_of(variant, {case: (0.9, 0.5)}, seed=seed, fold=fold)
            for variant in ("one", "other")
            for seed in (1, 2)
            for fold, case in enumerate("ab")
        ]
    )


def test_a_training_scored_on_other_cases_is_named():
    trainings = [training_of("full", DICES, seed=seed) for seed in (1, 2)]
    odd = training_of("base", {"a": (0.9, 0.5)})
    with pytest.raises(ParamsError, match=r"same cases, got base-seed1-fold0 \(other cases"):
        check_same_cases([odd, *trainings])


@pytest.mark.parametrize("change", [{"sha256": "1"}, {"nsd_mm": {"liver": 1.0, "tumor": 2.0}}])
def test_equal_names_of_other_scans_or_tolerances_do_not_pass(change):
    usual = [training_of("full", DICES, seed=seed) for seed in (1, 2)]
    odd = training_of("base", DICES, test_set=usual[0].test_set | change)
    with pytest.raises(ParamsError, match="got base-seed1-fold0"):
        check_same_cases([*usual, odd])


def test_a_seed_that_lacks_a_fold_is_named():
    trainings = [training_of("full", {case: (0.9, 0.5)}, fold=f) for f, case in enumerate("ab")]
    short = training_of("base", {"a": (0.9, 0.5)}, fold=0)
    with pytest.raises(ParamsError, match=r"got base-seed1 \(without fold 1\)"):
        check_same_cases([*trainings, short])
