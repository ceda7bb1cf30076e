"""Operations on repositories, and on their tags."""

from __future__ import annotations

from functools import partial

import msgspec

from dtrfast.api.v0 import objects, views
from dtrfast.api.v0.lists import DatedQuery, PageQuery
from dtrfast.api.v0.operation import REPOSITORY, ApiCall, Operations
from dtrfast.identity.events import Detail
from dtrfast.identity.shared_repositories import SharedRepositories
from dtrfast.oci.names import Tag
from dtrfast.registry.listing import Listing
from dtrfast.registry.management import NewRepository, RepositoryView
from dtrfast.registry.records import NamedTag, RepositoryChange

operations = Operations("repositories")


def _page(page: Listing[RepositoryView]) -> objects.Repositories:
    return views.page(objects.Repositories, page, "repositories", views.repository)


class RepositoriesQuery(DatedQuery, frozen=True, rename="camel", kw_only=True):
    """`owned`: only repositories of namespaces that the caller owns."""

    owned: bool = False


@operations.add("GET", "/repositories", audience="everyone")
def list_repositories(call: ApiCall, query: RepositoriesQuery) -> objects.Repositories:
    """List the repositories that the caller may see."""
    return _page(call.registry.repositories.page(query.request, is_owned=query.owned))


@operations.add("GET", "/repositories/{namespace}", audience="everyone")
def list_repositories_of_namespace(call: ApiCall, query: DatedQuery) -> objects.Repositories:
    """List the repositories of a namespace that the caller may see.

    An account also has the repository of its own name, which has the namespace `_` in addresses.
    Names of accounts are for users: others get an empty list for a name that no account has.
    """
    namespace = call.path["namespace"]
    return _page(call.registry.repositories.page_of_namespace(namespace, query.request))


@operations.add("POST", "/repositories/{namespace}", status=201, refusals=(409,))
def create_repository(call: ApiCall, body: objects.NewRepository) -> objects.Repository:
    """Create a repository."""
    new = NewRepository(call.path["namespace"], body.name, _fields(body))
    created = call.registry.repositories.create(new)
    call.note("repository.create", created.name.text)
    return views.repository(created)


def _fields(body: objects.NewRepository | objects.RepositoryChange) -> RepositoryChange:
    visibility = views.given(body.visibility)
    return views.parse(
        RepositoryChange,
        body,
        description=views.given(body.short_description),
        readme=views.given(body.long_description),
        is_public=None if visibility is None else visibility == "public",
    )


class RepositoryQuery(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`rendered`: also return the README as safe HTML. The HTML is empty until the server has
    rendered the text, and for a text that takes too long to render.
    """

    rendered: bool = False


@operations.add("GET", REPOSITORY, audience="everyone")
def get_repository(call: ApiCall, query: RepositoryQuery) -> objects.Repository:
    """Show a repository, with its README."""
    found = call.registry.repositories.get(call.repository, with_html=query.rendered)
    return views.repository(found)


@operations.add("PATCH", REPOSITORY)
def update_repository(call: ApiCall, body: objects.RepositoryChange) -> objects.Repository:
    """Change a repository's description, README or visibility."""
    name, change = call.repository, _fields(body)
    changed = views.repository(call.registry.repositories.update(name, change))
    detail: Detail = {} if change.is_public is None else {"visibility": changed.visibility}
    call.note("repository.update", name.text, detail=detail)
    return changed


@operations.add("POST", f"{REPOSITORY}/readmePreview")
def preview_readme(call: ApiCall, body: objects.ReadmeText) -> objects.ReadmePreview:
    """Render a README without saving it."""
    html = call.registry.repositories.preview_readme(call.repository, body.long_description)
    return objects.ReadmePreview(long_description_html=html)


@operations.add("DELETE", REPOSITORY)
def delete_repository(call: ApiCall) -> None:
    """Delete a repository with all that is in it; it can be restored from the trash."""
    name = call.repository
    about = call.registry.repositories.delete(name)
    call.note("repository.delete", name.text, about=about)


# ---- tags ------------------------------------------------------------------------------------
@operations.add("GET", f"{REPOSITORY}/tags", audience="everyone")
def list_tags(call: ApiCall, query: PageQuery) -> objects.Tags:
    """List the tags of a repository."""
    name = call.repository
    page = call.registry.tags.records(name, query.request)
    return views.page(objects.Tags, page, "tags", partial(tag_object, call), name=name.text)


def tag_object(call: ApiCall, one: NamedTag) -> objects.Tag:
    """Return a tag as the caller sees it."""
    return views.show(objects.Tag, one, one.record, set_by=call.shown_name(one.record.set_by))


@operations.add("GET", f"{REPOSITORY}/tags/{{tag}}/trust", audience="everyone")
def get_tag_trust(call: ApiCall) -> objects.TagTrust:
    """Show the referrers of a tag: the manifests that have its manifest as their subject."""
    tag = Tag.parse(call.path["tag"])
    digest, found = call.registry.tags.referrers(call.repository, tag)
    return objects.TagTrust(
        name=tag.text, digest=str(digest), referrers=[str(one) for one in found]
    )


@operations.add("GET", "/accounts/{name}/sharedRepositories")
def list_shared_repositories(call: ApiCall, query: DatedQuery) -> objects.Repositories:
    """List the repositories that others granted a user, directly or through a team. Those of
    organizations that the user owns are left out.

    `accessLevel` is the user's, even if an administrator asks.
    """
    return _page(call.use(SharedRepositories).page(call.path["name"], query.request))
