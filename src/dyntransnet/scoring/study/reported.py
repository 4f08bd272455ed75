"""What the paper prints, as it prints it; the definition of its Dice is not stated.

Source:
    Zheng et al., Front Oncol 15, 2025, https://doi.org/10.3389/fonc.2025.1569083; only
    numbers that its running text gives, the cells of its tables are not all known.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reported:
    """One row of the paper.

    Attributes:
        table: where it stands.
        dataset: ATLAS (MRI) or LiTS (CT).
        row: the paper's name of the network.
        dice: percent.
        precision: percent.
        recall: percent.
        spread: what the paper prints after +/-; of what is not stated.
        low: lower end of its 95 % interval.
        high: upper end.
        p: of its paired t-test against its baseline; over what is not stated.
    """

    table: str
    dataset: str
    row: str
    dice: float | None = None
    precision: float | None = None
    recall: float | None = None
    spread: float | None = None
    low: float | None = None
    high: float | None = None
    p: str | None = None


REPORTED = (
    Reported("Table 2", "ATLAS", "FM-M", 86.12),
    Reported("Table 2", "LiTS", "FM-M", 93.12),
    Reported("Table 3", "ATLAS", "Baseline", 84.16, spread=0.53, low=83.83, high=84.49),
    Reported("Table 3", "ATLAS", "Baseline + D-MSA", 84.99, spread=0.57, p="<0.05"),
    Reported(
        "Table 3", "ATLAS", "Baseline + D-MSA + FM-M", 85.79, spread=0.42, low=85.56, high=86.02
    ),
    Reported(
        "Table 3", "ATLAS", "DynTransNet", 86.12, spread=0.36, low=85.90, high=86.34, p="<0.001"
    ),
    Reported("Table 3", "LiTS", "Baseline", 90.58, spread=0.59, low=90.21, high=90.95),
    Reported("Table 3", "LiTS", "Baseline + D-MSA", 91.64, spread=0.74, p="<0.05"),
    Reported(
        "Table 3", "LiTS", "Baseline + D-MSA + FM-M", 92.49, spread=0.45, low=92.24, high=92.75
    ),
    Reported(
        "Table 3", "LiTS", "DynTransNet", 93.12, spread=0.35, low=92.92, high=93.32, p="<0.001"
    ),
    Reported("Table 4", "ATLAS", "DynTransNet", 86.12, 87.52, 85.82),
    Reported("Table 4", "ATLAS", "SegResNet", 85.31, 86.67, 84.50),
    Reported("Table 4", "ATLAS", "SwinUNETR", 83.23),
    Reported("Table 4", "ATLAS", "DynUNet", 82.67),
    Reported("Table 4", "ATLAS", "VNet", 81.59),
    Reported("Table 4", "ATLAS", "UNETR", 80.19),
    Reported("Table 4", "ATLAS", "ViTAutoEnc", 59.85),
    Reported("Table 5", "LiTS", "DynTransNet", 93.12, 94.05, 92.25),
    Reported("Table 5", "LiTS", "DeepLabv3+", precision=96.10),
    Reported("Table 5", "LiTS", "HiFormer", recall=93.71),
    Reported("Table 5", "LiTS", "LightM-UNet", 84.58),
)


def rows_named(name: str) -> list[Reported]:
    """Every row of the paper with this name of a network."""
    return [row for row in REPORTED if row.row == name]
