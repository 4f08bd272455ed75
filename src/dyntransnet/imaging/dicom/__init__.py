"""DICOM series and segmentations, as scans and masks; their LPS world ends here.

pydicom reads what geometry, grouping and segments need and nothing else: names, dates and
descriptions never enter memory. SimpleITK's GDCM decodes voxels, compressed or not.
"""
