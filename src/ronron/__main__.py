"""`python -m ronron`."""

from ronron.cli.main import main

main()
