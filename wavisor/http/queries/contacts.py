"""Contacts: who is on WhatsApp, who is in the address book, what people show, whom one blocks."""

from __future__ import annotations

from http import HTTPStatus

from wavisor.http.permissions import Permission
from wavisor.http.phones import InvalidPhoneError, international_digits
from wavisor.http.problems import VALIDATION_FAILED, FieldProblem, ProblemError
from wavisor.http.queries.addresses import PERSON
from wavisor.http.queries.asking import (
    ask,
    change,
    decode_jid_cursor,
    encode_jid_cursor,
    wire,
)
from wavisor.http.queries.failures import QUERY_PROBLEMS
from wavisor.http.queries.schemas import (
    CheckedNumberModel,
    CheckedNumbersModel,
    CheckNumbers,
    ContactModel,
    DisappearingModel,
    PeopleModel,
    PersonModel,
    PictureModel,
    PictureQuery,
    PictureSize,
    UserModel,
)
from wavisor.http.routing import Call, InstanceFrom, Reply, Router
from wavisor.http.schemas import Empty, Page, PageQuery
from wavisor.whatsapp import queries
from wavisor.whatsapp.query_results import CheckedNumber

__all__ = ["router"]

router = Router("contacts", "People: numbers, addresses, contacts, pictures, blocking.")


@router.route(
    "POST",
    "/api/contacts/check",
    operation="checkNumbers",
    summary="Check which numbers are on WhatsApp",
    access=Permission.CONTACTS_MANAGE,
    instance=InstanceFrom.HEADER,
    body=CheckNumbers,
    responses={200: CheckedNumbersModel},
    problems=QUERY_PROBLEMS,
)
async def check_numbers(call: Call[CheckNumbers, None]) -> Reply:
    """Asks WhatsApp about up to 100 numbers at once.

    Numbers of Argentina, Brazil and Mexico are asked for in both forms in which they may be
    registered. Check sparingly: accounts that ask about many numbers get banned.
    """
    digits = _all_digits(call.body.numbers)
    asked = tuple(dict.fromkeys(digits))
    answer = await ask(call, queries.CheckNumbers(numbers=asked))
    found = {checked.number: checked for checked in answer.numbers}
    items = [
        _checked(written, found[number])
        for written, number in zip(call.body.numbers, digits, strict=True)
    ]
    return Reply(CheckedNumbersModel(items=items))


@router.route(
    "GET",
    "/api/contacts",
    operation="listContacts",
    summary="List contacts",
    access=Permission.CONTACTS_READ,
    instance=InstanceFrom.HEADER,
    query=PageQuery,
    responses={200: Page[ContactModel]},
    problems=QUERY_PROBLEMS,
)
async def list_contacts(call: Call[None, PageQuery]) -> Reply:
    """Lists those whose names the phone shared or who wrote, in the order of their addresses."""
    after = decode_jid_cursor(call.query.cursor)
    found = await ask(call, queries.ListContacts(after=after, limit=call.query.limit))
    items = [wire(ContactModel, contact) for contact in found.items]
    return Reply(Page[ContactModel](items=items, next_cursor=encode_jid_cursor(found.next)))


@router.route(
    "GET",
    "/api/contacts/blocked",
    operation="listBlocked",
    summary="List whom the account blocks",
    access=Permission.CONTACTS_READ,
    instance=InstanceFrom.HEADER,
    responses={200: PeopleModel},
    problems=QUERY_PROBLEMS,
)
async def list_blocked(call: Call[None, None]) -> Reply:
    """Asks WhatsApp whom the account blocks."""
    found = await ask(call, queries.BlockList())
    return Reply(PeopleModel(items=[wire(PersonModel, person) for person in found.people]))


@router.route(
    "GET",
    "/api/contacts/{jid}",
    operation="getContact",
    summary="Read a contact",
    access=Permission.CONTACTS_READ,
    parameters={"jid": PERSON},
    instance=InstanceFrom.HEADER,
    responses={200: ContactModel},
    problems=QUERY_PROBLEMS,
)
async def get_contact(call: Call[None, None]) -> Reply:
    """Returns the names under which somebody is known; 404 when they are not."""
    contact = await ask(call, queries.GetContact(person=call.path["jid"]))
    return Reply(wire(ContactModel, contact))


@router.route(
    "GET",
    "/api/contacts/{jid}/about",
    operation="getContactAbout",
    summary="See what somebody shows of themselves",
    access=Permission.CONTACTS_READ,
    parameters={"jid": PERSON},
    instance=InstanceFrom.HEADER,
    responses={200: UserModel},
    problems=QUERY_PROBLEMS,
)
async def get_contact_about(call: Call[None, None]) -> Reply:
    """Asks WhatsApp what somebody shows of themselves to this account."""
    user = await ask(call, queries.GetUser(person=call.path["jid"]))
    return Reply(wire(UserModel, user))


