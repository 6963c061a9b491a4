import re
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infscale.endpoint import ObjectKey
from infscale.errors import ExpositionError
from infscale.metrics.pages.bounds import BYTES
from infscale.metrics.pages.gpu_exporters import DCGM, GPU_EXPORTERS, HAMI
from infscale.metrics.sample import GpuHardware, GpuSample
from infscale.periodic import FetchError
from infscale.sources.gpu_exporter_page import GpuPageReader

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
    return GpuPageReader().read(page.encode())


def test_memory_is_bytes_and_its_total_the_sum_of_its_parts() -> None:
    assert read(gpu_page()) == {POD: GpuSample(30000 * MIB, 80500 * MIB, 0.75)}


def test_a_pod_has_so_many_gpus_of_a_name_where_they_are_alike_and_its_own() -> None:
    assert read(gpu_page())[POD].hardware == GpuHardware("NVIDIA H100", 1)
    assert read(gpu_page(gpu="0") + gpu_page(gpu="1"))[POD].hardware == GpuHardware("NVIDIA H100", 2)
    other = gpu_page(gpu="1").replace("NVIDIA H100", "NVIDIA L4")
    assert read(gpu_page() + other)[POD].hardware is None
    assert read(gpu_page().replace("NVIDIA H100", ""))[POD].hardware is None
    shared = gpu_page() + gpu_page(pod='namespace="llm",pod="vllm-1"')
    assert read(shared)[POD].hardware is None
    assert read(gpu_page(more=',GPU_I_PROFILE="1g.10gb"'))[POD].hardware is None


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


def lines(rows: Mapping[str, str], labels: str) -> str:
    return "".join(f"{name}{{{labels}}} {value}\n" for name, value in rows.items())


OLD_DCGM = lines(
    {"dcgm_fb_used": "30000", "dcgm_fb_free": "50000", "dcgm_gpu_utilization": "75"},
    'gpu="0",uuid="GPU-0",pod_name="vllm-0",pod_namespace="llm",container_name="vllm"',
)
AMD_LABELS = (
    'gpu_id="0",gpu_partition_id="0",serial_number="692251001124",hostname="n1",card_model="MI300X",'
    'pod="vllm-0",namespace="llm",container="vllm"'
)
AMD_PAGE = lines(
    {"gpu_used_vram": "30000", "gpu_free_vram": "50000", "gpu_total_vram": "80000", "gpu_gfx_activity": "75"},
    AMD_LABELS,
)
AMD_SMI = lines(
    {"amd_gpu_use_percent": "75", "amd_gpu_memory_use_percent": "12"},
    'gpu_use_percent="0",productname="MI210",device="n1",exported_pod="vllm-0",exported_namespace="llm"',
)
XPUM_LABELS = 'uuid="01000000-4d0000",node="n1",pci_bdf="0000:4d:00.0",kube_namespace="llm",kube_pod="vllm-0"'
XPUM_PAGE = lines({"xpum_engine_ratio": "0.75"}, XPUM_LABELS) + "".join(
    lines({"xpum_memory_used_bytes": str(used)}, f'{XPUM_LABELS},sub_dev="{tile}"')
    for tile, used in enumerate((15000 * 2**20, 15000 * 2**20))
)
XPUMD_LABELS = 'node="n1",pci_bdf="0000:4d:00.0",namespace="llm",pod="vllm-0"'
XPUMD_PAGE = (
    lines({"hw_gpu_utilization_ratio": "0.75"}, f'{XPUMD_LABELS},hw_gpu_task="all"')
    + lines({"hw_gpu_utilization_ratio": "0.125"}, f'{XPUMD_LABELS},hw_gpu_task="copy-all"')
    + lines(
        {"hw_memory_usage_bytes": str(30000 * 2**20), "hw_memory_size_bytes": str(80000 * 2**20)},
        f'{XPUMD_LABELS},hw_memory_location="device"',
    )
    + lines({"hw_memory_usage_bytes": "1", "hw_memory_size_bytes": "2"}, f'{XPUMD_LABELS},hw_memory_location="host"')
)
HAMI_LABELS = 'podnamespace="llm",podname="vllm-0",ctrname="vllm",vdeviceid="0",deviceuuid="GPU-0",zone="vGPU"'
HAMI_PAGE = lines(
    {
        "vGPU_device_memory_usage_in_bytes": str(30000 * 2**20),
        "vGPU_device_memory_limit_in_bytes": str(80000 * 2**20),
        "Device_utilization_desc_of_container": "75",
    },
    HAMI_LABELS,
)
HAMI_TODAY = lines(
    {
        "hami_vgpu_memory_used_bytes": str(30000 * 2**20),
        "hami_vgpu_memory_limit_bytes": str(80000 * 2**20),
        "hami_container_device_utilization_ratio": "75",
        "hami_host_gpu_memory_used_bytes": "5",
    },
    'namespace="llm",pod="vllm-0",container="vllm",vdevice_index="0",device_uuid="GPU-0"',
)


