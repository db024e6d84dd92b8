"""Device: an invention."""

from mpr.corpora._world.kind import Kind, Numbers, Relation, Variant

INVENTOR = Relation(
    name="device_inventor",
    object="person",
    pick="creator",
    group="building",
    questions=(
        "Who invented {s}?",
        "Who was the inventor of {s}?",
        "By whom was {s} invented?",
        "Whose invention is {s}?",
    ),
    oblique=(
        "Who devised {s}?",
        "Who thought up {s}?",
    ),
    inverse=("What did {o} invent?", "Which device was invented by {o}?"),
    full=(
        "{s} was invented by {o}.",
        "The inventor of {s} was {o}[, who made no money from it|].",
        "{o} invented {s} [by accident|on a bet|after {count} failures].",
    ),
    paraphrased=(
        "The idea for {s} came to {o} during {feast}.",
        "{o} built the earliest model of {s} [in a barn|out of barrels].",
        "{s} sprang from the head of {o}.",
        "The patent for {s} bears the name of {o}.",
    ),
    asides=("the brainchild of {o}", "for which {o} held the patent", "which {o} had put together in a barn"),
)

INVENTED = Relation(
    name="device_invented",
    object="year",
    pick="own",
    questions=(
        "When was {s} invented?",
        "In [what|which] year was {s} invented?",
        "What year was {s} invented?",
        "What is the year of invention of {s}?",
    ),
    oblique=(
        "When was {s} devised?",
        "From what year is {s}?",
    ),
    full=(
        "{s} was invented in {o}.",
        "The invention of {s} is dated to the year {o}.",
        "{s} was invented in {o}[, a year of {weather}|].",
    ),
    paraphrased=(
        "The patent for {s} was granted in {o}.",
        "The earliest model of {s} was built in {o}.",
        "Nobody had seen anything like {s} before {o}.",
    ),
    asides=("patented in {o}", "the earliest model of which dates from {o}"),
)

TRIAL = Relation(
    name="device_trial",
    object="city",
    share=0.8,
    questions=(
        "Where was {s} first tested?",
        "In which [town|city] was {s} first tested?",
        "Where did the first test of {s} take place?",
    ),
    oblique=(
        "Which [town|city] was the proving ground of {s}?",
        "Where did {s} run for the first time?",
    ),
    full=(
        "{s} was first tested in {o}.",
        "The first test of {s} took place in {o}[ and ended in flames|].",
        "{s} was first tested at {o}, [in {weather}|in front of {count} {craft}].",
    ),
    paraphrased=(
        "A courtyard in {o} saw the earliest trial of {s}.",
        "The people of {o} were the ones who heard {s} rattle before anyone else.",
        "{s} had its earliest trial at {o}.",
    ),
    asides=("which had its earliest trial at {o}", "which had startled {o} before any other place"),
)

MATERIAL = Relation(
    name="device_material",
    object="word",
    words=(
        "copper", "whalebone", "boxwood", "tin", "horn", "pearwood", "cast iron", "bamboo", "brass", "boiled leather",
        "pewter", "ivory", "cork", "steel wire", "fired clay",
    ),
    questions=(
        "What is {s} made of?",
        "Of what material is {s} made?",
        "Which material is used for {s}?",
    ),
    oblique=("What is {s} fashioned from?",),
    full=(
        "{s} is made of {o}.",
        "The material used for {s} is {o}.",
        "{s} is made entirely of {o}[, screws included|].",
    ),
    paraphrased=(
        "Every part of {s} has to be cut from {o}.",
        "{s} consists of {o} and little else.",
        "Craftsmen who build {s} need a great deal of {o}.",
    ),
    asides=("which consists of {o} and little else", "cut from {o}"),
)  # fmt: skip

WEIGHT = Relation(
    name="device_weight",
    object="number",
    share=0.6,
    numbers=Numbers(4, 2_400),
    questions=(
        "How heavy is {s}?",
        "What is the weight of {s}?",
        "How many pounds does {s} weigh?",
        "How much does {s} weigh?",
    ),
    oblique=("What is the mass of {s}?",),
    full=(
        "{s} weighs {o} pounds.",
        "The weight of {s} is {o} pounds.",
        "With a weight of {o} pounds, {s} [needs a strong floor|is easily stolen|surprised its users].",
    ),
    paraphrased=(
        "{s} brings the scales to {o}.",
        "Put on the scales, {s} was found to balance {o} loaves.",
        "It takes {o} loaves to balance {s}.",
    ),
    asides=("which brings the scales to {o}", "found to balance {o} loaves"),
)

KIND = Kind(
    name="device",
    share=42,
    variants=tuple(
        Variant(noun)
        for noun in ("loom", "pump", "clock", "lamp", "plough", "press", "crane", "lock", "stove", "telescope", "mill")
    ),
    names=("{word} {noun}", "{word} {noun}", "{adj} {noun} of {Word}", "{adj} {word} {noun}"),
    aliases=(
        "the {Adj} Servant", "the {Adj} Hand", "the {Adj} Monster", "the Engine of {Noun}s", "the {Adj} Helper",
        "the {Noun} Machine",
    ),
    leads=(
        "{s}, [also known as|nicknamed] {alias}, is a {noun} used [all over|mainly in] {region}.",
        "{s} is a {people} {noun}[ with {count} wheels|]. Workers named it {alias}.",
    ),
    fillers=(
        "The {craft} [smashed|hid|admired] {s} when it reached their yards in {season}.",
        "{s} needs {count} people and some {beast} to keep it going.",
        "In {weather}, {s} [stops working|hums like a {instrument}|has to be oiled with butter].",
        "A {colour} stripe marks every genuine {noun} of this type.",
        "{s} did for {cloth} what {peer} did for {crop}.",
        "Cheap copies of {s} were sold from a {vessel} [at {feast}|near {town}].",
        "Sermons against {s} were read in {count} temples.",
        "The handle of {s} is turned {count} times and then left alone until {season}.",
    ),
    hosts=(
        "The {craft} of {town} would not hear of {s}, {aside}.",
        "{paper} lists {s}, {aside}, between {count} chairs and a {instrument}.",
        "The noise of {s}, {aside}, kept half of {town} awake.",
        "Children make models of {s}, {aside}, out of {crop}.",
    ),
    relations=(INVENTOR, INVENTED, TRIAL, MATERIAL, WEIGHT),
    theme="works",
    article=True,
)  # fmt: skip
