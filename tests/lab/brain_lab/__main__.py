"""Starts the lab: `python -m brain_lab --port 0 --ready-file PATH`."""

from brain_lab.server import main

main()
