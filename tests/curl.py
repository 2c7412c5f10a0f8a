"""The little of curl that the README's tour needs, for machines without curl."""

import argparse
from urllib.error import HTTPError
from urllib.request import Request, urlopen

parser = argparse.ArgumentParser(prog="curl")
parser.add_argument("-s", action="store_true")
parser.add_argument("-X", dest="method")
parser.add_argument("-H", dest="headers", action="append", default=[])
parser.add_argument("-d", dest="data", type=str.encode)
parser.add_argument("url")

if __name__ == "__main__":
    given = parser.parse_args()
    headers = dict(header.split(": ", 1) for header in given.headers)
    request = Request(given.url, given.data, headers, method=given.method)  # noqa: S310
    try:
        response = urlopen(request)  # noqa: S310
    except HTTPError as error:
        response = error
    with response:
        print(response.read().decode(), end="")
