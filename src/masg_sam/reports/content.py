"""What a report holds, as the page's template reads it."""

from __future__ import annotations

from dataclasses import dataclass, field

Value = str | float | int | None
COARSE = ("mm", "pixels", "mL", "seconds")  # ends of the columns whose values need one digit


@dataclass(frozen=True)
class Limits:
    """How much a report holds.

    Attributes:
        cases: with pictures, the worst first.
        slices: of each of them.
    """

    cases: int = 20
    slices: int = 12


@dataclass(frozen=True)
class Slice:
    """One slice of a case: pictures of the same size, one over the other, each a data URI.

    Attributes:
        number: of the slice, as in the file, from 0.
        image: the image itself.
        layers: layer name (``prediction``, ``label``, ``error``) to a transparent picture.
    """

    number: int
    image: str
    layers: dict[str, str]


@dataclass(frozen=True)
class CasePictures:
    """A case to look at.

    Attributes:
        name: of the case.
        caption: what is to be said of it.
        aspect: width over height of a slice, in mm.
        slices: in order.
        shown: index of the slice that is shown first.
    """

    name: str
    caption: str
    aspect: float
    slices: list[Slice]
    shown: int


@dataclass(frozen=True)
class ModuleMap:
    """A map a module of the network made of a slice.

    Attributes:
        module: ``image``, ``HAE``, ``BFE`` or ``DSF``.
        title: what the map shows.
        picture: data URI.
    """

    module: str
    title: str
    picture: str


@dataclass(frozen=True)
class Chart:
    """A figure: inline SVG whose text takes the page's colour."""

    title: str
    svg: str
    caption: str


@dataclass(frozen=True)
class Table:
    """Rows to sort and to filter; the first column names the case."""

    columns: list[str]
    rows: list[list[Value]]

    def text(self, column: int, value: Value) -> str:
        """A value as the page shows it: one digit for mm, mL and seconds, three for scores."""
        if value is None:
            return "–"
        if isinstance(value, float):
            return f"{value:.{1 if self.columns[column].endswith(COARSE) else 3}f}"
        return str(value)


@dataclass
class Report:
    """Everything on the page; what is empty is left out.

    Attributes:
        title: of the page.
        subtitle: one sentence beneath it.
        tiles: the few numbers to see first, with what they are.
        missing: what could not be shown, and how to get it shown.
        scores: box plots and the like.
        cases: one row a case.
        warnings: case name to what was warned of.
        pictures: cases to look at.
        layers: layer names, in order.
        legend: class name to colour.
        maps: of the modules, for one slice.
        maps_of: that slice, in words.
        training: curves.
        facts: section title to names and values.
    """

    title: str
    subtitle: str
    tiles: list[tuple[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    scores: list[Chart] = field(default_factory=list)
    cases: Table | None = None
    warnings: dict[str, list[str]] = field(default_factory=dict)
    pictures: list[CasePictures] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)
    legend: dict[str, str] = field(default_factory=dict)
    maps: list[ModuleMap] = field(default_factory=list)
    maps_of: str = ""
    training: list[Chart] = field(default_factory=list)
    facts: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
