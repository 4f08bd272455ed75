"""What a release brings along: a signed manifest, a citation, a list of parts."""

import re
import subprocess

import pytest
import yaml

from deployed import ROOT, SERVING, complaints

SCRIPT = SERVING / "manifest.sh"


def run(*arguments):
    return subprocess.run(
        [SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def new_key(path, identity):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    kind, public, *_ = path.with_suffix(".pub").read_text().split()
    return f"{identity} {kind} {public}\n"


@pytest.fixture
def signed(tmp_path):
    """A model folder, its manifest, and who may sign."""
    folder = tmp_path / "model"
    (folder / "openvino").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"weights")
    (folder / "openvino/model fp32.bin").write_bytes(b"more weights")
    signers = tmp_path / "signers"
    signers.write_text(new_key(tmp_path / "key", "release@example.org"))
    manifest = tmp_path / "out/model.sha256"
    assert run("sign", folder, manifest, tmp_path / "key").returncode == 0
    return folder, manifest, signers


def test_what_was_signed_holds(signed):
    done = run("verify", *signed)
    assert done.returncode == 0
    assert done.stdout == f"{signed[0]}: 2 files as release@example.org signed them\n"


def test_the_manifest_is_what_sha256sum_reads(signed):
    folder, manifest, _ = signed
    subprocess.run(["sha256sum", "--check", "--quiet", manifest], cwd=folder, check=True)
    assert len(manifest.read_text().splitlines()) == 2


def changed(folder):
    (folder / "model.onnx").write_bytes(b"Weights")
    return "./model.onnx"


def removed(folder):
    (folder / "openvino/model fp32.bin").unlink()
    return "./openvino/model fp32.bin"


def added(folder):
    (folder / "model.py").write_text("import os")
    return "./model.py"


def renamed(folder):
    (folder / "model.onnx").rename(folder / "other.onnx")
    return "./model.onnx ./other.onnx"


@pytest.mark.parametrize("harm", [changed, removed, added, renamed])
def test_a_file_that_differs_is_named(signed, harm):
    told = harm(signed[0])
    done = run("verify", *signed)
    assert done.returncode == 1
    assert done.stderr == f"manifest: {signed[0]} must hold what the manifest lists, got {told} \n"


def test_a_manifest_that_was_rewritten_is_refused(signed):
    folder, manifest, _ = signed
    changed(folder)
    listed = subprocess.run(
        "find . -type f -exec sha256sum {} + | LC_ALL=C sort -k 2",
        shell=True, cwd=folder, capture_output=True, check=True,
    ).stdout  # fmt: skip
    manifest.write_bytes(listed)
    done = run("verify", *signed)
    assert done.returncode == 1
    assert done.stderr.endswith("must be what release@example.org signed, got another text\n")


def test_another_key_is_refused(signed, tmp_path):
    folder, manifest, _ = signed
    others = tmp_path / "others"
    others.write_text(new_key(tmp_path / "other", "release@example.org"))
    done = run("verify", folder, manifest, others)
    assert done.returncode == 1
    assert re.fullmatch(r"manifest: \S+ must be of a key in \S+, got another\n", done.stderr)


def test_a_signature_for_something_else_is_refused(signed, tmp_path):
    folder, manifest, signers = signed
    subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-f", tmp_path / "key", "-n", "git", manifest],
        check=True, capture_output=True, input=b"y\n",
    )  # fmt: skip
    assert run("verify", folder, manifest, signers).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "must be sign FOLDER .*, got "),
        (("sign", "gone", "out", "key"), "FOLDER must be a folder, got gone"),
        (("sign", "empty", "out", "key"), "FOLDER must hold files, got none in empty"),
        (("sign", "linked", "out", "key"), "FOLDER must hold plain files only, got linked/model"),
        (("sign", "plain", "out", "gone"), "KEY must name a readable file, got gone"),
        (("sign", "plain", "out", "plain/file"), "KEY must sign, got .+"),
        (("verify", "plain", "out", "signers"), "there must be a file out, got none"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "linked", "plain"):
        (tmp_path / name).mkdir()
    (tmp_path / "linked/model").symlink_to("/etc/hostname")
    (tmp_path / "plain/file").write_text("file")
    done = run(*arguments)
    assert done.returncode == 1
    assert re.fullmatch(f"manifest: {message}\n", done.stderr)
    assert not (tmp_path / "out").exists()


def test_make_signs_and_verifies(signed, tmp_path):
    folder, _, signers = signed
    manifest = tmp_path / "made.sha256"
    make = ["make", "--silent", f"FOLDER={folder}", f"MANIFEST={manifest}"]
    subprocess.run(
        [*make, "manifest", f"KEY={tmp_path / 'key'}"], cwd=ROOT, check=True, capture_output=True
    )
    subprocess.run(
        [*make, "verify", f"SIGNERS={signers}"], cwd=ROOT, check=True, capture_output=True
    )
    added(folder)
    refused = subprocess.run(
        [*make, "verify", f"SIGNERS={signers}"], cwd=ROOT, check=False, capture_output=True
    )
    assert refused.returncode != 0


def test_links_of_the_security_page_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "SECURITY.md").read_text())
    assert links
    assert all(link.startswith("http") or (ROOT / link).exists() for link in links)


def test_the_list_of_parts_is_made_of_the_lock_file():
    said = subprocess.run(
        ["make", "--dry-run", "sbom"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert re.search(r"pip install .* cyclonedx-bom==\d", said)
    assert "cyclonedx-py requirements requirements.lock" in said


def test_the_citation_is_of_its_format_and_names_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert not complaints("citation-file-format", citation)
    paper = citation["preferred-citation"]
    assert paper["doi"] == "10.3389/fonc.2025.1569083"
    assert f"https://doi.org/{paper['doi']}" in (ROOT / "README.md").read_text()


def test_the_citation_has_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert f'version = "{citation["version"]}"' in (ROOT / "pyproject.toml").read_text()


def test_a_citation_without_authors_is_refused():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    del citation["authors"]
    (said,) = complaints("citation-file-format", citation)
    assert "'authors' is a required property" in said


@pytest.mark.parametrize(
    "workflow", sorted((ROOT / ".github/workflows").glob("*.yaml")), ids=lambda path: path.stem
)
def test_workflows_are_of_githubs_schema(workflow):
    content = yaml.safe_load(workflow.read_text())
    content["on"] = content.pop(True)  # how YAML reads the key "on"
    assert not complaints("github-workflows", content)
