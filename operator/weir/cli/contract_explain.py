"""`weir contract explain`: a contract of the cluster in plain words."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from weir.cli import completion
from weir.cli.options import Place, command

if TYPE_CHECKING:
    from weir.cli.cluster import Cluster
    from weir.runtime.resources import KubeObject, Resource


@command(Place)
def explain(
    place: Place,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="DataContract in the cluster.", autocompletion=completion.contracts),
    ],
) -> int:
    """Explain a contract: what it promises, what is wrong, who uses it, and what that does to releases."""
    from weir.cli import cluster

    async def work(there: Cluster) -> int:
        from weir.cli.contract_cluster import contract, document
        from weir.runtime.errors import Forbidden, NotFound
        from weir.runtime.resources import CONTRACT_CHECKS, MODEL_VERSIONS, ROLLOUTS
        from weir.view.contract import Around, explain_contract

        async def readable(resource: Resource) -> list[KubeObject]:
            with suppress(Forbidden, NotFound):
                return (await there.client.list(resource, there.namespace)).items
            return []

        found = await contract(there, name)
        odcs = None
        with suppress(Forbidden):
            odcs = await document(there, found)
        around = Around(odcs, await readable(CONTRACT_CHECKS), await readable(MODEL_VERSIONS), await readable(ROLLOUTS))
        told = explain_contract(found, around, time.time())
        if place.printer.text:
            from weir.cli.show.contract import contract as shown

            place.printer.show(shown(told))
        else:
            place.printer.data(told.to_dict())
        return 0

    return cluster.run(place.where, work)
