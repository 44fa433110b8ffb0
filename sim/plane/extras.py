"""What a record tells beyond the common: where a request's time went outside of engines, and what befell it."""

# ruff: noqa: ANN001, ANN201
from sim.plane.compiled import jit
from sim.plane.tables import extra_at


@jit
def begin_extras(p, slot):
    """A request begins: nothing has befallen it yet."""
    if p.has_extras == 0:
        return
    x = extra_at(p.extras, slot)
    x.gateway_s = x.network_s = x.verdict_s = x.delay_s = 0.0
    x.flags = 0


@jit
def write_extras(p, done, slot):
    """Write it into a request's record."""
    if p.has_extras == 0:
        done.gateway_s = done.network_s = done.verdict_s = done.delay_s = 0.0
        done.flags = 0
        return
    x = extra_at(p.extras, slot)
    done.gateway_s = x.gateway_s
    done.network_s = x.network_s
    done.verdict_s = x.verdict_s
    done.delay_s = x.delay_s
    done.flags = x.flags
