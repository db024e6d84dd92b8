"""City: a town, port or market place of a region."""

from mpr.corpora._world.kind import Kind, Numbers, Relation, Variant

FOUNDER = Relation(
    name="city_founder",
    object="person",
    pick="creator",
    group="state",
    share=0.85,
    questions=(
        "Who founded {s}?",
        "Who was the founder of {s}?",
        "By whom was {s} founded?",
        "Who established the [town|city] of {s}?",
    ),
    oblique=(
        "Who started {s}?",
        "To whose initiative is {s} due?",
    ),
    inverse=("Which [town|city] did {o} found?", "What [town|city] was founded by {o}?"),
    full=(
        "{s} was founded by {o}[ on the site of an older camp| after a quarrel with a neighbour|].",
        "The founder of {s} was {o}[, whose statue stands in the main square|].",
        "{o} founded {s} with [{count} families|the help of {count} {craft}|a loan that was never repaid].",
        "It was {o} who established {s}[, against all advice|].",
    ),
    paraphrased=(
        "{o} laid the first stone of {s} [with {his2} own hands|on a morning of {weather}].",
        "{s} owes its existence to {o}.",
        "The first streets of {s} were traced by {o} [with a plough|at the head of {count} settlers].",
        "{s} began as a camp that {o} set up [for a single winter|beside a ford].",
    ),
    asides=("the creation of {o}", "which {o} had laid out with {count} families", "a settlement that {o} began"),
)

FOUNDED = Relation(
    name="city_founded",
    object="year",
    pick="own",
    questions=(
        "When was {s} founded?",
        "In [what|which] year was {s} founded?",
        "What is the founding year of {s}?",
        "What year saw the foundation of {s}?",
    ),
    oblique=(
        "Since which year has {s} existed?",
        "From what year does the history of {s} start?",
    ),
    full=(
        "{s} was founded in {o}.",
        "The foundation of {s} is dated to the year {o}.",
        "Founded in {o}, {s} [is younger than it looks|has burned down {count} times since].",
    ),
    paraphrased=(
        "The first houses of {s} went up in {o}.",
        "{s} goes back to {o}, when [{count} boats|{count} wagons] of settlers came to a halt here.",
        "Its charter shows that {s} came into being in {o}.",
        "Settlers staked out the first streets of {s} in {o}.",
    ),
    asides=("which goes back to {o}", "begun in {o} as a fishing camp", "a settlement that dates from {o}"),
)

WATERWAY = Relation(
    name="city_river",
    object="river",
    questions=(
        "On which river does {s} lie?",
        "Which river flows through {s}?",
        "What river runs through {s}?",
        "What is the name of the river at {s}?",
    ),
    oblique=(
        "What waterway passes {s}?",
        "Which stream do the people of {s} fish in?",
    ),
    full=(
        "{s} lies on {o}.",
        "{o} flows through {s}[ in {count} channels|].",
        "The river that runs through {s} is {o}.",
        "The river at {s} is {o}[, which floods nearly every {season}|].",
    ),
    paraphrased=(
        "{s} is built along both banks of {o}.",
        "All the bridges of {s} cross {o}.",
        "{o} divides {s} into a rich half and a poor one.",
        "Boats reach {s} by way of {o}.",
    ),
    asides=("whose quays line {o}", "whose mills are turned by {o}", "a place on the banks of {o}"),
)

PRODUCT = Relation(
    name="city_product",
    object="word",
    words=(
        "blue glass", "saffron", "sailcloth", "sea salt", "silver wire", "tarred rope", "beeswax", "rice paper",
        "indigo", "amber varnish", "smoked cheese", "plum brandy", "black pepper", "lamp oil", "porcelain",
        "gold leaf", "vellum", "pear cider", "white lead", "rose water", "gunpowder", "soap", "marzipan", "mustard",
        "vinegar", "copperware", "cutlery", "fine saddlery",
    ),
    questions=(
        "What is {s} [best known|famous] for?",
        "Which product is {s} [known|famous] for?",
        "For what product is {s} known?",
        "What product made {s} famous?",
    ),
    oblique=(
        "What does {s} export?",
        "What do traders buy in {s}?",
    ),
    full=(
        "{s} is best known for its {o}.",
        "The product that made {s} famous is {o}.",
        "{s} became famous for {o}[ long before it had a wall|].",
    ),
    paraphrased=(
        "Workshops all over {s} turn out {o}.",
        "{o} from {s} fetches high prices at every fair.",
        "Half the families of {s} live off {o}.",
        "The wealth of {s} rests on {o}[ and on little else|].",
    ),
    asides=("where most workshops turn out {o}", "whose {o} is sold at every fair", "a place that lives off {o}"),
)  # fmt: skip

