from __future__ import annotations

import contextlib
import io
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from werkbund.core.errors import ClientError
from werkbund.flower.wire.parcel import LARGEST, Parcel, read_parcel, write_parcel

PARCELS = st.builds(Parcel, st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=40))


class Slow(io.RawIOBase):
    """A pipe that has little to give at a time, as pipes do."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._left = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        some = self._left.read(min(3, len(view)))
        view[: len(some)] = some
        return len(some)


@settings(deadline=None)
@given(st.lists(PARCELS, max_size=4))
def test_what_is_written_to_a_pipe_is_read_from_it_in_order(parcels: list[Parcel]) -> None:
    pipe = io.BytesIO()
    for parcel in parcels:
        write_parcel(pipe, parcel)
    stream = io.BufferedReader(Slow(pipe.getvalue()))
    assert [read_parcel(stream) for _ in parcels] == parcels
    assert read_parcel(stream) is None


@settings(deadline=None)
@given(PARCELS)
def test_a_file_holds_all_of_a_parcel(parcel: Parcel) -> None:
    assert Parcel.from_bytes(parcel.to_bytes()) == parcel
    assert len(parcel.to_bytes()) == parcel.num_bytes + 24


@settings(deadline=None)
@given(PARCELS, st.data())
def test_whatever_is_cut_short_is_refused(parcel: Parcel, data: st.DataObject) -> None:
    whole = parcel.to_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ClientError, match=r"cut short|must not be empty"):
        Parcel.from_bytes(whole[:cut])


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_whatever_raise_anything_else(content: bytes) -> None:
    with contextlib.suppress(ClientError):
        Parcel.from_bytes(content)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_length_beyond_all_measure_is_refused_before_it_is_read(place: int) -> None:
    sizes = [0, 0, 0]
    sizes[place] = LARGEST + 1

    class Counting(io.BytesIO):
        taken = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.taken += size or 0
            return super().read(size)

    stream = Counting(struct.pack("<QQQ", *sizes))
    with pytest.raises(ClientError, match="at most"):
        read_parcel(stream)
    assert stream.taken == 24
