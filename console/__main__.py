"""`python -m console` is `scf-workers`."""

from __future__ import annotations

from console.cli.main import main

main()
