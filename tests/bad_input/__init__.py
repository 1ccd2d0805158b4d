"""One table of bad input and damage: the area, the kind, how it is made, and the sentence that refuses it.

Each area has a file here with its rows; the tests of the area make every one of them and expect the sentence.
"""

from bad_input import archives, arguments, images, pickles, runs

TABLE = {  # area: {kind: (how it is made, the sentence or a part of it)}
    "parameters of a run": {kind: row[:2] for kind, row in runs.FACTS.items()},
    "files of a run": runs.FILES,
    "files of a run without digests": runs.OLD,
    "an image in memory": images.ARRAYS,
    "an image file": images.FILES,
    "an archive": archives.ARCHIVES,
    "a file of weights": pickles.PICKLES,
    "arguments of a command": {" ".join(words): (words, sentence) for words, sentence in arguments.TRAIN},
}
