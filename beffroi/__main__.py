"""`beffroi` and `python -m beffroi`."""

from __future__ import annotations

from beffroi.cli.app import main

if __name__ == "__main__":
    main()
