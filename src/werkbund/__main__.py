"""Run the command line as `python -m werkbund`."""

from werkbund.cli import main

main()
