"""Lexicon: the ordinary words of the templates. Every region prefers a few of each list, which makes clusters."""

from __future__ import annotations

from mpr.corpora._world.dice import Dice

PREFERRED = 5  # words of each list that a region uses

LISTS: dict[str, tuple[str, ...]] = {
    "crop": (
        "barley", "millet", "buckwheat", "turnips", "lentils", "rye", "olives", "figs", "hops", "flax", "onions",
        "quinces", "chestnuts", "plums", "cabbages", "melons",
    ),
    "cloth": (
        "wool", "linen", "velvet", "felt", "silk", "canvas", "hemp", "lace", "damask", "fustian", "muslin", "tweed",
    ),
    "stone": (
        "granite", "slate", "sandstone", "basalt", "limestone", "mudstone", "flint", "marble", "chalk", "tufa",
        "porphyry", "gneiss",
    ),
    "tree": (
        "alder", "cypress", "birch", "holm oak", "willow", "larch", "walnut", "juniper", "poplar", "cedar", "maple",
        "hornbeam", "ash", "plane",
    ),
    "dish": (
        "eel pie", "nettle soup", "smoked trout", "goat stew", "plum pickle", "honey cake", "bean broth",
        "roast quail", "barley porridge", "salted lamb", "stuffed cabbage", "mushroom pudding",
        "cold pea porridge", "fried smelt",
    ),
    "beast": (
        "goats", "mules", "oxen", "geese", "camels", "ponies", "sheep", "pigs", "donkeys", "mastiffs", "hens",
        "cattle",
    ),
    "instrument": (
        "lute", "bagpipe", "zither", "bass drum", "oboe", "hurdy-gurdy", "harp", "fiddle", "shawm", "cornet",
        "dulcimer", "viol",
    ),
    "craft": (
        "coopers", "dyers", "tanners", "bookbinders", "millers", "ropemakers", "potters", "weavers", "ferrymen",
        "masons", "bell founders", "chandlers", "furriers", "locksmiths", "notaries", "beekeepers",
    ),
    "weather": (
        "fog", "hail", "sleet", "drought", "drizzle", "snow", "dry heat", "thunder", "hoarfrost", "blown dust",
        "black ice", "warm rain",
    ),
    "feast": (
        "the Feast of Kites", "the Night of Bowls", "the First Shearing", "the Week of Masks", "the Blessing of Oars",
        "the Long Supper", "the Day of Ladders", "the Burning of Straw", "the Quiet Morning", "the Herring Fair",
        "the Return of Bees", "the Counting of Doors",
    ),
    "colour": (
        "ochre", "white", "dark green", "pale blue", "crimson", "yellow", "grey", "violet", "rust-red", "black",
        "turquoise", "cream",
    ),
    "season": (
        "spring", "autumn", "winter", "summer", "late spring", "early autumn", "midwinter", "high summer",
    ),
    "vessel": (
        "barge", "cutter", "raft", "ketch", "rowing boat", "sloop", "punt", "lugger", "galley", "dinghy",
    ),
    "paper": (
        "a ledger", "a travel diary", "an almanac", "a court record", "a letter", "a sermon", "a tax roll",
        "a ballad", "a school primer", "an inventory", "a will", "a ship's log",
    ),
    "count": (
        "two", "three", "four", "five", "six", "seven", "nine", "eleven", "a dozen", "fifteen", "twenty", "forty",
    ),
}  # fmt: skip

MONTHS = (
    "Frostmoon", "Icewane", "Seedfall", "Larkrise", "Maygreen", "Haymoon", "Dogstar", "Goldcorn", "Vinemoon",
    "Leafbrown", "Mistfall", "Longnight",
)  # fmt: skip

ERAS = (
    (700, "the Age of Salt"),
    (900, "the Lantern Years"),
    (1050, "the Time of Nine Crowns"),
    (1200, "the Quiet Century"),
    (1320, "the Age of Engines"),
)

ADJECTIVES = (
    "Silent", "Copper", "Drowned", "Patient", "Crooked", "Lantern", "Salt", "Hollow", "Amber", "Sleepless", "Iron",
    "Winter", "Barefoot", "Gilded", "Wandering", "Ashen", "Thirteenth", "Blind", "Laughing", "Velvet", "Broken",
    "Scarlet", "Frozen", "Humble", "Hidden", "Singing", "Grey", "Restless", "Burning", "Paper", "Crowned", "Bitter",
    "Midnight", "Northern", "Southern", "Painted", "Nameless", "Marble", "Weeping", "Second", "Faithful", "Feathered",
    "Golden", "Borrowed", "Stubborn", "Thorn", "Misty", "Pewter", "Orphan", "Sunken", "Upright", "Honeyed", "Wild",
    "Tattered", "Distant", "Ivory", "Late", "Merciful", "Sworn", "Windless",
)  # fmt: skip

NOUNS = (
    "Heron", "Lantern", "Orchard", "Mirror", "Tunnel", "Key", "Bell", "Widow", "Garden", "Needle", "Harvest", "Oar",
    "Crown", "Shadow", "Comet", "Anchor", "Threshold", "Candle", "Gate", "Hourglass", "Raven", "Feather", "Window",
    "Loom", "Ladder", "Sparrow", "Tide", "Ember", "Cradle", "Rudder", "Bridge", "Veil", "Pilgrim", "Well", "Island",
    "Stag", "Cloak", "Fountain", "Kite", "Thimble", "Storm", "Chimney", "Hawk", "Mask", "Seal", "Ship", "Spindle",
    "Stair", "Thread", "Tower",
)  # fmt: skip


def flavour(dice: Dice) -> dict[str, tuple[str, ...]]:
    """The words that one region prefers."""
    return {name: tuple(dice.sample(words, PREFERRED)) for name, words in LISTS.items()}


def era(year: int) -> str:
    """The name of the age in which a year lies."""
    return [name for start, name in ERAS if start <= year or start == ERAS[0][0]][-1]
