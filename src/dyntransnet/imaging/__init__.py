"""From scan to mask, without torch.

One axis order and one world, everywhere in this package, in its files, tensors
and on the wire: arrays are indexed ``[x, y, z]``, and a 4 x 4 affine takes voxel
indices to millimeters in RAS+ world space (x to the right, y to the front, z to
the head), as NIfTI and nibabel have it. Other conventions (SimpleITK's ``[z, y, x]``
and LPS, DICOM's LPS) are converted at the file border, in ``scan``.
A *scan* lies on its own grid, a *volume* on the network's.
"""
