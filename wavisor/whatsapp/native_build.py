"""How a neonize client is made so that it does what is said of it, and nothing behind one's back.

Runs in session processes.
"""

from __future__ import annotations

import logging
from typing import Any

from neonize import client as native
from neonize.proto.Neonize_pb2 import JID
from neonize.proto.waCompanionReg.WAWebProtobufsCompanionReg_pb2 import DeviceProps
from neonize.utils import log as native_log

from wavisor.whatsapp.addresses import parse_jid
from wavisor.whatsapp.commands import Open
from wavisor.whatsapp.keystore import native_name

__all__ = ["build_client"]


def build_client(opening: Open) -> Any:
    """Return a neonize client that is not connected yet.

    Args:
        opening: what to open, and as which device.
    """
    jid = None
    if opening.jid is not None:
        user, agent, device, server = parse_jid(opening.jid)
        jid = JID(User=user, RawAgent=agent, Device=device, Integrator=0, Server=server)
    native_log.setLevel(logging.INFO)
    client = native.NewClient(
        native_name(opening.store),
        jid=jid,
        props=DeviceProps(os=opening.device_name, platformType=DeviceProps.CHROME),
        uuid=opening.incarnation,
        new_device=jid is None,
    )
    # With a JID neonize names the client by its number instead of by the uuid given.
    client.uuid = opening.incarnation.encode()
    # neonize 0.5.2 forgets to say how this function's result is to be read and freed.
    library = client._NewClient__client
    library.DecryptPollVote.errcheck = library.GetMe.errcheck
    # It would stop the client, in whatever thread collects garbage, and block there.
    client._stop_finalizer.detach()
    return client
