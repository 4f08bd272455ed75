"""What a hospital's archive sends and takes: series in folders and zips in, DICOM SEG and SR out.

A patient's identity goes from the files that came in to those that go out, and nowhere else:
not into names of cases, messages, logs, or what a server is sent.
"""
