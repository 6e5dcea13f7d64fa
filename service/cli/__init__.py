"""`twinport`: the whole product from a shell. Each command is one small module of this package."""

import logging
import sys
from collections.abc import Sequence

import click

from service import collector
from service.cli import exits
from service.cli.exits import MEANING, Exit
from service.cli.lazy import LazyGroup

# Loaded when asked for, so that `--help` and `--version` do not import the whole product.
COMMANDS = {
    "run": ("service.cli.run", "Pull or read patients, make their twins, predict, write back."),
    "bulk": ("service.cli.bulk", "Whole populations by Bulk Data export: run, resume, cancel."),
    "watch": ("service.cli.watch", "Keep patients' results up to date: add, list, remove, run."),
    "serve": ("service.cli.serve", "Run the service."),
    "demo": ("service.cli.demo", "Show the whole path on three synthetic patients."),
    "sandbox": ("service.cli.sandbox", "Run the built-in FHIR server with its synthetic patients."),
    "server": ("service.cli.server", "Add a FHIR server, check what works with it, list them."),
    "models": ("service.cli.models", "List models, read their cards, run them on rows of a file."),
    "verify": ("service.cli.verify", "Check a twin file: signature, digest, schema, offline."),
    "recompute": ("service.cli.recompute", "Run a twin's recorded models again and compare."),
    "explain": ("service.cli.explain", "Where every value of one concept comes from."),
    "diff": ("service.cli.diff", "What one version of a twin says that another does not."),
    "export": ("service.cli.export", "A twin as a package, FHIR, IPS, CSV, Parquet or OMOP."),
    "share": ("service.cli.share", "Health links: make, list, update, revoke."),
    "receive": ("service.cli.receive", "Take in a twin, package or link from elsewhere."),
    "extend": ("service.cli.extend", "Continue a twin from elsewhere with what is known here."),
    "trust": ("service.cli.issuers", "Whose twins are taken: issuers, keys by thumbprint."),
    "unlock": ("service.cli.locks", "Open an encrypted export."),
    "coverage": ("service.cli.coverage", "Which codes of a record are mapped, and which not."),
    "reviews": ("service.cli.reviews", "How clinicians and models agree, for the committee."),
    "whatif": ("service.cli.whatif", "Ask a model with other inputs, or about one treatment."),
    "deidentify": ("service.cli.deidentify", "FHIR files without identity, under a named policy."),
    "policy": ("service.cli.policy", "List, show, compare, check and explain the policies."),
    "risk": ("service.cli.risk", "How recognisable the held twins are, measured."),
    "reidentify": ("service.cli.reidentify", "Who a twin is: asked, approved, told once."),
    "erase": ("service.cli.erase", "Destroy every way back to a person."),
    "audit": ("service.cli.audit", "Export who did what, for a period."),
    "ledger": ("service.cli.ledger", "Verify or export the de-identification ledger."),
    "keys": ("service.cli.keys", "Create and rotate keys; make API keys and sign-in codes."),
    "db": ("service.cli.db", "Bring the database to the current schema."),
    "config": ("service.cli.config", "Check the configuration and say where things are."),
}


class _Commands(LazyGroup):
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _exit_codes() -> str:
    lines = [f"  {int(code):>3}  {text}" for code, text in MEANING.items()]
    return "\b\nExit codes:\n" + "\n".join(lines)


@click.group(
    cls=_Commands,
    later={name: f"{module}:command" for name, (module, _) in COMMANDS.items()},
    epilog=_exit_codes(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="twinport", message="twinport %(version)s")
def cli() -> None:
    """From a patient's FHIR record to a signed, portable twin without identity, to predictions
    with their uncertainty, and back into the record.

    Works at once on embedded defaults: `twinport demo`. What it keeps (keys, database) lies in
    TWINPORT_HOME, by default ~/.twinport.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Console entry point: every error is one line on stderr and a documented code."""
    collector.relax()
    sys.exit(execute(sys.argv[1:] if arguments is None else arguments))


def execute(arguments: Sequence[str]) -> int:
    """One command; what other libraries log is not shown, since it may hold addresses."""
    logging.getLogger().addHandler(logging.NullHandler())
    stdout = sys.stdout
    try:
        result = cli.main(list(arguments), prog_name="twinport", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        return Exit.USAGE
    except SystemExit as error:
        # click swaps stdout where the reader is gone: `twinport ... | head` is no error.
        return int(error.code or 0) if sys.stdout is stdout else Exit.OK
    except BaseException as error:  # noqa: BLE001 - the last line of defence against tracebacks
        message, code = exits.explain(error)  # `explain` here is a command's module
        click.echo(f"twinport: {message}", err=True)
        return code
    return result if isinstance(result, int) else Exit.OK