@router.route(
    "GET",
    "/api/contacts/{jid}/picture",
    operation="getContactPicture",
    summary="Get somebody's picture",
    access=Permission.CONTACTS_READ,
    parameters={"jid": PERSON},
    instance=InstanceFrom.HEADER,
    query=PictureQuery,
    responses={200: PictureModel},
    problems=QUERY_PROBLEMS,
)
async def get_contact_picture(call: Call[None, PictureQuery]) -> Reply:
    """Asks WhatsApp where somebody's picture is.

    404 when they have none, 403 (`whatsapp-forbids`) when they hide it from this account.
    """
    preview = call.query.size is PictureSize.PREVIEW
    picture = await ask(call, queries.GetPicture(of=call.path["jid"], preview=preview))
    return Reply(wire(PictureModel, picture))


@router.route(
    "POST",
    "/api/contacts/{jid}/block",
    operation="blockContact",
    summary="Block somebody",
    access=Permission.CONTACTS_MANAGE,
    parameters={"jid": PERSON},
    instance=InstanceFrom.HEADER,
    body=Empty,
    responses={204: None},
    problems=QUERY_PROBLEMS,
)
async def block_contact(call: Call[Empty, None]) -> Reply:
    """Blocks somebody; blocking them again is harmless."""
    return await _set_blocked(call, blocked=True)


@router.route(
    "POST",
    "/api/contacts/{jid}/unblock",
    operation="unblockContact",
    summary="Stop blocking somebody",
    access=Permission.CONTACTS_MANAGE,
    parameters={"jid": PERSON},
    instance=InstanceFrom.HEADER,
    body=Empty,
    responses={204: None},
    problems=QUERY_PROBLEMS,
)
async def unblock_contact(call: Call[Empty, None]) -> Reply:
    """Stops blocking somebody; doing it again is harmless."""
    return await _set_blocked(call, blocked=False)


@router.route(
    "PUT",
    "/api/contacts/{jid}/disappearing",
    operation="setContactDisappearing",
    summary="Let messages of a chat disappear",
    access=Permission.CONTACTS_MANAGE,
    parameters={"jid": PERSON},
    instance=InstanceFrom.HEADER,
    body=DisappearingModel,
    responses={204: None},
    problems=QUERY_PROBLEMS,
)
async def set_contact_disappearing(call: Call[DisappearingModel, None]) -> Reply:
    """Lets new messages of the chat with somebody disappear after a while, for both of you."""
    jid, seconds = call.path["jid"], call.body.seconds
    query = queries.SetDisappearing(chat=jid, seconds=seconds)
    await change(call, "contact.disappearing", jid, query, {"seconds": seconds})
    return Reply(status=HTTPStatus.NO_CONTENT)


@router.route(
    "GET",
    "/api/lids/{phoneOrLid}",
    operation="lookUpAddress",
    summary="Look up the other address of somebody",
    access=Permission.CONTACTS_READ,
    parameters={"phoneOrLid": PERSON},
    instance=InstanceFrom.HEADER,
    responses={200: PersonModel},
    problems=QUERY_PROBLEMS,
)
async def look_up_address(call: Call[None, None]) -> Reply:
    """Finds the LID of a number, or the number behind a LID.

    WhatsApp is asked about numbers that are not known yet, and `lid` is null where there is no
    account. Nobody can be asked about LIDs: `phone` is null unless the number was told before, by
    a message or a group.
    """
    found = await ask(call, queries.LookUpAddress(people=(call.path["phoneOrLid"],)))
    return Reply(wire(PersonModel, found.people[0]))


def _checked(written: str, checked: CheckedNumber) -> CheckedNumberModel:
    person = checked.person
    return CheckedNumberModel(
        query=written,
        on_whatsapp=checked.on_whatsapp,
        person=None if person is None else wire(PersonModel, person),
        verified_name=checked.verified_name,
    )


async def _set_blocked(call: Call[Empty, None], *, blocked: bool) -> Reply:
    jid = call.path["jid"]
    action = "contact.block" if blocked else "contact.unblock"
    await change(call, action, jid, queries.SetBlocked(person=jid, blocked=blocked))
    return Reply(status=HTTPStatus.NO_CONTENT)


def _all_digits(numbers: list[str]) -> list[str]:
    """Return the digits of each number.

    Raises:
        ProblemError: some are no numbers (422); says which.
    """
    digits, wrong = [], []
    for position, number in enumerate(numbers):
        try:
            digits.append(international_digits(number))
        except InvalidPhoneError as error:
            wrong.append(FieldProblem(detail=str(error), pointer=f"#/numbers/{position}"))
    if wrong:
        raise ProblemError(VALIDATION_FAILED, errors=wrong)
    return digits
