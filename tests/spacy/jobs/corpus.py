"""A small language that a pipeline can learn well: sentences with every annotation spaCy has.

Nothing is trivial: "cooks" is a verb or a noun, "Jordan" a person or a country, last names
are made up (so that new texts have unseen words), a tenth of the sentences end without a
full stop. Both the environment under test and the one with the other library run this.
"""

import random
from typing import Dict, List, NamedTuple, Tuple

from spacy.kb import InMemoryLookupKB
from spacy.tokens import Doc, Span
from spacy.training import Example


class Word(NamedTuple):
    """A word with everything that does not depend on its sentence."""

    text: str
    lemma: str
    tag: str
    pos: str
    morph: str = ""


def _nouns(pairs: Dict[str, str]) -> List[Word]:
    return [Word(one, one, "NN", "NOUN", "Number=Sing") for one in pairs] + [
        Word(many, one, "NNS", "NOUN", "Number=Plur") for one, many in pairs.items()
    ]


def _verbs(forms: Dict[str, Tuple[str, str]]) -> List[Word]:
    past = "Tense=Past|VerbForm=Fin"
    present = "Number=Sing|Person=3|Tense=Pres|VerbForm=Fin"
    return [Word(forms[verb][0], verb, "VBD", "VERB", past) for verb in forms] + [
        Word(forms[verb][1], verb, "VBZ", "VERB", present) for verb in forms
    ]


NOUNS = {
    "FOOD": _nouns(
        {"cake": "cakes", "soup": "soups", "knife": "knives", "cook": "cooks", "dish": "dishes"}
        | {"loaf": "loaves", "drink": "drinks", "berry": "berries"}
    ),
    "SPORT": _nouns(
        {"ball": "balls", "goal": "goals", "race": "races", "runner": "runners"}
        | {"match": "matches", "play": "plays", "trophy": "trophies", "child": "children"}
    ),
}
VERBS = {
    "FOOD": _verbs(
        {"cook": ("cooked", "cooks"), "eat": ("ate", "eats"), "slice": ("sliced", "slices")}
        | {"drink": ("drank", "drinks"), "fry": ("fried", "fries")}
    ),
    "SPORT": _verbs(
        {"kick": ("kicked", "kicks"), "win": ("won", "wins"), "play": ("played", "plays")}
        | {"throw": ("threw", "throws"), "catch": ("caught", "catches")}
    ),
}
SAYING = _verbs({"say": ("said", "says"), "know": ("knew", "knows"), "hope": ("hoped", "hopes")})
ADJECTIVES = [Word(a, a, "JJ", "ADJ", "Degree=Pos") for a in "big small red cold quick old".split()]
DETERMINERS = [
    Word("the", "the", "DT", "DET", "Definite=Def"),
    Word("a", "a", "DT", "DET", "Definite=Ind"),
]
PREPOSITIONS = [Word(p, p, "IN", "ADP") for p in ("in", "near", "from")]
FIRST_NAMES = "Anna Ben Carla David Elena Felix Maria Tom".split()
PLACES = "Berlin Lima Oslo Cairo Boston Kyoto".split()
BOTH = "Jordan Georgia Paris Sidney".split()  # a person's first name and a place
COMPANIES = "Acme Globex Initech Umbra".split()
COMPANY_FORMS = "Corp Ltd Group".split()
SYLLABLES = "ha lo mi der ker ton wil jen ras bo".split()

CATEGORIES = ("FOOD", "SPORT")
SPANS_KEY = "roles"
ENTITY_WIDTH = 16


