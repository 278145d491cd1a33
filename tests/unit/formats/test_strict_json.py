"""JSON parsed strictly: what is refused, where, and what is kept in view."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardctl.formats import strict_json
from shardctl.formats.strict_json import (
    Density,
    DuplicateKeys,
    InvalidJsonError,
    decode,
    duplicate_keys,
    finite_float,
    integer,
    is_f64,
    is_too_deep,
    kind,
    object_of_texts,
    parse_object,
    refuse_dense,
    refuse_lone_surrogates,
    texts_of_object,
    walk,
)

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), _VALUES))
def test_a_sound_object_is_what_python_reads(value: dict[str, object]) -> None:
    """An object without a fault is parsed as Python's own parser does, at any depth."""
    text = json.dumps(value, allow_nan=False) if _finite(value) else "{}"
    assert parse_object(decode(text.encode())) == json.loads(text)


def _finite(value: object) -> bool:
    return all(abs(each) != float("inf") for each in walk(value) if isinstance(each, float))


def test_bytes_that_are_not_utf_8_are_refused_where_they_are() -> None:
    """The error has the offset of the first byte that is not UTF-8."""
    with pytest.raises(InvalidJsonError, match="not UTF-8") as caught:
        decode(b'{"a": "\xff"}')
    assert (caught.value.position, caught.value.place) == (7, "byte 7")


@pytest.mark.parametrize(
    ("text", "words", "position"),
    [
        ("", "not valid JSON", 0),
        ("\ufeff{}", "byte order mark", 0),
        ("[]", "a list, not an object", 0),
        ("null", "null, not an object", 0),
        ('{"é": }', "Expecting value", 7),
        ("{} {}", "trailing data after the object", 3),
        ('{"a": 1}\0\0', "padded with NUL bytes", 8),
        ('{"a": NaN}', "NaN is not a JSON number", 0),
        ('{"a": -Infinity}', "-Infinity is not a JSON number", 0),
        ('{"a": ' + "1" * 10_000 + "}", "not valid JSON", 0),
        ('{"a": ' * 100_000, "nested too deeply", 0),
    ],
)
def test_what_is_not_strictly_an_object_is_refused(text: str, words: str, position: int) -> None:
    """Each error says why, and at which byte where that is known."""
    with pytest.raises(InvalidJsonError, match=words) as caught:
        parse_object(text)
    assert caught.value.position == position
    assert str(caught.value) == caught.value.message


def test_the_place_of_an_error_is_given_in_lines_and_columns() -> None:
    """A text of several lines has its errors where an editor shows them."""
    with pytest.raises(InvalidJsonError) as caught:
        parse_object('{\n  "a": }')
    assert caught.value.place == "line 2, column 8"


def test_duplicate_keys_are_kept_in_view() -> None:
    """Duplicate keys are named once each at their own level, and the last value counts."""
    root = parse_object('{"a": 1, "b": {"x": 1, "x": 2}, "a": 3, "a": 4}')
    assert root == {"a": 4, "b": {"x": 2}}
    assert duplicate_keys(root) == ["a"]
    assert isinstance(root["b"], DuplicateKeys)
    assert duplicate_keys(root["b"]) == ["x"]
    assert duplicate_keys({"a": 1}) == duplicate_keys([]) == []


def test_numbers_that_cannot_be_written_again_can_be_refused() -> None:
    """Infinite floats pass by default, and are errors for the function that refuses them."""
    text = '{"a": 1e999}'
    assert parse_object(text) == {"a": float("inf")}
    with pytest.raises(InvalidJsonError, match="1e999 is too large"):
        parse_object(text, parse_float=finite_float)


@pytest.mark.parametrize("parse_int", [int, integer])
def test_a_number_of_too_many_digits(parse_int: Callable[[str], float]) -> None:
    """An integer that Python does not take is refused in words that fit a file."""
    with pytest.raises(InvalidJsonError, match="a number has too many digits"):
        parse_object(f'{{"a": {"9" * 10_000}}}', parse_int=parse_int)


def test_minus_zero_can_be_kept_apart_from_integers() -> None:
    """Only for Python is -0 an integer: as a float it is none of the numbers of a shape."""
    root = parse_object('{"a": -0.5, "b": -10, "c": -0, "d": 0}', parse_int=integer)
    assert [type(value) for value in root.values()] == [float, int, float, int]
    assert root["c"] == 0


def _values_of(value: object) -> tuple[int, int, int]:
    """The lists and objects of a JSON value, their members, and the commas between them."""
    inside = [each for each in _all_of(value) if isinstance(each, dict | list)]
    members = sum(len(each) for each in inside if isinstance(each, dict))
    return len(inside), members, sum(max(len(each) - 1, 0) for each in inside)


