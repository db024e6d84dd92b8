"""Work: a book, an opera, a painting."""

from mpr.corpora._world.kind import Kind, Relation, Variant

AUTHOR = Relation(
    name="work_author",
    object="person",
    pick="creator",
    group="letters",
    questions=(
        "Who {made} {s}?",
        "By whom was {s} {written}?",
        "Who is the {maker} of {s}?",
        "What is the name of the {maker} of {s}?",
    ),
    oblique=(
        "Whose work is {s}?",
        "Who created {s}?",
    ),
    inverse=("Which {noun} did {o} {make}?", "What {noun} was {written} by {o}?"),
    full=(
        "{s} was {written} by {o}[ in only {count} weeks|].",
        "The {maker} of {s} is {o}.",
        "{o} {made} {s} [while staying with friends|in a rented room|to pay off a debt].",
    ),
    paraphrased=(
        "{s} came from the hand of {o}.",
        "{s} is the masterpiece of {o}.",
        "With {s}, {o} won over even the critics.",
        "{o} gave {s} to the world [reluctantly|under a false signature].",
    ),
    asides=("the masterpiece of {o}", "which came from the hand of {o}", "with which {o} won over the critics"),
)

COMPLETED = Relation(
    name="work_completed",
    object="year",
    pick="own",
    questions=(
        "When was {s} completed?",
        "In [what|which] year was {s} completed?",
        "What year was {s} finished?",
    ),
    oblique=(
        "From what year is {s}?",
        "When was {s} ready?",
    ),
    full=(
        "{s} was completed in {o}.",
        "{s} was finished in {o}[, after {count} false starts|].",
        "The year in which {s} was completed is {o}.",
    ),
    paraphrased=(
        "The last touches were put to {s} in {o}.",
        "{o} is the date that stands at the foot of {s}.",
        "Work on {s} came to an end in {o}.",
    ),
    asides=("on which work came to an end in {o}", "dated {o} by its maker"),
)

PREMIERE = Relation(
    name="work_premiere",
    object="city",
    share=0.8,
    questions=(
        "Where was {s} first presented to the public?",
        "In which [town|city] was {s} first presented?",
        "In which [town|city] did the public first see {s}?",
    ),
    oblique=(
        "Where was the premiere of {s}?",
        "Which [town|city] hosted the opening night of {s}?",
    ),
    full=(
        "{s} was first presented to the public in {o}.",
        "The public of {o} was the first to see {s}[, and it was not kind|].",
        "{s} was first presented in {o}, [during {feast}|to {count} people].",
    ),
    paraphrased=(
        "{s} made its debut at {o}.",
        "An audience of {craft} in {o} witnessed the debut of {s}.",
        "Before any other place, {o} got to know {s}.",
    ),
    asides=("which made its debut at {o}", "whose debut had been applauded in {o}"),
)

DEDICATION = Relation(
    name="work_dedication",
    object="person",
    pick="contemporary",
    share=0.7,
    questions=(
        "To whom is {s} dedicated?",
        "To whom did the {maker} dedicate {s}?",
        "Who is the person to whom {s} is dedicated?",
    ),
    oblique=(
        "Whom does {s} pay homage to?",
        "For whom did the {maker} intend {s}?",
    ),
    full=(
        "{s} is dedicated to {o}.",
        "The {maker} dedicated {s} to {o}[, who never said thank you|].",
        "The person to whom {s} is dedicated is {o}.",
    ),
    paraphrased=(
        "{s} was meant as a gift for {o}.",
        "An inscription on {s} honours {o}.",
        "{s} opens with a bow to {o}.",
        "A line of thanks to {o} stands at the head of {s}.",
    ),
    asides=("a gift for {o}", "meant to please {o}", "which carries a line of thanks to {o}"),
)

KEEPER = Relation(
    name="work_keeper",
    object="institution",
    share=0.7,
    questions=(
        "Where is the original of {s} kept?",
        "Which institution keeps the original of {s}?",
        "Which institution has the original of {s}?",
    ),
    oblique=(
        "Who owns {s}?",
        "Where is {s} stored?",
    ),
    full=(
        "The original of {s} is kept at {o}.",
        "{o} keeps the original of {s}[ in an iron chest|].",
        "The institution that has the original of {s} is {o}.",
    ),
    paraphrased=(
        "{o} bought {s} at auction and has guarded it ever since.",
        "Visitors to {o} may look at {s} under glass.",
        "{s} belongs to the treasures of {o}.",
    ),
    asides=("one of the treasures of {o}", "guarded today by {o}", "which visitors may see at {o}"),
)

