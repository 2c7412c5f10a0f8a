"""The statements in `sql/`, by name. What a DBA reviews there is, byte for byte, what runs."""

from segsvc.resources import folder

SQL = folder("sql")


def statement(name: str) -> str:
    """Return the text of `sql/<name>.sql`, for example `statement("segments/create")`.

    Called while modules load, so that a missing file stops the start and not a request.

    Raises:
        FileNotFoundError: there is no such file.
    """
    return (SQL / f"{name}.sql").read_text(encoding="utf-8")
