"""Forms: what a browser sends, as the values that the schemas of the API load."""

import re
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from marshmallow import ValidationError
from multidict import MultiDict

from segsvc.auth.keys import identify_again
from segsvc.auth.roles import Role
from segsvc.console.pages import page, render
from segsvc.http import body_stream
from segsvc.http.fields import UserIdText
from segsvc.http.middlewares import problem_of
from segsvc.http.problems import UnsupportedMediaType
from segsvc.http.requests import refusal

# Fields of a form: a plan of a hundred steps has two for each.
MAX_FIELDS = 500

URLENCODED = "application/x-www-form-urlencoded"

# What a browser sends for `datetime-local`. It has no zone: the form says UTC.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?", re.ASCII)
_USER_ID = UserIdText()
_NUMBER = re.compile(r"\d{1,12}([.,]\d{1,6})?", re.ASCII)


class Form:
    """The fields of a form, as text."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self.fields = MultiDict(fields)

    def __getitem__(self, name: str) -> str:
        """Return a field without blanks around it; empty if it was not sent."""
        return self.fields.get(name, "").strip()

    def kept(self, name: str, stored: str) -> str:
        """Return a field as it was sent, also if it is empty; what is stored if it was not."""
        return self[name] if name in self.fields else stored

    def all(self, name: str) -> list[str]:
        """Return the fields with one name."""
        return [value.strip() for value in self.fields.getall(name, [])]

    def slugs(self, name: str) -> list[str]:
        """Return the words of a field, each of them once."""
        return list(dict.fromkeys(re.split(r"[\s,;]+", self[name]))) if self[name] else []

    def given(self, **read: Callable[[str], Any]) -> dict[str, Any]:
        """Return the fields that are not empty, each as its function reads it."""
        return {name: convert(self[name]) for name, convert in read.items() if self[name]}


def time(text: str) -> str:
    """Return a time of a form as the API writes it; other text is left for the schema.

    Two texts of the same time, with and without the seconds, are the same afterwards.
    """
    if not _TIME.fullmatch(text):
        return text
    seconds, _, parts = (text if text.count(":") > 1 else f"{text}:00").partition(".")
    return f"{seconds}.{parts:0<3}Z"


def number(text: str) -> Any:
    """Return a number, written with a point or a comma; other text is left for the schema."""
    return Decimal(text.replace(",", ".")) if _NUMBER.fullmatch(text) else text


def days(text: str) -> Any:
    """Return a number of days in seconds; other text is left for the schema."""
    value = number(text)
    if not isinstance(value, Decimal):
        return value
    seconds = value * 86400
    return int(seconds) if seconds == int(seconds) else seconds


def user_id(form: Form, name: str) -> int:
    """Return the user id in a field.

    Raises:
        InvalidRequest: it is not a user id.
    """
    try:
        return _USER_ID.parse(form[name])
    except ValidationError as error:
        raise refusal(error.messages[0], (name,)) from None


Shown = dict[str, Any]
Show = Callable[[web.Request, Form], Awaitable[Shown]]
Send = Callable[[web.Request, Form], Awaitable[web.StreamResponse | Shown]]


async def _nothing(request: web.Request, form: Form) -> Shown:
    del request, form
    return {}


def form_page(
    path: str, template: str, show: Show = _nothing, role: Role = Role.EDITOR
) -> Callable[[Send], Send]:
    """Declare a page with a form above the function that gets the form when it is sent.

    `show` returns what the page shows around the form. The function returns a response, or what
    the page shows in addition. What it refuses is said above the form, which keeps its values.
    """

    def declare(send: Send) -> Send:
        @page(path, role=role)
        async def get(request: web.Request) -> web.StreamResponse:
            form = Form(request.query)
            return render(request, template, {**await show(request, form), "form": form})

        @page(path, role=role, method="POST")
        async def post(request: web.Request) -> web.StreamResponse:
            form = await read_form(request)
            status = web.HTTPOk.status_code
            try:
                answer = await send(request, form)
            except Exception as error:  # noqa: BLE001 (every one is answered)
                problem = problem_of(request, error)
                answer, status = {"problem": problem}, problem.status
            if not isinstance(answer, dict):
                return answer
            shown = {**await show(request, form), "form": form, **answer}
            return render(request, template, shown, status=status)

        return send

    return declare


async def read_form(request: web.Request) -> Form:
    """Return the form in the body of a request.

    Raises:
        UnsupportedMediaType: the body is not a form.
        InvalidRequest: it cannot be read, or has too many fields.
        Problem: what `body_stream.read` raises.
    """
    if request.content_type != URLENCODED:
        raise UnsupportedMediaType(f"send a form, as {URLENCODED}")
    body = await body_stream.read(request)
    await identify_again(request)
    return parsed(body)


def parsed(body: bytes) -> Form:
    """Return the fields of a form.

    Raises:
        InvalidRequest: it has too many, or is not in UTF-8.
    """
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        detail = f"is not UTF-8, or has more than {MAX_FIELDS} fields"
        raise refusal(f"the form {detail}", ()) from None
    return Form(MultiDict(pairs))
