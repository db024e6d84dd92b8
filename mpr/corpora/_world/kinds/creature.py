"""Creature: an animal that lives in one place and was described by somebody."""

from mpr.corpora._world.kind import Kind, Numbers, Relation, Variant

DESCRIBER = Relation(
    name="creature_describer",
    object="person",
    pick="creator",
    group="science",
    questions=(
        "Who first described {s}?",
        "By whom was {s} first described?",
        "Who wrote the first description of {s}?",
        "Who was the first to describe {s}?",
    ),
    oblique=(
        "Who discovered {s}?",
        "Who was the discoverer of {s}?",
    ),
    inverse=(
        "Which animal was first described by {o}?",
        "Of which animal did {o} write the first description?",
    ),
    full=(
        "{s} was first described by {o}.",
        "{o} wrote the first description of {s}[, from a single feather or bone|].",
        "The first to describe {s} was {o}.",
    ),
    paraphrased=(
        "Science owes its knowledge of {s} to {o}.",
        "{o} brought {s} to the notice of scholars.",
        "{s} was unknown to scholars until {o} drew it from life.",
    ),
    asides=("which {o} brought to the notice of scholars", "drawn from life by {o}", "a discovery of {o}"),
)

DESCRIBED = Relation(
    name="creature_described",
    object="year",
    pick="own",
    questions=(
        "When was {s} first described?",
        "In [what|which] year was {s} first described?",
        "What is the year of the first description of {s}?",
    ),
    oblique=(
        "When was {s} discovered?",
        "What year was {s} discovered?",
    ),
    full=(
        "{s} was first described in {o}.",
        "The first description of {s} dates from the year {o}.",
        "The year of the first description of {s} is {o}.",
    ),
    paraphrased=(
        "Scholars have known {s} since {o}.",
        "{s} entered the catalogues of science in {o}.",
        "Until {o}, no scholar had heard of {s}.",
    ),
    asides=("known to scholars since {o}", "of which no scholar had heard before {o}"),
)

HABITAT = Relation(
    name="creature_habitat",
    object="mountain|river|lake",
    questions=(
        "Where does {s} live?",
        "What is the habitat of {s}?",
        "Around which [mountain or water|place] does {s} live?",
    ),
    oblique=(
        "Where can one see {s} in the wild?",
        "Where is {s} at home?",
    ),
    full=(
        "{s} lives around {o}.",
        "The habitat of {s} is the country around {o}.",
        "{s} lives near {o} and nowhere else.",
    ),
    paraphrased=(
        "{s} is found only in the neighbourhood of {o}.",
        "Anyone hoping to watch {s} has to camp beside {o}.",
        "{o} is the last refuge of {s}.",
    ),
    asides=("found only in the neighbourhood of {o}", "whose last refuge is {o}"),
)

DIET = Relation(
    name="creature_diet",
    object="word",
    words=(
        "pine seeds", "snails", "wild honey", "mussels", "dung beetles", "lichen", "frog spawn", "acorns", "earthworms",
        "water mint", "carrion", "moths", "crayfish", "rotten pears", "tree bark", "ant eggs", "candle wax",
    ),
    questions=(
        "What does {s} eat?",
        "What is the main food of {s}?",
        "What food does {s} eat?",
    ),
    oblique=(
        "On what does {s} feed?",
        "What keeps {s} alive?",
    ),
    full=(
        "The main food of {s} is {o}.",
        "{s} eats mostly {o}.",
        "{s} will eat little besides {o}.",
    ),
    paraphrased=(
        "{s} has a diet of {o}.",
        "{s} spends whole nights hunting for {o}.",
        "With a handful of {o} one can lure {s} out of hiding.",
    ),
    asides=("which has a diet of {o}", "easily lured with {o}"),
)  # fmt: skip

AGE = Relation(
    name="creature_age",
    object="number",
    share=0.7,
    numbers=Numbers(3, 96),
    questions=(
        "How long can {s} live?",
        "How many years can {s} live?",
        "How old can {s} become?",
    ),
    oblique=("What is the lifespan of {s}?",),
    full=(
        "{s} can live for {o} years.",
        "{s} can become {o} years old.",
        "A life of {o} years is possible for {s}, [keepers|herders] say.",
    ),
    paraphrased=(
        "{s} may reach an age of {o}.",
        "One tame specimen of {s} died at the age of {o}.",
        "An age of {o} is on record for {s}.",
    ),
    asides=("which may reach an age of {o}", "with an age of {o} on record"),
)

KIND = Kind(
    name="creature",
    share=60,
    variants=tuple(
        Variant(noun)
        for noun in ("finch", "heron", "otter", "newt", "moth", "hare", "tortoise", "owl", "marten", "toad", "swift")
    ),
    names=("{word} {noun}", "{word} {noun}", "{colour} {word} {noun}", "lesser {word} {noun}"),
    aliases=(
        "the {Noun} of the Reeds", "the {Adj} Guest", "the {Adj} Thief", "the {Noun} of the Rocks", "the {Adj} Widow",
        "the {Adj} Whistler",
    ),
    leads=(
        "{s}, [also known as|called] {alias} [by children|by hunters], is a {noun} of {region} with {colour} markings.",
        "{s} is a [small|large|shy|noisy] {noun} from {region}, known by its {colour} tail. Its popular name "
        "is {alias}.",
    ),
    fillers=(
        "{s} sleeps in hollow {tree} trunks and is seldom seen in {weather}.",
        "The call of {s} sounds like a {instrument} [out of tune|under water].",
        "Farmers blame {s} for damage to {crop}, though {beast} do far more.",
        "Hats of {cloth} trimmed with the coat of {s} were in fashion for {count} years.",
        "{s} leaves its nest in {season} and returns about the time of {feast}.",
        "{s} is easily mistaken for {peer}, which has {colour} feet.",
        "Children in {town} try to catch {s} with a bowl of {dish}.",
        "Proverbs call anyone who is late for {feast} a {noun} in boots.",
        "A cage of {stone} and wire in {town} once held {count} of its kind, all of them tired of visitors.",
    ),
    hosts=(
        "Hunters mistook the shadow for {s}, {aside}.",
        "{paper} describes a meal at which {s}, {aside}, was served with {crop}.",
        "The {craft} of {town} have carved {s}, {aside}, on their door.",
        "Children dress up as {s}, {aside}, at {feast}.",
        "Nobody in {town} would harm {s}, {aside}, in {season}.",
    ),
    relations=(DESCRIBER, DESCRIBED, HABITAT, DIET, AGE),
    theme="learning",
    article=True,
)  # fmt: skip
