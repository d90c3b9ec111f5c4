"""The forms in which one phone number may be registered with WhatsApp.

Argentina, Brazil and Mexico changed how mobile numbers are written, and accounts kept the form
of the day on which they were made. Only WhatsApp knows which, so it is asked about all forms.
Sources: ITU-T E.164 national numbering plans (+54: the mobile prefix 9, +55: the ninth digit,
+52: the former prefix 1).
"""

from __future__ import annotations

import re

__all__ = ["number_variants"]

# Country code, area code and eight digits: mobile numbers began with 6 to 9 then.
_BRAZIL_SHORT = re.compile(r"\A55([1-9]\d)([6-9]\d{7})\Z")
_BRAZIL_LONG = re.compile(r"\A55([1-9]\d)9(\d{8})\Z")
_MEXICO_SHORT = re.compile(r"\A52(\d{10})\Z")
_MEXICO_LONG = re.compile(r"\A521(\d{10})\Z")
_ARGENTINA_SHORT = re.compile(r"\A54([1-8]\d{9})\Z")
_ARGENTINA_LONG = re.compile(r"\A549(\d{10})\Z")

_FORMS = (
    (_BRAZIL_SHORT, r"55\g<1>9\g<2>"),
    (_BRAZIL_LONG, r"55\g<1>\g<2>"),
    (_MEXICO_SHORT, r"521\g<1>"),
    (_MEXICO_LONG, r"52\g<1>"),
    (_ARGENTINA_SHORT, r"549\g<1>"),
    (_ARGENTINA_LONG, r"54\g<1>"),
)


def number_variants(digits: str) -> tuple[str, ...]:
    """Return a number as it is given, and then the other form that it may be registered in.

    Args:
        digits: the international number without ``+``.
    """
    others = (pattern.sub(form, digits) for pattern, form in _FORMS if pattern.match(digits))
    return digits, *others
