"""The real client against the local WhatsApp: linking, logging in, writing to each other."""

from __future__ import annotations

import pytest

from support.sandbox_rig import RefusedCommandError, Rig, eventually, play
from wavisor.sandbox import incidents
from wavisor.sandbox.codec import Node
from wavisor.sandbox.directory import Settings
from wavisor.sandbox.faults import Target
from wavisor.sandbox.pairing import PairingRefusedError
from wavisor.sandbox.people import ABSENT_NUMBER, ECHO_NUMBER
from wavisor.sandbox.routing import submit

pytestmark = pytest.mark.e2e

ANNA = "4915550000001"
BERT = "4915550000002"


def test_client_shows_a_code_and_gives_up_when_nobody_scans_it(tmp_path):
    async def scenario(rig: Rig) -> None:
        client = await rig.client("anna")
        code = await client.wait("QR")
        assert code.startswith("https://wa.me/settings/linked_devices#2@")
        [pairing] = rig.world.pending_pairings
        assert len(pairing.refs) == 2
        assert pairing.refs[0] in code
        await client.wait("LoginStatus")  # the only sign of "timeout"
        await eventually(lambda: not rig.world.pending_pairings)
        assert client.count("Connected") == 0

    play(tmp_path, scenario, Settings(qr_refs=2, qr_lifetime=1.0))


def test_scanned_client_logs_in_and_resumes_from_its_store(tmp_path):
    async def scenario(rig: Rig) -> None:
        client = await rig.paired("anna", ANNA)
        paired = await client.wait("PairStatus")
        assert paired["ID"]["User"] == ANNA
        await client.wait("OfflineSyncCompleted")
        [device] = [d for d in rig.world.real_devices() if d.online]
        assert (device.account.phone, device.id) == (ANNA, 1)
        assert device.keys is not None
        # It uploaded 812; its phone took one, to send it the key of the account's settings.
        assert len(device.keys.one_time) == 811
        await client.kill()
        await eventually(lambda: device.connection is None)
        again = await rig.client("anna")
        await again.wait("Connected")
        assert again.count("QR") == 0
        assert device.online

    play(tmp_path, scenario)


def test_altered_code_is_refused_by_the_client(tmp_path):
    async def scenario(rig: Rig) -> None:
        phone = rig.people.add_phone(ANNA, "Anna")
        client = await rig.client("anna")
        text, keys = (await client.wait("QR")).split("#")
        ref, noise, identity, secret, kind = keys.split(",")
        forged = ("B" if secret[0] == "A" else "A") + secret[1:]
        with pytest.raises(PairingRefusedError) as refusal:
            await phone.scan(f"{text}#{ref},{noise},{identity},{forged},{kind}")
        assert (refusal.value.code, refusal.value.text) == (401, "hmac-mismatch")
        assert not phone.companions

    play(tmp_path, scenario)


def test_client_is_linked_by_a_code_typed_on_the_phone(tmp_path):
    async def scenario(rig: Rig) -> None:
        phone = rig.people.add_phone(ANNA, "Anna")
        client = await rig.client("anna")
        await client.wait("QR")
        code = await client.do("pair_phone", phone=ANNA)
        assert len(code) == 9
        device = await phone.enter_code(code)
        await client.wait("Connected")
        assert device.online

    play(tmp_path, scenario)


def test_a_code_for_a_number_without_account_is_refused(tmp_path):
    async def scenario(rig: Rig) -> None:
        client = await rig.client("anna")
        await client.wait("QR")
        with pytest.raises(RefusedCommandError, match="404"):
            await client.do("pair_phone", phone=BERT)

    play(tmp_path, scenario)


def test_two_real_clients_write_to_each_other_and_see_delivery_and_reading(tmp_path):
    async def scenario(rig: Rig) -> None:
        anna = await rig.paired("anna", ANNA)
        bert = await rig.paired("bert", BERT)
        sent = await anna.do("send", to=BERT, text="hello bert")
        message = await bert.text("hello bert")
        assert message["Info"]["ID"] == sent["id"]
        assert message["Info"]["Pushname"] == "Anna"
        source = message["Info"]["MessageSource"]
        assert source["Chat"]["Server"] == "lid"
        assert source["SenderAlt"]["User"] == ANNA

        def of_sent(receipt, kind):
            return receipt["MessageIDs"] == [sent["id"]] and receipt["Type"] == kind

        await anna.wait("Receipt", lambda r: of_sent(r, "DELIVERED"))
        await bert.do("mark_read", message=sent["id"], chat=source["Chat"]["User"])
        await anna.wait("Receipt", lambda r: of_sent(r, "READ"))
        for number in range(20):
            await bert.do("send", to=ANNA, text=f"answer {number}")
        await anna.text("answer 19")
        assert anna.texts() == [f"answer {number}" for number in range(20)]
        assert anna.count("UndecryptableMessage") == bert.count("UndecryptableMessage") == 0
        # Everything was confirmed: nothing waits for a next login.
        await eventually(lambda: not any(d.inbox for d in rig.world.real_devices()))

    play(tmp_path, scenario)


