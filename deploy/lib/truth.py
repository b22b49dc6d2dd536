"""truth.py FILE frames|prefixes: what the quickstart takes from a scenario's ground truth.

frames: a line "sensor frames" for each sensor. prefixes: the hosting company's, as a literal of type
cidr[]. Only what to send and what to ask; no answer is taken from here.
"""
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    truth = json.load(file)
if sys.argv[2] == "frames":
    for sensor in truth["sensors"]:
        print(sensor["code"], sensor["frames"])
else:
    print("{" + ",".join(truth["hosting"]["prefixes"]) + "}")
