"""Uploaded symbols and source maps, API tokens, what people decided about groups, releases and deploys."""

import sqlalchemy as sa
from alembic import op

from tasks_pipeline.storage.state.tables import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "artifact_bundles",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("sha1", sa.String(length=40), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False, comment="the blob that holds it"),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("release", sa.String(length=200), nullable=True),
        sa.Column("dist", sa.String(length=64), nullable=True),
        sa.Column("files", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        comment="Uploaded bundles of sources and source maps, a row per project.",
    )
    with op.batch_alter_table("artifact_bundles", schema=None) as batch_op:
        batch_op.create_index("artifact_bundles_by_sha1", ["project_id", "sha1"], unique=False)

    op.create_table(
        "debug_files",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("sha1", sa.String(length=40), nullable=False),
        sa.Column(
            "debug_id",
            sa.String(length=64),
            nullable=False,
            comment="normalised: lower-case, hyphens, age when not 0",
        ),
        sa.Column("code_id", sa.String(length=64), nullable=True),
        sa.Column(
            "kind",
            sa.String(length=16),
            nullable=False,
            comment="elf, macho, pe, pdb, breakpad, wasm, sourcebundle, proguard …",
        ),
        sa.Column(
            "object_kind", sa.String(length=16), nullable=False, comment="dbg, exe, lib, src, proguard …"
        ),
        sa.Column("arch", sa.String(length=32), nullable=False),
        sa.Column("features", sa.JSON(), nullable=False, comment="symtab, debug, unwind, sources, mapping"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False, comment="the blob that holds it"),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("project_id", "sha1", "debug_id"),
    )
    with op.batch_alter_table("debug_files", schema=None) as batch_op:
        batch_op.create_index("debug_files_by_debug_id", ["project_id", "debug_id"], unique=False)

    op.create_table(
        "deploys",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.String(length=200), nullable=False),
        sa.Column("environment", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("deploys", schema=None) as batch_op:
        batch_op.create_index("deploys_by_release", ["project_id", "version"], unique=False)

    op.create_table(
        "project_algorithms",
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("algorithm", sa.String(length=32), nullable=False),
        sa.Column("first_used_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "algorithm"),
        comment="Grouping algorithms a project has used; for a while after a change the former one is asked too.",
    )
    op.create_table(
        "regroupings",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("group_ids", sa.JSON(), nullable=False, comment="groups whose events have to be looked at"),
        sa.Column("reason", sa.String(length=32), nullable=False, comment="merge, unmerge, discard, race"),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("done_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        comment="Changes of group_hashes that stored events have to follow; whoever holds the lake's lock finishes open ones.",
    )
    op.create_table(
        "releases",
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.String(length=200), nullable=False),
        sa.Column(
            "created_at",
            UtcDateTime(),
            nullable=False,
            comment="first heard of: by an event or through the API",
        ),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("released_at", UtcDateTime(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("first_event_at", UtcDateTime(), nullable=True),
        sa.Column("last_event_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("project_id", "version"),
    )
    op.create_table(
        "symbol_arrivals",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(length=300), nullable=False, comment="see symbolication/keys.py"),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        comment="What became available for symbolication, in order; stored events that missed it are processed again.",
    )
    with op.batch_alter_table("symbol_arrivals", schema=None) as batch_op:
        batch_op.create_index("symbol_arrivals_by_project", ["project_id", "key"], unique=False)

    op.create_table(
        "tokens",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False, comment="sha256 of the token"),
        sa.Column(
            "hint", sa.String(length=16), nullable=False, comment="its last characters, to tell tokens apart"
        ),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("last_used_at", UtcDateTime(), nullable=True),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_table(
        "upload_chunks",
        sa.Column("sha1", sa.String(length=40), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False, comment="the blob that holds it"),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("sha1"),
        comment="Pieces of files on their way; gone a while after they were last named.",
    )
    with op.batch_alter_table("upload_chunks", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_upload_chunks_created_at"), ["created_at"], unique=False)

    op.create_table(
        "artifacts",
        sa.Column("bundle_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("path", sa.Text(), nullable=False, comment="name of the file in the bundle"),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "type", sa.String(length=32), nullable=False, comment="minified_source, source_map, source …"
        ),
        sa.Column(
            "url", sa.Text(), nullable=True, comment="~/assets/app.min.js; ~ stands for scheme and host"
        ),
        sa.Column("debug_id", sa.String(length=64), nullable=True),
        sa.Column(
            "source_map", sa.Text(), nullable=True, comment="reference to its source map, as the bundle says"
        ),
        sa.Column("release", sa.String(length=200), nullable=True),
        sa.Column("dist", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(
            ["bundle_id"],
            ["artifact_bundles.id"],
        ),
        sa.PrimaryKeyConstraint("bundle_id", "path"),
        comment="Files in artifact bundles: what a lookup by debug id, or by release, dist and URL finds.",
    )
    with op.batch_alter_table("artifacts", schema=None) as batch_op:
        batch_op.create_index("artifacts_by_debug_id", ["project_id", "debug_id"], unique=False)
        batch_op.create_index("artifacts_by_release", ["project_id", "release"], unique=False)

    op.create_table(
        "group_actions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("group_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "action",
            sa.String(length=32),
            nullable=False,
            comment="resolve, ignore, assign, merge, regress …",
        ),
        sa.Column("data", sa.JSON(), nullable=False, comment="what the action was given"),
        sa.Column("actor", sa.String(length=200), nullable=False, comment="who did it"),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["groups.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        comment="What people and rules decided about groups; only ever appended to.",
    )
    with op.batch_alter_table("group_actions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_group_actions_group_id"), ["group_id"], unique=False)

    op.create_table(
        "group_signatures",
        sa.Column("group_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "signature",
            sa.LargeBinary(),
            nullable=False,
            comment="MinHash of type, frames in app and message",
        ),
        sa.Column("features", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["groups.id"],
        ),
        sa.PrimaryKeyConstraint("group_id"),
        comment="What similar groups are found by.",
    )
    with op.batch_alter_table("group_signatures", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_group_signatures_project_id"), ["project_id"], unique=False)

    op.create_table(
        "similar_groups",
        sa.Column(
            "group_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="the older of the two",
        ),
        sa.Column("other_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False, comment="estimated Jaccard similarity, 0 to 1"),
        sa.Column("status", sa.String(length=16), nullable=False, comment="proposed, merged or rejected"),
        sa.Column("found_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["groups.id"],
        ),
        sa.ForeignKeyConstraint(
            ["other_id"],
            ["groups.id"],
        ),
        sa.PrimaryKeyConstraint("group_id", "other_id"),
    )
    with op.batch_alter_table("similar_groups", schema=None) as batch_op:
        batch_op.create_index("similar_groups_by_project", ["project_id", "status"], unique=False)

    with op.batch_alter_table("groups", schema=None) as batch_op:
        batch_op.add_column(sa.Column("ignored_until_users", sa.BigInteger(), nullable=True))
        batch_op.add_column(
            sa.Column(
                "resolved_in_release",
                sa.String(length=200),
                nullable=True,
                comment="fixed in the release after this one",
            )
        )
        batch_op.add_column(
            sa.Column(
                "assignee", sa.String(length=200), nullable=True, comment="a member's address or team:slug"
            )
        )
        batch_op.add_column(
            sa.Column(
                "merged_into", sa.BigInteger(), nullable=True, comment="the group that took this one's keys"
            )
        )
        batch_op.add_column(
            sa.Column(
                "explanation",
                sa.JSON(),
                nullable=True,
                comment="why its first event is grouped so: the contribution tree",
            )
        )
        batch_op.create_index(batch_op.f("ix_groups_merged_into"), ["merged_into"], unique=False)

    with op.batch_alter_table("replacements", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "arrival",
                sa.BigInteger(),
                nullable=True,
                comment="newest symbol_arrivals when its events were processed",
            )
        )


def downgrade() -> None:
    with op.batch_alter_table("replacements", schema=None) as batch_op:
        batch_op.drop_column("arrival")

    with op.batch_alter_table("groups", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_groups_merged_into"))
        batch_op.drop_column("explanation")
        batch_op.drop_column("merged_into")
        batch_op.drop_column("assignee")
        batch_op.drop_column("resolved_in_release")
        batch_op.drop_column("ignored_until_users")

    with op.batch_alter_table("similar_groups", schema=None) as batch_op:
        batch_op.drop_index("similar_groups_by_project")

    op.drop_table("similar_groups")
    with op.batch_alter_table("group_signatures", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_group_signatures_project_id"))

    op.drop_table("group_signatures")
    with op.batch_alter_table("group_actions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_group_actions_group_id"))

    op.drop_table("group_actions")
    with op.batch_alter_table("artifacts", schema=None) as batch_op:
        batch_op.drop_index("artifacts_by_release")
        batch_op.drop_index("artifacts_by_debug_id")

    op.drop_table("artifacts")
    with op.batch_alter_table("upload_chunks", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_upload_chunks_created_at"))

    op.drop_table("upload_chunks")
    op.drop_table("tokens")
    with op.batch_alter_table("symbol_arrivals", schema=None) as batch_op:
        batch_op.drop_index("symbol_arrivals_by_project")

    op.drop_table("symbol_arrivals")
    op.drop_table("releases")
    op.drop_table("regroupings")
    op.drop_table("project_algorithms")
    with op.batch_alter_table("deploys", schema=None) as batch_op:
        batch_op.drop_index("deploys_by_release")

    op.drop_table("deploys")
    with op.batch_alter_table("debug_files", schema=None) as batch_op:
        batch_op.drop_index("debug_files_by_debug_id")

    op.drop_table("debug_files")
    with op.batch_alter_table("artifact_bundles", schema=None) as batch_op:
        batch_op.drop_index("artifact_bundles_by_sha1")

    op.drop_table("artifact_bundles")
