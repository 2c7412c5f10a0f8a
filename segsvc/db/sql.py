"""SQL files: one statement a file; the text that a DBA reviews is, byte for byte, what runs."""

from pathlib import Path


def project_folder(name: str) -> Path:
    """Return the folder `sql` or `migrations` that belongs to this code.

    A wheel carries both inside the package; an editable install leaves them at the top of the
    checkout.
    """
    package = Path(__file__).parent.parent
    installed = package / name
    return installed if installed.is_dir() else package.parent / name


SQL = project_folder("sql")


def statement(name: str) -> str:
    """Return the text of `sql/<name>.sql`, for example `statement("segments/create")`.

    Called while modules are imported, so that a missing file stops the start and not a request.

    Raises:
        FileNotFoundError: there is no such file.
    """
    return (SQL / f"{name}.sql").read_text(encoding="utf-8")
