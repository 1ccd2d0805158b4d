"""What an error of Python, NumPy or torch means when it comes from a reader's answer, and what to do."""

import re

_SHAPES = (
    r"mat1 and mat2 shapes|must match|size of tensor a|is invalid for input of size|[Ii]ncompatible shapes"
    r"|expanded size|don't multiply up|same number of|to have \d+ channels|Expected size for first"
)
ADVICE = (  # a pattern of the message, and the advice; the first that is found counts
    (
        r"must be Tensor, not (ReLU|Sigmoid|Tanh|GELU|Softmax)|(ReLU|Sigmoid|Tanh|GELU)\.__init__|dim must be an int",
        "nn.ReLU and nn.Sigmoid make a layer: write torch.relu(v), or make the layer first, nn.ReLU()(v).",
    ),
    (
        r"return_types|tuple indices must be integers",
        "max, median, sort and topk return a pair, values and positions: take .values. (amax returns values only.)",
    ),
    (r"max\(\) received an invalid combination", "max takes one axis: amax takes several."),
    (r"invalid combination of arguments", "The function does not take arguments of this kind: see its help()."),
    (r"must be Tensor, not (float|int)", "Functions of torch work on tensors: for a plain number, use those of math."),
    (
        r"only one element tensors|only length-1 arrays|only 0-dimensional arrays",
        "float() and the functions of math work on single numbers: leave them out, or use those of torch or NumPy.",
    ),
    (r"must be Tensor, not \w+", "A layer was passed on instead of its output: call it first, layer(v)."),
    (
        r"unsupported operand type.*'(Linear|Conv2d|Sequential|function|method|builtin_function_or_method|\w+Gate)'",
        "This computes with a function or module itself: call it, or take its value.",
    ),
    (r"unsupported operand type.*torch\.Size", "shape holds all sizes: take one of them, such as z.shape[1]."),
    (r"keyword argument 'axis'", "A NumPy function was given a tensor: use the tensor's own, x.mean(dim=...)."),
    (r"unexpected keyword argument|positional argument", "The arguments of a call do not fit: compare the signatures."),
    (r"numpy\.ndarray' object has no", "This is a NumPy array, and the method is one of tensors."),
    (r"could not infer output dtype|did not match (Float|Double)|for '(Bool|Long)'", "Keep floating-point numbers."),
    (
        r"modified by an inplace|leaf Variable|being modified inplace",
        "Write y = y * s instead of y *= s, which overwrites what the gradient needs.",
    ),
    (r"Can't call numpy", "NumPy knows no gradients: use the functions of torch."),
    (r"before Module\.__init__", "Begin __init__ with super().__init__()."),
    (r'required "forward"', "Give the class a method forward(self, x)."),
    (r"more than 1 value per channel", "BatchNorm needs several images: avoid statistics of the batch."),
    (r"not positive-definite|singular", "With fewer images than features the covariance has no inverse: shrink it."),
    (r"only integer scalar arrays|must be tuple of Tensors", "Concatenate a list: cat([a, b]), with square brackets."),
    (r"'NoneType' object", "Something is None: is a return missing, or an entry that was looked up?"),
    (r"'tuple' object has no", "This is a tuple of several results: unpack it first, z, log_det = flow(y)."),
    (r"object is not callable", "Something is called that is not a function: check the brackets."),
    (r"name '\w+' is not defined", "Is the name misspelt, or is the cell that defines it not run yet?"),
    (r"'str' object cannot be interpreted", 'Pass the text by its name, such as method="higher".'),
    (_SHAPES, "Two shapes do not fit: print the shapes that meet in this line."),
    (r"axis \d+ is out of bounds|tuple index out|Dimension out", "There is no such axis: the last one is always -1."),
    (r"too many indices|out of (range|bounds)", "There is no such index or axis: print the shape, and count from 0."),
)


def described(error: Exception) -> str:
    """The kind of an error, the first line of its message, and advice if there is any: "raises TypeError: …"."""
    line = str(error).split("\n")[0].rstrip(" .:")
    found = (advice for pattern, advice in ADVICE if re.search(pattern, line))
    shown = line if len(line) <= 160 else f"{line[:160]} …"
    return f"raises {type(error).__name__}: {shown}. {next(found, '')}".rstrip()
