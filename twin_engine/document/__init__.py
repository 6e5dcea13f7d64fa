"""The twin document: build, read, compare."""

from twin_engine.document.build import Header, build, next_version, with_assessments
from twin_engine.document.clinical import clinical_digest
from twin_engine.document.lineage import Change, Difference, affected, diff, source_ids
from twin_engine.document.octets import digest, dump
from twin_engine.document.read import DocumentError, Twin, read, read_own
from twin_engine.document.schema import MEDIA_TYPE, VERSION, SchemaError, check, schema

__all__ = [
    "MEDIA_TYPE",
    "VERSION",
    "Change",
    "Difference",
    "DocumentError",
    "Header",
    "SchemaError",
    "Twin",
    "affected",
    "build",
    "check",
    "clinical_digest",
    "diff",
    "digest",
    "dump",
    "next_version",
    "read",
    "read_own",
    "schema",
    "source_ids",
    "with_assessments",
]
