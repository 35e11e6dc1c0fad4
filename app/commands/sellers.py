"""`sellers`: the sellers that an organisation's runs have found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from app.commands.output import Json, confirm, emit, note
from app.commands.scope import Actor, OrgOption, Yes, within_org

if TYPE_CHECKING:
    from app.collection.similar import Pair

app = typer.Typer(no_args_is_help=True, help="Show sellers, find those that are one, merge them.")

_SellerId = Annotated[UUID, typer.Argument(help="The seller's id.")]


@app.command(name="list")
def list_(
    *,
    search: Annotated[str | None, typer.Option("--search", help="A part of the name.")] = None,
    after: Annotated[UUID | None, typer.Option("--after", help="Last seller of the previous page.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="Most sellers, 1 to 1000.")] = 50,
    org: OrgOption = None,
    as_json: Json = False,
) -> None:
    """List sellers by name. A merged seller is listed as another name of the one that it was merged into."""
    from app.collection.normalise import seller_key
    from app.collection.sellers import list_sellers

    with within_org(org) as context:
        found = list_sellers(context, search=seller_key(search) if search else None, after=after, limit=limit)
    human = [
        {
            "id": one.id,
            "name": one.display_name,
            "platform": one.platform,
            "runs": one.times_seen,
            "feedback": one.feedback_score,
            "items": one.item_count,
            "other names": ", ".join(one.other_names),
        }
        for one in found
    ]
    emit(found, as_json=as_json, human=human)


@app.command()
def similar(
    *,
    least: Annotated[float, typer.Option("--least", help="Least similarity in percent.")] = 88,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most pairs.")] = 100,
    org: OrgOption = None,
    as_json: Json = False,
) -> None:
    """Suggest pairs of sellers that may be one. Merges nothing."""
    from app.collection.similar import similar as find

    with within_org(org) as context:
        found = find(context, least=least, limit=limit)
    emit(found, as_json=as_json, human=[_pair(one) for one in found])
    if found and not as_json:
        note("`sellers merge KEPT OTHER` makes a pair one; `sellers undo OTHER` takes it back")


@app.command()
def merge(
    kept: Annotated[UUID, typer.Argument(help="The seller that stays.")],
    merged: Annotated[list[UUID], typer.Argument(help="Sellers to merge into it.")],
    *,
    reason: Annotated[str | None, typer.Option("--reason", help="For the audit log.")] = None,
    actor: Actor,
    yes: Yes = False,
    org: OrgOption = None,
    as_json: Json = False,
) -> None:
    """Merge sellers into one. `sellers undo` takes it back."""
    from app.collection.merges import merge as carry_out

    confirm(f"Merge {len(merged)} into {kept}?", yes=yes)
    with within_org(org) as context:
        done = carry_out(context, kept, merged, actor=actor, reason=reason)
    emit(done, as_json=as_json)


@app.command()
def undo(
    merge_or_seller: Annotated[UUID, typer.Argument(help="The merge's id, or the merged seller's.")],
    *,
    actor: Actor,
    org: OrgOption = None,
    as_json: Json = False,
) -> None:
    """Undo a merge."""
    from app.collection.merges import undo as carry_out

    with within_org(org) as context:
        done = carry_out(context, merge_or_seller, actor=actor)
    emit(done, as_json=as_json)


@app.command()
def merges(
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most merges.")] = 100,
    org: OrgOption = None,
    as_json: Json = False,
) -> None:
    """List merges, newest first."""
    from app.collection.merges import list_merges

    with within_org(org) as context:
        found = list_merges(context, limit)
    emit(found, as_json=as_json)


def _pair(pair: Pair) -> dict[str, object]:
    return {
        "percent": pair.percent,
        "kept": pair.kept.display_name,
        "other": pair.other.display_name,
        "kept id": pair.kept.id,
        "other id": pair.other.id,
    }
