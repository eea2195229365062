"""Reads dotenv files with the python-dotenv on PYTHONPATH and its defaults, and prints their values as one JSON object."""

import json
import sys

import dotenv

json.dump({path: dotenv.dotenv_values(path) for path in sys.argv[1:]}, sys.stdout)
