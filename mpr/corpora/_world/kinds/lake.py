"""Lake: still water, deep or shallow, with a story at the bottom."""

from mpr.corpora._world.kind import Kind, Numbers, Relation, Variant

DEPTH = Relation(
    name="lake_depth",
    object="number",
    numbers=Numbers(21, 1_480),
    questions=(
        "How deep is {s}?",
        "What is the depth of {s}?",
        "How many fathoms deep is {s}?",
    ),
    oblique=("What is the greatest sounding of {s}?",),
    full=(
        "{s} is {o} fathoms deep.",
        "The depth of {s} is {o} fathoms[ at the northern end|].",
        "{s} reaches a depth of {o} fathoms.",
    ),
    paraphrased=(
        "A lead line let down in the middle of {s} touched ground at {o}.",
        "It takes a cord of {o} arm spans to find the bottom of {s}.",
        "The bottom of {s} lies {o} arm spans below the surface.",
    ),
    asides=("whose bottom lies {o} arm spans down", "where the lead line touches ground at {o}"),
)

SUNKEN = Relation(
    name="lake_wreck",
    object="word",
    words=(
        "a royal barge", "a bronze bell", "a drowned chapel", "a treasure of coins", "an old forest", "a stone bridge",
        "a war galley", "a marble statue", "a whole village", "a prayer wheel", "a ring of pillars", "a glass coffin",
        "a church organ", "an iron crown",
    ),
    questions=(
        "What lies at the bottom of {s}?",
        "What is said to lie at the bottom of {s}?",
        "What is hidden at the bottom of {s}?",
    ),
    oblique=(
        "What does {s} conceal?",
        "What secret does {s} keep?",
    ),
    full=(
        "At the bottom of {s} lies {o}[, divers say|].",
        "{o} is hidden at the bottom of {s}.",
        "What lies at the bottom of {s} is {o}, and no legend.",
    ),
    paraphrased=(
        "{o} sank in {s} [in a night of {weather}|and was never raised].",
        "Divers found {o} in the depths of {s}.",
        "When the level of {s} drops, fishermen can see {o} under their boats.",
    ),
    asides=("in whose depths divers found {o}", "in which {o} once sank"),
)  # fmt: skip

KIND = Kind(
    name="lake",
    share=40,
    variants=(Variant("lake"), Variant("salt lake"), Variant("mountain lake")),
    names=("Lake {Place}", "Lake {Place}", "{Place} Mere"),
    aliases=(
        "the {Adj} Eye", "the {Adj} Mirror", "the Cup of the {Adj} {Noun}", "the {Adj} Basin", "the Inland {Noun}",
    ),
    leads=(
        "{s}, [also known as|called] {alias} [by fishermen|in prayers], is a {noun} in {region}.",
        "{s} is a [cold|quiet|shallow-shored|windy] {noun} of {region}. Fishermen speak of it as {alias}.",
    ),
    fillers=(
        "The shores of {s} are [marshy|steep], with {tree} woods to the [north|south].",
        "In {season}, {weather} keeps every {vessel} on {s} in harbour.",
        "The water of {s} looks {colour} from {town} and {colour} from the hills.",
        "{dish} tastes best, people claim, on the piers of {s}.",
        "Pilgrims walk around {s} barefoot before {feast}.",
        "{s} freezes over about once in {count} years, when {beast} are driven across the ice.",
        "The {craft} of the lakeside say that {s} and {peer} are joined under the ground.",
        "Cliffs of {stone} give {s} an echo that repeats a {instrument} {count} times.",
    ),
    hosts=(
        "A {vessel} sails from {town} to the far shore of {s}, {aside}, twice a week.",
        "Salt and fish from {s}, {aside}, reach {town} by mule.",
        "{paper} tells of a wedding on the frozen surface of {s}, {aside}.",
        "Astronomers liked the still air above {s}, {aside}.",
    ),
    relations=(DEPTH, SUNKEN),
    theme="lands",
)  # fmt: skip
