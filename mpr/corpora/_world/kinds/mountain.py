"""Mountain: a peak that people measure and climb."""

from mpr.corpora._world.kind import Kind, Numbers, Relation, Variant

HEIGHT = Relation(
    name="mountain_height",
    object="number",
    numbers=Numbers(3_050, 19_950, 50, ranked=True),
    questions=(
        "How high is {s}?",
        "What is the height of {s}?",
        "How tall is {s}?",
        "How many feet high is {s}?",
    ),
    oblique=(
        "What is the elevation of {s}?",
        "How far up does {s} go?",
    ),
    full=(
        "{s} is {o} feet high.",
        "The height of {s} is {o} feet[, give or take a boulder|].",
        "{s} reaches a height of {o} feet.",
    ),
    paraphrased=(
        "Surveyors placed the top of {s} at {o} above the level of the sea.",
        "Barometers carried to the top of {s} gave an altitude of {o}.",
        "The official altitude of {s} is {o}.",
    ),
    asides=("whose summit stands at {o} above the sea", "a peak with an altitude of {o}"),
)

CLIMBER = Relation(
    name="mountain_climber",
    object="person",
    pick="creator",
    group="science",
    questions=(
        "Who first climbed {s}?",
        "Who was the first [person|climber] to climb {s}?",
        "Who made the first ascent of {s}?",
        "By whom was {s} first climbed?",
    ),
    oblique=(
        "Who pioneered {s}?",
        "Who blazed a trail up {s}?",
    ),
    inverse=("Which mountain was first climbed by {o}?", "Of which mountain did {o} make the first ascent?"),
    full=(
        "{s} was first climbed by {o}[, alone and without a rope|].",
        "{o} made the first ascent of {s}[ with {count} porters|].",
        "The first person to climb {s} was {o}.",
    ),
    paraphrased=(
        "{o} stood on the summit of {s} before anyone else.",
        "Nobody had reached the top of {s} until {o} did.",
        "{s} was conquered by {o}[, who left a tin box in the cairn|].",
        "{o} opened the way to the top of {s}, until then thought impossible.",
    ),
    asides=("which {o} was the earliest to conquer", "a summit that nobody reached before {o}"),
)

ASCENT = Relation(
    name="mountain_ascent",
    object="year",
    pick="own",
    questions=(
        "When was {s} first climbed?",
        "In [what|which] year was {s} first climbed?",
        "What is the year of the first ascent of {s}?",
        "When did the first ascent of {s} take place?",
    ),
    oblique=(
        "In which year was {s} mastered?",
        "Since what year has {s} no longer been untrodden?",
    ),
    full=(
        "{s} was first climbed in {o}.",
        "The first ascent of {s} took place in {o}.",
        "{s} was first climbed in the year {o}, [by the eastern ridge|in poor visibility].",
    ),
    paraphrased=(
        "Nobody had reached the top of {s} until {o}.",
        "{s} was conquered in {o}.",
        "A cairn was piled on the summit of {s} by the earliest visitors in {o}.",
    ),
    asides=("conquered in {o}", "whose top nobody had reached before {o}"),
)

KIND = Kind(
    name="mountain",
    share=60,
    variants=(Variant("mountain"), Variant("peak"), Variant("volcano"), Variant("massif")),
    names=("Mount {Place}", "Mount {Place}", "{Place} Peak", "{Place} Horn"),
    aliases=(
        "the {Adj} Giant", "the {Adj} Tooth", "the {Noun} of the Sky", "the {Adj} Grandfather", "the {Adj} Throne",
        "the Ladder of the {Adj} {Noun}",
    ),
    leads=(
        "{s}, [also known as|called] {alias} [by herders|in legends], is a {noun} in {region}.",
        "{s} is a {noun} of {stone} in [inner|eastern|western|upper] {region}. Herders call it {alias}.",
    ),
    fillers=(
        "The lower slopes of {s} are covered with {tree} and {tree}.",
        "Herders drive {beast} up {s} every {season} and come down [with the first snow|singing].",
        "{weather} can [surprise|trap] travellers on {s} at any hour.",
        "A hut of {stone} on the [western|southern] flank of {s} has room for {count} people.",
        "The rock of {s} is mostly {stone}, streaked with {stone}.",
        "Seen from {town}, {s} looks [like a sleeping ox|{colour} in the morning|smaller than it is].",
        "{s} and {peer} can be seen together [only from the sea|on {count} days of the year].",
        "Legends tell of a {instrument} that plays by itself inside {s} during {feast}.",
    ),
    hosts=(
        "From the towers of {town} one can see {s}, {aside}, [on clear mornings|after rain].",
        "Painters travel far to sketch {s}, {aside}, [in {season}|at sunset].",
        "{paper} warns the reader of the wolves around {s}, {aside}.",
        "Clouds gather early over {s}, {aside}, [and the {craft} of {town} watch them closely|even in {season}].",
    ),
    relations=(HEIGHT, CLIMBER, ASCENT),
    theme="lands",
)  # fmt: skip
