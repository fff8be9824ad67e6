"""A session whose names and labels leave no room: what a played daemon publishes of it."""

from braind.client import wire

SESSION = "sub-pilot07_ses-20261129_acq-highres_desc-afternoon_part-two"
RUNS = tuple(f"task-imagery_acq-multiband_dir-ap_echo-1_part-mag_desc-x_run-{n:02d}" for n in (3, 4))
"""They differ at their ends alone, as BIDS's names do."""
LABELS = (
    "a photograph of a red fox in deep snow beside a frozen river under a winter sky",
    "一只红色的狐狸在深雪中站在结冰的河边，冬天的天空苍白，树木沉默，远处有山，近处有石头",
    "ثعلب أحمر في ثلج عميق بجانب نهر متجمد تحت سماء شتوية شاحبة",
    "🦊 fox 🏔️ mountain 👍🏽 hand 👩‍👩‍👧‍👦 family 🇯🇵 flag of the rising sun",
    "a\u0300\u0301\u0302 photograph\u0316\u0317 of a red fox in deep snow beside a frozen river at noon",
    "x" * 80,
)
ROIS = {"higher_visual_cortex_left": 1.0, "higher_visual_cortex_right": -1.0}


def publish_crowded(daemon, n=3, seen_png=None):
    """Publish `n` trials of each run, whose seen picture is not among the best candidates."""
    for run in RUNS:
        for index in range(n):
            label = LABELS[index % len(LABELS)]
            daemon.decode(
                index, session=SESSION, run=run, label=label, trial=73_000 + index, feedback=-0.42,
                n_candidates=100_000, seen_png=seen_png,
                seen_candidate=wire.SeenCandidate(label=label, score=-0.31, rank=12_345, nsd_id=7),
                signals=(wire.VolumeSignal(index=index, rois=ROIS),),
            )  # fmt: skip


def beat_crowded(daemon):
    """Send a heartbeat of the session."""
    daemon.heartbeat(session=SESSION, run=RUNS[-1], n_acked=123_456, n_decoded=123_450, n_waiting=2)
