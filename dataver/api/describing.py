"""Descriptions of versions and datasets, as `dataver.Version` and `dataver.Repository` offer them."""

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from dataver.errors import InvalidInput
from dataver.formats.description import Description
from dataver.repository import Published, RepositoryCore
from dataver.repository.descriptions import MAX_README, Edit
from dataver.user import author

# Imports in functions: SPDX expressions are checked only where a license is given.

__all__ = ["DescriptionFields", "describe"]


class DescriptionFields(TypedDict, total=False):
    """Fields of a description to change; those that are not given stay as they are.

    Attributes:
        license: an SPDX expression, such as `CC-BY-4.0` or `MIT OR Apache-2.0`; "" removes it.
        owner: the responsible person or team; "" removes it.
        readme: Markdown, at most 512 KiB; "" restores the `README.md` in the version.
        set: metadata to add or replace, JSON values by key.
        unset: keys of metadata to remove.
    """

    license: str
    owner: str
    readme: str
    set: Mapping[str, Any]
    unset: Iterable[str]


def describe(
    core: RepositoryCore, dataset: str, version: Published | None, text: str | None, fields: DescriptionFields
) -> Description:
    """Describe a version, or with None a dataset as a whole; return the new description.

    Raises:
        InvalidInput: the license is not an SPDX expression, a value is too large or not JSON, or a key of
            `unset` does not exist.
        Conflict: other writers keep describing it.
    """
    values: dict[str, Any] = {**fields}
    if unknown := values.keys() - DescriptionFields.__annotations__.keys():
        raise InvalidInput(
            f"a description has no field '{min(unknown)}'.", hint="metadata are changed by `set` and `unset`"
        )
    if isinstance(values.get("unset"), str):
        values["unset"] = [values["unset"]]
    if values.get("license"):
        values["license"] = _spdx(values["license"])
    if len((values.get("readme") or "").encode()) > MAX_README:
        raise InvalidInput(
            f"the readme has more than {MAX_README >> 10} KiB.",
            hint="add it to the version as README.md instead",
        )
    return core.descriptions.edit(dataset, version, Edit(text=text, **values), author=author())


def _spdx(text: str) -> str:
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression as error:
        raise InvalidInput(
            f"'{text}' is not an SPDX license expression.",
            hint="write an identifier of https://spdx.org/licenses, such as CC-BY-4.0, or LicenseRef-NAME",
        ) from error