def test_messages_wait_for_a_client_that_is_away(tmp_path):
    async def scenario(rig: Rig) -> None:
        anna = await rig.paired("anna", ANNA)
        bert = await rig.paired("bert", BERT)
        [device] = rig.people.phone(BERT).companions
        await bert.kill()
        await eventually(lambda: not device.online)
        for number in range(3):
            await anna.do("send", to=BERT, text=f"while away {number}")
        again = await rig.client("bert")
        synced = await again.wait("OfflineSyncCompleted", lambda data: data.get("Count", 0) >= 3)
        assert synced["Count"] >= 3
        assert again.texts() == [f"while away {number}" for number in range(3)]
        await eventually(lambda: not device.inbox)

    play(tmp_path, scenario)


def test_what_a_client_did_not_confirm_is_delivered_again(tmp_path):
    async def scenario(rig: Rig) -> None:
        await rig.paired("anna", ANNA)
        bert = await rig.paired("bert", BERT)
        [device] = rig.people.phone(BERT).companions
        echo = rig.people.phone(ANNA)
        # A stanza that no client ever confirms stands for one that was lost on the way.
        lost = Node("receipt", {"id": "LOST", "from": echo.account.lid, "type": "unheard-of"})
        connection, device.connection = device.connection, None
        await device.deliver(lost)
        device.connection = connection
        await incidents.drop(rig.world, Target(phone=BERT))
        mark = bert.mark
        await bert.wait("Connected", after=mark)
        await eventually(lambda: not device.inbox)

    play(tmp_path, scenario)


def test_message_that_cannot_be_decrypted_is_asked_for_and_sent_again(tmp_path):
    async def scenario(rig: Rig) -> None:
        anna = await rig.paired("anna", ANNA)
        bert = await rig.paired("bert", BERT)
        await anna.do("send", to=BERT, text="opens the session")
        await bert.text("opens the session")
        await bert.do("send", to=ANNA, text="confirms the session")
        await anna.text("confirms the session")
        [device] = rig.people.phone(BERT).companions
        await bert.kill()
        await eventually(lambda: not device.online)
        sent = await anna.do("send", to=BERT, text="damaged on the way")
        [(key, stanza)] = [(k, s) for k, s in device.inbox.items() if k[1] == sent["id"]]
        [enc] = stanza.all("enc")
        assert enc.text("type") == "msg", stanza  # ends with its authentication code
        damaged = Node("enc", enc.attrs, enc.data[:-1] + bytes([enc.data[-1] ^ 1]))
        device.inbox[key] = Node("message", stanza.attrs, (damaged,))
        again = await rig.client("bert")
        await again.wait("UndecryptableMessage")
        message = await again.text("damaged on the way")
        assert message["Info"]["ID"] == sent["id"]
        await eventually(lambda: not device.inbox)

    play(tmp_path, scenario)


def test_all_devices_of_an_account_get_its_messages(tmp_path):
    async def scenario(rig: Rig) -> None:
        anna = await rig.paired("anna", ANNA)
        bert = await rig.paired("bert", BERT)
        await anna.do("send", to=BERT, text="to one device")
        await bert.text("to one device")
        # Linked after Anna's client has cached Bert's devices: it must hear of the new one.
        laptop = await rig.paired("laptop", BERT)
        await anna.do("send", to=BERT, text="to both devices")
        await bert.text("to both devices")
        await laptop.text("to both devices")
        await bert.do("send", to=ANNA, text="from the first")
        await anna.text("from the first")
        own = await laptop.text("from the first")
        source = own["Info"]["MessageSource"]
        assert source["IsFromMe"]
        assert source["Chat"]["User"] == rig.people.phone(ANNA).account.lid_user
        assert source["RecipientAlt"]["User"] == ANNA
        typed = await rig.people.phone(BERT).write(ANNA, "typed on the phone")
        assert typed.id
        await anna.text("typed on the phone")
        assert (await bert.text("typed on the phone"))["Info"]["MessageSource"]["IsFromMe"]

    play(tmp_path, scenario)


