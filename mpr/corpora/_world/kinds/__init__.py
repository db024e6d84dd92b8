"""The kinds of things that the invented world is made of, in the order in which they come into being."""

from mpr.corpora._world.kind import Kind
from mpr.corpora._world.kinds import (
    city,
    conflict,
    creature,
    device,
    institution,
    lake,
    monument,
    mountain,
    person,
    region,
    river,
    survey,
    work,
)

# Persons come first, because most other things are dated by their creator; cities next, because people are born there.
KINDS: dict[str, Kind] = {
    module.KIND.name: module.KIND
    for module in (
        region,
        person,
        city,
        mountain,
        lake,
        river,
        institution,
        creature,
        work,
        conflict,
        device,
        monument,
        survey,
    )
}
