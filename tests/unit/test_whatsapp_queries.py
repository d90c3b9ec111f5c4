"""Queries and their results on the wire between gateway and session."""

from __future__ import annotations

import base64
import io
from typing import Any, get_args

import pytest
from PIL import Image
from pydantic import BaseModel, ValidationError

from wavisor.number_variants import number_variants
from wavisor.whatsapp import queries
from wavisor.whatsapp import query_results as results
from wavisor.whatsapp.pictures import EDGE, PictureError, decoded, square_jpeg
from wavisor.whatsapp.queries import QUERIES, QueryModel, result_type

ALL_QUERIES: tuple[type[QueryModel[Any]], ...] = get_args(get_args(queries.AnyQuery)[0])


@pytest.mark.parametrize("kind", ALL_QUERIES, ids=lambda kind: kind.__name__)
def test_every_query_names_a_result_and_has_a_kind_of_its_own(
    kind: type[QueryModel[Any]],
) -> None:
    result = result_type(kind.model_construct())
    assert issubclass(result, BaseModel)
    assert result.__module__ == results.__name__
    same = [other for other in ALL_QUERIES if other.model_fields["kind"].default == _kind(kind)]
    assert same == [kind]


def _kind(query: type[QueryModel[Any]]) -> str:
    return str(query.model_fields["kind"].default)


def test_a_query_without_a_stated_result_is_a_mistake_in_the_code() -> None:
    class Careless(QueryModel):  # type: ignore[type-arg]  # what the test is about
        kind: str = "careless"

    with pytest.raises(TypeError, match="Careless"):
        result_type(Careless())


def test_a_query_survives_the_wire() -> None:
    query = queries.ChangeParticipants(
        group="120363000000000000@g.us", people=("15550100@s.whatsapp.net",), change="add"
    )
    assert QUERIES.validate_json(QUERIES.dump_json(query)) == query


@pytest.mark.parametrize(
    "address",
    [
        "",
        "15550100",
        "@s.whatsapp.net",
        "15550100:3@s.whatsapp.net",
        "015550100@s.whatsapp.net",
        "15550100@s.whatsapp.net\n",
        "15550100@g.us",
        "١٢٣٤٥٦@s.whatsapp.net",
        "15550100@s.whatsapp.net@lid",
    ],
)
def test_what_is_no_address_of_a_person_never_reaches_the_native_client(address: str) -> None:
    with pytest.raises(ValidationError):
        queries.GetUser(person=address)


@pytest.mark.parametrize("address", ["120363000000000000@g.us", "15550100-1400000000@g.us"])
def test_groups_of_both_ages_have_addresses(address: str) -> None:
    assert queries.GroupInfo(group=address).group == address


def test_more_than_a_hundred_numbers_are_not_asked_about_at_once() -> None:
    with pytest.raises(ValidationError):
        queries.CheckNumbers(numbers=tuple(str(4915550100000 + n) for n in range(101)))


@pytest.mark.parametrize(
    ("written", "other"),
    [
        ("5511987654321", "551187654321"),
        ("551187654321", "5511987654321"),
        ("5215512345678", "525512345678"),
        ("525512345678", "5215512345678"),
        ("5491123456789", "541123456789"),
        ("541123456789", "5491123456789"),
    ],
)
def test_numbers_of_three_countries_have_two_forms(written: str, other: str) -> None:
    assert number_variants(written) == (written, other)


@pytest.mark.parametrize(
    "number", ["4915112345678", "15550100000", "551133334444", "5511", "52155123", "34600100200"]
)
def test_other_numbers_and_land_lines_have_one_form(number: str) -> None:
    assert number_variants(number) == (number,)


def picture(size: tuple[int, int], form: str = "PNG", mode: str = "RGB") -> bytes:
    content = io.BytesIO()
    Image.new(mode, size, {"L": 200, "1": 1}.get(mode, "red")).save(content, form)
    return content.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_picture_becomes_a_square_jpeg_of_the_size_that_whatsapp_shows(form: str) -> None:
    made = Image.open(io.BytesIO(square_jpeg(picture((1200, 800), form))))
    assert (made.format, made.size, made.mode) == ("JPEG", (EDGE, EDGE), "RGB")


def test_a_small_picture_is_not_enlarged() -> None:
    made = Image.open(io.BytesIO(square_jpeg(picture((300, 120)))))
    assert made.size == (120, 120)


def test_a_picture_with_transparency_or_grey_is_taken_too() -> None:
    for mode in ("RGBA", "L", "P"):
        assert square_jpeg(picture((64, 64), mode=mode)).startswith(b"\xff\xd8")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no picture",
        picture((64, 64))[:60],
        picture((64, 64), "GIF"),
        picture((64, 64), "BMP"),
    ],
    ids=["empty", "text", "truncated", "GIF", "BMP"],
)
def test_what_is_no_usable_picture_is_refused(content: bytes) -> None:
    with pytest.raises(PictureError):
        square_jpeg(content)


@pytest.mark.parametrize("image", ["*", "abc", "Grüße", "\N{SNOWMAN}"])
def test_what_is_no_base64_is_no_picture(image: str) -> None:
    with pytest.raises(PictureError, match="not base64"):
        decoded(image)


def test_a_picture_of_absurd_size_is_refused_before_it_is_unpacked() -> None:
    large = picture((10_000, 6_000), mode="1")
    assert len(large) < queries.MAX_PICTURE
    with pytest.raises(PictureError, match="pixels"):
        square_jpeg(large)


def test_the_longest_picture_fits_into_a_frame() -> None:
    image = base64.b64encode(b"x" * queries.MAX_PICTURE).decode()
    query = queries.SetProfilePicture(image=image)
    assert len(QUERIES.dump_json(query)) < 1 << 20
