from builders import contract_of
from dyntransnet.scoring.parity import ParityLimits
from dyntransnet.scoring.parity_page import write_parity_page

LIMITS = {"bf16": ParityLimits(relative_difference=2.0, min_dice=0.98, max_dice_change=0.002)}
COMPARED = {"voxels": 12000, "changed": 34, "dice": {"liver": 0.99875, "tumor": None}}
ROW = {
    "runtime": "openvino",
    "precision": "bf16",
    "computed_in": "fp32",
    "max_difference": 0.25,
    "mean_difference": 0.0126,
    "relative_difference": 0.125,
    "dice_min": 0.99875,
    "dice_change": {"liver": -0.00012, "tumor": None},
    "windows": COMPARED,
    "scans": {"<b>": COMPARED | {"dice_change": {"liver": -0.00012, "tumor": None}}},
}


def page_of(tmp_path, **changes) -> str:
    forms = {"openvino bf16": ROW | changes}
    write_parity_page(contract_of(), forms, LIMITS, tmp_path / "report.html")
    return (tmp_path / "report.html").read_text()


def test_each_form_stands_beside_its_limits(tmp_path):
    page = page_of(tmp_path)
    for cell in (
        "fp32", "1.2e-01 (2)", "2.5e-01", "1.3e-02", "34 of 12,000", "0.99875 (0.98)",
        "-0.00012 (0.002)", "\N{EN DASH} (0.002)",
    ):  # fmt: skip
        assert f"<td>{cell}</td>" in page
    assert '<th scope="row">openvino bf16</th>' in page


def test_each_scan_has_its_line_and_no_name_is_markup(tmp_path):
    page = page_of(tmp_path)
    assert '<th scope="row">&lt;b&gt;</th><td>openvino bf16</td>' in page
    assert "<td>0.99875</td><td>\N{EN DASH}</td><td>-0.00012</td><td>\N{EN DASH}</td>" in page


def test_without_scans_there_is_no_table_of_them(tmp_path):
    assert page_of(tmp_path, scans={}).count("<table") == 1


def test_the_page_needs_no_other_file_and_runs_no_script(tmp_path):
    page = page_of(tmp_path)
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "")
