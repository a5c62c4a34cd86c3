"""Section `channels`: the ways that messages leave the installation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from tasks_pipeline.config.model import About, Model, Slug

_URL = r"^https?://[^\s/?#]+[^\s]*$"

HttpUrl = Annotated[
    str,
    Field(pattern=_URL, max_length=2000),
    About("an address that begins with http:// or https://", private=True),
]
"""Private: many an address lets in whoever knows it."""
TokenUrl = Annotated[
    str,
    Field(pattern=_URL, max_length=2000),
    About("an address that begins with http:// or https://", private=True, masked=True),
]
"""One that usually does."""


class Rate(Model):
    """A token bucket: `burst` messages at once, refilled with `messages` per `seconds`."""

    messages: int = Field(60, ge=1, le=100_000, description="Messages that may be sent in `seconds`.")
    seconds: int = Field(60, ge=1, le=86_400, description="See `messages`.")
    burst: int = Field(30, ge=1, le=100_000, description="Messages that may be sent at once after silence.")


class Channel(Model):
    """What every channel has."""

    name: Slug = Field(description="What targets and preferences call it.")
    timeout_seconds: float = Field(10, gt=0, le=120, description="How long one attempt may take, all of it.")
    rate: Rate = Field(Rate(), description="Limit of the channel as a whole.")
    target_rate: Rate = Field(
        Rate(messages=20, seconds=60, burst=20), description="Limit for each member, team or address on it."
    )
    max_attempts: int = Field(
        8, ge=1, le=50, description="After so many failed attempts a message is a dead letter."
    )


class MailChannel(Channel):
    """Mail over SMTP, to the address of each member."""

    type: Literal["mail"] = "mail"
    timeout_seconds: float = Field(
        30, gt=0, le=120, description="How long one attempt may take, from connecting to the last answer."
    )
    host: str = Field(description="SMTP server.")
    port: int = Field(
        587, ge=1, le=65_535, description="Its port: 587 for starttls, 465 for tls, 25 for none."
    )
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="How the connection is secured."
    )
    username: str | None = Field(None, description="Name to log in with; no login when absent.")
    password: SecretStr | None = Field(None, description="Password; write it as ${env:NAME}.")
    sender: str = Field(description="From address, as `Errors <errors@acme.example>` or a bare address.")
    to: tuple[str, ...] = Field((), description="Addresses for `channel:NAME` targets (a mailing list).")
    unsubscribe: str | None = Field(
        None,
        description="Address or URL for the List-Unsubscribe header, where somebody acts on it; no header when absent.",
    )

    @model_validator(mode="after")
    def _login(self) -> MailChannel:
        if self.password is not None and self.username is None:
            raise ValueError("password without username; allowed are both or none")
        return self


class WebhookChannel(Channel):
    """A JSON document by POST, signed with HMAC-SHA256 when there is a secret."""

    type: Literal["webhook"] = "webhook"
    url: TokenUrl = Field(description="Where it is posted.")
    secret: SecretStr | None = Field(None, description="Key of the signature; write it as ${env:NAME}.")
    headers: dict[str, SecretStr] = Field({}, description="Further request headers.")


class SlackChannel(Channel):
    """A Slack incoming webhook."""

    type: Literal["slack"] = "slack"
    url: SecretStr = Field(description="The incoming webhook's URL; it is a secret.")


class TeamsChannel(Channel):
    """A Microsoft Teams workflow webhook; messages are Adaptive Cards."""

    type: Literal["teams"] = "teams"
    url: SecretStr = Field(description="The workflow's URL; it is a secret.")


class DiscordChannel(Channel):
    """A Discord webhook."""

    type: Literal["discord"] = "discord"
    url: SecretStr = Field(description="The webhook's URL; it is a secret.")


class PagerDutyChannel(Channel):
    """PagerDuty Events API v2: an alert triggers, its recovery resolves."""

    type: Literal["pagerduty"] = "pagerduty"
    routing_key: SecretStr = Field(description="Integration key of the service.")
    url: HttpUrl = Field("https://events.pagerduty.com/v2/enqueue", description="The Events API.")


class OpsgenieChannel(Channel):
    """Opsgenie alerts: created by an alert, closed by its recovery."""

    type: Literal["opsgenie"] = "opsgenie"
    api_key: SecretStr = Field(description="API key of the integration.")
    url: HttpUrl = Field("https://api.opsgenie.com", description="https://api.eu.opsgenie.com in the EU.")


class TelegramChannel(Channel):
    """A Telegram bot that writes to a chat."""

    type: Literal["telegram"] = "telegram"
    bot_token: SecretStr = Field(description="Token of the bot.")
    chat_id: str = Field(description="Number or @name of the chat.")
    url: HttpUrl = Field("https://api.telegram.org", description="The Bot API.")


class NtfyChannel(Channel):
    """A topic of ntfy."""

    type: Literal["ntfy"] = "ntfy"
    topic: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$"), About("1 to 64 letters, digits, - and _", private=True)
    ] = Field(description="The topic; who knows it may read it.")
    token: SecretStr | None = Field(None, description="Access token.")
    url: HttpUrl = Field("https://ntfy.sh", description="The server.")


class AppriseChannel(Channel):
    """Any of the services that Apprise knows (https://github.com/caronc/apprise)."""

    type: Literal["apprise"] = "apprise"
    url: SecretStr = Field(
        description="Apprise URL, such as mailto://…, matrix://…, sns://…; it is a secret."
    )


AnyChannel = Annotated[
    MailChannel
    | WebhookChannel
    | SlackChannel
    | TeamsChannel
    | DiscordChannel
    | PagerDutyChannel
    | OpsgenieChannel
    | TelegramChannel
    | NtfyChannel
    | AppriseChannel,
    Field(discriminator="type"),
]
