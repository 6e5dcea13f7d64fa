"""How one server exports in bulk. Everything here is seen from outside."""

from dataclasses import dataclass

DEFINITION = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition"
INSTANTIATES = "http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data"
NAMES = {"system": "export", "patient": "patient-export", "group": "group-export"}


@dataclass(frozen=True)
class Manners:
    levels: tuple[str, ...] = ("system", "patient", "group")
    methods: tuple[str, ...] = ("GET", "POST")
    guide: str = "3.0.0"
    """Version of the Bulk Data guide. From 4 on: POST alone, repeated parameters, `outcome`."""
    status: str = "bulk/jobs/{job}"
    """Where a job is asked after, below the base."""
    files: str = "bulk/files/{file}"
    polls: int = 1
    """How often the status answers 202 before the manifest."""
    progress: str = "{percent}% complete"
    retry_after: str | None = "1"
    token_for_files: bool = True
    """`requiresAccessToken`. False: pre-signed links to another origin, which refuses a token."""
    redirect: bool = False
    """The file URLs, which want the token, redirect to such pre-signed links."""
    own_credentials: bool = False
    """The other origin wants credentials of its own: nobody gets a file there without them."""
    lines_per_file: int = 1000
    gzip: bool = True
    repeated_types: bool = True
    """Whether `_type` may stand twice in a GET."""
    jobs_per_client: int = 2
    held_until_deleted: bool = False
    """A finished job counts as running until somebody deletes it."""
    lifetime_seconds: float = 3600
    files_per_manifest: int = 0
    """Where the client allows partial manifests: so many files in each, linked by `next`."""

    @property
    def repeats_only(self) -> bool:
        """The dialect of version 4: a list is a repeated parameter, never one with commas."""
        return int(self.guide.partition(".")[0]) >= 4

    def takes(self, method: str) -> bool:
        return method in self.methods and not (self.repeats_only and method == "GET")
