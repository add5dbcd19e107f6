"""Optional packages, installed by `pip install 'dataver[EXTRA]'`."""

from importlib.util import find_spec
from typing import Final

from dataver.errors import InvalidInput

__all__ = ["has_extra", "require_extra"]

_PACKAGES: Final = {
    "tables": ("duckdb", "pyarrow"),
    "arrays": ("numpy",),
    "images": ("PIL", "numpy"),
    "audio": ("soundfile",),
    "hdf5": ("pyfive",),
    "yaml": ("yaml",),
    "wandb": ("wandb",),
    "import-hf": ("huggingface_hub", "yaml"),
    "clearml": ("clearml",),
}
_DISTRIBUTIONS: Final = {"PIL": "Pillow", "yaml": "PyYAML"}  # whose names are not those of their packages


def has_extra(extra: str) -> bool:
    """Return whether the packages of an extra are installed; imports none of them."""
    return not _missing(extra)


def require_extra(extra: str, what: str) -> None:
    """Raise an error if packages of an extra are not installed.

    Args:
        extra: a key of the table above, such as `tables`.
        what: the operation that needs it, as the subject of a sentence: "the statistics of a table".

    Raises:
        InvalidInput: names a missing package and the command that installs them.
    """
    if missing := _missing(extra):
        name = _DISTRIBUTIONS.get(missing[0], missing[0])
        raise InvalidInput(
            f"{what} needs the Python package {name}, which is not installed.",
            hint=f"pip install 'dataver[{extra}]'",
        )


def _missing(extra: str) -> list[str]:
    return [name for name in _PACKAGES[extra] if find_spec(name) is None]
