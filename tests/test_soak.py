"""What a soak reports; ``nox -s soak-short`` runs a minute of one, ``nox -s soak`` half an hour."""

from __future__ import annotations


def test_a_soak_can_fail() -> None:
    from azdriver.testing.soak import MAX_BLOCKS_PER_OPERATION, Report, Sample

    def report(*, leak_kib: int = 0, leaked_blocks: float = 0.0, **wrong: int) -> list[str]:
        found = Report(tasks=64, seed=1, fault_share=0.0)
        for second in range(1300):
            operations = 300 * second
            found.samples.append(
                Sample(
                    seconds=second,
                    operations=operations,
                    rss_kib=100_000 + leak_kib * second // 60,
                    descriptors=50 + wrong.get("descriptors", 0) * second,
                    blocks=300_000 + int(leaked_blocks * operations),
                    tasks=64,
                    connections=48,
                    lateness=0.0,
                )
            )
        found.leaked_tasks = wrong.get("tasks", 0)
        found.leaked_connections = wrong.get("connections", 0)
        found.descriptors_after = wrong.get("descriptors_after", 0)
        assert str(found).endswith("nothing wrong" if not found.problems() else "problems")
        return found.problems()

    assert report() == []
    assert report(leak_kib=500, leaked_blocks=MAX_BLOCKS_PER_OPERATION / 2) == []
    for problems in (
        report(leak_kib=3000),
        report(leaked_blocks=1.0),
        report(tasks=1),
        report(connections=1),
        report(descriptors=1),
        report(descriptors_after=1),
    ):
        assert len(problems) == 1
