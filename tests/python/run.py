"""Runs a program of the notes as a lesson is run: Ctrl-C and Ctrl-D end it without a traceback. Arguments: its own."""
import runpy
import signal
import sys

signal.signal(signal.SIGINT, signal.SIG_DFL)
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except EOFError:
    pass
