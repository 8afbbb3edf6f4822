import numpy
import pytest
from numpy.testing import assert_array_equal

from thinc.api import HashEmbed, chain, strings2arrays, with_array
from thinc.backends.murmur import murmur3_of_bytes

HASHES = {
    "": 0,
    "a": 1009084850,
    "b": 18446744071928970755,
    "bc": 1328615756,
    "ä": 2117259732,
    "hello": 613153351,
}


def test_hashes():
    (Y,) = strings2arrays().predict([list(HASHES)])
    assert Y.dtype == "uint64"
    assert_array_equal(Y[:, 0], numpy.array(list(HASHES.values()), dtype="uint64"))


# Published test vectors of MurmurHash3_x86_32: every length of the rest, and seeds.
@pytest.mark.parametrize(
    "data,seed,expected",
    [
        (b"", 1, 0x514E28B7),
        (b"", 0xFFFFFFFF, 0x81F16F39),
        (b"\xff\xff\xff\xff", 0, 0x76293B50),
        (b"\x21\x43\x65\x87", 0, 0xF55B516B),
        (b"\x21\x43\x65\x87", 0x5082EDEE, 0x2362F9DE),
        (b"\x21\x43\x65", 0, 0x7E4A8634),
        (b"\x21\x43", 0, 0xA0F7B07A),
        (b"\x21", 0, 0x72661CF4),
        (b"\0\0\0\0", 0, 0x2362F9DE),
        (b"\0\0\0", 0, 0x85F0B427),
        (b"\0\0", 0, 0x30F4C306),
        (b"\0", 0, 0x514E28B7),
    ],
)
def test_murmur_vectors(data, seed, expected):
    assert murmur3_of_bytes(data, seed) == expected


def test_shapes():
    Y, backprop = strings2arrays().begin_update([["hello", "world"], [], ["a"]])
    assert [y.shape for y in Y] == [(2, 1), (0, 1), (1, 1)]
    assert {y.dtype.name for y in Y} == {"uint64"}
    assert backprop(Y) == []
    assert strings2arrays().predict([]) == []


def test_a_string_is_a_sequence_of_characters():
    assert_array_equal(strings2arrays().predict(["ab"])[0][:, 0], [HASHES["a"], HASHES["b"]])


@pytest.mark.parametrize("bad", [[[1]], [[None]], [[b"a"]], [[["a"]]]])
def test_what_is_no_string_is_refused(bad):
    with pytest.raises(TypeError, match="strings2arrays: "):
        strings2arrays().predict(bad)


def test_as_input_of_an_embedding():
    model = chain(strings2arrays(), with_array(HashEmbed(2, 50, column=0))).initialize()
    one, two = model.predict([["a", "b"], ["a"]])
    assert_array_equal(one[0], two[0])
    assert (one[0] != one[1]).any()
