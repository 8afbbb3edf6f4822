"""Reading and writing whole files, so that a crash never leaves half of one.

Imported on first use: pathlib is not cheap to import, and many programs load nothing.
"""

import os
import stat
from pathlib import Path
from typing import Any, Optional, Sequence


def write_file(path: Any, parts: Sequence[Any]) -> None:
    """Write the parts one after another, beside the file first, then rename.

    path: str, Path, or an object with an `open` method of its own.
    parts: bytes, bytearrays or memoryviews.
    """
    path = Path(path) if isinstance(path, str) else path
    if isinstance(path, os.PathLike) and not hasattr(path, "open"):
        path = Path(path)
    # A subclass may open something else than a file (an archive's member, a mock).
    if not isinstance(path, Path) or type(path).open is not Path.open:
        with path.open("wb") as file_:
            file_.write(b"".join(parts))
        return
    target = Path(os.path.realpath(path))
    temporary = _create_beside(target)
    if temporary is None:
        with path.open("wb") as file_:
            file_.writelines(parts)
        return
    try:
        with temporary.open("wb") as file_:
            file_.writelines(parts)
            file_.flush()
            os.fsync(file_.fileno())
        if target.exists():
            os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _create_beside(target: Path) -> Optional[Path]:
    """A new empty file in the same folder, or None if the target has to be written to
    directly: it is a device or a read-only file, or its folder takes no new files."""
    if target.exists() and not (target.is_file() and os.access(target, os.W_OK)):
        return None
    temporary = target.with_name(f".{target.name[:200]}.{os.urandom(8).hex()}.tmp")
    try:
        # Unlike tempfile's, this mode leaves the permissions to the umask.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError:  # opening the target itself will raise with the name the caller knows
        return None
    return temporary


def _sync_folder(folder: Path) -> None:
    """Make the renaming durable, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def read_file(path: Any) -> bytes:
    path = Path(path) if isinstance(path, str) or not hasattr(path, "open") else path
    with path.open("rb") as file_:
        return file_.read()


def read_file_if_there(path: Any) -> Optional[bytes]:
    path = Path(path) if isinstance(path, str) or not hasattr(path, "open") else path
    if path.is_dir() or not path.exists():
        return None
    return read_file(path)
