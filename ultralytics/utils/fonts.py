"""Fonts for text outside ASCII: which installed file has the glyphs. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from ultralytics.utils import LOGGER

# parts of the file names of fonts with Chinese, Japanese or Korean glyphs, in order of preference, before all others
CJK_FONT_NAMES = (
    "notosanscjk", "notosanssc", "sourcehansans", "msyh", "pingfang", "hiragino sans gb", "wqy-microhei", "wqy-zenhei",
    "stheiti", "simhei", "deng", "simsun", "meiryo", "yugoth", "malgun", "nanumgothic", "droidsansfallback", "unifont",
    "arial unicode",
)  # fmt: skip


def font_for(text: str) -> Path | None:
    """File of a font that has every character of `text`: matplotlib's, else an installed one; None if there is none."""
    path = _covering(_visible(text))
    if path is None:
        _warn_no_font()
    return path


def font_runs(text: str, example: str = "") -> list[tuple[str, Path | None]]:
    """`text` in parts with a font file for each: one part if a font has all of it, else as few as needed.

    Args:
        text: one line.
        example: text that is drawn beside it, such as all class names, in the same font if possible.

    Returns:
        Parts and font files, None for characters that no font has.
    """
    path = _covering(_visible(example + text)) or _covering(_visible(text))
    if path is not None:
        return [(text, path)]
    runs: list[tuple[str, Path | None]] = []
    for character in text:
        needed = _visible(character)
        present = runs[-1][1] if runs else None
        path = present if present and _codes(needed) <= _glyphs(present) else _covering(needed)
        if path is None:
            _warn_no_font()
        if runs and path == present:
            runs[-1] = runs[-1][0] + character, path
        else:
            runs.append((character, path))
    return runs


def mpl_families(texts: Iterable[str]) -> list[str]:
    """Names for matplotlib's `font.family`; together these fonts have the glyphs of all `texts`."""
    families = ["DejaVu Sans"]
    for text in texts:
        for _, path in [] if text.isascii() else font_runs(text):
            if path is not None and (family := _registered_family(path)) not in families:
                families.append(family)
    return families


def _visible(text: str) -> frozenset[str]:
    return frozenset(c for c in text if not c.isspace() and c.isprintable())


def _codes(characters: frozenset[str]) -> set[int]:
    return {ord(c) for c in characters}


@lru_cache(maxsize=4096)
def _covering(characters: frozenset[str]) -> Path | None:
    codes = _codes(characters)
    return next((path for path in _font_files() if codes <= _glyphs(path)), None)


@lru_cache(maxsize=1)
def _warn_no_font() -> None:
    LOGGER.warning(
        "no installed font has all characters of the class names: images will show empty squares for some. "
        "Install one that has them (for Chinese, for example: apt install fonts-noto-cjk)"
    )


@lru_cache(maxsize=1)
def _font_files() -> tuple[Path, ...]:
    import matplotlib  # here, since ASCII text does not need it
    from matplotlib import font_manager

    own = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    installed = [Path(f) for f in font_manager.findSystemFonts() if not f.lower().endswith((".afm", ".pcf.gz"))]

    def rank(path: Path) -> tuple[int, str]:
        name = path.name.lower()
        return next((i for i, part in enumerate(CJK_FONT_NAMES) if part in name), len(CJK_FONT_NAMES)), str(path)

    return (own, *sorted(installed, key=rank))


@lru_cache(maxsize=512)
def _glyphs(path: Path) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(str(path)).get_charmap())
    except (RuntimeError, OSError, ValueError):  # bitmap or damaged font files that FreeType cannot read
        return frozenset()


def _registered_family(path: Path) -> str:
    from matplotlib import font_manager

    for entry in font_manager.fontManager.ttflist:
        if Path(entry.fname) == path:
            return str(entry.name)
    font_manager.fontManager.addfont(str(path))
    return str(font_manager.fontManager.ttflist[-1].name)
