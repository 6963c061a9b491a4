"""The scorer of marginal costs: the seconds of delay that a placement causes, to this request and to all others."""
from dataclasses import dataclass
import numpy as np
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import IntArray
from picker.scheduling.costs.step_costs import STEP_TOKENS, step_costs
from picker.scheduling.plugin import SchedulingContext

@dataclass(frozen=True, slots=True)
class MarginalCostScorer:
    of_clock = True
    e: float = 3.0
    wd: float = 0.02
    price: float = 1.0
    scale: float = 1.0
    lam: float = 0.0
    kvw: float = 0.0
    dec: float = 1.0
    ceil: int = 0
    q: float = 0.0

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        cost=self.cost(context,rows)
        least=np.minimum.reduce(cost)
        return self.scale/(self.scale+(cost-least))

    def cost(self, context, rows):
        costs = step_costs(context.snapshot)
        clock = context.memory.clock
        r=context.request
        b=costs.per_prefill_token[rows]
        n=context.snapshot.in_flight_requests[rows]
        kv=clock.context_tokens[rows]
        L=r.output_tokens; p=r.prompt_tokens
        u=np.maximum(context.uncached_tokens(rows),1.)
        itl=(costs.base+costs.per_kv_token*clock.context_tokens+costs.per_sequence*context.snapshot.in_flight_requests)[rows]
        pending=clock.pending_seconds(context.now)[rows]
        steps=np.ceil(u/STEP_TOKENS) if self.ceil else u/STEP_TOKENS+.5
        pre=b*u
        J=pending+pre+steps*itl
        J=J+pre*self.e
        J=J+self.wd*pre*n
        J=J+self.wd*L*(costs.per_sequence[rows]+costs.per_kv_token[rows]*(p+L/2))*n*self.dec
        J=J+self.wd*L*itl
        J=J+self.price*b*L*n
        cols=context.snapshot.columns
        if self.lam or self.kvw:
            cap=np.array([(x or 0)*(y or 0) or np.inf for x,y in zip(cols.block_size_tokens,cols.num_blocks)])[rows]
            k=(kv+p+L)/cap
            if self.lam:
                kk=np.minimum(k,.98); J=J+self.lam*kk/(1-kk)
            if self.kvw:
                over=np.maximum(0,kv+p-cap)
                J=J+self.kvw*over/np.maximum(kv,1)*L*itl
        return J