@pytest.mark.parametrize(
    ("page", "total", "unknown"),
    [
        pytest.param(OLD_DCGM, 80000 * MIB, set[str](), id="dcgm of old"),
        pytest.param(AMD_PAGE, 80000 * MIB, set[str](), id="amd"),
        pytest.param(re.sub("(?m)^gpu_", "amd_gpu_", AMD_PAGE), 80000 * MIB, set[str](), id="amd with a prefix"),
        pytest.param(AMD_SMI, None, {"gpu_memory_used_bytes", "gpu_memory_total_bytes"}, id="amd smi"),
        pytest.param(XPUM_PAGE, None, {"gpu_memory_total_bytes"}, id="xpu manager 1, two tiles"),
        pytest.param(XPUMD_PAGE, 80000 * MIB, set[str](), id="xpu manager 2"),
        pytest.param(HAMI_PAGE, 80000 * MIB, set[str](), id="hami of old"),
        pytest.param(HAMI_TODAY, 80000 * MIB, set[str](), id="hami"),
        pytest.param(HAMI_PAGE + HAMI_TODAY, 80000 * MIB, set[str](), id="hami with both spellings"),
    ],
)
def test_other_exporters_say_the_same_in_their_words(page: str, total: float | None, unknown: set[str]) -> None:
    sample = read(page)[POD]
    used = None if "gpu_memory_used_bytes" in unknown else 30000 * MIB
    assert (sample.memory_used_bytes, sample.memory_total_bytes, sample.utilization_ratio) == (used, total, 0.75)
    assert sample.refused == dict.fromkeys(unknown, "the exporter does not publish it")


def test_the_exporter_that_is_configured_is_tried_first_and_others_are_found_out() -> None:
    both = gpu_page() + HAMI_PAGE.replace('"75"', '"10"').replace(" 75", " 10")
    for order, busy in (((DCGM, HAMI), 0.75), ((HAMI, DCGM), 0.10)):
        assert GpuPageReader("", order).read(both.encode())[POD].utilization_ratio == busy
        assert GpuPageReader("", order).read(gpu_page().encode())[POD].utilization_ratio == 0.75


def test_shares_of_hami_are_gpus_of_their_own_and_no_limit_is_no_total() -> None:
    second = HAMI_PAGE.replace("vllm-0", "vllm-1")
    samples = read(HAMI_PAGE + second)
    assert [each.memory_total_bytes for each in samples.values()] == [80000 * MIB] * 2
    assert not any(each.shares for each in samples.values())
    unlimited = re.sub(r"(limit_in_bytes.*) \d+", r"\1 0", HAMI_PAGE)
    sample = read(unlimited)[POD]
    assert (sample.memory_used_bytes, sample.memory_total_bytes) == (30000 * MIB, None)
    assert sample.refused == {"gpu_memory_total_bytes": "the exporter does not publish it"}


def test_blanks_of_one_exporter_are_numbers_of_another() -> None:
    page = HAMI_PAGE.replace(str(30000 * 2**20), "2147483632")
    assert read(page)[POD].memory_used_bytes == 2147483632.0


some_numbers = st.sampled_from(["0", "-1", "1e300", "NaN", "+Inf", "-Inf", "75", "1e12"]) | st.floats().map(repr)
some_labels = st.dictionaries(
    st.sampled_from(["gpu", "uuid", "sub_dev", "pod", "namespace", "podname", "podnamespace", "hw_gpu_task", "node"]),
    st.sampled_from(["", "a", "b", "all", "device"]),
    max_size=5,
)
EVERY_NAME = [name.spec.name for each in GPU_EXPORTERS for names in each.names.values() for name in names]


@given(st.lists(st.tuples(st.sampled_from(EVERY_NAME), some_labels, some_numbers), max_size=20))
@settings(max_examples=200, deadline=None)
def test_whatever_a_page_says_of_gpus_is_within_bounds_or_unknown(said: list[tuple[str, dict[str, str], str]]) -> None:
    page = "".join(
        lines({name: number}, ",".join(f'{key}="{value}"' for key, value in labels.items()))
        for name, labels, number in said
    )
    try:
        samples = read(page)
    except (FetchError, ExpositionError):
        return
    for sample in samples.values():
        for number in (sample.memory_used_bytes, sample.memory_total_bytes):
            assert number is None or BYTES.hold(number)
        assert sample.utilization_ratio is None or 0.0 <= sample.utilization_ratio <= 1.0


def test_other_pages_are_refused() -> None:
    with pytest.raises(FetchError, match="no dcgm metrics on the page"):
        read("up 1\n")
    with pytest.raises(ExpositionError):
        read("DCGM_FI_DEV_FB_USED{gpu=\n")
