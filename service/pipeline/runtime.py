"""Puts the installation together: configuration, keys, database, vault, maker, deliverer.

The command line and the web both start here. `open_runtime` makes what is missing (home, keys,
schema) when the database is the embedded one; a PostgreSQL database is upgraded by the operator.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from privacy.errors import PolicyError
from privacy.policy import load_policy, policy_ids, twin_policy_ids
from privacy.signing import SigningKey, VerificationKeys
from privacy.vault import Vault, seal, unseal
from service.config import Config, load_config
from service.config.sections import ServerAuth
from service.fhir.client_keys import published
from service.fhir.servers import ServerConfig, from_config
from service.keys import KeyRing
from service.keys.vaults import open_vault
from service.patient.consent import Consents
from service.pipeline.deliver import Deliverer, Parcel
from service.pipeline.errors import NotConfigured
from service.pipeline.make import Made, Maker
from service.pipeline.own import own_resources
from service.pipeline.versions import ModelVersions
from service.review.facade import with_decisions
from service.review.verdicts import reviewed_of
from service.stores import Database, current_revision, head_revision, open_database, upgrade
from service.stores.migrate import require_head
from service.stores.outbox import SqlOutboxStore
from service.stores.own import OwnStore
from service.stores.reviews import About, ReviewStore
from service.stores.runs import RunStore
from service.stores.vault import SqlVaultStore
from twin_engine.models.assess import Request, request
from twin_engine.models.registry import UnknownModelError, default_models, unknown_settings

Json = dict[str, Any]


class BlobSealer:
    """Seals queue, result and outbox payloads under a key of their own."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, plain: bytes, context: bytes = b"outbox") -> bytes:
        return seal(self._key, plain, context)

    def open(self, sealed: bytes, context: bytes = b"outbox") -> bytes:
        return unseal(self._key, sealed, context)


@dataclass(frozen=True)
class Runtime:
    """One installation, ready to work."""

    config: Config
    keys: KeyRing
    database: Database
    vault: Vault
    signer: SigningKey
    maker: Maker
    deliverer: Deliverer
    outbox: SqlOutboxStore
    sealer: BlobSealer
    versions: ModelVersions
    consents: Consents
    fresh: tuple[str, ...] = field(default=())
    """What was created on the way (`keys`, `database`), for the command line to say."""

    def results(
        self,
        made: Made,
        scale: str = "percent",
        *,
        refusals: bool = False,
    ) -> list[Parcel]:
        """What a run answers with and may write back; our own façade shows it from now on.
        `refusals`: also where a model made no estimate."""
        parcels = self.deliverer.parcels(made, scale, refusals=refusals)
        self.show(made, refusals=refusals)
        return parcels

    def show(
        self, made: Made, *, refusals: bool = False, beside: Callable[[], None] | None = None
    ) -> None:
        """The same on our own façade. `beside` is called inside the same transaction."""
        reviews, twin = ReviewStore(self.database), made.twin.id
        keys = {
            About(twin, item["model"]["id"], item["snapshot"]): self.deliverer.key(made, item)
            for item in made.assessments
            if item["results"]
        }
        own = own_resources(made, self.deliverer, refusals=refusals)
        with self.database.write():
            reviews.note_keys(keys)
            decided, base = reviews.decisions(keys.values()), code_base(self.config)
            decisions = {key: reviewed_of(one, base) for key, one in decided.items()}
            OwnStore(self.database).keep(with_decisions(own, decisions))
            if beside is not None:
                beside()

    def server(self, name: str) -> ServerConfig:
        entry = self.config.servers.get(name)
        if entry is None:
            known = ", ".join(sorted(self.config.servers)) or "none"
            raise NotConfigured(
                f"no such server is configured; there are: {known}", "unknown-server"
            )
        return from_config(name, entry, self.config.limits)

    def models(self, asked: tuple[str, ...] = ()) -> tuple[Request, ...]:
        """The models asked for, else the configured default, else all that may run here."""
        settings = self.settings()
        usual = tuple(model.id for model in default_models(settings))
        wanted = asked or self.config.models.default or usual
        disabled = set(self.config.models.disabled)
        chosen = [name for name in wanted if asked or name not in disabled]
        refused = disabled & {name.partition(":")[0] for name in chosen}
        if refused:
            raise NotConfigured(f"switched off here: {', '.join(sorted(refused))}", "unknown-model")
        try:
            found = [request(name) for name in chosen]
        except (UnknownModelError, LookupError) as error:
            raise NotConfigured(str(error.args[0]), "unknown-model") from None
        local, silent = self.versions.active(), set(self.config.models.silent)
        return tuple(
            one._replace(
                model=local.get(one.model.id, one.model),
                settings=settings,
                unasked=not asked,
                silent=one.model.id in silent,
            )
            for one in found
        )

    def settings(self) -> Mapping[str, str]:
        """What the installation has stated for its models; a word no model knows is refused."""
        stated = {
            name.replace("_", "-"): word for name, word in self.config.models.settings.items()
        }
        wrong = unknown_settings(stated)
        if wrong:
            raise NotConfigured(f"models.settings: {'; '.join(wrong)}")
        return stated

    def policy(self, asked: str | None = None) -> str:
        """The policy asked for, else the configured default; it must be one that makes twins."""
        chosen = asked or self.config.policy.default
        if chosen not in policy_ids():
            known = ", ".join(twin_policy_ids())
            raise NotConfigured(f"no such policy; there are: {known}", "unknown-policy")
        try:
            load_policy(chosen).require_twins()
        except PolicyError as error:
            raise NotConfigured(str(error), "unknown-policy") from None
        return chosen

    def jwks(self) -> Mapping[str, Any]:
        return self.keys.jwks()

    def client_jwks(self) -> Mapping[str, Any]:
        """The public keys with which we sign in to FHIR servers, read anew: they may change."""
        servers = self.config.servers.values()
        apps = [
            ServerAuth(kind="smart-backend", key_file=one.launch.key_file)
            for one in servers
            if one.launch.key_file
        ]
        return published([*(server.auth for server in servers), *apps], lenient=True)

    def verification_keys(self) -> VerificationKeys:
        return VerificationKeys(self.jwks())

    def note_run(
        self, *, server: str, made: Made, counts: Mapping[str, int], started: datetime
    ) -> None:
        """Runs of the command line stand beside those of the service, for the officer to see."""
        RunStore(self.database).note(
            kind="command-line",
            server=server,
            twin=made.twin.id,
            twin_version=made.twin.version,
            counts=counts,
            started=started,
        )

    def close(self) -> None:
        self.database.close()


