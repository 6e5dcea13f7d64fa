"""What a patient's pages act through: links, disputes, consent, packages."""

from dataclasses import dataclass

from service.auth import Principal
from service.patient import erasure
from service.patient.consent import Consents
from service.patient.disputes import Disputes
from service.patient.everything import as_archive, everything
from service.patient.named import Named
from service.pipeline.package import package
from service.pipeline.runtime import Runtime
from service.pipeline.service import Service
from service.sharing.desk import Desk as Sharing
from service.stores.audit import AuditStore


@dataclass(frozen=True)
class PatientDesk:
    """One per process; holds no patient."""

    runtime: Runtime
    links: Sharing
    disputes: Disputes
    consents: Consents
    audit: AuditStore

    @classmethod
    def over(cls, runtime: Runtime, service: Service) -> "PatientDesk":
        return cls(
            runtime=runtime,
            links=Sharing(runtime),
            disputes=service.disputed,
            consents=runtime.consents,
            audit=AuditStore(runtime.database),
        )

    def package(self, twin: str) -> bytes:
        found = package(self.runtime, twin)
        assert found is not None  # a patient is signed in to a twin that is here
        return found

    def everything(self, twin: str) -> bytes:
        """All that is held about a twin, as one archive of open formats."""
        found = everything(self.runtime, twin)
        assert found is not None  # as above
        return as_archive(found)

    def named(self, twin: str) -> bytes:
        """The summary with their name and dates. Raises `NoNameError`."""
        return Named(self.runtime).summary(twin)

    def ask_erasure(self, who: Principal, twin: str) -> None:
        erasure.ask(self.audit, who, twin)

    def erasure_asked(self, twin: str) -> bool:
        return erasure.is_asked(self.audit, twin)
