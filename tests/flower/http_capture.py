"""Requests and responses of plain HTTP/1.1 out of the bytes that went over one connection."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_END_OF_HEAD, _END_OF_LINE = b"\r\n\r\n", b"\r\n"
_WINDOW = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


@dataclass(frozen=True)
class Request:
    """Hold one request.

    Parameters
    ----------
    method, path
        As sent.
    headers
        By lower-case name; a name that came several times has its values joined by commas.
    body
        Without chunk lengths, and unpacked if a content encoding was named.
    complete
        False if the recording ends within the request; `body` is what came until then.
    num_bytes
        Length of all of it, as it was sent.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    complete: bool = True
    num_bytes: int = 0


@dataclass(frozen=True)
class Response:
    """Hold one response.

    Parameters
    ----------
    status
        Such as 200.
    headers, body, complete, num_bytes
        As those of a request.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool
    num_bytes: int


def requests_of(streams: Iterable[bytes]) -> list[Request]:
    """Return the requests of several connections, one connection after the other."""
    return [request for stream in streams for request in requests_in(stream)]


def requests_in(stream: bytes) -> Iterator[Request]:
    """Yield the requests in what a client sent over one connection.

    Raises
    ------
    ValueError
        If the bytes are no HTTP/1.1, such as those of TLS, or name an unknown encoding.
    """
    at = 0
    while at < len(stream):
        end = stream.find(_END_OF_HEAD, at)
        if end < 0:
            yield _unfinished(stream[at:])
            return
        begin, (method, path, headers) = at, _head(stream[at:end])
        raw, at, complete = _body(stream, end + len(_END_OF_HEAD), headers)
        yield Request(method, path, headers, _unpacked(raw, headers), complete, at - begin)


def responses_in(stream: bytes) -> Iterator[Response]:
    """Yield the responses in what a server sent over one connection; one that is cut short in its head is left out.

    Raises
    ------
    ValueError
        If the bytes are no HTTP/1.1, or name an unknown encoding.
    """
    at = 0
    while (end := stream.find(_END_OF_HEAD, at)) >= 0:
        begin, (status, headers) = at, _response_head(stream[at:end])
        raw, at, complete = _body(stream, end + len(_END_OF_HEAD), headers)
        yield Response(status, headers, _unpacked(raw, headers), complete, at - begin)


def _unfinished(rest: bytes) -> Request:
    line, _, _ = rest.partition(_END_OF_LINE)
    words = line.decode("latin-1").split(" ")
    if not words[0].isalpha():
        raise ValueError(f"a request must begin with its method, got {rest[:20]!r}; is this plain HTTP?")
    return Request(words[0], words[1] if len(words) > 1 else "", {}, b"", complete=False, num_bytes=len(rest))


def _head(head: bytes) -> tuple[str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise ValueError(f"a request must begin with method, path and HTTP/1.1, got {first[:60]!r}")
    return words[0], words[1], _headers(lines)


def _response_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise ValueError(f"a response must begin with HTTP/1.1 and its status, got {first[:60]!r}")
    return int(words[1]), _headers(lines)


def _headers(lines: Iterable[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"a header must have a colon, got {line[:60]!r}")
        key = name.strip().lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    return headers


def _body(stream: bytes, at: int, headers: dict[str, str]) -> tuple[bytes, int, bool]:
    """Return a body, where it ends, and whether all of it is there."""
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return _chunked(stream, at)
    length = int(headers.get("content-length", "0"))
    body = stream[at : at + length]
    return body, at + len(body), len(body) == length


def _chunked(stream: bytes, at: int) -> tuple[bytes, int, bool]:
    chunks: list[bytes] = []
    while (end := stream.find(_END_OF_LINE, at)) >= 0:
        length = int(stream[at:end].partition(b";")[0], 16)
        at = end + len(_END_OF_LINE)
        if length == 0:
            return b"".join(chunks), *_after_trailers(stream, at)
        chunks.append(stream[at : at + length])
        at += length + len(_END_OF_LINE)
    return b"".join(chunks), len(stream), False


def _after_trailers(stream: bytes, at: int) -> tuple[int, bool]:
    if stream.startswith(_END_OF_LINE, at):
        return at + len(_END_OF_LINE), True
    end = stream.find(_END_OF_HEAD, at)
    return (end + len(_END_OF_HEAD), True) if end >= 0 else (len(stream), False)


def _unpacked(raw: bytes, headers: dict[str, str]) -> bytes:
    """Undo the content encodings, the last one first; of a body that was cut short, as much as can be read."""
    for name in reversed(headers.get("content-encoding", "identity").lower().split(",")):
        encoding = name.strip()
        if encoding == "identity":
            continue
        if encoding not in _WINDOW:
            raise ValueError(f"content-encoding must be one of {', '.join(_WINDOW)}, got {encoding!r}")
        raw = zlib.decompressobj(_WINDOW[encoding]).decompress(raw)
    return raw
