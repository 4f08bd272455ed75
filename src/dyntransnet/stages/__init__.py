"""The pipeline, in the order of dvc.yaml.

ingest, split, preprocess, train, evaluate, export, register, publish. Stages never
import each other: files are their only interface.
"""
