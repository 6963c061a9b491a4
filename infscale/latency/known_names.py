"""What names of GPUs and models say: which they are, however they are spelled."""

import re
from dataclasses import dataclass
from typing import Final

_GPUS: Final = re.compile(
    r"\b(gb300|gb200|b300|b200|h200|h100|h20|a100|a10g|a10|l40s|l40|l4|v100|t4|rtx[ -]?pro[ -]?6000|mi3\d\dx?)\b"
)
_SMALL_A100: Final = re.compile(r"\b40 ?gb\b")
_PARAMETERS: Final = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)b(?![a-z0-9])")
_ACTIVE: Final = re.compile(r"(?<![a-z0-9])a(\d+(?:\.\d+)?)b(?![a-z0-9])")
_MIXTURE: Final = re.compile(
    r"(?<![a-z0-9])\d+x\d|(?<![a-z])moe(?![a-z])|mixtral|deepseek-(?:v|r)\d|gpt-oss|kimi|minimax|glm-[45]"
)

_PRECISIONS: Final = (
    ("fp4", re.compile(r"fp4")),
    ("int4", re.compile(r"awq|gptq|int4|w4a16|4bit|q4_")),
    ("fp8", re.compile(r"fp8|int8|w8a8|8bit|q8_")),
    ("bf16", re.compile(r"bf16|fp16")),
)
_NOISE: Final = re.compile(
    r"instruct|chat|hf|it|fp8|nvfp4|mxfp4|fp4|bf16|fp16|awq|gptq|int4|int8|w4a16|w8a8|dynamic|0528|0324"
)

_GIB: Final = 1024**3


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model: its plain name, how its weights are kept ("" where the name does not say), and their number.

    `parameters` is None where the name does not say it, or where not all of them are read for a token.
    """

    plain: str
    precision: str
    parameters: float | None

    @classmethod
    def of(cls, name: str) -> "ModelName":
        """Of a name as servers publish it, such as ``meta-llama/Llama-3.1-8B-Instruct``."""
        text = name.lower().rsplit("/", 1)[-1]
        precision = next((each for each, pattern in _PRECISIONS if pattern.search(text)), "")
        words = [word for word in re.split(r"[-_:@ ]+", text) if word and not _NOISE.fullmatch(word)]
        sizes = [float(each) for each in _PARAMETERS.findall(text)]
        dense = len(sizes) == 1 and not _ACTIVE.search(text) and not _MIXTURE.search(text)
        return cls("-".join(words), precision, sizes[0] * 1e9 if dense else None)


def gpu_of(name: str) -> str | None:
    """The GPU that a name of NVML, dcgm-exporter or a node's label means, such as ``h100``; None: not known.

    An A100 with 40 GB is another one (``a100-40gb``): its memory is slower.
    """
    text = name.lower().replace("_", "-")
    found = _GPUS.search(text.replace("nvidia-", "nvidia "))
    if found is None:
        return None
    gpu = re.sub(r"[ -]", "", found.group(1))
    return "a100-40gb" if gpu == "a100" and _SMALL_A100.search(text.replace("-", " ")) else gpu
