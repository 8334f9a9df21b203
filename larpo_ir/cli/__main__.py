"""`python -m larpo_ir.cli`, for launchers of several processes."""

from larpo_ir.cli import main

main()
