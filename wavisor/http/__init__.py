"""The HTTP layer: a small framework on tornado, and the routes of the API.

**How to declare a route.** A part of the API is a module with a :class:`~routing.Router`; it is
added to ``application.ROUTERS``. Everything about an operation is said at its handler::

    router = Router("instances", "WhatsApp numbers.")

    @router.route(
        "POST",
        "/api/instances/{id}/connect",
        operation="connectInstance",        # id in OpenAPI, label in metrics; camelCase
        summary="Connect an instance",
        access=Permission.INSTANCES_CONTROL,    # or PUBLIC
        parameters={"id": Kind.INSTANCE},       # of every {name} in the path: which kind of id
        instance=InstanceFrom.PATH,             # load it (one query), or 404; HEADER: X-Instance-Id
        body=Empty,                             # an ApiModel; optional where no field is required
        query=None,                             # an ApiModel, e.g. PageQuery
        responses={202: InstanceModel},         # a model, Content((media types)), or None
        problems=[COMMAND_FORBIDDEN],           # your ProblemKinds; the obvious ones are added
        headers={"Prefer": "`wait=N` …"},       # request headers that mean something here
        confined=False,                         # see below
    )
    async def connect_instance(call: Call[Empty, None]) -> Reply:
        \"\"\"The description in the documentation.\"\"\"
        snapshot = await call.services.instances.connect(call.instance.id)
        return Reply(model_of(snapshot), HTTPStatus.ACCEPTED)

The handler runs only for a request that is authenticated, permitted and valid. ``call`` has
``body``, ``query``, ``path`` (ids in canonical form), ``principal`` (``subscription_id``,
``permissions``), ``instance``, ``headers``, ``address``, ``request_id``, ``services`` and
``application``. It answers with a :class:`~routing.Reply` that the route declares (anything else
is a 500), or raises :class:`~problems.ProblemError`. An exception of a lower layer is turned into
a problem by ``failures.as_problem`` (register more types there); what nobody knows is a 500.

**Keys that are bound to an instance.** Where ``instance=`` is given, the framework confines them to
theirs. Every other route refuses them, unless it is declared ``confined=True``: its handler then
calls ``call.confine(instance_id)`` on what it has found, or limits a list to
``call.principal.instance_id``. ``shared=True`` is for what all instances of a subscription share
and that tells of none of them, such as its templates.

Wire models extend :class:`~schemas.ApiModel`; lists answer ``Page[Item]`` and take ``PageQuery``,
with :func:`~pagination.encode_cursor` and :func:`~pagination.decode_cursor` around storage's
cursors. Query models are validated leniently (text to number), bodies strictly.

Websockets and pages are tornado handlers that mix in :class:`~base.BaseHandler` (call
``begin`` first), given to the application as ``extra``; a websocket adds itself to
``application.connections`` while it is open, and finds out who asks by
``application.authenticator.authenticate(token, address)`` or ``.redeem(ticket)``, and later
``.confirm(principal, address)``, at the latest when ``application.access_changes`` says so. Whoever
revokes something announces its id there, after the commit.
"""

from __future__ import annotations

from wavisor.http.application import HttpApplication, make_application
from wavisor.http.server import AddressInUseError, HttpServer, ListenError
from wavisor.http.services import Services

__all__ = [
    "AddressInUseError",
    "HttpApplication",
    "HttpServer",
    "ListenError",
    "Services",
    "make_application",
]