def test_numbers_are_told_apart_by_whether_they_are_on_whatsapp(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        anna = await rig.paired("anna", ANNA)
        answers = await anna.do("is_on_whatsapp", phones=["+" + ECHO_NUMBER, "+" + ABSENT_NUMBER])
        found = {a["Query"]: (a["IsIn"], a["JID"]["Server"]) for a in answers}
        assert found == {
            "+" + ECHO_NUMBER: (True, "lid"),
            "+" + ABSENT_NUMBER: (False, "s.whatsapp.net"),
        }
        with pytest.raises(RefusedCommandError, match="no LID found"):
            await anna.do("send", to=ABSENT_NUMBER, text="anybody there?")
        await anna.do("send", to=ECHO_NUMBER, text="hello")
        await anna.text("echo: hello")

    play(tmp_path, scenario)


def test_media_travel_from_client_to_client(tmp_path):
    async def scenario(rig: Rig) -> None:
        anna = await rig.paired("anna", ANNA)
        bert = await rig.paired("bert", BERT)
        size = 300_032
        sent = await anna.do("send_document", to=BERT, size=size)
        await bert.wait("Message", lambda data: data["Info"]["ID"] == sent["id"])
        assert await bert.do("download", message=sent["id"]) == size

    play(tmp_path, scenario)


def test_presence_and_typing_are_passed_on(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        echo = rig.people.contact(ECHO_NUMBER)
        anna = await rig.paired("anna", ANNA)
        await submit(
            rig.world,
            echo.account.primary,
            Node(
                "chatstate",
                {"to": rig.people.phone(ANNA).account.lid},
                (Node("composing"),),
            ),
        )
        typing = await anna.wait("ChatPresence")
        assert typing["MessageSource"]["Chat"]["User"] == echo.account.lid_user
        [device] = rig.people.phone(ANNA).companions
        device.available = True
        await anna.do("subscribe", phone=ECHO_NUMBER)
        away = await anna.wait("Presence")
        assert away["Unavailable"]
        await submit(rig.world, echo.account.primary, Node("presence", {"type": "available"}))
        await anna.wait("Presence", lambda data: not data["Unavailable"])

    play(tmp_path, scenario)


def test_questions_about_people_and_settings_are_answered(tmp_path):
    async def scenario(rig: Rig) -> None:
        rig.people.add_default_contacts()
        rig.people.contact(ECHO_NUMBER).account.status = "I repeat"
        anna = await rig.paired("anna", ANNA)
        assert await anna.do("about", phone=ECHO_NUMBER) == "I repeat"
        await anna.do("set_about", text="At the office")
        assert rig.people.phone(ANNA).account.status == "At the office"
        assert await anna.do("read_receipts") == "ALL"
        assert await anna.do("groups") == 0
        with pytest.raises(RefusedCommandError, match="does not have a profile picture"):
            await anna.do("picture", phone=ECHO_NUMBER)
        await anna.do("block", phone=ECHO_NUMBER)
        with pytest.raises(RefusedCommandError, match="403"):
            await anna.do("send", to=ECHO_NUMBER, text="to a blocked contact")

    play(tmp_path, scenario)


def test_client_that_logs_out_is_gone_from_its_account(tmp_path):
    async def scenario(rig: Rig) -> None:
        anna = await rig.paired("anna", ANNA)
        await anna.do("logout")
        await eventually(lambda: not rig.people.phone(ANNA).companions)
        await eventually(lambda: not rig.world.connections)
        await anna.kill()
        again = await rig.client("anna")
        await again.wait("QR")

    play(tmp_path, scenario)


def test_new_device_can_be_written_to_before_it_has_uploaded_keys(tmp_path):
    async def scenario(rig: Rig) -> None:
        anna = await rig.paired("anna", ANNA)
        phone = rig.people.add_phone(BERT, "Bert")
        bert = await rig.client("bert")
        device = await phone.scan(await bert.wait("QR"))
        assert device.keys is not None
        sent = await anna.do("send", to=BERT, text="welcome")
        message = await bert.text("welcome")
        assert message["Info"]["ID"] == sent["id"]

    play(tmp_path, scenario)


def test_client_whose_keys_run_low_uploads_more(tmp_path):
    async def scenario(rig: Rig) -> None:
        anna = await rig.paired("anna", ANNA)
        await rig.paired("bert", BERT)
        [device] = rig.people.phone(BERT).companions
        assert device.keys is not None
        while len(device.keys.one_time) > 5:
            device.keys.one_time.popleft()
        await anna.do("send", to=BERT, text="takes the fifth key")
        await eventually(lambda: device.keys and len(device.keys.one_time) >= 50)
        await eventually(lambda: not device.inbox)

    play(tmp_path, scenario)
