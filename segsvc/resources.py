"""Where the SQL files are: inside an installed package, or beside it in a checkout."""

from pathlib import Path


def folder(name: str) -> Path:
    """Return the folder `name` (`sql` or `migrations`) that belongs to this code.

    A wheel carries the folders inside the package; an editable install leaves them at the top
    of the checkout.
    """
    package = Path(__file__).parent
    installed = package / name
    return installed if installed.is_dir() else package.parent / name