def _all_of(value: object) -> list[object]:
    """A JSON value and every value in it, without keys."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(each for one in inner for each in _all_of(one))]


@given(
    st.dictionaries(st.text(st.sampled_from('{[:,"\\]}a'), max_size=9), _VALUES, max_size=6),
    st.data(),
)
def test_only_what_stands_outside_strings_is_counted(
    value: dict[str, object], draw: st.DataObject
) -> None:
    """A text is refused where its lists, objects, members or values are one too many, whatever its
    strings hold and wherever it is cut.
    """
    counts = _values_of(value)
    text = json.dumps(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strict_json, "_AT_A_TIME", draw.draw(st.integers(1, 9)))
        patch.setattr(strict_json, "FEW_JSON_VALUES", 0)
        # As many characters for each as leave room for exactly so many.
        exactly = Density(*(len(text) // count if count else len(text) + 1 for count in counts))
        refuse_dense(text, exactly)
        for place, count in enumerate(counts):
            if count and len(text) // (len(text) // count + 1) < count:
                denser = [*exactly]
                denser[place] = len(text) // count + 1
                with pytest.raises(InvalidJsonError, match="more lists, objects or values"):
                    refuse_dense(text, Density(*denser))


def test_a_few_values_are_always_read() -> None:
    """Short texts may be as dense as they like."""
    text = f'{{"a":[{",".join(["{}"] * 4_000)}]}}'
    refuse_dense(text, Density(16, 16, 16))
    assert len(parse_object(text)["a"]) == 4_000  # type: ignore[arg-type] # a list


@pytest.mark.parametrize(("depth", "deep"), [(1, False), (125, False), (126, True), (500, True)])
@pytest.mark.parametrize("form", ["[%s]", '{"a":[],"b":%s}'])
def test_the_depth_of_a_value(form: str, depth: int, deep: bool) -> None:
    """Lists and objects are followed to the level that serde_json follows."""
    text = "[]"
    for _ in range(depth - 1):
        text = form % text
    assert is_too_deep(json.loads(text)) is deep
    assert not is_too_deep(1)


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        (1, True),
        (1.5, True),
        (10**308, True),
        (10**309, False),
        (-(10**400), False),
        (float("inf"), False),
        ("1", True),
    ],
)
def test_numbers_of_64_bits(value: object, fits: bool) -> None:
    """Integers beyond every 64-bit float are distinguished, as infinite floats are."""
    assert is_f64(value) is fits


@pytest.mark.parametrize(
    "text", [r'{"\ud800": 1}', r'{"a": ["\udfff"]}', r'{"a": {"b": "\uDBFF"}}']
)
def test_lone_surrogates_are_found_at_any_depth(text: str) -> None:
    """A key or a value with a lone surrogate is refused, wherever it is; a pair of them is not."""
    with pytest.raises(InvalidJsonError, match="lone surrogate"):
        refuse_lone_surrogates(text, parse_object(text))
    pair = r'{"a": "\ud83d\ude00"}'
    refuse_lone_surrogates(pair, parse_object(pair))


def test_every_kind_of_value_has_a_name() -> None:
    """A message can name what was found instead of what should be there."""
    values: tuple[object, ...] = (None, {}, [], "", True, 1, 1.5)
    assert [kind(value) for value in values] == [
        *("null", "an object", "a list", "a string", "a boolean", "a number", "a number")
    ]


@given(st.dictionaries(st.text(), _VALUES))
def test_members_are_found_as_texts(value: dict[str, object]) -> None:
    """The texts of an object's members are those of its values, and make the same object again."""
    text = json.dumps(value)
    texts = texts_of_object(text, value)
    assert texts is not None
    assert {key: json.loads(member) for key, member in texts.items()} == value
    assert object_of_texts(texts) == text
    indented = texts_of_object(json.dumps(value, indent=2), value)
    assert indented is not None
    assert indented.keys() == value.keys()


@pytest.mark.parametrize(
    "text",
    [
        "", "1", "[]", '"a"', "{", "}", "{,}", '{"a"}', '{"a":}', '{"a": 1,}', '{"a": 1, "a": 2}',
        '{"b": 1}', '{a: 1}', '{"a": [1}', '{"a": 1]}', '{"a": 1} {"a": 2}', '{"a": "1}', '{1: 2}',
    ],
)  # fmt: skip
def test_other_texts_have_no_members(text: str) -> None:
    """What is not an object with the keys that are wanted, each once, has no members."""
    assert texts_of_object(text, {"a"}) is None
