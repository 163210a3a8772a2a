"""Write the golden files of the corpus anew: all of them, or those of the functions named.

Run:  python tests/golden/regenerate.py [NAME ...]

Read `git diff` afterwards: a commit that changes a golden file says why.
"""

from __future__ import annotations

import sys
import warnings

from corpus import CORPUS
from replay import FOLDER, typeset


def main(names: list[str]) -> None:
    """Write the files; where none is named, remove those of functions that are gone."""
    warnings.simplefilter("error")
    FOLDER.mkdir(exist_ok=True)
    unknown = set(names) - set(CORPUS)
    if unknown:
        raise SystemExit(f"the corpus has no function {', '.join(sorted(unknown))}")
    for path in FOLDER.glob("*.txt"):
        if not names and path.stem not in CORPUS:
            path.unlink()
            print(f"{path.name} removed")
    for name in names or CORPUS:
        path, text = FOLDER / f"{name}.txt", typeset(CORPUS[name])
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"{path.name} written")


if __name__ == "__main__":
    main(sys.argv[1:])
