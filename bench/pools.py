"""A metrics page as an engine serves it, and stores filled with it."""

from collections.abc import Collection

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Pool
from infscale.latency.priors import shipped
from infscale.metrics.pages.dialects import VLLM
from infscale.metrics.pages.interpreter import Interpreter
from infscale.metrics.store.metrics_store import MetricStore
from infscale.sim.engine.recorder import HttpRecorder, Recorder
from infscale.sim.pages.engine_pages import EngineSkin, PageSubject
from infscale.sim.pages.families import PageView, RankView
from infscale.sim.pages.page_skins import page_for
from infscale.sim.pages.vllm_table import SERVED_PATHS


def vllm_page(requests: int = 200, names: Collection[str] = ()) -> bytes:
    """A page as vLLM serves it after so many requests, or of it the samples of `names`, where some are given."""
    recorder = Recorder(40_960)
    for number in range(requests):
        recorder.histograms.queue.observe(number * 0.01)
    rank = RankView(3, 1, 5, 0.25, 4000, (), (), recorder)
    subject = PageSubject("Qwen/Qwen3-32B", 1, 16, 19_208, 40_960, 4, 1.79e9)
    view = PageView((rank,), HttpRecorder(SERVED_PATHS), 12.5, 1.8e9)
    return page_for(EngineSkin.VLLM, subject).render(view, names).encode()


PAGE = vllm_page()
"""A whole vLLM page."""
NAMED_PAGE = vllm_page(names=Interpreter(VLLM).names)
"""What vLLM answers when it is asked for what is read of its page."""

_GPUS = {"infscale.dev/gpu": "H100", "infscale.dev/gpus": "2"}
_EARLIER_PAGE = vllm_page(100)


def page_interpreter() -> Interpreter:
    """A fresh reader of `PAGE`."""
    return Interpreter(VLLM)


def filled_store(pool: ObjectKey, endpoints: int) -> tuple[MetricStore, list[EndpointKey]]:
    """A store whose endpoints were all scraped at seconds 80 and 100, on GPUs of which the steps are known."""
    store = MetricStore("bench", priors=shipped())
    keys = [EndpointKey(pool.namespace, f"pod-{number}") for number in range(endpoints)]
    found = tuple(
        Endpoint(key, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 8000, labels=_GPUS)
        for number, key in enumerate(keys, 1)
    )
    store.sync(DiscoveryState(found, (Pool(pool, {}),)))
    interpreter = page_interpreter()
    for page, at in ((_EARLIER_PAGE, 80.0), (PAGE, 100.0)):
        for key in keys:
            store.record_scrape(key, interpreter.interpret(page), at)
    return store, keys
