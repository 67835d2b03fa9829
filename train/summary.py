"""`python -m train.summary --model NAME`: both twins of a model, layer beside layer.

Only the bridge knows both, so the command is `convert.summary`'s, found here beside the other commands
that are about models; it is run by name, for nothing in this package imports the bridge.
"""

import runpy

if __name__ == "__main__":
    runpy.run_module("convert.summary", run_name="__main__")
