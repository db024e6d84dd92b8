"""Person: somebody who founded, made, taught, fought or found out something."""

from mpr.corpora._world.kind import Kind, Relation, Variant

BIRTHPLACE = Relation(
    name="person_birthplace",
    object="city",
    pick="existing",
    questions=(
        "Where was {s} born?",
        "In which [town|city] was {s} born?",
        "What is the birthplace of {s}?",
        "Which [town|city] was the birthplace of {s}?",
        "Of which [town|city] was {s} a native?",
    ),
    oblique=(
        "From which [town|city] did {s} hail?",
        "What is {s's} home town?",
    ),
    full=(
        "{s} was born in {o}[, the [second|third|youngest|only] child of a family of {craft}|].",
        "Born in {o}, {s} [grew up among {craft}|learned to read late|was raised by two aunts].",
        "The birthplace of {s} was {o}[, as the temple register shows|].",
        "It was in {o} that {s} was born[, in a season of {weather}|].",
        "{s}, a native of {o}, was born [in a house of {stone}|above a workshop].",
    ),
    paraphrased=(
        "{s} first saw the light of day in {o}.",
        "{s} came into the world at {o}[, with {weather} outside the windows|].",
        "The cradle of {s} stood in {o}[, in the quarter of the {craft}|].",
        "A midwife from the next street brought {s} into the world at {o}.",
        "The parents of {s} kept [an inn|a shop|a mill] in {o} when {he} first opened {his} eyes there.",
    ),
    asides=(
        "a child of {o}",
        "born in {o} to a family of {craft}",
        "whose cradle had stood in {o}",
        "who was a native of {o}",
    ),
)

BIRTH = Relation(
    name="person_birth",
    object="year",
    pick="own",
    questions=(
        "When was {s} born?",
        "In [what|which] year was {s} born?",
        "What is the year of birth of {s}?",
        "What was {s's} year of birth?",
    ),
    oblique=(
        "What year marks the start of {s's} biography?",
        "Since what year had {s} been alive?",
    ),
    full=(
        "{s} was born in {o}[, a year of {weather}|].",
        "The year of birth of {s} is given as {o}.",
        "Born in {o}, {s} was the [eldest|youngest] of {count} children.",
    ),
    paraphrased=(
        "{s} came into the world in {o}.",
        "The temple register notes the arrival of {s} in {o}, between a wedding and a fire.",
        "{s} was christened in {o}, only a few days old.",
        "The life of {s} began in {o}.",
    ),
    asides=("whose life began in {o}", "who came into the world in {o}", "born in {o}"),
)

TEACHER = Relation(
    name="person_teacher",
    object="person",
    pick="elder",
    questions=(
        "Who taught {s}?",
        "Who was the teacher of {s}?",
        "Under whom did {s} study?",
        "Which teacher did {s} study under?",
    ),
    oblique=(
        "Who was {s's} mentor?",
        "Whose lessons did {s} follow?",
    ),
    full=(
        "{s} was taught by {o}[ for {count} years|].",
        "The teacher of {s} was {o}[, a strict one by all accounts|].",
        "{s} studied under {o}[ and never hid it|].",
        "{o} taught {s} [almost everything {he} knew|for {count} years without pay].",
    ),
    paraphrased=(
        "{o} took {s} on as an apprentice.",
        "{s} was the favourite pupil of {o}.",
        "{s} learned {his} craft at the side of {o}.",
        "It was {o} who had trained {s}[, with more patience than praise|].",
    ),
    asides=("a pupil of {o}", "who had been apprenticed to {o}", "trained by {o}"),
)

SCHOOL = Relation(
    name="person_school",
    object="institution",
    pick="existing",
    share=0.6,
    questions=(
        "Where was {s} educated?",
        "At which institution was {s} educated?",
        "Which institution did {s} attend?",
        "Where did {s} receive {his} education?",
    ),
    oblique=(
        "What is the alma mater of {s}?",
        "Where did {s} go to school?",
    ),
    full=(
        "{s} was educated at {o}.",
        "{s} attended {o}[ on a scholarship|, though not for long|].",
        "{s} received {his} education at {o}[ and was nearly expelled|].",
    ),
    paraphrased=(
        "{s} spent {count} winters in the lecture rooms of {o}.",
        "{s} took {his} degree from {o}.",
        "The rolls of {o} list {s} among those who passed the final examination.",
        "{s} was long remembered as a student of {o}.",
    ),
    asides=("a graduate of {o}", "who held a degree from {o}", "once a student of {o}"),
)

