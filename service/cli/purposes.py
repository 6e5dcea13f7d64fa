"""`--purpose`: what a run or an export is for. The patient must have allowed it."""

import click

from service.patient.consent import CARE, PURPOSES

purpose_option = click.option(
    "--purpose",
    type=click.Choice(sorted(PURPOSES)),
    default=CARE,
    show_default=True,
    help="What for; the patient must have allowed it.",
)
