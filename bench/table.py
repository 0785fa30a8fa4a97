"""From measured cases to `compare.json` and `compare.md`; the text of the latter is what is printed."""
import datetime
import importlib.metadata
import json
import os
import platform
from pathlib import Path

PACKAGES = ["torch", "torchaudio", "torchcodec", "soundfile", "av", "soxr", "scipy", "librosa", "kaldi-native-fbank",
            "lhotse", "nvidia-dali-cuda120", "numpy"]


def _machine():
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")]
    widest = next((name for name in ("avx512f", "avx2") if f" {name} " in info), "")
    return f"{names[0] if names else platform.machine()} {widest}, {len(names)} cores, {platform.system()}"


def _versions():
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pass
    return found


def _row(case, ours, label):
    """Ours against the fastest of the peers that the target names."""
    rivals = {name: s for name, s in case.seconds.items() if name in case.peers and case.against(name)}
    if not rivals:
        return None
    peer = min(rivals, key=rivals.get)
    ratio = rivals[peer] / ours
    fastest = min((name for name in case.seconds if name in case.peers), key=case.seconds.get)
    return {"case": label, "ours_ms": ours * 1e3, "peer": peer, "peer_ms": rivals[peer] * 1e3, "ratio": ratio,
            "wanted": case.wanted, "met": ratio >= case.wanted, "fastest": fastest,
            "ratio_to_fastest": case.seconds[fastest] / ours}


def _summary(cases, names):
    ours, engine = names
    for case in cases:
        if engine in case.seconds:
            yield _row(case, case.seconds[engine], f"{case.name}, engine and shards")
        yield _row(case, case.seconds[ours], case.name)


def _audioset(summary):
    """Hours of one core for AudioSet's 2,000,000 clips in FLAC: a clip's milliseconds, two million times."""
    for row in summary:
        if "flac" in row["case"] and "engine" in row["case"]:
            hours = {who: row[f"{who}_ms"] * 2e6 / 3.6e6 for who in ("ours", "peer")}
            return [f"AudioSet's 2,000,000 clips from FLAC: {hours['ours']:.1f} core-hours (wanted: under 3.6), by "
                    f"{row['peer']} {hours['peer']:.1f}."]
    return []


def _cells(*cells):
    return "| " + " | ".join(cells) + " |"


def _markdown(head, summary, cases, workers, missing):
    lines = [f"{head['machine']}, load {head['load']:.1f} at the end; {head['clips']} clips, {head['reps']} repetitions, "
             f"{head['date']}.",
             "CPU time of a ten-second clip on one thread: median over repetitions, mean over clips.", "",
             _cells("what", "ours ms", "peer", "ms", "times faster", "wanted", "", "than the fastest of all"),
             "|---|--:|---|--:|--:|--:|---|---|"]
    for row in summary:
        lines.append(_cells(row["case"], f"{row['ours_ms']:.2f}", row["peer"], f"{row['peer_ms']:.2f}",
                            f"{row['ratio']:.2f}", f"{row['wanted']:g}", "" if row["met"] else "short",
                            "" if row["fastest"] == row["peer"] else f"{row['ratio_to_fastest']:.2f}, {row['fastest']}"))
    if workers:
        lines += ["", f"Two workers: {workers['speed_up']:.2f} times one ({workers['one_clips_per_s']:.0f} -> "
                      f"{workers['two_clips_per_s']:.0f} clips/s on {workers['cores']} cores; wanted 1.95); their CPU time "
                      f"is {workers['cpu_of_two_over_one']:.3f} of one's. They got {workers['cores_got']:.2f} cores"
                      + ("." if workers["cores_got"] > 1.8 else ": the machine was busy, this is no measurement.")]
    lines += ["", *_audioset(summary), "", "Everybody, ms a clip:", "", "| what | |", "|---|---|"]
    for case in cases:
        ranked = sorted(case.seconds.items(), key=lambda item: item[1])
        lines.append(_cells(case.name, ", ".join(f"{name} {s * 1e3:.2f}" for name, s in ranked)))
    if missing:
        lines += ["", "Not compared:", ""] + [f"* {name}: {why}" for name, why in missing.items()]
    lines += ["", "Versions: " + ", ".join(f"{name} {version}" for name, version in head["versions"].items())]
    return "\n".join(lines)


def write_tables(args, cases, workers, missing, names):
    """Writes both files into `args.out` and returns the text."""
    head = {"machine": _machine(), "date": datetime.date.today().isoformat(), "clips": args.clips, "reps": args.reps,
            "load": os.getloadavg()[0], "versions": _versions()}
    summary = [row for row in _summary(cases, names) if row]
    everybody = {case.name: {name: s * 1e3 for name, s in case.seconds.items()} for case in cases}
    data = {**head, "summary": summary, "ms_per_clip": everybody, "workers": workers, "missing": missing}
    (args.out / "compare.json").write_text(json.dumps(data, indent=1) + "\n")
    text = _markdown(head, summary, cases, workers, missing)
    (args.out / "compare.md").write_text(text + "\n")
    return text
