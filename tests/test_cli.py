import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from builders import case_of, save_lits
from dyntransnet.atomic import sha256_of
from dyntransnet.cli import app
from dyntransnet.imaging.scan import write_mask, write_scan
from gates import save, tumors
from models import save_model, threshold_model
from terminal import run_at_terminal
from versions import row_of

ROOT = Path(__file__).parents[1]
STAGES = ("ingest", "split", "preprocess", "train", "evaluate", "export", "register", "publish")


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "dyntransnet.cli", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip


def error_of(finished: subprocess.CompletedProcess[str]) -> str:
    """The one line of a refusal."""
    assert finished.returncode == 1
    assert finished.stderr.startswith("error: ")
    assert finished.stderr.count("\n") == 1
    return finished.stderr.removeprefix("error: ").strip()


def test_every_stage_has_a_command():
    commands = get_command(app).commands
    assert list(commands)[: len(STAGES)] == list(STAGES)
    for name in STAGES:
        assert (ROOT / "src" / "dyntransnet" / "stages" / f"{name}.py").is_file()


def test_every_command_and_section_has_one_name():
    sections = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert set(sections) - {"network"} == set(STAGES)


def test_help_needs_no_heavy_library():
    code = (
        "import sys, dyntransnet.cli as cli; sys.argv = ['dyntransnet', '--help']\n"
        "try: cli.main()\n"
        "except SystemExit: print({'torch', 'monai', 'mlflow', 'SimpleITK'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "register" in out.stdout
    assert out.stdout.endswith("set()\n")


def test_a_damaged_scan_is_one_line(tmp_path):
    write_scan(case_of()[0], tmp_path / "a.nii.gz")
    stored = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(stored[: len(stored) // 2])
    finished = run("segment", "a.nii.gz", "--output", "out", cwd=tmp_path)
    assert error_of(finished).startswith("a: a.nii.gz must be a whole gzip file, got ")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_bad_output_is_one_line(tmp_path):
    write_scan(case_of()[0], tmp_path / "a.nii.gz")
    finished = run("segment", "a.nii.gz", "--output", "mask.png", cwd=tmp_path)
    assert error_of(finished).startswith("mask.png: extension must be one of .nii, ")


def test_fast_and_accurate_together_are_one_line(tmp_path):
    write_scan(case_of()[0], tmp_path / "a.nii.gz")
    finished = run("segment", "a.nii.gz", "--output", "out", "--fast", "--accurate", cwd=tmp_path)
    assert error_of(finished) == "preset: must be one of fast and accurate, got both"
    assert not (tmp_path / "out").exists()


def test_a_folder_is_segmented_as_a_preset_says(tmp_path):
    save_model(tmp_path / "model", threshold_model(0.2, 0.7))
    for seed in range(2):
        write_scan(case_of(seed=seed)[0], tmp_path / "in" / f"{seed}.nii")
    finished = run("segment", "in", "--output", "out", "--model", "model", "--fast", cwd=tmp_path)
    lines = finished.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["out/0.nii", "out/1.nii"]
    assert (finished.returncode, finished.stderr) == (0, "2 done, 0 done before, 0 failed\n")
    assert all((tmp_path / "out" / f"{seed}.nii").is_file() for seed in range(2))


@pytest.fixture
def three(tmp_path) -> Path:
    """A model, and three scans of which the second is damaged."""
    save_model(tmp_path / "model", threshold_model(0.2, 0.7))
    for seed in range(3):
        write_scan(case_of(seed=seed)[0], tmp_path / "in" / f"{seed}.nii")
    (tmp_path / "in" / "1.nii").write_text("no image")
    return tmp_path


def test_a_failed_scan_is_listed_at_the_end_and_a_second_run_goes_on(three):
    command = ("segment", "in", "--output", "out", "--model", "model")
    finished = run(*command, cwd=three)
    assert finished.returncode == 1
    assert len(finished.stdout.splitlines()) == 2
    summary, error = finished.stderr.splitlines()
    assert summary == "2 done, 0 done before, 1 failed"
    assert error.startswith("error: 1: 1.nii must be a readable image")
    write_scan(case_of(seed=1)[0], three / "in" / "1.nii")
    finished = run(*command, cwd=three)
    assert (finished.returncode, finished.stderr) == (0, "1 done, 2 done before, 0 failed\n")
    finished = run(*command, "--again", cwd=three)
    assert finished.stderr == "3 done, 0 done before, 0 failed\n"


def test_a_script_gets_a_json_object_for_each_scan(three):
    finished = run("segment", "in", "--output", "out", "--model", "model", "--json", cwd=three)
    rows = {row["case"]: row for row in map(json.loads, finished.stdout.splitlines())}
    assert {case: row["state"] for case, row in rows.items()} == {
        "0": "done", "1": "failed", "2": "done"
    }  # fmt: skip
    assert rows["0"]["mask"] == "out/0.nii"
    assert rows["0"]["report"]["model_sha256"] == sha256_of(three / "model" / "model.onnx")
    assert rows["1"]["kind"] == "ScanError"
    assert rows["1"]["error"].startswith("1: 1.nii must be a readable image")
    assert finished.returncode == 1


def test_a_report_names_what_computed_it(three):
    """Noted beside the folder as well: another precision would be another mask."""
    command = ("segment", "in/0.nii", "in/2.nii", "--output", "out", "--model", "model", "--report")
    assert run(*command, cwd=three).returncode == 0
    report = json.loads((three / "out" / "0.json").read_text())
    assert (report["runtime"], report["precision"]) == ("openvino", "fp32")
    assert run(*command, cwd=three).stderr == "0 done, 2 done before, 0 failed\n"


def test_at_a_terminal_a_single_scan_has_a_bar_of_its_windows(three):
    command = ("segment", "in/0.nii", "--output", "0.nii", "--model", "model")
    code, written, drawn = run_at_terminal(*command, "--json", cwd=three)
    (row,) = map(json.loads, written.splitlines())
    assert (code, row["state"]) == (0, "done")
    (count,) = set(re.findall(r"(\d+)/\1", drawn))
    assert "working" in drawn
    assert int(count) > 1


def test_at_a_terminal_a_folder_has_a_bar_of_its_scans(three):
    command = ("segment", "in", "--output", "out", "--model", "model")
    code, _, drawn = run_at_terminal(*command, cwd=three)
    assert code == 1
    assert "3/3" in drawn
    assert "working" not in drawn


def test_a_server_that_is_not_there_is_one_line_with_a_request_id(tmp_path):
    write_scan(case_of()[0], tmp_path / "a.nii.gz")
    options = ("--output", "mask.nii.gz", "--url", "127.0.0.1:9")
    error = error_of(run("segment", "a.nii.gz", *options, cwd=tmp_path))
    assert error.startswith("a: server at 127.0.0.1:9 must be reachable, got ")
    assert "(request " in error
    assert not (tmp_path / "mask.nii.gz").exists()


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (("--url", "server"), "server must be HOST:PORT, got 'server'"),
        (("--tls-ca", "gone.pem"), "tls: gone.pem must be readable, got No such file or directory"),
        (("--tls-key", "a.nii.gz"), "tls: certificate and key must be given together, got one"),
        (("--metadata", "key"), "key: each line must be NAME: VALUE, got one without a colon"),
        (("--metadata", "gone"), "gone: must be readable, got"),
    ],
)
def test_a_connection_that_cannot_be_made_is_one_line(tmp_path, options, rule):
    write_scan(case_of()[0], tmp_path / "a.nii.gz")
    (tmp_path / "key").write_text("sesame\n")
    finished = run("segment", "a.nii.gz", "--output", "mask.nii.gz", *options, cwd=tmp_path)
    assert error_of(finished).startswith(rule)
    assert "sesame" not in finished.stderr


@pytest.mark.parametrize(
    ("precision", "rule"),
    [
        ("fp8", "precision of openvino must be one of fp32, bf16, int8, got fp8"),
        ("bf16", "model/openvino: must hold openvino.json, got No such file or directory"),
    ],
)
def test_a_precision_that_is_not_there_is_one_line(tmp_path, precision, rule):
    write_scan(case_of()[0], tmp_path / "a.nii.gz")
    save_model(tmp_path / "model", threshold_model(0.2, 0.7))
    options = ("--output", "mask.nii.gz", "--model", "model", "--precision", precision)
    assert error_of(run("segment", "a.nii.gz", *options, cwd=tmp_path)) == rule
    assert not (tmp_path / "mask.nii.gz").exists()


def test_a_truncated_model_for_a_plan_is_one_line(tmp_path):
    save_model(tmp_path / "model", threshold_model(0.2, 0.7))
    path = tmp_path / "model" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-9])
    finished = run("build-engine", "model", "--out", "engine", cwd=tmp_path)
    assert error_of(finished).startswith("model/model.onnx: sha256 must be ")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_bad_parameter_is_one_line(tmp_path):
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["split"]["fold"] = 3
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "manifest.json").write_text("{}")
    finished = run("split", "manifest.json", "--out", "splits.json", cwd=tmp_path)
    assert error_of(finished) == "params.yaml: split.fold: is not a known key, got 3"


