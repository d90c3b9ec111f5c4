"""Who is who: people's two addresses, as the native client's store knows them.

Runs in session processes.
"""

from __future__ import annotations

from typing import Any

from neonize.proto.Neonize_pb2 import JID

from wavisor.whatsapp.addresses import LID_SERVER, PHONE_SERVER, jid_text
from wavisor.whatsapp.person import Person

__all__ = ["NativeAddresses", "native_jid"]


def native_jid(text: str) -> JID:
    """Return the native client's form of a JID without a device.

    Every part is set: the client reads them all without looking whether they are there.
    """
    user, _, server = text.partition("@")
    return JID(User=user, RawAgent=0, Device=0, Integrator=0, Server=server, IsEmpty=False)


class NativeAddresses:
    """Looks people up; asks nobody. Usable only while connected.

    Args:
        client: the neonize client.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def person(self, jid: str) -> Person:
        """Return who a JID is, as far as this device was told."""
        user, _, server = jid.partition("@")
        if server == LID_SERVER:
            number = self._client.get_pn_from_lid(native_jid(jid)).User
            return Person(jid=jid, lid=jid, phone=f"+{number}" if number else None)
        if server == PHONE_SERVER:
            lid = jid_text(self._client.get_lid_from_pn(native_jid(jid)))
            return Person(jid=jid, lid=lid, phone=f"+{user}")
        return Person(jid=jid)

    def person_of(self, *addresses: Any) -> Person | None:
        """Return who some native addresses of one person are; None when all are empty.

        The first one that is not empty becomes their ``jid``.
        """
        texts = [text for each in addresses if each.User and (text := jid_text(each))]
        if not texts:
            return None
        lid = next((text for text in texts if text.endswith(f"@{LID_SERVER}")), None)
        number = next((text for text in texts if text.endswith(f"@{PHONE_SERVER}")), None)
        if lid is None or number is None:
            known = self.person(texts[0])
            return Person(jid=texts[0], lid=lid or known.lid, phone=known.phone)
        return Person(jid=texts[0], lid=lid, phone=f"+{number.partition('@')[0]}")
