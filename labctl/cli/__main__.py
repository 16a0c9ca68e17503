"""`python -m labctl.cli` is `labctl`."""

from labctl.cli.main import main

main()