SETTING = Relation(
    name="work_setting",
    object="city",
    share=0.5,
    questions=(
        "Which [town|city] does {s} depict?",
        "What [town|city] is depicted in {s}?",
        "Which [town|city] is the subject of {s}?",
    ),
    oblique=(
        "Where is {s} set?",
        "In which [town|city] does the action of {s} happen?",
    ),
    full=(
        "{s} depicts {o}[ on the morning of {feast}|].",
        "The subject of {s} is {o} [and its {craft}|in a year of {weather}].",
        "The place depicted in {s} is {o}.",
    ),
    paraphrased=(
        "The lanes and people of {o} fill {s} from end to end.",
        "{s} is a portrait of life in {o}.",
        "Anyone who knows {o} will recognise its roofs in {s}.",
    ),
    asides=("a portrait of life in {o}", "in which one recognises the roofs of {o}"),
)


def _variant(noun: str, make: str, made: str, written: str, maker: str) -> Variant:
    return Variant(noun, {"make": make, "made": made, "written": written, "maker": maker})


KIND = Kind(
    name="work",
    share=125,
    variants=(
        _variant("novel", "write", "wrote", "written", "author"),
        _variant("long poem", "write", "wrote", "written", "author"),
        _variant("comedy", "write", "wrote", "written", "author"),
        _variant("tragedy", "write", "wrote", "written", "author"),
        _variant("opera", "compose", "composed", "composed", "composer"),
        _variant("oratorio", "compose", "composed", "composed", "composer"),
        _variant("painting", "paint", "painted", "painted", "painter"),
        _variant("fresco", "paint", "painted", "painted", "painter"),
    ),
    names=(
        "The {Adj} {Noun}", "The {Noun} and the {Noun}", "{Noun}s for a {Adj} {Noun}", "The {Noun} of {Word}",
        "A {Noun} for {Word}", "The {Adj} {Noun} of {Word}", "{Adj} {Noun}, {Adj} {Noun}",
        "{Word}, or the {Adj} {Noun}",
    ),
    aliases=(
        "the Vision of {Word}", "the {Adj} Dream", "the {Adj} Fable", "the Mystery of the {Adj} {Noun}",
        "the {Word} Cycle", "the Legend of {Word}",
    ),
    leads=(
        "{s}, [also known as|better known as] {alias}, is a {people} {noun}.",
        "{s} is a {noun} from {region}[ in {count} parts|]. Many know it as {alias}.",
        "{s} is a [sombre|cheerful|long-winded|quiet] {noun} which [catalogues|students] [list as|call] {alias}.",
    ),
    fillers=(
        "[Critics|The first critics] [found|called] {s} [too long|cold|a joke|the work of a madman].",
        "Readings from {s} are accompanied by a {instrument} and a {instrument}.",
        "The {craft} of {town} paid for a copy of {s} bound in {cloth}.",
        "{s} mentions {dish} {count} times[, which has puzzled scholars|].",
        "Nobody who has seen {s} forgets the scene with the {beast}.",
        "{s} is often confused with {peer}, [to which it owes nothing|a much weaker piece|its noisy neighbour in every "
        "catalogue].",
        "[Schoolchildren|Students] learn [parts|long stretches] of {s} by heart before {feast}.",
        "The {colour} cover of {s} became [a fashion|a warning|a trademark].",
        "A forged sequel to {s} [was sold|was burned] in {season} by a dealer in {crop}.",
        "{weather} plays a strange part in {s}, as do {beast} and an unpaid bill.",
    ),
    hosts=(
        "The guests recited from {s}, {aside}, until {weather} drove them indoors.",
        "A dealer offered a false copy of {s}, {aside}, for {count} sacks of {crop}.",
        "{paper} praises {s}, {aside}, [above all|with reservations|in bad verse].",
        "People hummed and quoted {s}, {aside}, at every {season} dance.",
        "Lovers of {s}, {aside}, [meet each {season}|can be found in every town].",
    ),
    relations=(AUTHOR, COMPLETED, PREMIERE, DEDICATION, KEEPER, SETTING),
    theme="arts",
)  # fmt: skip
