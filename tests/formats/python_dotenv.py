"""Reads each dotenv file it is given with the python-dotenv on PYTHONPATH, by its defaults, and prints all that it
found as one JSON object."""

import json
import sys

import dotenv

json.dump({path: dotenv.dotenv_values(path) for path in sys.argv[1:]}, sys.stdout)