class Sentence:
    """A sentence being built: `add` words, then say what each depends on."""

    def __init__(self, rng: random.Random, topic: str) -> None:
        self.rng = rng
        self.topic = topic
        self.words: List[Word] = []
        self.heads: List[int] = []
        self.deps: List[str] = []
        self.entities: List[Tuple[int, int, str, str]] = []  # start, end, label, id
        self.roles: List[Tuple[int, int, str]] = []  # start, end, label
        self.may_name_known = True

    def add(self, word: Word) -> int:
        if not self.words:
            word = word._replace(text=word.text[0].upper() + word.text[1:])
        self.words.append(word)
        self.heads.append(len(self.words) - 1)
        self.deps.append("ROOT")
        return len(self.words) - 1

    def attach(self, child: int, head: int, dep: str) -> None:
        self.heads[child] = head
        self.deps[child] = dep

    def name(self, text: str) -> int:
        return self.add(Word(text, text, "NNP", "PROPN", "Number=Sing"))

    def known_name(self, names: List[str]) -> str:
        # One entity of the knowledge base a sentence: the entity linker compares the
        # entities' vectors with the sentence's, wherever in it the name stands.
        self.may_name_known = False
        return self.rng.choice(names)

    def person(self) -> int:
        start = len(self.words)
        if self.may_name_known and self.rng.random() < 0.3:
            first = self.known_name(BOTH)
            last = self.name(first)
            self.entities.append((start, start + 1, "PERSON", person_id(first)))
            return last
        first_index = self.name(self.rng.choice(FIRST_NAMES))
        if self.rng.random() < 0.5:
            self.entities.append((start, start + 1, "PERSON", "NIL"))
            return first_index
        surname = "".join(self.rng.choices(SYLLABLES, k=2)).capitalize() + "son"
        last = self.name(surname)
        self.attach(first_index, last, "compound")
        self.entities.append((start, start + 2, "PERSON", "NIL"))
        return last

    def company(self) -> int:
        start = len(self.words)
        first = self.name(self.rng.choice(COMPANIES))
        last = self.name(self.rng.choice(COMPANY_FORMS))
        self.attach(first, last, "compound")
        self.entities.append((start, start + 2, "ORG", "NIL"))
        return last

    def thing(self) -> int:
        determiner = self.add(self.rng.choice(DETERMINERS))
        adjectives = [
            self.add(word) for word in self.rng.sample(ADJECTIVES, self.rng.choice((0, 0, 1)))
        ]
        noun = self.add(self.rng.choice(NOUNS[self.topic]))
        self.attach(determiner, noun, "det")
        for adjective in adjectives:
            self.attach(adjective, noun, "amod")
        return noun

    def subject(self) -> Tuple[int, int]:
        """Start of the phrase and its head."""
        start = len(self.words)
        kind = self.rng.choice((self.person, self.person, self.company, self.thing))
        head = kind()
        self.roles.append((start, head + 1, "AGENT"))
        return start, head

    def clause(self) -> int:
        _, subject = self.subject()
        verb = self.add(self.rng.choice(VERBS[self.topic]))
        self.attach(subject, verb, "nsubj")
        start = len(self.words)
        thing = self.thing()
        self.attach(thing, verb, "dobj")
        self.roles.append((start, thing + 1, "PATIENT"))
        if self.may_name_known and self.rng.random() < 0.5:
            preposition = self.add(self.rng.choice(PREPOSITIONS))
            self.attach(preposition, verb, "prep")
            start = len(self.words)
            place = self.known_name(PLACES + BOTH)
            self.attach(self.name(place), preposition, "pobj")
            self.entities.append((start, start + 1, "GPE", place_id(place)))
        return verb

    def statement(self) -> None:
        if self.rng.random() < 0.25:
            _, speaker = self.subject()
            root = self.add(self.rng.choice(SAYING))
            self.attach(speaker, root, "nsubj")
            that = self.add(Word("that", "that", "IN", "SCONJ"))
            verb = self.clause()
            self.attach(verb, root, "ccomp")
            self.attach(that, verb, "mark")
        else:
            root = self.clause()
        if self.rng.random() < 0.9:
            stop = self.add(Word(".", ".", ".", "PUNCT", "PunctType=Peri"))
            self.attach(stop, root, "punct")


def person_id(name: str) -> str:
    return f"person-{name}"


def place_id(name: str) -> str:
    return f"place-{name}"


def make_doc(vocab, rng: random.Random) -> Doc:
    """One to three sentences on one topic, with every annotation."""
    topic = rng.choice(CATEGORIES)
    sentences = []
    for _ in range(rng.choice((1, 2, 3))):
        sentence = Sentence(rng, topic)
        sentence.statement()
        sentences.append(sentence)
    words: List[Word] = []
    heads: List[int] = []
    deps: List[str] = []
    entities: List[Tuple[int, int, str, str]] = []
    roles: List[Tuple[int, int, str]] = []
    starts: List[bool] = []
    for sentence in sentences:
        shift = len(words)
        words += sentence.words
        heads += [shift + head for head in sentence.heads]
        deps += sentence.deps
        starts += [i == 0 for i in range(len(sentence.words))]
        entities += [(shift + s, shift + e, label, key) for s, e, label, key in sentence.entities]
        roles += [(shift + start, shift + end, label) for start, end, label in sentence.roles]
    doc = Doc(
        vocab,
        words=[word.text for word in words],
        spaces=[i + 1 < len(words) and words[i + 1].text != "." for i in range(len(words))],
        lemmas=[word.lemma for word in words],
        tags=[word.tag for word in words],
        pos=[word.pos for word in words],
        morphs=[word.morph for word in words],
        heads=heads,
        deps=deps,
        sent_starts=starts,
    )
    doc.ents = [
        Span(doc, start, end, label=label, kb_id=key) for start, end, label, key in entities
    ]
    doc.spans[SPANS_KEY] = [Span(doc, start, end, label=label) for start, end, label in roles]
    doc.cats = {category: float(category == topic) for category in CATEGORIES}
    return doc


def make_docs(vocab, count: int, seed: int) -> List[Doc]:
    """The same docs for the same seed, on every machine."""
    rng = random.Random(seed)
    return [make_doc(vocab, rng) for _ in range(count)]


def make_examples(nlp, count: int, seed: int) -> List[Example]:
    """Gold docs, each with its text as nlp's tokenizer splits it."""
    return [
        Example(nlp.make_doc(doc.text), doc) for doc in make_docs(nlp.vocab, count, seed)
    ]


def make_texts(vocab, count: int, seed: int) -> List[str]:
    return [doc.text for doc in make_docs(vocab, count, seed)]


def knowledge_base(vocab) -> InMemoryLookupKB:
    """Every place, and the persons that share a place's name. Their vectors are drawn from
    each id, so both sides have the same; kinds differ much, namesakes little."""
    kb = InMemoryLookupKB(vocab, entity_vector_length=ENTITY_WIDTH)

    def add(key: str) -> None:
        kind = random.Random(key.split("-")[0])
        own = random.Random(key)
        vector = [kind.gauss(0, 1) + 0.1 * own.gauss(0, 1) for _ in range(ENTITY_WIDTH)]
        kb.add_entity(entity=key, freq=10, entity_vector=vector)

    for place in PLACES:
        add(place_id(place))
        kb.add_alias(alias=place, entities=[place_id(place)], probabilities=[1.0])
    for name in BOTH:
        add(person_id(name))
        add(place_id(name))
        kb.add_alias(
            alias=name, entities=[person_id(name), place_id(name)], probabilities=[0.5, 0.5]
        )
    return kb
