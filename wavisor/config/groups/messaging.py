"""Messages, their files, and webhooks."""

from __future__ import annotations

from pydantic import Field

from wavisor.config.groups.base import DAY, MIB, SettingsGroup

__all__ = [
    "MediaSettings",
    "SendingSettings",
    "WebhookSettings",
]


class SendingSettings(SettingsGroup):
    """The queue and pacing: how much may wait, and how fast instances send.

    What the settings of an instance itself say of its pace comes first; see ``docs/pacing.md``.
    """

    queue_limit_per_instance: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Messages that may wait to be sent by one instance; further ones get 429.",
    )
    queue_limit_per_tenant: int = Field(
        50_000,
        ge=1,
        le=10_000_000,
        description="The same over all instances of a subscription.",
    )
    send_hand_over_seconds: float = Field(
        300.0,
        ge=10,
        le=3600,
        description="How long a message may take until it is handed to WhatsApp, the upload of "
        "its file included. After that it fails, and is tried again.",
    )

    history_per_chat: int = Field(
        0,
        ge=0,
        le=1000,
        description="How many messages of a chat from before the link are taken in, the newest "
        "ones; 0 for none. An instance's settings may say otherwise.",
    )
    history_total: int = Field(
        2000,
        ge=0,
        le=50_000,
        description="The same over all chats of an instance; 0 for none.",
    )
    pacing_enabled: bool = Field(
        True,
        description="Whether messages are spaced as a person would. Without it they go as fast as "
        "WhatsApp takes them, which gets numbers banned.",
    )
    pacing_messages_per_minute: int = Field(
        20,
        ge=1,
        le=600,
        description="How many messages an instance sends a minute, on average.",
    )
    pacing_warm_up_days: int = Field(
        7,
        ge=0,
        le=90,
        description="For how many days a newly linked number sends less: 100 messages and 20 new "
        "contacts on the first day, and twice as many each day after it. 0 for no such time.",
    )
    reach_out_pause_seconds: float = Field(
        21_600.0,
        ge=60,
        le=7 * DAY,
        description="How long nobody new is written to after WhatsApp has refused a first message "
        "(463). WhatsApp does not say until when it does.",
    )


class MediaSettings(SettingsGroup):
    """Files of messages: limits, fetching by URL, conversion."""

    media_image_limit_bytes: int = Field(
        16 * MIB, ge=1024, le=1024 * MIB, description="Largest picture, in bytes."
    )
    media_video_limit_bytes: int = Field(
        64 * MIB, ge=1024, le=1024 * MIB, description="Largest film, in bytes."
    )
    media_audio_limit_bytes: int = Field(
        16 * MIB, ge=1024, le=1024 * MIB, description="Largest sound file, in bytes."
    )
    media_voice_limit_bytes: int = Field(
        16 * MIB,
        ge=1024,
        le=1024 * MIB,
        description="Largest voice note, in bytes, before and after conversion.",
    )
    media_document_limit_bytes: int = Field(
        100 * MIB, ge=1024, le=2000 * MIB, description="Largest document, in bytes."
    )
    media_sticker_limit_bytes: int = Field(
        MIB,
        ge=1024,
        le=16 * MIB,
        description="Largest sticker after conversion, in bytes; what it is made of may be as "
        "large as a picture.",
    )
    media_download_limit_bytes: int = Field(
        100 * MIB,
        ge=1024,
        le=2000 * MIB,
        description="Largest file of a received message that is fetched, in bytes. A session holds "
        "two files at a time in memory, several times over.",
    )
    media_inline_limit_bytes: int = Field(
        16 * MIB,
        ge=1024,
        le=256 * MIB,
        description="Largest file sent as base64, in bytes. It is held in memory several times "
        "over; larger ones come by upload or URL.",
    )
    media_fetch_timeout_seconds: float = Field(
        60.0, ge=1, le=600, description="Longest that fetching a URL may take, in seconds."
    )
    media_fetch_idle_seconds: float = Field(
        10.0,
        ge=0.1,
        le=600,
        description="Seconds that the server of a URL may be silent; then the fetch is given up.",
    )
    media_allow_private: bool = Field(
        False,
        description="Whether URLs of media and links may lead to private and loopback addresses. "
        "Whoever may send messages can then reach what only this machine reaches.",
    )
    media_jobs: int = Field(
        2, ge=1, le=64, description="Files that are examined and converted at the same time."
    )
    media_job_timeout_seconds: float = Field(
        60.0,
        ge=1,
        le=600,
        description="Longest that one program may take to examine or convert a file, in seconds; "
        "then it is ended.",
    )
    ffmpeg: str = Field(
        "ffmpeg", min_length=1, description="Name or path of ffmpeg, for films, sound and voice."
    )
    ffprobe: str = Field("ffprobe", min_length=1, description="Name or path of ffprobe.")


class WebhookSettings(SettingsGroup):
    """Webhooks: how events are delivered to the servers of tenants."""

    webhooks_allow_private: bool = Field(
        False,
        description="Whether webhooks may lead to private and loopback addresses. Whoever manages "
        "webhooks can then reach what only this machine reaches.",
    )
    webhooks_concurrency: int = Field(
        64, ge=2, le=1000, description="Requests to webhooks at the same time."
    )
    webhooks_timeout_seconds: float = Field(
        15.0, ge=1, le=60, description="Time that a webhook's server has to answer, in seconds."
    )
    webhooks_log_days: int = Field(
        30,
        ge=1,
        le=3650,
        description="Days that deliveries are listed after they ended. Those of a webhook that was "
        "switched off for so long are cancelled.",
    )
