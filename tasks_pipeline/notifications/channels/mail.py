"""The mail channel: HTML and text over SMTP, threaded by what it is about."""

from __future__ import annotations

import email.errors
import email.policy
import hashlib
import re
import smtplib
import ssl
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr

from tasks_pipeline import outbound
from tasks_pipeline.config import Config
from tasks_pipeline.config.channels import MailChannel
from tasks_pipeline.notifications.channels.base import Receipt
from tasks_pipeline.notifications.channels.smtp import Wire, greeted, start_tls
from tasks_pipeline.notifications.errors import PermanentFailure, TemporaryFailure, UnknownOutcome
from tasks_pipeline.notifications.message import Letter, Message
from tasks_pipeline.notifications.rendering import render
from tasks_pipeline.texts import clean

SUBJECT_LENGTH = 180
NOOP_SHARE = 0.25
# An address in a header longer than a line would be written as an encoded word, which no program follows (RFC 5322, 2.1.1).
_POLICY = email.policy.SMTP.clone(max_line_length=990)
_SPEC = re.compile(r"[^\s@<>,;:\"]{1,64}@[^\s@<>,;:\"]{1,190}")


class MailSender:
    """Sends over one connection, which is kept for the next message."""

    def __init__(self, channel: MailChannel, config: Config) -> None:
        self._channel = channel
        self._templates_dir = config.notifications.templates_dir
        self._client: smtplib.SMTP | None = None
        self._wire: Wire | None = None

    def send(self, message: Message, *, address: str, idempotency_key: str) -> Receipt:
        """Send to a member's address, or to the channel's list when there is none. The whole dialogue, connecting and logging
        in included, takes at most the channel's `timeout_seconds`. Raises as `Sender.send` says."""
        recipients = [address] if address else list(self._channel.to)
        if not recipients:
            raise PermanentFailure("nobody to send to: the channel has no `to`, and the target no address")
        mail = self.compose(message, recipients, idempotency_key)
        deadline = outbound.Deadline.after(self._channel.timeout_seconds)
        client = self._connected(deadline)
        try:
            refused = self._handed_over(client, mail, recipients, deadline)
        except BaseException:
            self.close()
            raise
        return Receipt(f"accepted by the mail server{refused}", str(mail["Message-ID"]))

    def compose(self, message: Message, recipients: list[str], idempotency_key: str) -> EmailMessage:
        """The mail. Its Message-ID comes from the idempotency key, so that a repeated one can be known."""
        channel = self._channel
        mail = EmailMessage(policy=_POLICY)
        domain = parseaddr(channel.sender)[1].rpartition("@")[2] or "localhost"
        root = _message_id(message.thread, domain)
        mail["From"] = _address(channel.sender)
        mail["To"] = [_address(recipient) for recipient in recipients]
        mail["Subject"] = clean(message.summary, SUBJECT_LENGTH)
        mail["Date"] = format_datetime(message.letter.made_at if message.letter else datetime.now(UTC))
        mail["Message-ID"] = _message_id(idempotency_key, domain)
        # Of a thread the first mail is not known: all refer to a root that was never sent, which clients thread as well.
        mail["In-Reply-To"] = mail["References"] = root
        mail["Auto-Submitted"] = "auto-generated"
        mail["X-Auto-Response-Suppress"] = "All"
        mail["List-Id"] = (
            f"<{re.sub(r'[^a-z0-9-]+', '-', message.project.lower()) or 'pipeline'}.tasks-pipeline.{domain}>"
        )
        _say_how_to_end(mail, message.letter.unsubscribe if message.letter else "", channel.unsubscribe)
        if message.severity == "critical":
            mail["Importance"] = "high"
        if message.letter is not None:
            _fill(mail, message.letter, hashlib.sha256(idempotency_key.encode()).hexdigest()[:32])
            return mail
        mail.set_content(render("mail.txt", message, self._templates_dir), cte="quoted-printable")
        mail.add_alternative(
            render("mail.html", message, self._templates_dir), subtype="html", cte="quoted-printable"
        )
        return mail

    def close(self) -> None:
        """Close the connection."""
        client, wire, self._client, self._wire = self._client, self._wire, None, None
        if client is not None:
            client.close()
        if wire is not None:
            wire.close()

    def _connected(self, deadline: outbound.Deadline) -> smtplib.SMTP:
        if self._client is not None and self._still_there(deadline):
            return self._client
        self.close()
        channel, step = self._channel, "connect"
        try:
            context = ssl.create_default_context() if channel.security != "none" else None
            implicit = context if channel.security == "tls" else None
            client, self._wire = greeted(channel.host, channel.port, deadline, implicit)
            self._client = client
            if context is not None and implicit is None:
                step = "STARTTLS"
                start_tls(client, context)
            if channel.username is not None:
                step = "login"
                client.login(
                    channel.username, channel.password.get_secret_value() if channel.password else ""
                )
        # A refused login and a bad certificate are no fault of the message: it goes out when people have mended them.
        except (smtplib.SMTPAuthenticationError, smtplib.SMTPNotSupportedError) as error:
            self.close()
            raise TemporaryFailure(f"{step}: {_said(error)}") from error
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise TemporaryFailure(
                f"{step}: the certificate cannot be trusted: {error.verify_message}"
            ) from error
        except (outbound.OutboundError, OSError) as error:
            self.close()
            said = self._said_in_time(error, deadline)
            raise TemporaryFailure(f"{step} {channel.host}:{channel.port}: {said}") from error
        return client

    def _still_there(self, deadline: outbound.Deadline) -> bool:
        """Whether the connection that was kept can be used. A part of the time is for finding out, the rest for another one."""
        assert self._client is not None
        assert self._wire is not None
        try:
            self._wire.deadline = deadline.share(NOOP_SHARE)
            alive = self._client.noop()[0] == 250
        except OSError:
            return False  # it was closed while nothing was sent
        self._wire.deadline = deadline
        return alive

    def _said_in_time(self, error: Exception, deadline: outbound.Deadline) -> str:
        over = f"no end within {self._channel.timeout_seconds:g} s: " if deadline.over else ""
        return f"{over}{_said(error)}"

    def _handed_over(
        self, client: smtplib.SMTP, mail: EmailMessage, recipients: list[str], deadline: outbound.Deadline
    ) -> str:
        """Send; gives what was said of recipients that were refused while others were not."""
        sender = parseaddr(self._channel.sender)[1]
        try:
            client.ehlo_or_helo_if_needed()
            _expect(client.mail(sender), "sender refused")
            answers = [(recipient, client.rcpt(recipient)) for recipient in recipients]
        except (smtplib.SMTPServerDisconnected, OSError) as error:
            raise TemporaryFailure(f"connection lost: {self._said_in_time(error, deadline)}") from error
        refused = [(recipient, answer) for recipient, answer in answers if not 200 <= answer[0] < 300]
        if len(refused) == len(recipients):
            _expect(refused[0][1], f"recipient {refused[0][0]} refused")
        try:
            answer = client.data(mail.as_bytes(policy=_POLICY))
        except smtplib.SMTPDataError as error:
            _expect((error.smtp_code, _bytes(error.smtp_error)), "message refused")
            raise TemporaryFailure(f"message not asked for: {_said(error)}") from error
        except (smtplib.SMTPServerDisconnected, OSError) as error:
            # The message was on its way: the server may have taken it.
            said = self._said_in_time(error, deadline)
            raise UnknownOutcome(f"no answer after the message: {said}") from error
        _expect(answer, "message refused")
        return "".join(f"; not to {recipient}: {_answer(said)}" for recipient, said in refused)