def test_an_input_that_is_not_there_is_one_line(tmp_path):
    finished = run("split", "manifest.json", "--out", "splits.json", cwd=tmp_path)
    assert error_of(finished).startswith("manifest.json: must exist (dvc repro makes it)")


def test_a_bad_dataset_is_one_line_for_each_case(tmp_path):
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["ingest"] |= {"layout": "lits", "source": "lits"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    save_lits(tmp_path / "lits", 1, *case_of())
    save_lits(tmp_path / "lits", 2, *case_of())
    for number in (1, 2):
        (tmp_path / "lits" / f"volume-{number}.nii.gz").write_text("no image")
    finished = run("ingest", "lits", "--out", "cases", "--manifest", "m.json", cwd=tmp_path)
    first, *lines = finished.stderr.splitlines()
    assert finished.returncode == 1
    assert first == "error: lits: 2 problem(s) found, nothing was written"
    found = "volume-{0}.nii.gz must be a readable image, got no NIfTI-1 header in its first 8 bytes"
    assert lines == [
        *[f"  volume-{n}  stop  unreadable  {found.format(n)}" for n in (1, 2)],
        "  unreadable: fetch the file again, or convert it with a tool that can read it",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lits", "params.yaml"]


def test_who_asks_is_told_where_a_case_lies(tmp_path):
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["ingest"] |= {"layout": "auto", "source": "data"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    scan, mask = case_of()
    write_scan(scan, tmp_path / "data/images/Doe.nii.gz")
    write_mask(mask, tmp_path / "data/masks/Doe.nii.gz")
    (line,) = run("cases", "data", cwd=tmp_path).stdout.splitlines()
    case, patient, origin = line.split("\t")
    assert case == patient == f"case-{sha256_of(tmp_path / origin)[:10]}"
    assert origin == "data/images/Doe.nii.gz"


def test_changes_between_versions_are_printed(tmp_path):
    one, other = ({"layout": "lits", "cases": [row_of(case)]} for case in "ab")
    for name, manifest in (("old.json", one), ("new.json", other)):
        (tmp_path / name).write_text(json.dumps(manifest))
    finished = run("changes", "old.json", "--manifest", "new.json", cwd=tmp_path)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.splitlines()[2:] == [
        "  removed    a", "  added      b", "1 removed, 1 added, 0 the same"
    ]  # fmt: skip
    assert error_of(run("changes", "old.json", "gone", cwd=tmp_path)).startswith("gone: must be a ")


def test_scores_are_printed_and_written(tmp_path):
    write_mask(case_of()[1], tmp_path / "truth" / "a.nii.gz")
    finished = run("score", "truth", "truth", "--out", "scores", cwd=tmp_path)
    assert finished.stdout.startswith("a  liver Dice 1.0000  tumor Dice 1.0000\n")
    assert finished.stderr == ""
    found = json.loads((tmp_path / "scores" / "summary.json").read_text())
    assert found["scores"]["liver"]["dice"]["mean"] == 1


def without(absent: tuple[str, ...], *arguments: str, cwd: Path) -> tuple[int, str]:
    """The command line where some packages are not installed: exit code and errors."""
    code = (
        "import sys\n"
        "class NotInstalled:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {absent}: raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, NotInstalled())\n"
        f"sys.argv = ['dyntransnet', *{arguments}]\n"
        "from dyntransnet.cli import main; main()"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_scores_need_no_training_stack(tmp_path):
    write_mask(case_of()[1], tmp_path / "truth" / "a.nii.gz")
    absent = "torch", "monai", "mlflow", "dvc", "matplotlib", "surface_distance"
    for options in ([], ["--convention", "lits"]):
        arguments = ("score", "truth", "truth", *options)
        assert without(absent, *arguments, cwd=tmp_path) == (0, "")


def test_masks_that_cannot_be_scored_are_one_line_each(tmp_path):
    write_mask(case_of()[1], tmp_path / "truth" / "a.nii.gz")
    (tmp_path / "found").mkdir()
    finished = run("score", "truth", "found", "--out", "scores", cwd=tmp_path)
    first, second = finished.stderr.splitlines()
    assert first == "error: found: 1 problem(s) found, nothing was written"
    assert second == "  a: must have a mask in found, got none"
    assert not (tmp_path / "scores").exists()


@pytest.mark.parametrize("arguments", [["segmnt"], ["segment"], ["split", "--seed", "3"]])
def test_wrong_usage_is_no_traceback(tmp_path, arguments):
    finished = run(*arguments, cwd=tmp_path)
    assert finished.returncode == 2
    assert "Usage: " in finished.stderr
    assert "Traceback" not in finished.stderr


def test_an_unknown_recipe_is_one_line(tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "tiny.yaml").write_text("train: {steps: 3}")
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    finished = run("recipe", "huge", cwd=tmp_path)
    assert error_of(finished) == "recipe must be one of tiny, got 'huge'"


def test_a_plan_is_a_line_for_each_value(tmp_path):
    save_lits(tmp_path / "lits", 1, *case_of(seed=1))
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["ingest"] |= {"layout": "lits", "source": "lits"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    run("ingest", "lits", "--out", "cases", "--manifest", "m.json", cwd=tmp_path)
    finished = run("plan", "m.json", "--memory", "2GB", "--network", "segresnet", cwd=tmp_path)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "preprocess.spacing_mm: [1.5, 0.9, 4.0]  # the median of all scans\n" in finished.stdout
    refused = run("plan", "m.json", "--memory", "much", cwd=tmp_path)
    assert error_of(refused) == "--memory must be an amount such as 16GB or 16GiB, got 'much'"


def test_an_unknown_variant_of_a_study_is_one_line(tmp_path):
    (tmp_path / "params.yaml").write_bytes((ROOT / "experiments/params.yaml").read_bytes())
    for name in ("cache", "splits.json", "manifest.json"):
        (tmp_path / name).touch()
    places = ("--out", "out", "--report", "report", "--resume", "resume")
    inputs = ("cache", "splits.json", "manifest.json")
    finished = run("train", *inputs, *places, "--variant", "huge", cwd=tmp_path)
    assert error_of(finished).startswith("variant must be one of full, baseline, ")
    assert error_of(finished).endswith("got 'huge'")


@pytest.fixture
def gated(tmp_path) -> Path:
    """A folder with params.yaml and two evaluations, the second a little better."""
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    save(tmp_path / "old", tumors(0.5, 0.6, 0.7))
    save(tmp_path / "new", tumors(0.55, 0.6, 0.7))
    return tmp_path


def test_a_change_that_keeps_its_dice_passes_the_gate(gated):
    done = run("gate", "old", "new/cases.csv", "--markdown", "out/gate.md", cwd=gated)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("gate: passed; liver 0.9000 -> 0.9000, ")
    assert "| tumor | 3 (3) | 0.6000 | 0.6167 |" in (gated / "out/gate.md").read_text()


def test_a_change_that_loses_dice_is_refused_in_one_line(gated):
    save(gated / "new", tumors(0.55, 0.6, 0.3))
    done = run("gate", "old", "new", "--markdown", "gate.md", cwd=gated)
    assert error_of(done).startswith("gate: refused: Dice tumor must not fall by more than 0.1, ")
    assert "### Dice gate: refused" in (gated / "gate.md").read_text()


def test_a_gate_without_a_baseline_is_one_line(gated):
    done = run("gate", "gone", "new", "--markdown", "gate.md", cwd=gated)
    assert error_of(done) == "gone: must be readable, got No such file or directory"
    assert (gated / "gate.md").read_text().startswith("### Dice gate: no verdict")


def test_the_gate_holds_parity_to_the_limits_of_export(gated):
    row = {"precision": "fp32", "relative_difference": 0.01, "dice_min": 1.0, "dice_change": {}}
    forms = {"openvino fp32": row, "openvino bf16": row | {"precision": "bf16"}}
    (gated / "parity.json").write_text(json.dumps({"forms": forms}))
    done = run("gate", "old", "new", "--parity", "parity.json", cwd=gated)
    rule = "gate: refused: openvino fp32 logits must be within 1e-05 of torch's largest, got 0.01"
    assert error_of(done) == rule


def test_the_gate_times_models_side_by_side(gated):
    for name in ("before", "after"):
        save_model(gated / name, threshold_model(0.2, 0.7))
    done = run("gate", "old", "new", "--models", "before", "after", cwd=gated)
    assert "times the baseline's seconds for a scan, at most 1.5" in done.stdout
    done = run("gate", "old", "new", "--models", "before", "gone", cwd=gated)
    assert error_of(done).startswith("gone")


def test_the_gate_needs_no_training_stack(gated):
    absent = "torch", "monai", "mlflow", "dvc", "matplotlib", "onnxruntime", "openvino"
    assert without(absent, "gate", "old", "new", cwd=gated) == (0, "")
