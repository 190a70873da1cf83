"""Reads lists of pairs and prints what the snippet makes of each."""

import json
import sys

from snippet import sign

for pairs in json.load(sys.stdin):
    print(sign(sys.argv[1], [tuple(pair) for pair in pairs]))
