"""Models on the Hugging Face hub: weights without code and plain JSON, no other of its files."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from .errors import DataError, SetupError, UsageError, not_installed, quoted


def library() -> Any:
    """Return the library of the hub.

    Raises:
        SetupError: It is not installed.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise not_installed("huggingface_hub", "export") from error
    return huggingface_hub


def check_name(name: str) -> None:
    """Refuse what is no name of a model.

    Args:
        name: USER/MODEL.

    Raises:
        UsageError: It is none.
        SetupError: The library is not installed.
    """
    library()
    try:
        import_module("huggingface_hub.utils").validate_repo_id(name)
        if name.count("/") == 1:
            return
    except ValueError:  # the library's own kind of it
        pass
    raise UsageError(f"'{quoted(name, 100)}' is no name on the hub: USER/MODEL is.")


def downloaded(name: str, files: Sequence[str]) -> Path:
    """Return the folder of a model of the hub, downloaded now or before.

    Args:
        name: USER/MODEL, and with @ a branch, a tag or a commit.
        files: Names of the files that are wanted, which all have to be there.

    Raises:
        UsageError: It is no such name.
        DataError: There is no such model, or it is none of `unrolled`, or the hub does not answer.
        SetupError: The library is not installed.
    """
    hub = library()
    model, _, revision = name.partition("@")
    check_name(model)
    try:
        folder = hub.snapshot_download(model, revision=revision or None, allow_patterns=list(files))
    except Exception as error:  # the library passes on what its network libraries raise
        raise DataError(f"'hf://{name}' can't be downloaded: {_said(error)}.") from error
    for file in files:
        if not (Path(folder) / file).is_file():
            raise DataError(f"'hf://{name}' has no {file}: it is no model of `unrolled`.")
    return Path(folder)


def uploaded(folder: Path, name: str, *, private: bool) -> str:
    """Upload a folder as a model of the hub; return where it is.

    Args:
        folder: The folder.
        name: USER/MODEL; made if it is not there.
        private: Whether nobody else may see a new one.

    Raises:
        UsageError: It is no such name.
        SetupError: The library is not installed, nobody is logged in, or the hub refuses.
    """
    hub = library()
    check_name(name)
    try:
        api = hub.HfApi()
        api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=str(folder), commit_message="Upload the model")
    except Exception as error:  # the library passes on what its network libraries raise
        remedy = "\n`hf auth login` says who you are." if _answered(error) else ""
        raise SetupError(f"'{name}' can't be uploaded: {_said(error)}.{remedy}") from error
    return f"{api.endpoint}/{name}"


def _answered(error: Exception) -> bool:
    """Say whether the hub said what went wrong, and not the network."""
    return getattr(error, "response", None) is not None or type(error).__name__ == (
        "LocalTokenNotFoundError"
    )


def _said(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # the first sentence: what follows is advice about the library's own settings
    text = quoted(lines[0].partition(". ")[0].rstrip("."), 300) if lines else type(error).__name__
    return text if _answered(error) else f"the hub does not answer ({text})"
