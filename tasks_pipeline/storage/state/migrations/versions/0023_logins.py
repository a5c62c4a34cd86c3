"""Tokens may be a member's; members have passwords, invitations and sessions, and those who guess are counted."""

import secrets

import sqlalchemy as sa
from alembic import op

from tasks_pipeline.storage.state.tables import UtcDateTime

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

# An older program takes a member's token for one of the installation; it knows uploads and releases only.
compatible_from = "0019"

LOGINS = "logins"


def upgrade() -> None:
    comment = "in whose name it acts; null: the installation's"
    op.add_column("tokens", sa.Column("member", sa.String(200), nullable=True, comment=comment))
    op.create_table(
        "member_passwords",
        sa.Column("member", sa.String(200), nullable=False),
        sa.Column("hash", sa.String(200), nullable=False, comment="scrypt, with its parameters and salt"),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("member"),
        comment="Passwords of members, as hashes.",
    )
    op.create_table(
        "invitations",
        sa.Column("digest", sa.String(64), nullable=False, comment="sha256 of what is in the link"),
        sa.Column("member", sa.String(200), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
        comment="Links with which members choose a password, once. A used one is gone.",
    )
    op.create_index("invitations_of_member", "invitations", ["member"])
    op.create_table(
        "web_sessions",
        sa.Column("digest", sa.String(64), nullable=False, comment="sha256 of the cookie"),
        sa.Column("member", sa.String(200), nullable=False),
        sa.Column("way", sa.String(16), nullable=False, comment="of logging in: password or oidc"),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False, comment="exact to five minutes"),
        sa.PrimaryKeyConstraint("digest"),
        comment="Who is logged in to the pages.",
    )
    op.create_index("web_sessions_of_member", "web_sessions", ["member", "seen_at"])
    op.create_index("web_sessions_seen", "web_sessions", ["seen_at"])
    op.create_table(
        "login_failures",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("address", sa.String(64), nullable=False, comment="of the client; of IPv6 its network"),
        sa.Column("name", sa.String(64), nullable=False, comment="sha256 of the name that was tried"),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        comment="Logins that failed in the last quarter of an hour.",
    )
    op.create_index("login_failures_at", "login_failures", ["at"])
    keys = sa.table("installation_keys", sa.column("name"), sa.column("key"))
    op.bulk_insert(keys, [{"name": LOGINS, "key": secrets.token_hex(32)}])


def downgrade() -> None:
    for table in ("login_failures", "web_sessions", "invitations", "member_passwords"):
        op.drop_table(table)
    op.drop_column("tokens", "member")
    op.execute(f"DELETE FROM installation_keys WHERE name = '{LOGINS}'")
