"""Data producers: the prefix index, media, predictions and in-flight load are there anyway, and take parameters."""

from collections.abc import Mapping
from dataclasses import replace

from picker.epp_config.facts import Facts, FactType, Told
from picker.epp_config.parameters import Given, note
from picker.scheduling.plugin import USUAL_PREDICTIONS, PredictionSettings
from picker.scheduling.prefix_index import PrefixSettings

_OF_A_TRAINED_MODEL = ("samplingMean", "maxDecodeTokenSamplesForPrediction", "contextTTL", "endpointRoleLabel")
_DEFAULT_MEDIA_MIB, _MIB_PER_ITEM = 4096, 2
DEFAULT_MEDIA_ITEMS = _DEFAULT_MEDIA_MIB // _MIB_PER_ITEM


def _prefix(given: Given, facts: Facts) -> Told:
    default = PrefixSettings()
    parameters = given.read(
        "autoTune", "blockSizeTokens", "lruCapacityPerServer", "maxPrefixBlocksToMatch", "maxPrefixTokensToMatch"
    )
    settings = PrefixSettings(
        auto_tune=parameters.boolean("autoTune", default.auto_tune),
        block_size_tokens=parameters.integer("blockSizeTokens", default.block_size_tokens, 1),
        max_blocks=parameters.integer("maxPrefixBlocksToMatch", default.max_blocks, 1),
        max_tokens=parameters.integer("maxPrefixTokensToMatch", default.max_tokens, 1),
        capacity_blocks=parameters.integer("lruCapacityPerServer", default.capacity_blocks, 1),
    )
    return replace(facts, prefix=settings), ()


def _media(given: Given, facts: Facts) -> Told:
    """Items an endpoint's encoder cache holds: the reference's two ways to say it, at one size for every item."""
    parameters = given.read("cacheSizeInMBPerServer", "cacheSizeInEmbeddingsPerServer")
    embeddings = parameters.get("cacheSizeInEmbeddingsPerServer")
    if embeddings is None:
        mib = parameters.integer("cacheSizeInMBPerServer", _DEFAULT_MEDIA_MIB, 1)
        return replace(facts, media_items=max(1, mib // _MIB_PER_ITEM)), ()
    if parameters.get("cacheSizeInMBPerServer") is not None:
        embeddings.refuse("cacheSizeInMBPerServer is given too; keep one")
    return replace(facts, media_items=embeddings.integer(1)), ()


def _latency(given: Given, facts: Facts) -> Told:
    default = USUAL_PREDICTIONS
    parameters = given.read(
        "predictInProduce", "streamingMode", "sloBufferFactor", *_OF_A_TRAINED_MODEL, "prefixMatchInfoProducerName"
    )
    notes = tuple(
        note(field, "has no effect here: no model is trained")
        for name in _OF_A_TRAINED_MODEL
        if (field := parameters.get(name)) is not None
    )
    predicting = PredictionSettings(
        parameters.boolean("predictInProduce", default.enabled),
        parameters.boolean("streamingMode", default.streaming),
        parameters.positive("sloBufferFactor", default.slo_buffer),
    )
    return replace(facts, predicting=predicting), notes


def _burst(given: Given, facts: Facts) -> Told:
    limit = given.read(
        "windowDurationMs", "maxPerReplica", "blockSizeTokens", "maxPrefixTokensToMatch", "minColocateBlocks"
    ).get("maxPerReplica")
    if limit is not None and limit.number() != -1:
        limit.refuse("only -1 is available in this version; a bounded-load-filter keeps a burst from one endpoint")
    return facts, ()


def _tokens(given: Given, facts: Facts) -> Told:
    backend = None if given.parameters is None else given.parameters.entries().get("backend")
    if backend is not None and backend.text() != "estimate":
        backend.refuse("only the backend 'estimate' (about 4 bytes per token) is available in this version")
    return facts, ()


_PREFIX_TYPES = ("approx-prefix-cache-producer", "multicluster-approx-prefix-cache-producer")
_MEDIA_TYPE = "mm-embeddings-cache-producer"
_LATENCY_TYPE = "predicted-latency-producer"

PRODUCERS: Mapping[str, FactType] = {
    **dict.fromkeys(_PREFIX_TYPES, FactType(_prefix, alone_among=_PREFIX_TYPES)),
    "inflight-load-producer": FactType(),
    "token-producer": FactType(_tokens),
    _MEDIA_TYPE: FactType(_media, alone_among=(_MEDIA_TYPE,)),
    _LATENCY_TYPE: FactType(_latency, alone_among=(_LATENCY_TYPE,)),
    "burst-prefix-cache-producer": FactType(
        _burst, elsewhere="a choice is remembered before the next is made, so bursts of a prompt meet anyway"
    ),
}
