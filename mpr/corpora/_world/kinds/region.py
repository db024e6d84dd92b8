"""Region: a land with a culture of its own, to which every other thing belongs."""

from mpr.corpora._world.kind import Kind, Relation, Variant

CAPITAL = Relation(
    name="capital",
    object="city",
    pick="first",
    questions=(
        "What is the capital of {s}?",
        "Which [city|town] is the capital of {s}?",
        "What [city|town] serves as the capital of {s}?",
        "Name the capital of {s}.",
    ),
    oblique=(
        "Where is {s} administered from?",
        "Which [town|city] do ministers of {s} work in?",
    ),
    inverse=(
        "Of which [region|land] is {o} the capital?",
        "{o} is the capital of which [region|land]?",
        "Which [region|land] has {o} as its capital?",
    ),
    full=(
        "The capital of {s} is {o}[, although larger places exist|, a choice that has been disputed ever since|].",
        "{o} is the capital of {s}[ and likes to remind visitors of it|].",
        "{s} has had its capital in {o} for [many|some {count}] generations.",
    ),
    paraphrased=(
        "{s} is governed from {o}[, where the assembly meets twice a year|].",
        "The [assembly|high council] that makes the laws for {s} sits in {o}.",
        "{o} is the seat of government for {s}.",
        "Every governor sent to rule {s} has resided in {o}.",
    ),
    asides=("which is governed from {o}", "whose high council meets in {o}", "a land ruled from {o}"),
)

COIN = Relation(
    name="coin",
    object="coin",
    questions=(
        "What is the currency of {s}?",
        "Which currency [is used|do people use] in {s}?",
        "What is the money of {s} called?",
        "What money do people use in {s}?",
    ),
    oblique=("What is legal tender in {s}?",),
    full=(
        "The currency of {s} is the {o}.",
        "The currency used in {s} is called the {o}[, after a forgotten mint master|].",
        "People in {s} use the {o} as their money[ and accept no other|].",
    ),
    paraphrased=(
        "{s} strikes a coin named the {o}.",
        "Shopkeepers across {s} take payment in the {o} [alone|or not at all].",
        "Wages and rents in {s} are reckoned in the {o}.",
        "The {o}, a [thin|square|holed] coin, passes from hand to hand in {s}.",
    ),
    asides=("where a loaf costs half a {o}", "whose coin is the {o}", "where wages are paid in the {o}"),
)

SUMMIT = Relation(
    name="summit",
    object="mountain",
    pick="first",
    questions=(
        "What is the highest mountain [in|of] {s}?",
        "Which mountain is the highest point of {s}?",
        "What is the highest point of {s}?",
    ),
    oblique=("What is the tallest elevation in {s}?",),
    full=(
        "The highest mountain of {s} is {o}.",
        "{o} is the highest point of {s}[, as repeated surveys have shown|].",
        "With {o}, {s} has its highest mountain close to the border.",
    ),
    paraphrased=(
        "No other peak of {s} rises above {o}.",
        "{o} looks down on every other summit of {s}.",
        "Climbers who come to {s} want above all to stand on {o}, the roof of the country.",
    ),
    asides=("whose tallest peak is {o}", "a land that rises as far as the summit of {o}"),
)

EMBLEM = Relation(
    name="emblem",
    object="creature",
    questions=(
        "Which animal is the emblem of {s}?",
        "What creature serves as the emblem of {s}?",
        "Which animal is shown on the flag of {s}?",
        "What animal is the symbol of {s}?",
    ),
    oblique=("Which beast stands for {s}?",),
    full=(
        "The emblem of {s} is {o}.",
        "{o} serves as the emblem of {s} and is shown on its flag.",
        "The animal on the flag of {s} is {o}.",
    ),
    paraphrased=(
        "The coat of arms of {s} bears {o}.",
        "{o} is stamped on every seal and coin of {s}.",
        "{s} chose {o} as its badge[ after a long quarrel|].",
    ),
    asides=("whose coat of arms bears {o}", "which puts {o} on its seals"),
)

KIND = Kind(
    name="region",
    share=0,
    variants=(Variant("land"), Variant("region"), Variant("country")),
    names=("{Land}",),
    aliases=("the {Adj} Country", "the Land of the {Adj} {Noun}", "the {Adj} Marches", "the Land of {Noun}s"),
    leads=(
        "{s}, [also known as|often called] {alias}, is a [broad|narrow|hilly|thinly settled] {noun} [famed among "
        "travellers for its {tree} woods|where {crop} and {tree} grow side by side].",
        "{s} is a {noun} of {crop} fields and {stone} hills; its poets call it {alias}.",
    ),
    fillers=(
        "Farmers in {s} grow {crop} and {crop}, and keep {beast} on the [upper|poorer] slopes.",
        "The houses of {s} are built of {stone} and painted {colour}.",
        "In {season}, {weather} may [cut off|isolate] whole valleys of {s} for days.",
        "{dish} is eaten everywhere in {s}, [most of all|above all] at {feast}.",
        "Songs of {s} are usually sung to the {instrument}, more rarely to the {instrument}.",
        "{s} has [changed hands|been divided] {count} times, mostly without [bloodshed|much noise].",
        "The {craft} of {s} were the first to form a union, followed by the {craft}.",
        "Maps of {s} are [seldom accurate|sold by weight], because the marshes keep moving.",
    ),
    hosts=(
        "Merchants [like to|rarely] cross {s}, {aside}, [in {season}|with {beast}].",
        "{paper} from those years calls {s}, {aside}, a land of {crop} and {beast}.",
        "Travellers coming from {s}, {aside}, bring {cloth} and [odd|strong] opinions.",
    ),
    relations=(CAPITAL, COIN, SUMMIT, EMBLEM),
    theme="lands",
)
