"""Renders the talk: `talk.typ` to slides and to speaker notes, with fonts that pip brings."""

from pathlib import Path

import matplotlib as mpl
import typst

FOLDER = Path("docs/presentation")
SOURCE, SLIDES, NOTES = "talk.typ", "talk.pdf", "notes.pdf"


def render(root: Path, out: Path | None = None) -> list[Path]:
    """Write slides and notes into `out` (default: the folder of the source); return their paths.

    No font of the machine is used, so that line breaks are the same everywhere.
    """
    folder = root / FOLDER
    fonts = Path(mpl.get_data_path()) / "fonts" / "ttf"
    compiler = typst.Compiler(
        root=str(root.resolve()), font_paths=[str(fonts)], ignore_system_fonts=True
    )
    written = []
    for name, notes in ((SLIDES, "no"), (NOTES, "yes")):
        path = (out or folder) / name
        compiler.compile(
            input=str((folder / SOURCE).resolve()), output=str(path), sys_inputs={"notes": notes}
        )
        written.append(path)
    return written