def _answer(answer: tuple[int, bytes]) -> str:
    return f"{answer[0]} {clean(answer[1].decode('utf-8', 'replace'), 250)}"


def _expect(answer: tuple[int, bytes], what: str) -> None:
    """2xx is yes, 4xx not now, everything else no (RFC 5321, 4.2.1). Raises accordingly."""
    if 200 <= answer[0] < 300:
        return
    detail = f"{what}: {_answer(answer)}"
    if 400 <= answer[0] < 500:
        raise TemporaryFailure(detail)
    raise PermanentFailure(detail)


def _said(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {clean(_bytes(error.smtp_error).decode('utf-8', 'replace'), 250)}"
    return clean(str(error) or type(error).__name__, 250)


def _bytes(text: bytes | str) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _address(text: str) -> Address:
    """A header's address. Raises PermanentFailure for what is none; a line end in it would start another header."""
    name, spec = parseaddr(text)
    if not _SPEC.fullmatch(spec) or not text.isprintable():
        raise PermanentFailure(f"not an address: {clean(text, 100)!r}")
    try:
        local, _, domain = spec.rpartition("@")
        return Address(
            clean(name, 100), local, domain.encode("idna").decode() if not domain.isascii() else domain
        )
    except (ValueError, UnicodeError, email.errors.MessageError) as error:
        raise PermanentFailure(f"not an address: {clean(text, 100)}") from error


def _message_id(text: str, domain: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    return f"<{digest}@{domain.encode('idna').decode() if not domain.isascii() else domain}>"


def _fill(mail: EmailMessage, letter: Letter, boundary: str) -> None:
    """Put a letter into a mail: alternatives of text and HTML with its pictures, and files behind them. Always the same bytes."""
    mail.set_content(letter.text, cte="quoted-printable")
    mail.add_alternative(letter.html, subtype="html", cte="quoted-printable")
    _, html = mail.iter_parts()
    for cid, name, png in letter.pictures:
        html.add_related(png, "image", "png", cid=f"<{cid}>", disposition="inline", filename=name)
    for name, content in letter.files:
        mail.add_attachment(content, "text", "csv", filename=name, params={"charset": "utf-8"})
    for number, part in enumerate(part for part in mail.walk() if part.is_multipart()):
        part.set_boundary(f"=_{boundary}_{number}")


def _say_how_to_end(mail: EmailMessage, click: str, other: str | None) -> None:
    """The headers by which a program offers to end such mails: with one click where the message has an address for it (RFC 8058)."""
    ways = [*([f"<{click}>"] if click else []), *([_unsubscribe(other)] if other else [])]
    if ways:
        mail["List-Unsubscribe"] = ", ".join(ways)
    if click:
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"


def _unsubscribe(where: str) -> str:
    """The header's value: an address that somebody reads, or a page (RFC 2369). Without one mails have no such header."""
    return (
        f"<{where}>"
        if where.startswith(("https://", "http://", "mailto:"))
        else f"<mailto:{where}?subject=unsubscribe>"
    )
