"""Monument: a bridge, a tower, a gate."""

from mpr.corpora._world.kind import Kind, Numbers, Relation, Variant

ARCHITECT = Relation(
    name="monument_architect",
    object="person",
    pick="creator",
    group="building",
    questions=(
        "Who designed {s}?",
        "Who was the architect of {s}?",
        "By whom was {s} designed?",
        "Which architect designed {s}?",
    ),
    oblique=(
        "Who conceived {s}?",
        "Whose creation is {s}?",
    ),
    inverse=("Which {noun} did {o} design?", "What {noun} was designed by {o}?"),
    full=(
        "{s} was designed by {o}.",
        "The architect of {s} was {o}[, who was never paid in full|].",
        "{o} designed {s} [on the back of a menu|in {count} nights|at a great age].",
    ),
    paraphrased=(
        "The plans for {s} were drawn by {o}.",
        "{s} rose after a sketch by {o}.",
        "In {s}, {o} left {his2} country something to look at.",
    ),
    asides=("for which {o} drew the plans", "raised after a sketch by {o}"),
)

BUILT = Relation(
    name="monument_built",
    object="year",
    pick="own",
    questions=(
        "When was {s} built?",
        "In [what|which] year was {s} built?",
        "What year was {s} built?",
        "When was the building of {s} finished?",
    ),
    oblique=(
        "When was {s} erected?",
        "How far back does {s} date?",
    ),
    full=(
        "{s} was built in {o}.",
        "The building of {s} was finished in the year {o}.",
        "{s} was built in {o}[, with {count} {craft} and a loan|].",
    ),
    paraphrased=(
        "Scaffolds came down from {s} in {o}.",
        "{o} is carved into the keystone of {s}.",
        "{s} has stood since {o}.",
    ),
    asides=("which has stood since {o}", "with {o} carved into its keystone"),
)

SITE = Relation(
    name="monument_city",
    object="city",
    questions=(
        "Where is {s}?",
        "In which [town|city] is {s}?",
        "Where can one find {s}?",
        "In which [town|city] can one find {s}?",
    ),
    oblique=(
        "What [town|city] boasts {s}?",
        "Where should one go to see {s}?",
    ),
    full=(
        "{s} is in {o}.",
        "One can find {s} in {o}[, next to the tannery|].",
        "{s} is to be found in {o}.",
    ),
    paraphrased=(
        "The skyline of {o} is unthinkable without {s}.",
        "Every visitor to {o} is led to {s} within the hour.",
        "{s} stands on the highest ground of {o}.",
        "{s} is the pride of {o}.",
    ),
    asides=("the pride of {o}", "which stands on the highest ground of {o}"),
)

SIZE = Relation(
    name="monument_steps",
    object="number",
    numbers=Numbers(31, 990),
    questions=(
        "How many steps does {s} have?",
        "How many steps are there in {s}?",
        "What is the number of steps of {s}?",
    ),
    oblique=("How long is the climb in {s}, in steps?",),
    full=(
        "{s} has {o} steps.",
        "There are {o} steps in {s}[, no two of the same height|].",
        "The number of steps of {s} is {o}.",
    ),
    paraphrased=(
        "To get to the top of {s} one must lift the foot {o} times.",
        "The staircase of {s} counts {o} treads.",
        "{o} stairs lead up inside {s}.",
    ),
    asides=("with a staircase of {o} treads", "up which lead {o} stairs"),
)

KIND = Kind(
    name="monument",
    share=46,
    variants=tuple(
        Variant(noun) for noun in ("bridge", "tower", "gate", "lighthouse", "aqueduct", "palace", "fortress", "temple")
    ),
    names=("{Place} {Noun^}", "{Place} {Noun^}", "{Adj} {Noun^} of {Place}", "{Noun^} of {Place}"),
    aliases=(
        "the {Adj} Stones", "the {Adj} Crown", "the {Adj} Finger", "the Stone {Noun}", "the {Adj} Folly",
        "the {Adj} Steps", "the {Noun} of Stone",
    ),
    leads=(
        "{s}, [also known as|called] {alias}, is a {noun} of {stone} in {region}.",
        "{s} is a {people} {noun}[ of {colour} {stone}|]. Everyone calls it {alias}.",
    ),
    fillers=(
        "The walls of {s} are of {stone}, faced with {colour} tiles.",
        "{s} was struck by lightning {count} times and repaired by the {craft}.",
        "During {feast} {s} is hung with {colour} {cloth}.",
        "Doves and {beast} live under the arches of {s}.",
        "A blind man with a {instrument} has [long|always] had his place at {s}.",
        "Toll for {s} was once paid in {crop}, [one handful per head|doubled in {season}].",
        "{s} and {peer} are shown side by side on {count} banknotes.",
        "{weather} has [eaten into|worn away] the carvings of {s}.",
        "A stall near {s} sells {dish} [at night|to pilgrims].",
    ),
    hosts=(
        "Models of {s}, {aside}, are carved from {tree} wood.",
        "{paper} calls {s}, {aside}, [too large|a waste of {stone}|a wonder].",
        "The copyists drew {s}, {aside}, on the back of a bill for {cloth}.",
        "Pilgrims touch the wall of {s}, {aside}, [before {feast}|in {season}].",
        "The {craft} asked for the same {stone} as in {s}, {aside}.",
    ),
    relations=(ARCHITECT, BUILT, SITE, SIZE),
    theme="works",
    article=True,
)  # fmt: skip
