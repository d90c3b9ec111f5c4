"""Numbers that are written in two ways, and under which WhatsApp finds the same account.

In Brazil mobile numbers got a ninth digit after the area code, but accounts registered before keep
eight; Mexico dropped the 1 after the country code, Argentina has a 9 there for mobile numbers.
What WhatsApp does with each is known from practice only.
"""

from __future__ import annotations

__all__ = ["variants"]


def variants(phone: str) -> list[str]:
    """Return the other ways to write an international number (digits only)."""
    if phone.startswith("55") and len(phone) == 13 and phone[4] == "9":
        return [phone[:4] + phone[5:]]
    if phone.startswith("55") and len(phone) == 12 and phone[4] in "6789":
        return [phone[:4] + "9" + phone[4:]]
    if phone.startswith("521") and len(phone) == 13:
        return ["52" + phone[3:]]
    if phone.startswith("52") and len(phone) == 12:
        return ["521" + phone[2:]]
    if phone.startswith("549") and len(phone) == 13:
        return ["54" + phone[3:]]
    if phone.startswith("54") and len(phone) == 12:
        return ["549" + phone[2:]]
    return []