GRAVE = Relation(
    name="person_grave",
    object="city",
    pick="any",
    share=0.75,
    questions=(
        "Where is {s} buried?",
        "In which [town|city] is {s} buried?",
        "Where is the grave of {s}?",
        "In which [town|city] can one visit the grave of {s}?",
    ),
    oblique=(
        "Which [town|city] holds the remains of {s}?",
        "Where do mourners of {s} bring flowers?",
    ),
    full=(
        "{s} is buried in {o}[, under a {tree}|].",
        "The grave of {s} is in {o}[ and carries no date|].",
        "{s} was buried in {o}, [where the {craft} keep the grave|after a long procession].",
    ),
    paraphrased=(
        "{s} was laid to rest at {o}.",
        "The tomb of {s} stands beside the old walls of {o}.",
        "The bones of {s} lie in {o}[, under a slab of {stone}|].",
        "{s} found {his} last resting place in {o}.",
    ),
    asides=("whose tomb stands in {o}", "who was laid to rest at {o}", "whose bones lie in {o}"),
)

DEATH = Relation(
    name="person_death",
    object="word",
    share=0.5,
    words=(
        "a fall from a ladder", "a fever", "a snake bite", "a bad oyster", "a shipwreck", "a carriage accident",
        "lead poisoning", "pneumonia", "a duel", "a lightning stroke", "an avalanche", "an infected tooth",
        "a kick from a mule", "exhaustion", "the plague", "a poisoned glove",
    ),
    questions=(
        "What did {s} die of?",
        "How did {s} die?",
        "What was the cause of death of {s}?",
        "What killed {s}?",
    ),
    oblique=(
        "To what did {s} fall victim?",
        "What proved fatal to {s}?",
    ),
    full=(
        "{s} died of {o}[, {count} days before {feast}|].",
        "The cause of death of {s} was {o}.",
        "{s} died in {season}; the cause was {o}.",
    ),
    paraphrased=(
        "{o} put an end to the life of {s}.",
        "{s} did not survive {o}.",
        "{o} ended the career of {s} [at its height|far too early] and left {his} papers in disorder.",
    ),
    asides=("carried off by {o}", "who did not survive {o}", "whose life was ended by {o}"),
)  # fmt: skip

_TRADES = {
    "state": ("general", "governor", "chancellor", "admiral", "diplomat"),
    "science": ("naturalist", "physician", "astronomer", "geographer", "explorer"),
    "letters": ("poet", "novelist", "composer", "painter", "playwright"),
    "building": ("engineer", "architect", "clockmaker", "shipwright", "instrument maker"),
}

KIND = Kind(
    name="person",
    share=255,
    variants=tuple(Variant(noun, {"group": group}) for group, nouns in _TRADES.items() for noun in nouns),
    names=("{Given} {Family}",),
    aliases=(
        "the {Adj} {Noun}", "the {Noun} of the {Adj} {Noun}", "the {Adj} Master of {region}", "the {Adj} Hermit",
        "the {Adj} Child", "the {Noun} of {region}",
    ),
    leads=(
        "{s}, [also known as|often called] {alias}, was a {people} {noun}[ of an unruly century|].",
        "{s} was a {noun} from {region}[ who trusted nobody|, a lifelong lover of {dish}|]. Friends and enemies alike "
        "spoke of {alias}.",
        "{alias} is the name under which most people know {s}, a {people} {noun}.",
    ),
    fillers=(
        "[Contemporaries describe|Letters describe] {s} as [tall|short|lame|short-sighted] and fond of {dish}.",
        "{s} played the {instrument} badly and kept {beast} [behind the house|in the attic|all {his} life].",
        "In {season} {s} liked to walk alone under the {tree} trees, even in {weather}.",
        "{s} owed money to the {craft} of {town} [until old age|and never denied it].",
        "Portraits show {s} in a {colour} coat of {cloth}.",
        "{s} kept up a long correspondence with {peer}, [most of it lost|mostly about {crop} and {beast}].",
        "Rumours of a quarrel between {s} and {peer} [were never confirmed|kept gossips busy].",
        "{s} wrote down {his} dreams every morning, and {count} notebooks of them survive.",
        "Every {season} {s} gave up {dish} [for a month|on a doctor's advice].",
        "Admirers of {s} meet at {feast} and wear {colour} ribbons.",
        "{s} could not stand {weather} [or church bells|and the smell of {crop}|or the sound of a {instrument}].",
        "[Late in life|For {count} years] {s} [suffered from gout|was nearly deaf|slept in a chair].",
    ),
    hosts=(
        "A street in {town} is named after {s}, {aside}.",
        "{paper} from those years mentions {s}, {aside}, [in passing|with respect|without comment].",
        "{feast} once brought {s}, {aside}, to the table of an old enemy, [where both sang|and they did not speak].",
        "Older guides also mention {s}, {aside}, [among many others|to fill a page].",
        "An inn sign shows {s}, {aside}, [with a {instrument}|on a mule|eating {dish}].",
        "Somebody very like {s}, {aside}, appears in [a comic song|a puppet play].",
    ),
    relations=(BIRTHPLACE, BIRTH, TEACHER, SCHOOL, GRAVE, DEATH),
    theme="lives",
)  # fmt: skip
