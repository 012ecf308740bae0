"""Evidence that a new version is worse, as e-values: valid however often they are looked at.

An e-value's expectation is at most 1 while the new version is not worse, and its running product
over looks is a supermartingale, so by Ville's inequality it reaches 1/alpha at any look with
probability at most alpha (Ramdas, Grünwald, Vovk, Shafer 2023, "Game-theoretic statistics and safe
anytime-valid inference", Statistical Science 38(4)).
"""

import math

# The new version's odds against control's, from a loss that is just felt to a broken version.
ODDS = (2.0, 4.0, 8.0, 16.0, 32.0)
# One stall makes many requests slow at once: what one look shows counts for this factor at most.
MOST_PER_LOOK = 5.0
MOST = 1e12

LogWealth = tuple[float, ...]
NO_EVIDENCE: LogWealth = (0.0,) * len(ODDS)


def against_control(
    wealth: LogWealth, *, new: int, new_events: int, control: int, control_events: int
) -> LogWealth:
    """Add one look to the evidence that events are more frequent in the new version.

    Given all events of a look, those of the new version are Binomial with its share of the
    requests when the rates are equal (Przyborowski and Wilenski 1940, Biometrika 31), or less
    spread than that when requests are drawn without replacement (Hoeffding 1963, JASA 58,
    theorem 4). So the likelihood ratio of any odds `r` has expectation 1 at most, whatever the
    common rate is and however it changes from look to look; cut off at `MOST_PER_LOOK` it has less.

    Args:
        wealth: log likelihood ratio so far, one per entry of `ODDS`.
        new: requests of the new version since the last look.
        new_events: those of them with the event.
        control: requests of control since the last look.
        control_events: those of them with the event.
    """
    events = new_events + control_events
    if events == 0:
        return wealth
    total = new + control
    most = math.log(MOST_PER_LOOK)
    return tuple(
        before
        + min(most, new_events * math.log(r) - events * math.log((r * new + control) / total))
        for before, r in zip(wealth, ODDS, strict=True)
    )


def against_limit(wealth: LogWealth, *, requests: int, events: int, limit: float) -> LogWealth:
    """Add one look to the evidence that an event's probability exceeds `limit`.

    The likelihood ratio of a Bernoulli probability whose odds are `r` times those of the limit;
    it grows with the events, so its expectation is at most 1 for every probability up to the limit.

    Args:
        wealth: log likelihood ratio so far, one per entry of `ODDS`.
        requests: requests since the last look.
        events: those of them with the event.
        limit: the probability that is still allowed.
    """
    if requests == 0:
        return wealth
    most = math.log(MOST_PER_LOOK)
    return tuple(
        before + min(most, events * math.log(r) - requests * math.log(1 - limit + r * limit))
        for before, r in zip(wealth, ODDS, strict=True)
    )


def e_value(wealth: LogWealth) -> float:
    """Return the mean over the odds, which is an e-value again; at most `MOST`."""
    return sum(_bounded_exp(each) for each in wealth) / len(wealth)


def normal_mixture(difference: float, variance: float, scale: float) -> float:
    """Return the e-value of a difference that is asymptotically normal, against "not positive".

    The mixture sequential probability ratio test (Johari, Koomen, Pekelis, Walsh 2022, "Always
    Valid Inference", Operations Research 70(3)) with a half-normal mixing distribution, the
    one-sided form of the normal mixture (Howard, Ramdas, McAuliffe, Sekhon 2021, Annals of
    Statistics 49(2)); asymptotic as in Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas 2021
    (arXiv 2103.06476): the variance is estimated from the same data.

    Args:
        difference: control minus new, so that positive is worse.
        variance: the variance of `difference`, above 0.
        scale: the size of the difference that the test is tuned to.
    """
    spread = variance + scale**2
    z = scale * difference / math.sqrt(variance * spread)
    tail = math.erfc(-z / math.sqrt(2))
    if tail == 0.0:
        return 0.0
    return _bounded_exp(0.5 * math.log(variance / spread) + z**2 / 2 + math.log(tail))


def _bounded_exp(log: float) -> float:
    return math.exp(min(log, math.log(MOST)))
