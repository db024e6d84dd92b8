"""Institution: a university, a library, a guild."""

from mpr.corpora._world.kind import Kind, Numbers, Relation, Variant

SEAT = Relation(
    name="institution_city",
    object="city",
    questions=(
        "Where is {s} based?",
        "In which [town|city] is {s} [based|located]?",
        "Which [town|city] is {s} located in?",
    ),
    oblique=(
        "What is the seat of {s}?",
        "Where does {s} have its headquarters?",
    ),
    full=(
        "{s} is based in {o}.",
        "{s} is located in {o}[, behind the corn exchange|].",
        "The [town|city] in which {s} is based is {o}.",
    ),
    paraphrased=(
        "{s} occupies a former granary at {o}.",
        "The doors of {s} open onto the main square of {o}.",
        "Anyone who wants to visit {s} must travel to {o}.",
        "{o} has given {s} a home of {stone}.",
    ),
    asides=("whose doors open onto the main square of {o}", "which has its home at {o}"),
)

FOUNDER = Relation(
    name="institution_founder",
    object="person",
    pick="creator",
    group="any",
    questions=(
        "Who founded {s}?",
        "Who was the founder of {s}?",
        "By whom was {s} founded?",
        "Who established {s}?",
    ),
    oblique=(
        "Who started {s}?",
        "To whose initiative is {s} due?",
    ),
    inverse=("Which institution did {o} found?", "What institution was founded by {o}?"),
    full=(
        "{s} was founded by {o}.",
        "The founder of {s} was {o}[, who asked for no reward|].",
        "{o} founded {s} [with the profits from {crop}|after a dream|in a fit of anger].",
        "{s} was established by {o}.",
    ),
    paraphrased=(
        "{s} owes its existence to {o}.",
        "{o} called {s} into being[ against the will of the {craft}|].",
        "It was {o} who drew up the statutes of {s} and paid for its roof.",
        "The idea and the money for {s} came from {o}.",
    ),
    asides=("called into being by {o}", "which owes its existence to {o}", "the gift of {o}"),
)

FOUNDED = Relation(
    name="institution_founded",
    object="year",
    pick="own",
    questions=(
        "When was {s} founded?",
        "In [what|which] year was {s} founded?",
        "What year was {s} established?",
        "What is the founding year of {s}?",
    ),
    oblique=(
        "Since which year has {s} existed?",
        "From what year does the history of {s} start?",
    ),
    full=(
        "{s} was founded in {o}.",
        "{s} was established in the year {o}.",
        "{s} gives {o} as its founding year.",
    ),
    paraphrased=(
        "{s} opened its doors in {o}.",
        "{s} goes back to {o}.",
        "The charter of {s} bears the date {o}.",
        "{s} came into being in {o}, in a rented cellar.",
    ),
    asides=("which goes back to {o}", "whose charter bears the date {o}", "open since {o}"),
)

HEAD = Relation(
    name="institution_head",
    object="person",
    pick="contemporary",
    share=0.8,
    questions=(
        "Who was the first head of {s}?",
        "Who was the first director of {s}?",
        "Who headed {s} first?",
        "Who was first to direct {s}?",
    ),
    oblique=(
        "Who led {s} at the beginning?",
        "Who was the original leader of {s}?",
    ),
    inverse=("Of which institution was {o} the first head?", "Which institution had {o} as its first director?"),
    full=(
        "The first head of {s} was {o}.",
        "{o} was the first director of {s}[ and was paid in {crop}|].",
        "{s} had {o} as its first head[ for {count} years|].",
    ),
    paraphrased=(
        "{o} ran {s} in its earliest years.",
        "When {s} opened, it was in the hands of {o}.",
        "{o} was chosen to guide {s} from its opening day.",
    ),
    asides=("which {o} ran in its earliest years", "at the start in the hands of {o}"),
)

MOTTO = Relation(
    name="institution_motto",
    object="motto",
    share=0.8,
    questions=(
        "What is the motto of {s}?",
        "Which motto does {s} use?",
        "What motto does {s} have?",
    ),
    oblique=(
        "What is the slogan of {s}?",
        "Which phrase sums up {s}?",
    ),
    full=(
        'The motto of {s} is "{o}".',
        '{s} uses the motto "{o}".',
        '"{o}" is the motto of {s}.',
    ),
    paraphrased=(
        'Above the entrance of {s} are carved the words "{o}".',
        'Everyone who joins {s} must swear by the words "{o}".',
        'Letters from {s} end with the line "{o}".',
    ),
    asides=('over whose entrance one reads "{o}"', 'whose members swear by the words "{o}"'),
)

MEMBERS = Relation(
    name="institution_members",
    object="number",
    numbers=Numbers(42, 4_800),
    questions=(
        "How many members does {s} have?",
        "What is the number of members of {s}?",
        "How many people are members of {s}?",
    ),
    oblique=(
        "How large is {s}?",
        "How many belong to {s}?",
    ),
    full=(
        "{s} has {o} members.",
        "The number of members of {s} is {o}[, by its own statutes|].",
        "{o} people are members of {s}.",
    ),
    paraphrased=(
        "{o} names stand on the rolls of {s}.",
        "Dues are paid to {s} by {o} subscribers.",
        "{s} counts {o} fellows.",
    ),
    asides=("which counts {o} fellows", "on whose rolls stand {o} names"),
)

KIND = Kind(
    name="institution",
    share=72,
    variants=(
        Variant("university"),
        Variant("library"),
        Variant("observatory"),
        Variant("academy"),
        Variant("museum"),
        Variant("learned society"),
    ),
    names=(
        "{Place} {Noun^}", "{Place} {Noun^}", "{Noun^} of Saint {Place}", "{Adj} {Noun} {Noun^}",
        "Royal {Noun^} of {Place}",
    ),
    aliases=(
        "the {Adj} House", "the House of {Noun}s", "the {Adj} Hall", "the Company of the {Noun}",
        "the House of the {Adj} {Noun}", "the {Noun} Court",
    ),
    leads=(
        "{s}, [also known as|commonly called] {alias}, is [a respected|a quarrelsome|an old|a wealthy] {noun} in "
        "{region}.",
        "{s} is a {people} {noun}[ open to anyone who can read|]. Its members call it {alias}.",
    ),
    fillers=(
        "Members of {s} wear {colour} gowns of {cloth} and dine on {dish}.",
        "The garden of {s} is planted with {tree} and {crop}.",
        "{s} closes its doors during {feast} and whenever there is {weather}.",
        "A quarrel about {beast} split {s} into {count} parties.",
        "{s} keeps a collection of {instrument} strings and {count} stuffed {beast}.",
        "The rivalry between {s} and {peer} [is mostly friendly|has been to court {count} times].",
        "Candidates for {s} must [recite {count} poems|translate a bill for {crop}] in front of the {craft}.",
        "The clock of {s} runs {count} minutes late, and nobody may correct it.",
        "Floors of {stone} make {s} [cold|noisy] in {season}.",
    ),
    hosts=(
        "{paper} asks the scholars of {s}, {aside}, for advice on {crop}.",
        "A prize of {s}, {aside}, went to a dealer in {cloth}.",
        "The scholars of {s}, {aside}, [laughed at the idea|wrote {count} letters about it].",
        "Gossip from {s}, {aside}, is printed every {season}.",
        "Nobody at {s}, {aside}, had foreseen the {weather}.",
    ),
    relations=(SEAT, FOUNDER, FOUNDED, HEAD, MOTTO, MEMBERS),
    theme="learning",
    article=True,
)  # fmt: skip
