"""The codes that results carry, and those that the standard has no word for."""

from pydicom.sr.coding import Code

from dyntransnet.contract import Modality

LIVER = Code("10200004", "SCT", "Liver")
NEOPLASM = Code("108369006", "SCT", "Neoplasm")
ORGAN = Code("91723000", "SCT", "Anatomical Structure")
ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")

ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")
DEVICE = Code("121007", "DCM", "Device")
CENTER_OF_MASS = Code("128138", "DCM", "Center of Mass")

PROCEDURE: dict[Modality, Code] = {
    "CT": Code("25045-6", "LN", "CT unspecified body region"),
    "MR": Code("25056-3", "LN", "MRI unspecified body region"),
}

VOLUME = Code("118565006", "SCT", "Volume")
DIAMETER = Code("81827009", "SCT", "Diameter")
MILLILITER = Code("mL", "UCUM", "milliliter")
MILLIMETER = Code("mm", "UCUM", "millimeter")
PERCENT = Code("%", "UCUM", "percent")

OWN_SCHEME = "99DYNTRANSNET"
TUMOR_BURDEN = Code("BURDEN", OWN_SCHEME, "Share of the liver that is tumor")
EQUAL_VOLUME = Code("EQUALVOLUME", OWN_SCHEME, "Sphere of equal volume")
