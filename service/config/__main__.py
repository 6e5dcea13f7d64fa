"""``python -m service.config`` prints the table of settings for docs/operations.md."""

import sys

from service.config.table import markdown

sys.stdout.write(markdown())
