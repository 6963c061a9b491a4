import pytest

from infscale.endpoint import ObjectKey
from infscale.errors import ExpositionError
from infscale.metrics.sample import GpuSample
from infscale.periodic import FetchError
from infscale.sources.dcgm_page import DcgmReader

MIB = 1024.0 * 1024.0
POD = ObjectKey("llm", "vllm-0")


def line(name: str, value: str, gpu: str = "0", pod: str = 'namespace="llm",pod="vllm-0"', more: str = "") -> str:
    labels = f'gpu="{gpu}",UUID="GPU-{gpu}",device="nvidia{gpu}",modelName="NVIDIA H100",hostname="n1"{more},{pod}'
    return f"DCGM_FI_{name}{{{labels}}} {value}\n"


def gpu_page(used: str = "30000", free: str = "50000", util: str = "75", **labels: str) -> str:
    """The lines of one GPU."""
    return (
        line("DEV_FB_USED", used, **labels)
        + line("DEV_FB_FREE", free, **labels)
        + line("DEV_FB_RESERVED", "500", **labels)
        + line("DEV_GPU_UTIL", util, **labels)
        + line("PROF_GR_ENGINE_ACTIVE", "0.5", **labels)
    )


def read(page: str) -> dict[ObjectKey, GpuSample]:
    return DcgmReader().read(page.encode())


def test_memory_is_bytes_and_its_total_the_sum_of_its_parts() -> None:
    assert read(gpu_page()) == {POD: GpuSample(30000 * MIB, 80500 * MIB, 0.75)}


def test_a_published_total_is_taken() -> None:
    assert read(gpu_page() + line("DEV_FB_TOTAL", "81559"))[POD].memory_total_bytes == 81559 * MIB


def test_gpus_of_a_pod_are_one_sample() -> None:
    page = gpu_page(gpu="0") + gpu_page("10000", "70000", "25", gpu="1")
    assert read(page) == {POD: GpuSample(40000 * MIB, 161000 * MIB, 0.5)}


@pytest.mark.parametrize(
    "labels",
    [
        'namespace="llm",pod="vllm-0",container="vllm"',
        'pod_namespace="llm",pod_name="vllm-0",container_name="vllm"',
        'namespace="gpu-operator",pod="dcgm-exporter-x",exported_namespace="llm",exported_pod="vllm-0"',
    ],
    ids=["plain", "old namespace", "renamed by Prometheus"],
)
def test_pods_are_recognised_however_their_labels_are_spelled(labels: str) -> None:
    assert read(gpu_page(pod=labels)).keys() == {POD}


def test_host_name_spellings_do_not_split_a_gpu() -> None:
    page = gpu_page().replace('hostname="n1"', 'Hostname="n1"').replace("UUID=", "uuid=")
    assert read(page) == read(gpu_page())


def test_gpus_without_a_pod_are_left_out() -> None:
    assert read(gpu_page(pod='namespace="",pod=""') + gpu_page(gpu="1")).keys() == {POD}


def test_mig_slices_use_the_time_their_engine_is_active() -> None:
    """A slice has no utilisation of its own; two slices of one GPU are two devices."""
    slices = [{"more": f',GPU_I_PROFILE="1g.10gb",GPU_I_ID="{number}"'} for number in (7, 8)]
    page = "".join(gpu_page("1000", "9000", util="99", **labels) for labels in slices)
    assert read(page) == {POD: GpuSample(2000 * MIB, 21000 * MIB, 0.5)}


def test_without_utilisation_the_engine_activity_is_taken() -> None:
    page = "".join(one + "\n" for one in gpu_page().splitlines() if "GPU_UTIL" not in one)
    assert read(page)[POD].utilization_ratio == 0.5


@pytest.mark.parametrize(
    "blank",
    ["9223372036854775792", "9223372036854775794", "2147483632", "2147483635", "140737488355328", "NaN", "-1"],
)
def test_blank_values_are_unknown(blank: str) -> None:
    page = line("DEV_FB_USED", "100", gpu="1", pod='namespace="llm",pod="other"') + gpu_page(blank, util=blank)
    sample = read(page)[POD]
    assert (sample.memory_used_bytes, sample.memory_total_bytes, sample.utilization_ratio) == (None, None, 0.5)
    assert sample.refused["gpu_memory_used_bytes"] == "the exporter does not publish it"


def test_a_gpu_with_unknown_memory_makes_the_pods_memory_unknown() -> None:
    sample = read(gpu_page(gpu="0") + gpu_page("2147483634", gpu="1"))[POD]
    assert (sample.memory_used_bytes, sample.memory_total_bytes, sample.utilization_ratio) == (None, None, 0.75)


@pytest.mark.parametrize("first", ["127431", "10"])
def test_what_pods_of_a_gpu_say_is_added_up_only_where_each_is_a_share(first: str) -> None:
    pods = ("a", first), ("b", "10.5")
    samples = read("".join([gpu_page(util=util, pod=f'namespace="llm",pod="{pod}"') for pod, util in pods]))
    shown = [sample.shares[0].device_utilization_ratio for sample in samples.values()]
    assert shown == [pytest.approx(float(first) / 100 if first != "10" else 0.205)] * 2
    assert samples[ObjectKey("llm", "b")].utilization_ratio == pytest.approx(0.105)


@pytest.mark.parametrize("label", ["container", "exported_container", "container_name"])
@pytest.mark.parametrize(("used", "together"), [(("3000", "2000"), 5000), (("5000", "5000"), 5000)], ids=str)
def test_containers_of_a_pod_that_share_a_gpu_are_added_up(label: str, used: tuple[str, str], together: float) -> None:
    containers = [f'{label}="{name}",namespace="llm",pod="vllm-0"' for name in ("engine", "side")]
    page = "".join([gpu_page(mib, "5000", pod=of) for mib, of in zip(used, containers, strict=True)])
    assert read(page) == {POD: GpuSample(together * MIB, 10500 * MIB, 0.75)}


def test_other_pages_are_refused() -> None:
    with pytest.raises(FetchError, match="no dcgm metrics on the page"):
        read("up 1\n")
    with pytest.raises(ExpositionError):
        read("DCGM_FI_DEV_FB_USED{gpu=\n")
