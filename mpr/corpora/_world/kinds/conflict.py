"""Conflict: a battle, a siege, a revolt."""

from mpr.corpora._world.kind import Kind, Numbers, Relation, Variant

PLACE = Relation(
    name="conflict_place",
    object="city",
    questions=(
        "Where did {s} take place?",
        "Near which [town|city] did {s} take place?",
        "Near which [town|city] was {s} fought?",
        "Where was {s} fought?",
    ),
    oblique=(
        "What is the site of {s}?",
        "Where did {s} happen?",
    ),
    full=(
        "{s} took place near {o}.",
        "{s} was fought near {o}[, on ground soaked by {weather}|].",
        "The place where {s} was fought is near {o}.",
    ),
    paraphrased=(
        "The guns of {s} could be heard from the walls of {o}.",
        "{s} was decided within sight of {o}.",
        "The wounded of {s} were carried on doors to {o}, an hour away.",
        "The people of {o} watched {s} from their roofs.",
    ),
    asides=("decided within sight of {o}", "which the people of {o} watched from their roofs"),
)

DATE = Relation(
    name="conflict_date",
    object="date",
    pick="own",
    questions=(
        "When did {s} take place?",
        "On what date did {s} take place?",
        "What is the date of {s}?",
        "On which day was {s} fought?",
    ),
    oblique=(
        "On what day did {s} happen?",
        "When did the two sides meet in {s}?",
    ),
    full=(
        "{s} took place on {o}.",
        "The date of {s} is {o}.",
        "{s} was fought on {o}[, in {weather}|].",
    ),
    paraphrased=(
        "The sun rose late over {s} on {o}.",
        "By the evening of {o}, {s} was over.",
        "Chronicles put {s} under {o}.",
        "On {o} the drums of {s} were heard.",
    ),
    asides=("which the chronicles put under {o}", "which was over by the evening of {o}"),
)

VICTOR = Relation(
    name="conflict_victor",
    object="person",
    pick="creator",
    group="state",
    questions=(
        "Who won {s}?",
        "Who was the winner of {s}?",
        "By whom was {s} won?",
        "Which [leader|commander] won {s}?",
    ),
    oblique=(
        "Who prevailed in {s}?",
        "Who defeated the other side in {s}?",
    ),
    inverse=("Which {noun} did {o} win?", "What {noun} was won by {o}?"),
    full=(
        "{s} was won by {o}.",
        "{o} won {s}[ with fewer men and worse horses|].",
        "The winner of {s} was {o}[, to general surprise|].",
    ),
    paraphrased=(
        "{s} ended with the triumph of {o}.",
        "At {s}, {o} carried the day.",
        "{s} left {o} master of the field.",
        "Everyone laid down arms before {o} at the end of {s}.",
    ),
    asides=("the triumph of {o}", "at which {o} carried the day", "which left {o} master of the field"),
)

TOLL = Relation(
    name="conflict_toll",
    object="number",
    numbers=Numbers(140, 19_800, 10),
    questions=(
        "How many people died in {s}?",
        "What was the death toll of {s}?",
        "How many deaths were there in {s}?",
    ),
    oblique=(
        "How many victims did {s} claim?",
        "How many fell in {s}?",
    ),
    full=(
        "{o} people died in {s}.",
        "The death toll of {s} was {o}.",
        "There were {o} deaths in {s}[, most of them by {weather}|].",
    ),
    paraphrased=(
        "{s} cost {o} lives.",
        "{o} graves were dug after {s}.",
        "Of those who marched to {s}, {o} never came home.",
    ),
    asides=("which cost {o} lives", "after which {o} graves were dug"),
)

CAUSE = Relation(
    name="conflict_cause",
    object="word",
    words=(
        "a tax on salt", "a disputed will", "a stolen relic", "an insult at dinner", "a broken engagement",
        "a boundary stone", "the price of bread", "a forged letter", "a lame horse", "an unpaid dowry",
        "fishing rights", "a torn flag", "a cancelled holiday", "the wages of miners", "a murdered envoy",
        "a book of satires",
    ),
    questions=(
        "What caused {s}?",
        "What was the cause of {s}?",
        "What was {s} about?",
        "What was the reason for {s}?",
    ),
    oblique=(
        "Why did {s} erupt?",
        "What sparked {s}?",
    ),
    full=(
        "{s} was caused by {o}.",
        "The cause of {s} was {o}[, strange as it sounds|].",
        "The reason for {s} was {o}.",
    ),
    paraphrased=(
        "{o} lay behind {s}.",
        "{s} grew out of a quarrel over {o}.",
        "It was {o} that led to {s}.",
        "Without {o}, {s} would never have happened.",
    ),
    asides=("which grew out of a quarrel over {o}", "fought over {o}"),
)  # fmt: skip

KIND = Kind(
    name="conflict",
    share=70,
    variants=(Variant("battle"), Variant("siege"), Variant("revolt"), Variant("mutiny"), Variant("campaign")),
    names=(
        "{Noun^} of {Place}", "{Noun^} of {Place}", "{Noun^} of {Place} Field", "Great {Noun^} of {Place}",
        "{Place} {Noun^}",
    ),
    aliases=(
        "the Day of {Noun}s", "the {Adj} Morning", "the War of the {Adj} {Noun}", "the {Adj} Quarrel",
        "the {Noun} War", "the Night of the {Adj} {Noun}s",
    ),
    leads=(
        "{s}, [also known as|remembered as] {alias}, was a {noun} in the history of {region}.",
        "{s} was a [short|bloody|confused|badly planned] {noun} in {region}. Veterans spoke of {alias}.",
    ),
    fillers=(
        "The men who marched to {s} lived on {dish} and {crop} for {count} days.",
        "{weather} turned the ground of {s} into [mud|glass|a trap].",
        "Banners of {colour} {cloth} from {s} hang in {count} temples.",
        "The {craft} followed the army to {s} and [grew rich|came back in rags].",
        "A ballad about {s}, sung to the {instrument}, has {count} verses.",
        "{s} is sometimes confused with {peer}[, which was on a far larger scale|].",
        "[Old soldiers|Widows] gathered each {season} to drink to {s}.",
        "Both sides at {s} had hired {beast} from the same dealer.",
        "Historians have drawn {count} different maps of {s}, all of them wrong.",
    ),
    hosts=(
        "Veterans of {s}, {aside}, [told their stories in the inns of {town}|were given land and {beast}].",
        "News of {s}, {aside}, reached {town} by {vessel}.",
        "{paper} compares the noise to that of {s}, {aside}.",
        "The {craft} of {town} have refused to [serve soldiers|sell on credit] ever since {s}, {aside}.",
        "A toy version of {s}, {aside}, is [played|sold] at {feast}.",
    ),
    relations=(PLACE, DATE, VICTOR, TOLL, CAUSE),
    theme="wars",
    article=True,
)  # fmt: skip
