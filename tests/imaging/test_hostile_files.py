import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import hostile
from builders import case_of
from dyntransnet.imaging.checks.problems import RULES
from dyntransnet.imaging.scan import read_scan, write_mask

ROOT = Path(__file__).parents[2]
LONGEST_S, MOST_KIB = 10, 2 * 2**20

READ_ALL = """
import json, resource, sys, time
from pathlib import Path
from dyntransnet.errors import ScanError
from dyntransnet.imaging.scan import read_scan

found = {}
for name in sys.argv[1:]:
    start = time.perf_counter()
    try:
        read_scan(Path(name))
        found[name] = "nothing", "", 0.0
    except ScanError as error:
        found[name] = error.code, str(error), time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"found": found, "peak_kib": peak}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    hostile.make(folder)
    return folder


@pytest.fixture(scope="module")
def outcome(folder) -> dict:
    names = [f"volume-{name}.nii.gz" for name in hostile.EXPECTED]
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, *names],
        cwd=folder, capture_output=True, text=True, check=True, timeout=LONGEST_S * len(names),
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.mark.parametrize("stored", [hostile.WHOLE, hostile.PACKED])
def test_without_its_fault_the_file_is_read(tmp_path, stored):
    (tmp_path / "case.nii.gz").write_bytes(stored)
    scan = read_scan(tmp_path / "case.nii.gz")
    assert scan.voxels.shape == hostile.SHAPE
    assert scan.voxels[8, 6, 7] == 503


@pytest.mark.parametrize("name", hostile.EXPECTED)
def test_each_gives_one_clear_line_and_soon(outcome, name):
    code, message, seconds = outcome["found"][f"volume-{name}.nii.gz"]
    assert code == hostile.EXPECTED[name], message
    assert message.startswith(f"volume-{name}: ")
    assert " must " in message
    assert ", got " in message
    assert "\n" not in message
    assert seconds < LONGEST_S


def test_none_takes_more_memory_than_a_scan(outcome):
    assert outcome["peak_kib"] < MOST_KIB


def test_ingest_lists_them_all_in_one_run(folder, tmp_path):
    shutil.copytree(
        folder, tmp_path / "lits", symlinks=True, ignore=shutil.ignore_patterns("*pipe*")
    )
    names = [name for name in hostile.EXPECTED if name != "pipe"]
    for name in names:
        write_mask(case_of()[1], tmp_path / "lits" / f"segmentation-{name}.nii.gz")
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["ingest"] |= {"layout": "lits", "source": "lits"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    places = ("--out", "cases", "--manifest", "m.json", "--problems", "problems.json")
    done = subprocess.run(
        [sys.executable, "-m", "dyntransnet.cli", "ingest", "lits", *places],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1
    first, *lines = done.stderr.splitlines()
    assert first == f"error: lits: {len(names)} problem(s) found, nothing was written"
    rows = [line.split(maxsplit=3) for line in lines[: len(names)]]
    assert {row[0]: row[2] for row in rows} == {f"volume-{n}": hostile.EXPECTED[n] for n in names}
    advice = {line.strip().partition(": ")[0] for line in lines[len(names) :]}
    assert advice == {hostile.EXPECTED[name] for name in names}
    stored = json.loads((tmp_path / "problems.json").read_text())
    assert {each["case"]: each["code"] for each in stored} == {row[0]: row[2] for row in rows}
    assert all(each["remedy"] == RULES[each["code"]].remedy for each in stored)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "lits",
        "params.yaml",
        "problems.json",
    ]
