"""LaTeX's commands: the kind and the text of the token that each stands for, one token for all its spellings."""

from __future__ import annotations

TEXT = {
    "text", "textbf", "textit", "textrm", "textsf", "texttt", "textnormal", "mbox", "hbox", "emph", "textup",
}  # fmt: skip
FONT = {
    "mathrm", "mathbf", "mathsf", "mathit", "mathtt", "mathcal", "mathfrak", "mathscr", "operatorname", "boldsymbol",
    "bm", "pmb", "rm", "bf", "operatorname*", "mathbb",
}  # fmt: skip
FUNCTIONS = {
    "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "log", "ln", "lg",
    "exp", "gcd", "lcm", "max", "min", "det", "arg", "floor", "ceil", "abs",
}  # fmt: skip
_NAMES = [
    "alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota",
    "kappa", "lambda", "mu", "nu", "xi", "rho", "sigma", "tau", "upsilon", "phi", "varphi", "chi", "psi",
    "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi", "Omega", "ell", "hbar",
    "pi", "infty", "emptyset", "Re", "Im", "nabla", "partial", "square", "triangle",
]  # fmt: skip
COMMANDS: dict[str, tuple[str, str]] = {
    **{name: ("func", name) for name in FUNCTIONS},
    **{name: ("name", name) for name in _NAMES},
    **dict.fromkeys(("frac", "dfrac", "tfrac", "cfrac", "sfrac", "nicefrac"), ("cmd", "frac")),
    **dict.fromkeys(("binom", "dbinom", "tbinom"), ("cmd", "binom")),
    **{name: ("cmd", name) for name in ("sqrt", "pm", "mp", "cup", "cap", "setminus")},
    **dict.fromkeys(("cdot", "times", "ast", "star"), ("op", "*")),
    **dict.fromkeys(("le", "leq", "leqslant", "leqq"), ("rel", "<=")),
    **dict.fromkeys(("ge", "geq", "geqslant", "geqq"), ("rel", ">=")),
    **dict.fromkeys(("ne", "neq"), ("rel", "!=")),
    **dict.fromkeys(("approx", "simeq", "thickapprox", "sim", "doteq", "approxeq"), ("rel", "~")),
    **dict.fromkeys(("overline", "bar"), ("cmd", "over")),
    **dict.fromkeys(("sum", "prod", "int", "iint", "iiint", "oint", "lim"), ("cmd", "big")),
    **dict.fromkeys(("to", "rightarrow", "mapsto", "longrightarrow"), ("mark", "to")),
    **dict.fromkeys(("ldots", "dots", "cdots", "dotsc", "dotsb"), ("mark", "dots")),
    **dict.fromkeys(("vert", "lvert", "rvert", "mid", "|", "Vert", "lVert", "rVert"), ("mark", "bar")),
    **dict.fromkeys(("circ", "degree", "textdegree"), ("mark", "deg")),
    **dict.fromkeys(("implies", "Rightarrow", "Longrightarrow", "iff", "Leftrightarrow"), ("sep", "implies")),
    "lt": ("rel", "<"), "gt": ("rel", ">"), "in": ("rel", "in"), "equiv": ("rel", "mod"), "div": ("op", "/"),
    "surd": ("cmd", "sqrt"), "colon": ("op", ":"), "varnothing": ("name", "emptyset"), "prime": ("mark", "'"),
    "arccot": ("func", "arccot"),
    "{": ("open", "{}"), "}": ("close", "{}"), "lbrace": ("open", "{}"), "rbrace": ("close", "{}"),
    "langle": ("open", "<>"), "rangle": ("close", "<>"), "lfloor": ("open", "floor"), "rfloor": ("close", "floor"),
    "lceil": ("open", "ceil"), "rceil": ("close", "ceil"), "lparen": ("open", "()"), "rparen": ("close", ")"),
    "lbrack": ("open", "["), "rbrack": ("close", "]"), "$": ("mark", "$"), "%": ("mark", "%"), "\\": ("sep", "\\"),
    "cr": ("sep", "\\"), "newline": ("sep", "\\"), "&": ("sep", "&"), "land": ("sep", "and"), "lor": ("sep", "or"),
    "wedge": ("sep", "and"), "vee": ("sep", "or"), "angle": ("word", "angle"), "pounds": ("word", "pounds"),
    "quad": ("sep", "quad"), "qquad": ("sep", "quad"), "#": ("mark", "#"), "_": ("mark", "_"), "mod": ("word", "mod"),
    "bmod": ("word", "mod"), "pmod": ("word", "mod"), "textasciitilde": ("rel", "~"),
}  # fmt: skip
IGNORED = {
    "displaystyle", "textstyle", "limits", "nolimits", "vec", "hat", "widehat", "overrightarrow", "boxed", "fbox",
    "!", ",", ";", ":", " ", "-", ">", "thinspace", "enspace", "space", "hspace", "hfill", "mathstrut", "strut",
    "smash", "underline", "tilde", "widetilde", "mathop", "mathord", "mathrel", "ensuremath", "left", "right", "/",
    "\n", "therefore", "mathopen", "mathclose", "phantom", "small", "large", "normalsize",
    "noindent", "nonumber",
}  # fmt: skip
