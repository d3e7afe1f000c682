"""``python -m pixelwise``: the command line."""

from pixelwise.cli import main

main()
