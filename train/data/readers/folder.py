"""`folder:PATH`: the user's own images, one folder per class.

    PATH/cat/1.jpg  PATH/dog/1.jpg                      every tenth file of a class, by name, is for testing
    PATH/train/cat/1.jpg  PATH/test/cat/2.jpg ...       the splits as given

The folder of the test split may also have the name val, valid or validation. If there are several, the first
one of test, val, valid, validation is used.
"""

from collections.abc import Collection
from pathlib import Path

from train.data.datasets import ReadRequest, Shape
from train.data.readers.image_files import (
    SKIP,
    TEST_FOLDERS,
    ImageFiles,
    check_images,
    folder_contents,
    split_folders,
)
from train.data.sources import Data
from train.lookup import name_some

Classes = dict[str, list[Path]]
LAYOUT = (
    "images are expected in one folder per class, PATH/CLASS/, or in PATH/train/CLASS/ and "
    f"PATH/test/CLASS/ (test may be called {', '.join(TEST_FOLDERS[1:])})"
)


def read_folder(request: ReadRequest) -> Data:
    """Data whose images are decoded when they are accessed; the classes are the folders' names, sorted.

    The shape of the sources is the common shape of all files, or None if the shapes differ. Unreadable files
    and empty folders are errors, or they are listed in meta["skipped"] if the request skips them.
    Errors: ValueError for any other layout of the folder, and for files that are not images; the message
    names the first five with the reasons, and counts them.
    """
    root, skip = Path(request.argument), request.skip_unreadable
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder")
    folders, _ = folder_contents(root)
    roots = split_folders(folders)
    found = [_classes(folder, skip) for folder in roots or [root]]
    empty = [folder for _, without in found for folder in without]
    if roots:
        train, test = (classes for classes, _ in found)
    else:
        ((classes, _),) = found
        train = {name: [f for i, f in enumerate(files) if i % 10 != 9] for name, files in classes.items()}
        test = {name: files[9::10] for name, files in classes.items()}
    files = [file for split in (train, test) for files in split.values() for file in files]
    shape, faults = check_images(files, skip)
    train, test = (_without(split, faults) for split in (train, test))
    if roots and (unknown := sorted(test.keys() - train.keys())):
        raise ValueError(f"{roots[1]} has classes that are not in {roots[0]}: {', '.join(unknown)}")
    names = sorted(train)
    splits = [_source(split, names, shape) for split in (train, test)]
    skipped = [f"{folder} (no images)" for folder in empty]
    skipped += [f"{file} ({fault})" for file, fault in faults.items()]
    meta = {"classes": names, **({"skipped": skipped} if skipped else {})}
    return Data(splits[0], splits[1] if len(splits[1]) else None, meta)


def _classes(root: Path, skip_empty: bool) -> tuple[Classes, list[Path]]:
    """({class: its files}, the folders without files)."""
    folders, loose = folder_contents(root)
    if not folders:
        raise ValueError(f"{root} has no folders: {LAYOUT}")
    if loose:
        raise ValueError(f"{loose[0]} is in no class: {LAYOUT}")
    classes, empty = {}, []
    for folder in folders:
        deeper, files = folder_contents(folder)
        if deeper:
            raise ValueError(f"{deeper[0]} is a folder in a class's folder: {LAYOUT}")
        if files:
            classes[folder.name] = files
        else:
            empty.append(folder)
    if empty and not (skip_empty and classes):
        named = name_some([str(folder) for folder in empty])
        raise ValueError(f"there are no images in {named}: {SKIP if classes else LAYOUT}")
    return classes, empty


def _without(classes: Classes, faults: Collection[Path]) -> Classes:
    """The readable files, without the classes that have none."""
    readable = {name: [file for file in files if file not in faults] for name, files in classes.items()}
    return {name: files for name, files in readable.items() if files}


def _source(split: Classes, names: list[str], shape: Shape | None) -> ImageFiles:
    pairs = [(str(file), names.index(name)) for name in names for file in split.get(name, [])]
    files, labels = zip(*pairs, strict=True) if pairs else ((), ())
    return ImageFiles(shape, "resize", files, labels)
