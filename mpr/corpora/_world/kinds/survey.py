"""Survey: an article about a theme of a region, which retells what other articles own."""

from mpr.corpora._world.kind import Kind, Variant

KIND = Kind(
    name="survey",
    share=50,
    variants=(
        Variant("lands and waters", {"theme": "lands"}),
        Variant("lives", {"theme": "lives"}),
        Variant("arts", {"theme": "arts"}),
        Variant("wars", {"theme": "wars"}),
        Variant("learning", {"theme": "learning"}),
        Variant("crafts and buildings", {"theme": "works"}),
    ),
    names=(
        "{Noun^} of {region}", "A short history of the {noun} of {region}", "{region}: {noun}",
        "Notes on the {noun} of {region}", "The {noun} of {region} in brief", "Sources on the {noun} of {region}",
        "The {noun} of {region} in {count} chapters",
    ),
    aliases=(),
    leads=(
        "This article gives an overview of the {noun} of {region}[, as far as they are known|].",
        "The {noun} of {region} have been described [many times|by {count} historians], rarely without errors.",
    ),
    fillers=(
        "Most of what is known about the {noun} of {region} was written down by {craft} [in winter|for money].",
        "Schoolbooks of {region} pass over the years of {weather} in silence.",
        "The {people} taste for {dish} and {cloth} has left traces [everywhere|even in the laws].",
        "Strangers find the {people} calendar confusing, above all around {feast}.",
        "The {craft} of {region} and the {craft} seldom agreed about anything.",
        "Much was lost when {weather} [ruined|reached] the archives in {season}.",
        "Any account of {region} has to mention the {tree} woods, the {beast} and the {crop}.",
        "Older writers on {region} copied one another [without shame|word for word].",
        "The archives of {region} were moved {count} times, once in a {vessel} under {cloth}.",
        "Not everything in {region} was recorded: the {craft} kept their books in a script of their own.",
        "The sources for the {noun} are [uneven|mostly late], and {count} of them are forgeries.",
        "Readers who know {region} only from songs should remember that the {instrument} is a recent import.",
        "Learned people in {region} dated everything by {feast}.",
        "The price of {crop} in {region} is known for nearly every {season}, the reasons for it hardly ever.",
        "Collectors pay well for old {people} prints on {colour} paper.",
        "{paper} is often the only witness, and {people} handwriting is hard to read.",
    ),
    hosts=(),
    theme="survey",
)  # fmt: skip
