"""Arguments that `adn train` refuses before anything is read or written."""

TRAIN = [
    (["--attention", "sse"], "attention='sse' is not known: choose one of None, 'se', 'cbam'"),
    (["--attention", "se", "--placement", "top"], "placement='top' is not known"),
    (["--preset", "slow"], "preset='slow' is not known"),
    (["--weights", "other"], "weights='other' is not known"),
    (["--device", "tpu"], "device='tpu' is not known"),
    (["--attention", "se", "--option", "reduction"], "--option reduction cannot be read: write NAME=VALUE"),
    (["--attention", "se", "--option", "width=2"], "attention='se' does not take the options ['width']"),
    (["--attention", "se", "--option", "root=1"], "attention='se' does not take the options ['root']"),
    (["--attention", "se", "--option", "dataset=1"], "--option dataset=1 is not an option of an attention module"),
    (["--attention", "se", "--option", "seed=3"], "--option seed=3 is not an option of an attention module"),
    (["--attention", "se", "--option", "channels=3"], "attention='se' does not take the options ['channels']"),
    (["--attention", "se", "--option", "name=3"], "attention='se' does not take the options ['name']"),
    (["--attention", "constant", "--option", "value='a'"], "value='a' is not a number: choose one such as 0.5"),
    (["--seed", "-1"], "seed=-1 is out of range: choose 0 to 4294967295"),
    (["--seed", "4294967296"], "seed=4294967296 is out of range"),
    (["--train-attention"], "train_attention=True has nothing to train"),
    (["--dataset", "folder:/nowhere"], "There is no data folder /nowhere"),
    (["--dataset", "elvp"], "dataset='elvp' is not known"),
    (["--category", "huge"], "category='huge' is not in "),
]
