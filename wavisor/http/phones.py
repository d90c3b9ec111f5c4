"""Phone numbers as people write them, to the digits that WhatsApp takes."""

from __future__ import annotations

import re

import phonenumbers

__all__ = ["InvalidPhoneError", "digits_of", "international_digits", "is_region"]

# 7 to 15 digits (E.164), grouped as people group them. No extension and no letters: those would
# parse, and surprise.
_FORM = re.compile(r"\A\+?[0-9](?:[ .()/-]{0,2}[0-9]){6,14}\Z", re.ASCII)
# Mobile numbers of Mexico had a 1 behind the country code until 2019. WhatsApp still has most
# accounts under it, and shows it to people; the numbering plan, and phonenumbers, do not know it.
_FORMER_MEXICAN = re.compile(r"\A521[0-9]{10}\Z")


class InvalidPhoneError(ValueError):
    """Not a phone number with its country code; says why."""


def international_digits(text: str) -> str:
    """Return a phone number as E.164 digits without ``+``.

    The number must hold its country code: a tenant may have contacts everywhere, so none can be
    assumed. Only its form is checked; whether it exists is for WhatsApp to say.

    Args:
        text: such as ``+49 1511 2345678`` or ``4915112345678``.

    Raises:
        InvalidPhoneError: it is none.
    """
    if not _FORM.match(text):
        raise InvalidPhoneError("is no phone number in digits with its country code")
    digits = re.sub(r"[^0-9]", "", text)
    if digits.startswith("0"):
        raise InvalidPhoneError("must begin with the country code, without a prefix such as 00")
    try:
        number = phonenumbers.parse(f"+{digits}", None)
    except phonenumbers.NumberParseException:
        raise InvalidPhoneError("does not begin with the code of a country") from None
    if not phonenumbers.is_possible_number(number):
        if _FORMER_MEXICAN.match(digits):
            return digits
        raise InvalidPhoneError("has the wrong length for a number of its country")
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return written.removeprefix("+")


def is_region(text: str) -> bool:
    """Tell whether this is the code of a country that has phone numbers, such as ``DE``."""
    return text in phonenumbers.SUPPORTED_REGIONS


def digits_of(text: str, region: str | None) -> str:
    """Return a phone number as E.164 digits without ``+``, where it may lack its country code.

    With ``+`` it is international. Without, it is international if it begins with the region's own
    country code and is a number then; else a number of the region if it is a valid one there; else
    international.

    Args:
        text: such as ``0151 123456789``, with ``DE``.
        region: the country whose numbers need no country code; None for none.

    Raises:
        InvalidPhoneError: it is neither.
    """
    if region is None or text.startswith("+") or not _FORM.match(text.removeprefix("(")):
        return international_digits(text)
    digits = re.sub(r"[^0-9]", "", text)
    for written, own in ((f"+{digits}", True), (text, False)):
        if own and not digits.startswith(str(phonenumbers.country_code_for_region(region))):
            continue
        try:
            number = phonenumbers.parse(written, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number_for_region(number, region):
            e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
            return e164.removeprefix("+")
    return international_digits(text)
