"""The office of a running installation."""

from service.office.keys import key_facts
from service.office.office import Office
from service.pipeline.runtime import Runtime
from service.reidentify.desk import Desk


def open_office(runtime: Runtime) -> Office:
    return Office.over(
        runtime.database,
        signer=runtime.signer,
        requests=Desk(runtime.database, runtime.vault, runtime.signer),
        keys=lambda: key_facts(runtime.keys),
        jwks=runtime.jwks,
    )
