"""What a comparison of learning rules cannot conclude, each limit computed from what was measured and how."""

from collections.abc import Iterator

from labctl.orchestrator.cells import Comparison
from labctl.report.rivals import Standings
from labctl.report.sections.wording import count, percent

ONE_LOSS_BEHIND_TWINS = ("physics-aware", "dual-adaptive", "backpropagation")
FEWEST_SEEDS = 3


def limits(comparison: Comparison, standings: Standings) -> list[str]:
    """Return the limits as sentences."""
    return [*_of_draws(comparison, standings), *_of_settings(comparison), *_of_bench(comparison, standings)]


def _of_draws(comparison: Comparison, standings: Standings) -> Iterator[str]:
    wanted, differences = comparison.wanted, [found for _, found in standings.differences()]
    seeds = min((len(each.results) for each in standings.all), default=0)
    if seeds < len(wanted.seeds):
        yield f"Not all of it is measured: of some rule {count(seeds, 'seed')} of {len(wanted.seeds)}."
    if seeds == 1:
        yield (
            "With one seed the intervals cover the choice of test samples alone: another seed may turn any difference."
        )
    elif seeds < FEWEST_SEEDS:
        yield f"{seeds} seeds give intervals so wide that they exclude little; take {FEWEST_SEEDS} or more."
    if differences and seeds > 1:
        half = max((found.high - found.low) / 2 for found in differences)
        yield f"Differences below {100 * half:.1f} points are not told from chance by {seeds} seeds, for every rule."
    if len(differences) > 1:
        yield (
            f"{len(differences)} differences are each given a 95 % interval: expect {0.05 * len(differences):.1g} of "
            "them to miss the truth."
        )
    if wanted.vary == ("seed",):
        yield (
            "Only the experiment's seed was varied: all runs share one split of the data and one medium, and the "
            "intervals say nothing about others. Vary data.split_seed, or the seed of the medium in the rig, as well."
        )
    samples = {len(result.right) for each in standings.all for result in each.results}
    for n in samples:
        error = max((found.mean * (1 - found.mean) / n) ** 0.5 for found in (each.accuracy for each in standings.all))
        yield f"{n:,} test samples leave each accuracy a standard error of up to {percent(error)} of its own."


def _of_settings(comparison: Comparison) -> Iterator[str]:
    experiment = comparison.base.experiment
    tuned = experiment.training.rule
    borrowed = [rule for rule in comparison.rules if rule != tuned and rule not in experiment.compare]
    if borrowed:
        yield (
            f"No settings of their own were given for {', '.join(borrowed)}: they ran with those written for {tuned} "
            "as far as they share them, and with defaults. That they are worse may be a matter of settings."
        )
    if comparison.refused:
        yield f"Nothing is said about {', '.join(comparison.refused)}, which could not take part."


def _of_bench(comparison: Comparison, standings: Standings) -> Iterator[str]:
    results = [result for each in standings.all for result in each.results]
    if results and all(result.conclusion.simulated for result in results):
        yield (
            "All hardware was simulated: noise, drift and speed are those of a model, and energy of the rig is what "
            "its file states."
        )
    if any("rig_j" not in each.figures for each in standings.all):
        yield "The rig file does not state `power_w`: what the hardware draws is left out of the energy."
    exact = [rule for rule in comparison.rules if rule in ONE_LOSS_BEHIND_TWINS]
    if len(exact) > 1 and any(result.blocks == 1 for result in results):
        yield f"With one block no weight lies before any physics: {', '.join(exact)} are one rule here."
    passes = [each.figures["training_passes"] for each in standings.all]
    if passes and max(passes) > 2 * min(passes):
        yield (
            f"The rules did not pay the same price: training took from {min(passes):,.0f} to {max(passes):,.0f} passes."
        )
