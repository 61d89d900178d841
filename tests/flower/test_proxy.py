from __future__ import annotations

import gzip
import http.client
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.flower.http_capture import Request, requests_in, requests_of
from tests.flower.proxy import RecordingProxy


class Echo(BaseHTTPRequestHandler):
    """Answer with what came, over a connection that stays."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self._chunks() if "Transfer-Encoding" in self.headers else self._plain()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass

    def _plain(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def _chunks(self) -> bytes:
        body = b""
        while length := int(self.rfile.readline(), 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        return body


class Server(ThreadingHTTPServer):
    """Serve; a client that is cut off is no news."""

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(server: Server) -> Iterator[RecordingProxy]:
    with RecordingProxy("127.0.0.1", server.server_address[1]) as proxy:
        yield proxy


def connect(proxy: RecordingProxy, timeout: float = 10.0) -> closing[http.client.HTTPConnection]:
    return closing(http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=timeout))


def post(
    connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str] | None = None
) -> bytes:
    connection.request("POST", path, body, headers or {})
    return connection.getresponse().read()


def captured(proxy: RecordingProxy) -> list[Request]:
    return requests_of(recording.sent for recording in proxy.connections)


def test_bytes_pass_unchanged_in_both_directions(proxy: RecordingProxy) -> None:
    body = bytes(range(256)) * 4000
    with connect(proxy) as connection:
        assert post(connection, "/large", body) == body
    (recording,) = proxy.connections
    assert recording.sent.endswith(body)
    assert recording.received.startswith(b"HTTP/1.1 200")
    assert recording.received.endswith(body)
    assert proxy.sent == recording.sent
    assert proxy.received == recording.received


def test_each_connection_has_its_own_recording(proxy: RecordingProxy) -> None:
    with connect(proxy) as first, connect(proxy) as second:
        post(first, "/first", b"1")
        post(second, "/second", b"2")
        post(first, "/third", b"3")
    assert [[request.path for request in requests_in(one.sent)] for one in proxy.connections] == [
        ["/first", "/third"],
        ["/second"],
    ]


@pytest.mark.faults
def test_many_connections_at_a_time(proxy: RecordingProxy) -> None:
    answers: dict[int, bytes] = {}

    def ask(number: int) -> None:
        with connect(proxy) as connection:
            answers[number] = post(connection, f"/{number}", bytes([number]) * 50_000)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wrong = [number for number in range(6) if answers.get(number) != bytes([number]) * 50_000]
    assert not wrong
    assert sorted(int(request.path[1:]) for request in captured(proxy)) == list(range(6))


def test_a_cut_ends_connections_and_refuses_new_ones_until_it_is_restored(proxy: RecordingProxy) -> None:
    port = proxy.port
    with connect(proxy) as connection:
        post(connection, "/before", b"x")
        proxy.cut()
        with pytest.raises((OSError, http.client.HTTPException)):
            post(connection, "/during", b"x")
    with connect(proxy) as connection, pytest.raises(ConnectionRefusedError):
        post(connection, "/during", b"x")
    proxy.cut()  # once more changes nothing
    proxy.restore()
    assert proxy.port == port
    with connect(proxy) as connection:
        assert post(connection, "/after", b"y") == b"y"
    assert [request.path for request in captured(proxy)] == ["/before", "/after"]


def test_a_cut_is_a_reset_and_no_orderly_end(proxy: RecordingProxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10.0) as client:
        client.sendall(b"POST / HTTP/1.1\r\n")
        wait_until(lambda: proxy.sent != b"")
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_cut_wakes_a_client_that_waits(proxy: RecordingProxy) -> None:
    proxy.freeze()
    failed: list[BaseException] = []

    def ask() -> None:
        with connect(proxy) as connection:
            try:
                post(connection, "/", b"x")
            except (OSError, http.client.HTTPException) as error:
                failed.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until(lambda: proxy.sent.endswith(b"x"))
    proxy.cut()
    thread.join(10.0)
    assert len(failed) == 1


def test_frozen_bytes_are_recorded_and_arrive_after_the_thaw(proxy: RecordingProxy) -> None:
    proxy.freeze()
    with connect(proxy, timeout=0.3) as connection:
        connection.request("POST", "/frozen", b"held")
        with pytest.raises(TimeoutError):
            connection.getresponse()
        assert proxy.sent.endswith(b"held")
        assert proxy.received == b""
    proxy.thaw()
    with connect(proxy) as connection:
        assert post(connection, "/after", b"x") == b"x"
    wait_until(lambda: proxy.received.count(b"held") == 1)


def test_a_connection_is_closed_where_no_server_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: nobody else can take it
        with (
            RecordingProxy("127.0.0.1", taken.getsockname()[1]) as proxy,
            connect(proxy) as connection,
            pytest.raises((OSError, http.client.HTTPException)),
        ):
            post(connection, "/", b"x")


def test_one_direction_may_end_before_the_other(proxy: RecordingProxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10.0) as client:
        client.sendall(b"POST /half HTTP/1.1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        client.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := client.recv(1000):
            received += chunk
    assert received.endswith(b"ok")


def test_leaving_stops_the_port_and_the_thread(server: Server) -> None:
    before = threading.active_count()
    with RecordingProxy("127.0.0.1", server.server_address[1]) as proxy:
        pass
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5.0)


def test_requests_are_read_from_a_recording(proxy: RecordingProxy) -> None:
    plain = b'{"rows": 1000}' * 100
    with connect(proxy) as connection:
        post(connection, "/length", plain)
        connection.request("POST", "/chunks", iter([plain[:10], plain[10:]]), {"A": "1"}, encode_chunked=True)
        assert connection.getresponse().read() == plain
        post(connection, "/gzip", gzip.compress(plain), {"Content-Encoding": "gzip"})
        post(connection, "/deflate", zlib.compress(plain), {"Content-Encoding": "deflate"})
        post(connection, "/nothing", b"")
    requests = captured(proxy)
    assert [request.path for request in requests] == ["/length", "/chunks", "/gzip", "/deflate", "/nothing"]
    assert [request.body for request in requests] == [plain] * 4 + [b""]
    assert all(request.complete and request.method == "POST" for request in requests)
    assert requests[1].headers["a"] == "1"
    assert requests[1].headers["transfer-encoding"] == "chunked"


@pytest.mark.parametrize("encoding", ["length", "chunks"])
def test_a_recording_may_end_anywhere(encoding: str) -> None:
    head = b"POST /x HTTP/1.1\r\n" + (
        b"Content-Length: 5\r\n\r\nabcde" if encoding == "length" else b"Transfer-Encoding: chunked\r\n\r\n"
    )
    stream = head if encoding == "length" else head + b"2\r\nab\r\n3;name=value\r\ncde\r\n0\r\nTrailer: 1\r\n\r\n"
    (whole,) = requests_in(stream)
    assert (whole.body, whole.complete) == (b"abcde", True)
    for end in range(1, len(stream)):
        (part,) = requests_in(stream[:end])
        assert not part.complete
        assert b"abcde".startswith(part.body)
    assert [request.complete for request in requests_in(stream * 2 + stream[:-1])] == [True, True, False]


@pytest.mark.parametrize("stream", [b"\x16\x03\x01\x02\x00\x01\x00", b"\x16\x03\r\n\r\n", b"GET /\r\n\r\n"])
def test_other_bytes_are_no_http(stream: bytes) -> None:
    with pytest.raises(ValueError, match="must begin with"):
        list(requests_in(stream))


def test_an_unknown_encoding_is_no_silent_loss() -> None:
    with pytest.raises(ValueError, match="br"):
        list(requests_in(b"POST / HTTP/1.1\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx"))


def wait_until(true: Callable[[], bool], timeout_s: float = 10.0) -> None:
    until = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.01)
