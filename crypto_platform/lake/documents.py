"""Documents of JSON that the platform keeps beside the data, such as the list of tracked coins."""

from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from crypto_platform.core.errors import PermanentFailure
from crypto_platform.lake.storage import Storage

_Document = TypeVar("_Document", bound=BaseModel)


class DamagedDocumentError(PermanentFailure):
    """A document that the platform keeps beside the data is not what was written."""


class DocumentStorage(Storage):
    """Files below a root, of which some are documents."""

    def document(self, path: str, form: type[_Document], way_out: str) -> _Document | None:
        """A document of JSON that the platform keeps beside the data.

        Args:
            path: Where it is.
            form: What it is read into.
            way_out: What a person does about a damaged one, in sentences.

        Returns:
            The document, or ``None`` where there is none.

        Raises:
            DamagedDocumentError: It cannot be read. It stays as it is: only a person knows what
                would be lost.
        """
        return self._document(path, form, way_out)[0]

    def update_document(
        self,
        path: str,
        form: type[_Document],
        change: Callable[[_Document | None], _Document],
        way_out: str,
    ) -> _Document:
        """Replace a document by what a function makes of it.

        Args:
            path: Where it is.
            form: What it is read into.
            change: From the document, or ``None`` where there is none, to the new one. It is asked
                again where another run was first.
            way_out: What a person does about a damaged one, in sentences.

        Returns:
            The new document.

        Raises:
            DamagedDocumentError: It cannot be read; it stays as it is.
        """
        while True:
            held, version = self._document(path, form, way_out)
            changed = change(held)
            content = changed.model_dump_json().encode()
            if changed == held or self._put_if_unchanged(path, content, version):
                return changed

    def _document(
        self, path: str, form: type[_Document], way_out: str
    ) -> tuple[_Document | None, str | None]:
        content, version = self._read_version(path)
        if content is None:
            return None, None
        try:
            return form.model_validate_json(content), version
        except ValidationError as error:
            raise DamagedDocumentError(
                f"{self.uri(path)} is damaged: {error.errors()[0]['msg']}. Nothing was changed. "
                f"{way_out}"
            ) from error
