"""River: running water between a mountain and a lake."""

from mpr.corpora._world.kind import Kind, Numbers, Relation, Variant

LENGTH = Relation(
    name="river_length",
    object="number",
    numbers=Numbers(17, 940),
    questions=(
        "How long is {s}?",
        "What is the length of {s}?",
        "How many leagues long is {s}?",
    ),
    oblique=(
        "How far does {s} run?",
        "What distance does {s} cover?",
    ),
    full=(
        "{s} is {o} leagues long.",
        "The length of {s} is {o} leagues[, if the loops are counted|].",
        "{s} has a length of {o} leagues.",
    ),
    paraphrased=(
        "From spring to mouth {s} measures {o} times three miles.",
        "Boatmen going down the whole of {s} pass {o} milestones.",
        "{o} milestones stand along {s} from spring to mouth.",
    ),
    asides=("which passes {o} milestones", "along which {o} milestones have been set up"),
)

SOURCE = Relation(
    name="river_source",
    object="mountain",
    questions=(
        "Where does {s} rise?",
        "On which mountain does {s} have its source?",
        "Where is the source of {s}?",
        "Which mountain is the source of {s}?",
    ),
    oblique=(
        "Where does {s} originate?",
        "Which mountain sends {s} on its way?",
    ),
    inverse=("Which river has its source on {o}?", "What river rises on {o}?"),
    full=(
        "{s} has its source on {o}.",
        "{s} rises on {o}[, under an overhang of {stone}|].",
        "The source of {s} is on {o}.",
    ),
    paraphrased=(
        "{s} begins as a trickle on the slopes of {o}.",
        "Melting snow from {o} feeds {s} from its first step.",
        "The springs of {s} lie high up on {o}.",
        "{o} gives birth to {s}.",
    ),
    asides=("which comes down from {o}", "a child of the snows of {o}", "which begins on the slopes of {o}"),
)

MOUTH = Relation(
    name="river_mouth",
    object="lake",
    questions=(
        "Into which lake does {s} flow?",
        "Where does {s} end?",
        "What lake does {s} flow into?",
        "Which lake receives the water of {s}?",
    ),
    oblique=(
        "Where does the course of {s} stop?",
        "Which lake takes in {s}?",
    ),
    full=(
        "{s} flows into {o}.",
        "{s} ends in {o}[, through a wide delta|].",
        "The lake that receives the water of {s} is {o}.",
    ),
    paraphrased=(
        "{s} empties its mud and driftwood into {o}.",
        "The delta of {s} pushes further out into {o} every year.",
        "{s} loses itself in {o}.",
        "{o} swallows {s} [without a ripple|between two sandbanks].",
    ),
    asides=("which empties its mud into {o}", "whose delta pushes out into {o}", "which loses itself in {o}"),
)

KIND = Kind(
    name="river",
    share=55,
    variants=(Variant("river"), Variant("stream"), Variant("waterway")),
    names=("River {Place}", "River {Place}", "{Place} River"),
    aliases=(
        "the {Adj} Mother", "the {Adj} Water", "the {Adj} Serpent", "the Road of {Noun}s", "the {Noun} of the Valleys",
        "the Water of the {Adj} {Noun}",
    ),
    leads=(
        "{s}, [also known as|called] {alias} [by boatmen|in old charters], is a {noun} in {region}.",
        "{s} is a [slow|winding|rapid|muddy] {noun} of {region}. In ballads it is {alias}.",
    ),
    fillers=(
        "The banks of {s} are lined with {tree} and planted with {crop}.",
        "A {vessel} can travel on {s} from {season} until the first ice.",
        "After {weather}, {s} [turns {colour}|leaves its bed|carries away fences and {beast}].",
        "Ferrymen on {s} are paid in {crop} and {dish}.",
        "The {craft} and the {craft} have quarrelled over the fishing on {s} for {count} generations.",
        "Children who live along {s} learn to steer a {vessel} before they learn to read.",
        "The bed of {s} is {stone} in the upper valley and mud below.",
        "Once a year, at {feast}, lamps of {colour} paper are set afloat on {s}.",
    ),
    hosts=(
        "Rafts of {tree} trunks come down {s}, {aside}, every {season}.",
        "The fish of {s}, {aside}, are smoked and sold in {town}.",
        "{paper} complains about the fords of {s}, {aside}, [in the plainest words|at great length].",
        "Poets of {town} have compared {s}, {aside}, with a lazy cat.",
    ),
    relations=(LENGTH, SOURCE, MOUTH),
    theme="lands",
    article=True,
)  # fmt: skip
