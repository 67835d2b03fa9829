"""The public names of the package."""

import subprocess
import sys

import pytest

import convert


def test_dir_shows_the_public_names_before_anything_is_loaded():
    script = (
        "import sys, convert; names = [n for n in dir(convert) if not n.startswith('_')];"
        "print(*names); print(sorted({'jax', 'flax', 'torch', 'numpy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    names, loaded = result.stdout.splitlines()
    assert names.split() == sorted(convert.__all__) and loaded == "[]"
    assert {"to_torch", "to_flax", "verify", "TWINS", "ConversionError"} <= set(convert.__all__)


@pytest.mark.parametrize("name", convert.__all__)
def test_every_public_name_is_there(name):
    value = getattr(convert, name)
    assert value is getattr(convert, name) and name in dir(convert)
    assert getattr(value, "__module__", "convert").startswith("convert")


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'convert' has no attribute 'to_tensorflow'"):
        _ = convert.to_tensorflow  # pyright: ignore[reportAttributeAccessIssue]
