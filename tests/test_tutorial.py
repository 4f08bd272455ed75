"""docs/tutorial.md, run from top to bottom as a reader would."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(sh|python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def said_by_shell(code: str, environment: dict[str, str]) -> str:
    """Its standard output; what it exports is kept, as in one terminal."""
    finished = subprocess.run(
        ["bash", "-euc", f"{code}\nenv -0 > .environment"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, f"{code}\n{finished.stderr}"
    pairs = Path(".environment").read_text().rstrip("\0").split("\0")
    environment.update(pair.split("=", 1) for pair in pairs)
    return finished.stdout


def said_by_python(code: str, names: dict[str, object]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(code, "docs/tutorial.md", "exec"), names)  # the page is the test
    return said.getvalue()


def test_every_block_runs_and_says_what_the_page_says(tmp_path, monkeypatch, one_thread):
    monkeypatch.chdir(tmp_path)
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = dict(os.environ) | {"ROOT": str(ROOT), "PATH": paths, "OMP_NUM_THREADS": "1"}
    names: dict[str, object] = {}
    blocks = BLOCK.findall((ROOT / "docs" / "tutorial.md").read_text())
    assert {kind for kind, _ in blocks} == {"sh", "python", "text"}
    said = ""
    for kind, code in blocks:
        if kind == "sh":
            said = said_by_shell(code, environment)
        elif kind == "python":
            said = said_by_python(code, names)
        else:
            assert said == code
