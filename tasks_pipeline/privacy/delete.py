"""Deleting a person: asked for here, done in `erasure`."""

from __future__ import annotations

from tasks_pipeline.erasure.finish import Done, finish
from tasks_pipeline.erasure.progress import Report
from tasks_pipeline.privacy.identity import Identity
from tasks_pipeline.privacy.person import Person
from tasks_pipeline.privacy.pseudonymise import Pseudonymised
from tasks_pipeline.privacy.pseudonyms import new_key
from tasks_pipeline.storage.state.erasures import open_request
from tasks_pipeline.stores import Stores

KINDS = {Person.kind: Person.of, Pseudonymised.kind: Pseudonymised.of}
"""How a subject is made of the data of a request, by its kind."""


def delete_person(
    stores: Stores,
    person: Identity,
    requested_by: str,
    on_erased: Report = lambda _erased: None,
    *,
    patience: float = 0,
    pseudonymise: bool = False,
) -> Done:
    """Delete all that there is of a person, or have pseudonyms stand in the place of what identifies them. Raises Waits where something waits for `patience` seconds, DayChanging, NotAllGone; then the
    request stays open, and the nightly cleanup goes on with it."""
    data = {**person.data, "pseudonym_key": new_key()} if pseudonymise else person.data
    kind = Pseudonymised.kind if pseudonymise else Person.kind
    request = open_request(stores.state, kind, data, requested_by)
    return finish(stores, request, KINDS[kind], on_erased, patience=patience)
