"""Pages of any dialect that say anything, as strategies: numbers that are none, labels of any kind, odd histograms."""

from hypothesis import strategies as st

from infscale.metrics.pages.dialect import Dialect

numbers = st.sampled_from(
    ["0", "1", "-1", "0.5", "1e300", "1.7e308", "-1.7e308", "NaN", "+Inf", "-Inf", "5e-324", "-0", "9e15", "999999"]
) | st.floats().map(repr)
texts = st.sampled_from(["", "m", "n", "0", "1", "x" * 600, "a,b", "é"]) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters='"\\\n'), max_size=8
)
bounds = st.sampled_from(["0.1", "1", "10", "+Inf", "NaN", "-Inf", "1e308", "-1", "x"])
_LABELS = (
    *("model_name", "model", "engine", "request_type", "finished_reason"),
    *("dp_rank", "tp_rank", "block_size", "num_gpu_blocks"),
)
labels = st.dictionaries(st.sampled_from(_LABELS), texts, max_size=3)
lora = st.dictionaries(
    st.sampled_from(["running_lora_adapters", "waiting_lora_adapters", "max_lora"]), texts, max_size=3
)


def line(name: str, said: dict[str, str], number: str) -> str:
    inside = ",".join(f'{key}="{value}"' for key, value in said.items())
    return f"{name}{{{inside}}} {number}\n"


def lines_of(dialect: Dialect) -> st.SearchStrategy[str]:
    plain = st.builds(line, st.sampled_from(dialect.names), labels | lora, numbers)
    buckets = [name for name in dialect.names if name.endswith("_bucket")]

    def histogram(name: str, said: dict[str, str], counts: dict[str, str], total: str) -> str:
        rows = [line(name, said | {"le": bound}, count) for bound, count in counts.items()]
        return "".join(rows) + line(name.removesuffix("_bucket") + "_sum", said, total)

    counted = st.dictionaries(bounds, numbers, max_size=4)
    return plain | st.builds(histogram, st.sampled_from(buckets), labels, counted, numbers) if buckets else plain


def pages_of(dialect: Dialect) -> st.SearchStrategy[bytes]:
    """A page that begins with the dialect's gauge of waiting requests."""
    first = dialect.gauges.waiting[0].name

    def page(number: str, lines: list[str]) -> bytes:
        return (line(first, {}, number) + "".join(lines)).encode()

    return st.builds(page, numbers, st.lists(lines_of(dialect), max_size=12))