def open_runtime(
    config: Config | None = None, *, load: Callable[[], Config] = load_config
) -> Runtime:
    settings = config or load()
    keys = KeyRing.open(
        settings.keys_dir,
        vault_key=settings.vault_key,
        vault_key_previous=settings.vault_key_previous,
    )
    database, upgraded = _database(settings)
    fresh = [name for name, made in (("keys", keys.created_now), ("database", upgraded)) if made]
    return _assemble(settings, keys, database, tuple(fresh))


def _database(config: Config) -> tuple[Database, bool]:
    """The embedded database is brought up to date here; any other is the operator's to upgrade."""
    database = open_database(
        config.database_url,
        pool_size=config.database.pool_size,
        busy_seconds=config.database.busy_seconds,
    )
    if database.is_postgresql:
        require_head(database.engine)
        return database, False
    current = current_revision(database.engine)
    if current != head_revision():
        upgrade(database.engine)
    return database, current is None


def _assemble(config: Config, keys: KeyRing, database: Database, fresh: tuple[str, ...]) -> Runtime:
    versions = ModelVersions(database)
    vault = open_vault(SqlVaultStore(database), keys)
    consents = Consents(database, vault.index)
    signer = SigningKey(keys.signing.private.private_bytes_raw())
    return Runtime(
        config=config,
        keys=keys,
        database=database,
        vault=vault,
        signer=signer,
        maker=Maker(
            project=config.project.name,
            database=database,
            vault=vault,
            signer=signer,
            consents=consents,
        ),
        deliverer=Deliverer(
            vault=vault,
            code_base=code_base(config),
            versions=versions,
            # Half a run's lease: whoever takes a run over finds its writes free.
            lease_seconds=config.jobs.lease_seconds / 2,
        ),
        outbox=SqlOutboxStore(database),
        # From the root secret inside the ring, which survives a rotation of the vault key.
        sealer=BlobSealer(vault.key_for("payloads")),
        versions=versions,
        consents=consents,
        fresh=fresh,
    )


def code_base(config: Config) -> str:
    """Under which our own code systems are named: the public address, or a name without one."""
    return config.web.public_url.rstrip("/") or "urn:twinport"