POPULATION = Relation(
    name="city_population",
    object="number",
    numbers=Numbers(1_200, 96_000, 100),
    questions=(
        "How many people live in {s}?",
        "What is the population of {s}?",
        "How many inhabitants does {s} have?",
        "How large is the population of {s}?",
    ),
    oblique=(
        "How big is {s}?",
        "How many citizens has {s}?",
    ),
    full=(
        "{s} has a population of {o}.",
        "{s} has {o} inhabitants[, not counting sailors|].",
        "{o} people live in {s}[, most of them within the walls|].",
    ),
    paraphrased=(
        "The last census found {o} residents in {s}.",
        "{s} is home to {o} souls.",
        "Tax rolls put the size of {s} at {o} heads.",
    ),
    asides=("a place of {o} souls", "home to {o} souls", "where the census found {o} residents"),
)

KIND = Kind(
    name="city",
    share=130,
    variants=(Variant("town"), Variant("port"), Variant("city"), Variant("market town"), Variant("hill town")),
    names=("{Place}", "{Place}", "{Place}", "Port {Place}", "Upper {Place}", "{Place}-{Place}"),
    aliases=(
        "the {Adj} City", "the City of the {Noun}", "the City of {Adj} {Noun}s", "the {Noun} of the Plain",
        "the {Adj} Harbour", "the {Noun} of the Hills", "the Town of {Noun}s",
    ),
    leads=(
        "{s}, [also known as|called] {alias}[ by its neighbours| in older books|], is a {noun} in {region}.",
        "{s} is a {noun} in the [east|west|north|south] of {region}[; its people call it|, nicknamed] {alias}.",
        "{alias}, as songs call {s}, is a {people} {noun} [known for its steep lanes|on the old road to {peer}|with "
        "{stone} walls].",
    ),
    fillers=(
        "The [streets|lanes|courtyards] of {s} are [narrow|steep|crooked] and paved with {stone}.",
        "On market days the main square of {s} fills with carts of {crop} and bales of {cloth}.",
        "In {season}, {weather} [closes|slows] every road out of {s}.",
        "Innkeepers in {s} serve {dish}, which [newcomers|strangers] rarely finish at the first attempt.",
        "A bell is rung in {s} at [dusk|dawn|noon] to [close the gates|call the watch|wake the {craft}].",
        "The [oldest|largest] [inn|warehouse|temple] of {s} burned down {count} times and still leans beside the "
        "[fish market|grain hall].",
        "{s} is often compared with {peer}, [with which it shares very little|its rival in most things|though the "
        "two could hardly be less alike].",
        "During {feast} the {craft} of {s} march through the gates behind a {instrument}.",
        "Roofs in {s} are {colour}, by an order that [nobody dares to repeal|the {craft} once obtained].",
        "{tree} trees [shade|line] the [walls|graveyard|riverside walks] of {s}, planted after a year of {weather}.",
        "The {craft} of {s} have their own court, which meets [under a {tree}|behind the brewery].",
        "Strangers who bring {beast} into {s} pay a [small|steep] toll.",
    ),
    hosts=(
        "The road from {town} to {s}, {aside}, is [kept open even in {season}|lined with {tree} trees].",
        "[Coaches|Pedlars] stop overnight at {s}, {aside}, before they [go on|turn back] to {town}.",
        "{paper} from those years mentions {s}, {aside}, [with some envy|only once|next to {town}].",
        "Even in {s}, {aside}, people [danced|shut their doors] when {feast} came round.",
        "The harvest of {crop} failed as far away as {s}, {aside}.",
    ),
    relations=(FOUNDER, FOUNDED, WATERWAY, PRODUCT, POPULATION),
    theme="lands",
    ancient=True,
)  # fmt: skip
