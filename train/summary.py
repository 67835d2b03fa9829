"""Prints the new name of this command, `python -m convert summary`."""

import sys

if __name__ == "__main__":
    print("python -m train.summary is now: python -m convert summary --model NAME", file=sys.stderr)
    sys.exit(2)
